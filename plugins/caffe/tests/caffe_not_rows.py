"""Caffe's rule functions that only ever make a single thing of a type, and why no row says it
(``convcore.testing.record.likely_rows``)."""

_FROM_SHAPE = "the op's attribute follows from the bottom's shape"
_KERNEL = "its kernel is made for it"

WHY = {
    # read
    "load rules.arithmetic.dropout": "its factor is 1 less the ratio, an operand of the op; dropping at random is refused",
    "load rules.conv.convolution": "group is the number of channels where it is not given",
    "load rules.data.parameter": "its weight is its result",
    "load rules.detection.detection_output": "fields of an inner message; forms of forks are refused",
    "load rules.detection.prior_box": "sizes, steps and offsets have defaults that follow from one another and from both bottoms",
    "load rules.detection.psroi_pooling": "output_dim and group_size must fit the channels; shapes tell regions apart",
    "load rules.image.bilinear": "a size or a whole factor, whichever is given",
    "load rules.norm.batch_norm": "its sums are divided by a factor that is a weight too",
    "load rules.norm.wide_lrn": "alpha grows with the window that is cut to what there is",
    "load rules.shape.crop": _FROM_SHAPE,
    "load rules.shape.crop_center": _FROM_SHAPE,
    "load rules.shape.flatten": _FROM_SHAPE,
    "load rules.shape.pad": "four fields are the pairs of two of the op's four axes, and the value counts for one mode only",
    "load rules.shape.permute": "axes left out of order come after those in it",
    "load rules.shape.reshape": _FROM_SHAPE,
    "load rules.shape.tile": "the op has a number for each axis",
    "load rules.shape.unsqueeze": "a negative dim counts from the bottom's axes, not the top's",
    # written
    "emit emit_rules.arithmetic.fill": "the value is a filler, a message of its own",
    "emit emit_rules.arithmetic.not_": "truth values are carried as numbers, which a row does not say",
    "emit emit_rules.arithmetic.pow_": "which operand is a number decides between Power and Exp",
    "emit emit_rules.blocks.move_blocks": _KERNEL,
    "emit emit_rules.blocks.shuffle_channels": _KERNEL,
    "emit emit_rules.blocks.upsample_nearest": _KERNEL,
    "emit emit_rules.linear.matmul": "the factor is transposed, and the axis is the last one of any number",
    "emit emit_rules.norm.batch_statistics": "which axes are normalised decides between two layers",
    "emit emit_rules.norm.l2_normalize": "its scale of ones is made for it",
    "emit emit_rules.rnn_scan.scan": "the weights are taken out of its region",
    "emit emit_rules.shape.emit_reshape": "a constant is folded, and a Reshape copies what stays",
}
