"""What rule functions of Keras's layers make one thing of, and why no row says it: each was gone over
(``convcore.testing.record.one_op``). Operations of ``keras.ops`` are bound by their signatures in ``ops/``."""

WHY = {
    "load SeparableConv1D": "axes of the depthwise kernel are merged; padding of older eras depends on sizes",
    "load Dot": "axes are one or two, and which are batch follows from both inputs; normalize makes several",
    "load Dropout": "noise_shape is right-aligned, so the axes depend on the input's rank",
    "load AlphaDropout": "noise_shape is right-aligned, so the axes depend on the input's rank",
    "load SpatialDropout1D": "the axes that share a draw depend on data_format",
    "load SpatialDropout2D": "the axes that share a draw depend on data_format",
    "load SpatialDropout3D": "the axes that share a draw depend on data_format",
    "load Reshape": "one size may be left to the others, and the batch comes before",
    "load Cropping1D": "stops are counted from the end by amounts, for the axes that data_format names",
    "load Cropping2D": "stops are counted from the end by amounts, for the axes that data_format names",
    "load Cropping3D": "stops are counted from the end by amounts, for the axes that data_format names",
    "load CenterCrop": "starts follow from the input's sizes, for the axes that data_format names",
    "load ReversibleEmbedding": "a call may ask for the product with its own table instead",
    "emit prelu": "shared_axes are the axes along which the slope has size 1",
    "emit linear": "a weight that is computed is no layer's",
    "emit layer_norm": "written from its load row, for any number of last axes",
    "emit rms_norm": "written from its load row, for any number of last axes",
    "emit instance_norm": "GroupNormalization with as many groups as the input has channels",
    "emit adaptive_avg_pool": "the class is named after the number of axes",
    "emit adaptive_max_pool": "the class is named after the number of axes",
    "emit gaussian_noise": "left out where its amount is not known",
}
