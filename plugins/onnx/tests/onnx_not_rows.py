"""ONNX's rule functions that only ever make a single thing of a type, and why no row says it
(``convcore.testing.record.likely_rows``)."""

_OLD = "versions whose attributes are inputs later, with defaults that follow from the input"
_REGION = "it has regions"

WHY = {
    # read
    "load rules.arithmetic._before_7.<locals>.load": "the second operand is moved to an axis that an attribute names",
    "load rules.arithmetic.cast_like": "the type is that of another input",
    "load rules.constants.constant_of_shape": "its value is a tensor that tells the type too",
    "load rules.constants.constant_of_sizes": "its value is a tensor that tells the type too",
    "load rules.control.load_scan": "it has a region, and its inputs are told apart by a count",
    "load rules.conv.conv_transpose_to_a_shape": "its size of output may hold batch and channels too",
    "load rules.image.load_affine_grid": "its size holds batch and channels too",
    "load rules.image.load_resize": "scales or sizes over any axes become those of space; a kept aspect ratio makes several",
    "load rules.image.load_resize_10": "scales are over all axes where the op has those of space",
    "load rules.image.load_upsample": "scales are attributes or an input by version, and over all axes",
    "load rules.indexing.slice_by_attributes": _OLD,
    "load rules.indexing.slice_of_sizes": "bounds are for the axes that a fourth input names; the op has one for each axis",
    "load rules.norm.load_old_mvn": "experimental: no schema that could prove a row is left",
    "load rules.quant.dequantize": "the axis means nothing where the scale is one number, whatever its default says",
    "load rules.reduce._no_axes.<locals>.load": "an empty list of axes means all of them, or none, by another attribute",
    "load rules.reduce._of_booleans.<locals>.load": "an empty list of axes means all of them, or none, by another attribute",
    "load rules.shape._squeeze_all": "the axes are those of size 1, by the input's shape",
    "load rules.shape.expand": "the shape is broadcast with the input's own",
    "load rules.shape.flatten": "the op's shape follows from the input's",
    "load rules.shape.pad": "pads are for the axes that a fourth input names; versions and modes have forms of their own",
    "load rules.shape.pad_by_attributes": _OLD,
    "load rules.shape.reshape_by_attribute": _OLD,
    "load rules.shape.reshape_to_sizes": "a 0 stands for the input's own size, a -1 for what is left",
    "load rules.shape.reverse_axes": "the order is that of all axes, backwards",
    "load rules.shape.split": "sizes follow from the number of outputs where none are given",
    "load rules.shape.tile_one_axis": _OLD,
    # written
    "emit rules.constants.emit_dynamic_fill": "value and dtype are one tensor there",
    "emit rules.control.emit_if": _REGION,
    "emit rules.control.emit_loop": _REGION,
    "emit rules.control.emit_scan": _REGION,
    "emit rules.conv.emit_conv_transpose": 'padding "same" is written out where it is no attribute of the version',
    "emit rules.conv.emit_same_conv": 'padding "same" is written out where the sizes are known',
    "emit rules.general.emit_gaussian_noise": "left out, but for outputs, which keep their names",
    "emit rules.image.emit_upsample": "scales are for batch and channels too",
    "emit rules.indexing.emit_trilu_by_mask": "its mask is made for it",
    "emit rules.pool.emit_global_pool": "whether it is a pool depends on the layer it comes from",
    "emit rules.pool.emit_lp_pool": "the last windows and padding of other formats become pads, which depend on sizes",
    "emit rules.pool.emit_max_pool": "the last windows and padding of other formats become pads, which depend on sizes",
    "emit rules.pool.emit_max_unpool": "only where the output's size is the default, which follows from the input's",
    "emit rules.quant.emit_dequantize": "the axis means nothing where the scale is one number, whatever its default says",
    "emit rules.quant.emit_quantize": "a missing zero point is filled in: it alone tells the type",
    "emit rules.shape.emit_flatten": "only where the op's shape is that of the flattened input",
}
