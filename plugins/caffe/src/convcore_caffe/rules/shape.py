"""Moving blobs around: Concat, Slice, Reshape, Flatten, Permute, Tile, Crop, Pad and forks' relatives."""

from __future__ import annotations

from typing import Literal

from convcore.plugin import A, Dim, DimLike, Value, ask, ask_option, product

from ..context import CaffeContext, CaffeNode
from ..files import layer_checks as checks
from ..layer_spec import EVERY, ONE, layer
from .base import RULES

# ---- what the layers are

layer("BatchReindex", counts=(2, 2, 1, 1), writes=EVERY, opencv=False)
layer(
    "Concat",
    param="concat_param 104 ConcatParameter: axis 2 int32=1; concat_dim 1 uint32=1",
    counts=(1, None, 1, 1),
    v1="CONCAT 3 9",
    v0="concat",
    writes=EVERY,
    check=checks.alias("concat_param", "concat_dim"),
)
layer(
    "Crop",
    param="crop_param 144 CropParameter: axis 1 int32=2; offset 2 uint32*",
    counts=(2, 2, 1, 1),
    v1="CROP -3 0",
    writes=EVERY,
)
layer("CropCenter", param="crop_center_param 0 CropCenterParameter: crop_size 0 uint32*")
layer("Filter", counts=(2, None, 1, None), opencv=False, check=checks.filter_)
layer(
    "Flatten",
    param="flatten_param 135 FlattenParameter: axis 1 int32=1; end_axis 2 int32=-1",
    counts=ONE,
    v1="FLATTEN 8",
    v0="flatten",
    memory="never in place",
    writes=EVERY,
)
layer(
    "Pad",
    param="""pad_param 0 PadParameter:
        pad_type 1 PadType=CONSTANT; pad_u 2 int32=0; pad_d 3 int32=0; pad_l 4 int32=0; pad_r 5 int32=0
        pad_value 6 float=0
    """,
    enums={"PadType": "CONSTANT 0; REPLICATE 1; REFLECT 2"},
    opencv=False,
)
layer("Permute", param="permute_param 202 PermuteParameter: order 1 uint32*", writes=("ssd",))
layer("PixelShuffle", param="pixelshuffle_param 0 PixelShuffleParameter: upscale_factor 1 int32!", opencv=False)
layer(
    "Reorg",
    param="reorg_param 0 ReorgParameter: stride 0 uint32=?; reverse 0 bool=false",
    opencv=False,
)
layer(
    "Reshape",
    param="reshape_param 133 ReshapeParameter: shape 1 BlobShape; axis 2 int32=0; num_axes 3 int32=-1",
    counts=ONE,
    memory="never in place",
    writes=EVERY,
    check=checks.reshape,
)
layer("ShuffleChannel", param="shuffle_channel_param 0 ShuffleChannelParameter: group 1 uint32=1")
layer(
    "Slice",
    param="slice_param 126 SliceParameter: axis 3 int32=1; slice_point 2 uint32*; slice_dim 1 uint32=1",
    counts=(1, 1, 1, None),
    v1="SLICE 33 31",
    writes=EVERY,
    check=checks.slice_,
)
layer(
    "Tile",
    param="tile_param 138 TileParameter: axis 1 int32=1; tiles 2 int32",
    counts=ONE,
    memory="own",
    writes=EVERY,
    opencv=False,
    check=checks.positive("tile_param", "tiles"),
)
layer("Unsqueeze", param="unsqueeze_param 0 UnsqueezeParameter: dim 1 int32!", opencv=False)

# ---- rules


def _text(shape: object) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"  # type: ignore[call-overload]


def _alias(node: CaffeNode, old: str) -> int:
    """``axis``, or its old unsigned name."""
    if old in node.attrs:
        rank = len(node.shape())
        value = int(node.attr(old))
        if value >= rank:
            raise node.invalid(f"{old} {value} is out of range for a bottom of {rank} axes")
        return value
    return node.axis()


# every other axis must agree; in V0 and V1 files the axis has another name, and is not negative
RULES.op("Concat", "concat", "bottom=xs*", when={"concat_dim": None}, axis=A("axis", 1))
RULES.op("Concat", "concat", "bottom=xs*", direction="load", axis=A("concat_dim"), ignore=("axis",))


