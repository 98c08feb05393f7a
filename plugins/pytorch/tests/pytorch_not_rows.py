"""PyTorch's rule functions that only ever make a single thing of a type, and why no row says it
(``convcore.testing.record.likely_rows``)."""

_ZERO = "a tensor without axes has none to name"
_BATCH = "an input without a batch gets one; one number stands for all axes"
_SHAPE = "the shape is that of another tensor, or completed by it"
_WRITTEN = "a function of our own, copied into the code"
_ORDER = "the order of axes follows from their number, and a weight stays one"

WHY = {
    # read
    "load rules.arithmetic.fill": _SHAPE,
    "load rules.arithmetic.masked_fill": "the number takes the tensor's type, cut off as C does it",
    "load rules.arithmetic.zero": _SHAPE,
    "load rules.aten_pool.adaptive": _BATCH,
    "load rules.aten_layers.conv": _BATCH,
    "load rules.aten_layers.convolution": _BATCH,
    "load rules.aten_layers.dropout": "whether it is in training is an argument; shared axes follow from their number",
    "load rules.aten_layers.inner": "of tensors with several axes it is another product",
    "load rules.aten_norm.instance_norm": "with running statistics it is a batch normalisation",
    "load rules.aten_pool.max_pool": _BATCH,
    "load rules.aten_layers.prelu": "the slope is a vector, moved to the channels",
    "load rules.aten_layers.rrelu": "the slope is the mean of two",
    "load rules.aten_layers.softmax": _ZERO,
    "load rules.constants.eye": "the second size is the first where it is left out",
    "load rules.constants.fills": _SHAPE,
    "load rules.image.affine_grid": "its size holds batch and channels too",
    "load rules.image.channel_shuffle": "any number of axes may follow the channels",
    "load rules.image.col2im": "one padding is that of both ends",
    "load rules.image.grid_sampler": "modes are numbers",
    "load rules.image.pixel_shuffle": "any number of axes may come before",
    "load rules.image.upsample": "a size or factors, whichever is given; factors of 1, 2, 3... are another op",
    "load rules.indexing.combinations": "rows of a table of places",
    "load rules.indexing.embedding": "an index of padding below 0 stands for none; what is not kept of gradients is said",
    "load rules.indexing.gather": "sizes of the other axes are cut to those of the indices",
    "load rules.indexing.index_select": _ZERO,
    "load rules.indexing.one_hot": "num_classes=-1 depends on the data",
    "load rules.indexing.slice_": "one axis of all is cut, from a start to an end or of a length",
    "load rules.norms.matrix_norm": "the order is a text, or a number of sums and extremes",
    "load rules.norms.norm": "the order and the number of axes say which norm it is",
    "load rules.norms.vector_norm": "which norm is a number, 1 and 2 are ops of their own",
    "load rules.small.infinite": "of integers all are false",
    "load rules.reduce.extremes": "of booleans OR and AND; without axes over all of them",
    "load rules.reduce.spread": "a correction that is no whole number makes several",
    "load rules.shape.broadcast_to": _SHAPE,
    "load rules.shape.expand": _SHAPE,
    "load rules.shape.flip": _ZERO,
    "load rules.shape.moved": _ORDER,
    "load rules.shape.pad": "pairs come last axis first, as many as are padded",
    "load rules.shape.reshape_as": _SHAPE,
    "load rules.shape.split": "sizes follow from a count or step and from the axis's size",
    "load rules.shape.split_sizes": "a single part is the tensor itself",
    "load rules.shape.tensor_split": "sizes follow from a count or places and from the axis's size",
    "load rules.shape.unbind": "the number of parts follows from the axis's size",
    "load rules.shape.view": "one size may be left to the others",
    "load rules.sorting.argsort": "booleans are ordered as numbers, where that is defined",
    "load rules.sorting.topk": _ZERO,
    # written
    "emit emit_rules.arithmetic.bitcast": "its type is no keyword, and truth values are refused",
    "emit emit_rules.arithmetic.det": "of half precision it is refused",
    "emit emit_rules.attention.layer": "three weights are one",
    "emit emit_rules.control.loop": "it has a region",
    "emit emit_rules.detection.deform_conv": _WRITTEN,
    "emit emit_rules.detection.nms": _WRITTEN,
    "emit emit_rules.detection.psroi_pool": _WRITTEN,
    "emit emit_rules.detection.roi_align": _WRITTEN,
    "emit emit_rules.detection.roi_pool": _WRITTEN,
    "emit emit_rules.dynamic.col2im": _WRITTEN,
    "emit emit_rules.image.affine_grid": "its size holds batch and channels too",
    "emit emit_rules.image.resize": "which of torch's ways it is follows from several attributes and sizes",
    "emit emit_rules.indexing.unique": _WRITTEN,
    "emit emit_rules.lrn.lrn": "even sizes are refused, which look at other channels in torch",
    "emit emit_rules.sequences.concat": "rows ask that torch computes in the types of operands, sequences are of none",
    "emit emit_rules.sequences.has": "what cannot be absent is a constant",
    "emit emit_rules.sequences.listed": "a list is no call",
    "emit emit_rules.reduce.reduce": "axes are all of them where none are named; integers keep their type",
    "emit emit_rules.reduce.spread": "no axes are all of them; a tensor without axes has none to name",
}

NOT_EXPORTED = {
    "aten._convolution.deprecated": "of old TorchScript files",
    "aten.rnn_relu_cell": "torch.export takes it apart",
    "aten.rnn_tanh.input": "read as convcore.rnn_tanh",
    "aten.to.prim_dtype": "of TorchScript files",
    "prims.convert_element_type": "of programs that are taken apart",
}
"""Types whose function is reached for others only: today's torch.export, in any test, gives none of these."""