@RULES.load("Slice")
def slice_(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """Equal parts, or parts that end at the given points."""
    axis = _alias(node, "slice_dim")
    size, parts, points = node.sizes()[axis], len(node.outputs), list(node.attr("slice_point"))
    if parts == 1:
        return [node.x]
    if points:
        if isinstance(size, int) and points[-1] >= size:
            raise node.invalid(f"slice_point {points} leaves nothing of {size} elements for the last top")
        sizes: list[DimLike] = [b - a for a, b in zip([0, *points[:-1]], points, strict=True)]
        sizes.append(size - points[-1])
    else:
        if isinstance(size, int) and size % parts:
            raise node.invalid(f"{parts} tops do not divide the {size} elements of axis {axis} evenly")
        if isinstance(size, Dim) and size % parts != 0:
            raise node.refuse(
                f"{parts} tops may not divide axis {axis} of size {size} evenly",
                f"give {ask('--input-shape', 'input_shapes=')} with numbers",
            )
        sizes = [size // parts] * parts
    return list(g.b.split(node.x, axis=axis, sizes=tuple(sizes)))


@RULES.load("Flatten")
def flatten(g: CaffeContext, node: CaffeNode) -> Value:
    """Axes axis..end_axis as one."""
    shape, start, end = node.sizes(), node.axis(), node.axis("end_axis")
    if end < start:
        raise node.invalid(f"end_axis {end} comes before axis {start}")
    return g.b.reshape(node.x, shape=(*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :]))


@RULES.load("Reshape")
def reshape(g: CaffeContext, node: CaffeNode) -> Value:
    """The axes [axis, axis + num_axes) become ``shape``: 0 copies the bottom's axis, one -1 takes what is left."""
    shape, dims = node.sizes(), list(node.attr("shape").get("dim"))
    rank, axis, num = len(shape), int(node.attr("axis")), int(node.attr("num_axes"))
    start = axis if axis >= 0 else rank + axis + 1
    if not 0 <= start <= rank:
        raise node.invalid(f"axis {axis} is out of range for a bottom of {rank} axes")
    end = rank if num == -1 else start + num
    if end > rank:
        raise node.invalid(f"num_axes {num} from axis {start} on goes past the bottom's {rank} axes")
    middle: list[DimLike] = []
    for i, d in enumerate(dims):
        if d == 0 and start + i >= rank:
            raise node.invalid(f"dim {i} of shape copies axis {start + i}, the bottom has {rank} axes")
        middle.append(shape[start + i] if d == 0 else int(d))
    if -1 in dims:
        known = product([d for d, given in zip(middle, dims, strict=True) if given != -1])
        total = product(shape[start:end])
        if known is None or total is None or known == 0:
            raise node.invalid(f"-1 cannot be inferred in shape {dims} of {_text(shape)}")
        if isinstance(known, int) and isinstance(total, int) and total % known:
            raise node.invalid(f"{total} elements do not divide by the other sizes of shape {dims}")
        middle[dims.index(-1)] = total // known
    new = (*shape[:start], *middle, *shape[end:])
    old_count, new_count = product(shape), product(new)
    if isinstance(old_count, int) and isinstance(new_count, int) and old_count != new_count:
        raise node.invalid(f"{_text(shape)} has {old_count} elements, {_text(new)} {new_count}")
    return g.b.reshape(node.x, shape=new)


@RULES.load("Permute")
def permute(g: CaffeContext, node: CaffeNode) -> Value:
    """Axes in the given order, those left out after them (SSD)."""
    rank, order = len(node.shape()), [int(a) for a in node.attr("order")]
    if any(a >= rank for a in order) or len(set(order)) != len(order):
        raise node.invalid(f"order {order} is no order of {rank} axes")
    return g.b.transpose(node.x, perm=(*order, *(a for a in range(rank) if a not in order)))


@RULES.load("Tile")
def tile(g: CaffeContext, node: CaffeNode) -> Value:
    """The whole axis repeated."""
    axis, tiles = node.axis(), int(node.attr("tiles"))
    repeats = [1] * len(node.shape())
    repeats[axis] = tiles
    return g.b.tile(node.x, repeats=tuple(repeats))


@RULES.load("Crop")
def crop(g: CaffeContext, node: CaffeNode) -> Value:
    """From ``axis`` on the sizes of the second bottom, starting at the offsets (one for all, or one per axis; default 0)."""
    shape, like = node.sizes(0), node.sizes(1)
    rank, axis, offsets = len(shape), node.axis(), list(node.attr("offset"))
    if len(like) != rank:
        raise node.invalid(f"the bottoms have {rank} and {len(like)} axes")
    if len(offsets) > 1 and len(offsets) != rank - axis:
        raise node.invalid(f"{len(offsets)} offsets for the {rank - axis} cropped axes; give one, or one per axis")
    starts: list[DimLike] = [0] * rank
    stops: list[DimLike | None] = [None] * rank
    for a in range(axis, rank):
        offset = 0 if not offsets else int(offsets[a - axis] if len(offsets) > 1 else offsets[0])
        have, want = shape[a], like[a]
        if isinstance(have, int) and isinstance(want, int) and have - offset < want:
            raise node.invalid(f"the crop of axis {a} is out of bounds: {want} elements from {offset} on, of {have}")
        starts[a], stops[a] = offset, want + offset
    return g.b.slice(node.x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * rank)


@RULES.load("CropCenter")
def crop_center(g: CaffeContext, node: CaffeNode) -> Value:
    """crop_size[i] elements off both ends of axis i (waifu2x)."""
    shape, sizes = node.sizes(), [int(n) for n in node.attr("crop_size")]
    if len(sizes) > len(shape):
        raise node.invalid(f"{len(sizes)} crop_size for {len(shape)} axes")
    sizes += [0] * (len(shape) - len(sizes))
    for a, (n, c) in enumerate(zip(shape, sizes, strict=True)):
        if isinstance(n, int) and n <= 2 * c:
            raise node.invalid(f"cropping {c} off both ends leaves nothing of the {n} elements of axis {a}")
    stops = tuple(n - c if c else None for n, c in zip(shape, sizes, strict=True))
    return g.b.slice(node.x, starts=tuple(sizes), stops=stops, steps=(1,) * len(shape))


PAD_MODES: dict[str, Literal["constant", "edge", "reflect"]] = {"CONSTANT": "constant", "REPLICATE": "edge", "REFLECT": "reflect"}


@RULES.load("Pad")
def pad(g: CaffeContext, node: CaffeNode) -> Value:
    """H and W grown by a constant, their edges or their mirror image (brocolli-caffe)."""
    if len(node.shape()) != 4:
        raise node.invalid(f"the bottom must have 4 axes, it has {len(node.shape())}")
    mode = PAD_MODES[node.attr("pad_type")]
    up, down, left, right = (node.number(f"pad_{side}") for side in "udlr")
    value = node.attr("pad_value")
    pads = ((0, 0), (0, 0), (up, down), (left, right))
    return g.b.pad(node.x, pads=pads, mode=mode, value=float(value) if mode == "constant" else 0.0)


@RULES.load("Unsqueeze")
def unsqueeze(g: CaffeContext, node: CaffeNode) -> Value:
    """An axis of size 1 inserted at ``dim``."""
    axis = node.place(node.number("dim"), "dim", len(node.shape()) + 1)
    return g.b.unsqueeze(node.x, axes=(axis,))


# channels as (group, C / group), swapped (ShuffleNet)
RULES.op("ShuffleChannel", "shuffle_channels", "bottom=x", direction="load", groups=A("group", iso="caffe_count"), axis=1)
# channels to blocks, the channel slowest: c * r * r + row * r + column (brocolli-caffe)
RULES.op(
    "PixelShuffle", "depth_to_space", "bottom=x", direction="load", block=A("upscale_factor", iso="caffe_count"), mode="CRD",
    layout="channels_first",
)  # fmt: skip


@RULES.load("Reorg")
def reorg(g: CaffeContext, node: CaffeNode) -> Value:
    """Darknet's reorg as gklz1982/caffe-yolov2 has it (reorg_cpu): with ``reverse`` the blocks of pixels that channels become;
    else the same numbers read as if they were its result, put back and taken for C s^2 channels. (OpenCV's Reorg is the same.)"""
    if g.options.get("reorg") != "darknet":
        raise node.refuse(
            "its meaning differs between forks of Caffe, and the prototxt does not say which one it is from",
            f"{ask_option('reorg', 'darknet')} if it is from one that has it from Darknet (caffe-yolov2)", "ambiguous_layer",
        )  # fmt: skip
    n, c, h, w = node.sizes(0, 4)[:4] if len(node.shape()) == 4 else (0, 0, 0, 0)
    s = node.number("stride", 1)
    (channels, height, width) = node.integers((c, h, w), "channels, H and W")
    if not channels or channels % (s * s):
        raise node.invalid(f"a stride of {s} needs 4 axes and a multiple of {s * s} channels")
    if node.attr("reverse"):
        return g.b.depth_to_space(node.x, block=s, mode="DCR", layout="channels_first")
    if height % s or width % s:
        raise node.invalid(f"a stride of {s} does not divide {height} x {width}")
    wide = g.b.reshape(node.x, shape=(n, channels // (s * s), height * s, width * s))
    deep = g.b.space_to_depth(wide, block=s, mode="DCR", layout="channels_first")
    return g.b.reshape(deep, shape=(n, channels * s * s, height // s, width // s))


@RULES.load("Filter")
def filter_(g: CaffeContext, node: CaffeNode) -> list[Value]:
    """The items of the batch whose selector (the last bottom) is not 0."""
    last = len(node.inputs) - 1
    blobs, selector = node.needed()[:-1], node.bottom(last)
    sizes = node.sizes(last)
    if not sizes or any(d != 1 for d in sizes[1:]):
        raise node.invalid(f"the selector is {_text(sizes)}, must hold one number per item")
    for i in range(last):
        n = node.shape(i)[0] if node.shape(i) else None
        if isinstance(n, int) and isinstance(sizes[0], int) and n != sizes[0]:
            raise node.invalid(f"bottom {i} has {n} items, the selector {sizes[0]}")
    flat = selector if len(sizes) == 1 else g.b.reshape(selector, shape=sizes[:1])
    keep = g.b.not_equal(flat, g.scalar(flat, 0.0))
    return [g.b.compress(v, keep, axis=0) for v in blobs]


@RULES.load("BatchReindex")
def batch_reindex(g: CaffeContext, node: CaffeNode) -> Value:
    """Items of the batch in the order the second bottom gives."""
    if len(node.shape(1)) != 1:
        raise node.invalid(f"the second bottom must have one axis, it has {len(node.shape(1))}")
    return g.b.gather(node.x, g.b.cast(node.bottom(1), to="int64"), axis=0)
