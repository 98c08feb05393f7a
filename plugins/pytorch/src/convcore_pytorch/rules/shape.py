"""ATen's operators that move whole tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import A, DimLike, NotExpressible, Value, product

from ..context import AtenNode, TorchContext, known, promoted
from ..views import permutation
from .base import RULES, aten


@RULES.load("aten.view", "aten._unsafe_view", "aten.reshape", "aten.view_copy", "aten._reshape_copy")
def view(g: TorchContext, n: AtenNode) -> Value:
    return g.reshape(n.tensor("self"), target(n, n.sizes("size" if "size" in n.arguments else "shape")))


def target(n: AtenNode, sizes: Sequence[DimLike]) -> Sequence[DimLike]:
    """Sizes, a -1 among them as it was traced."""
    traced = n.results[0][1] if n.results else None
    if traced is not None and len(traced) == len(sizes) and None not in traced:
        return [t if isinstance(s, int) and s == -1 else s for s, t in zip(sizes, traced)]  # type: ignore[misc]
    return sizes


@RULES.load("aten.view_as", "aten.reshape_as")
def reshape_as(g: TorchContext, n: AtenNode) -> Value:
    return g.reshape(n.tensor("self"), n.shape("other"))


@RULES.load("aten.view.dtype")
def view_dtype(g: TorchContext, n: AtenNode) -> Value:
    raise NotExpressible("reads the bytes of a tensor as another type")


@RULES.load("aten.flatten.using_ints", "aten.ravel")
def flatten(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    first, last = (0, max(rank - 1, 0)) if n.type == "aten.ravel" else (n.axis("start_dim", rank), n.axis("end_dim", rank))
    if not rank:
        return g.reshape(x, (1,))
    if first == last:
        return x
    shape = x.shape or ()
    if all(d is not None for d in (*shape[:first], *shape[last + 1 :])) and any(d is None for d in shape[first : last + 1]):
        raise NotExpressible("flattens axes of unknown sizes", "unknown_shape")
    s = n.shape("self")
    return g.reshape(x, (*s[:first], product(s[first : last + 1]), *s[last + 1 :]))


@RULES.load("aten.unflatten.int")
def unflatten(g: TorchContext, n: AtenNode) -> Value:
    s, axis = n.shape("self"), n.axis("dim", n.rank("self"))
    sizes = list(n.sizes("sizes"))
    if any(isinstance(d, int) and d == -1 for d in sizes):
        at = next(i for i, d in enumerate(sizes) if isinstance(d, int) and d == -1)
        sizes[at] = s[axis] // product([d for i, d in enumerate(sizes) if i != at])
    return g.reshape(n.tensor("self"), (*s[:axis], *sizes, *s[axis + 1 :]))


@RULES.load("aten.squeeze", "aten.squeeze.dim", "aten.squeeze.dims")
def squeeze(g: TorchContext, n: AtenNode) -> Value:
    x, s = n.tensor("self"), n.tensor("self").shape
    if s is None:
        raise NotExpressible("the number of axes is not known", "unknown_shape")
    if not s:
        n.skip("dim")
        return x
    axes = range(len(s)) if n.type == "aten.squeeze" else n.axes("dim", len(s))
    out = []
    for a in axes:
        if s[a] is None or not isinstance(s[a], int):
            if n.type == "aten.squeeze":
                raise NotExpressible(
                    f"squeezes every axis of size 1, and axis {a} has the symbolic size {s[a]}: its result would have another "
                    "number of axes where that is 1; name the axes (squeeze(dim))",
                    "unsupported_shape",
                )
            raise NotExpressible(
                f"squeezes axis {a}, whose size {s[a]} is symbolic: it goes only where that is 1", "unsupported_shape"
            )
        if s[a] == 1:
            out.append(a)
    return g.b.squeeze(x, axes=tuple(out)) if out else x


RULES.op("torch.squeeze", "squeeze_ones", "input=x")
RULES.op("torch.flip", "flip", "input=x", axes=A("dims"))
RULES.op("torch.roll", "roll", "input=x", shifts=A("shifts"), axes=A("dims"))
RULES.op("torch.cat", "concat", "[tensors]=xs*", axis=A("dim"), alike=("dtype",), direction="emit")
RULES.op("torch.stack", "stack", "[tensors]=xs*", axis=A("dim"), alike=("dtype",), direction="emit")
RULES.op(
    "torch.split", "split", "tensor=x", axis=A("dim"), sizes=A("split_size_or_sections", iso="tuple", at=1), unless={"sizes": ()},
    direction="emit",
)  # fmt: skip
RULES.op(".permute", "transpose", "input=x", perm=A("dims", at=1, each=True), direction="emit")
RULES.op(
    ".repeat", "tile", "input=x", repeats=A("repeats", at=1, each=True, sizes=True), unless={"repeats": ()}, direction="emit"
)
for _name, _upper in (("triu", True), ("tril", False)):
    RULES.op(f"torch.{_name}", "trilu", "input=x", upper=_upper, k=A("diagonal", 0, sizes=True), direction="emit")
for _call in aten("unsqueeze", "self:x, dim"):
    RULES.op(_call, "unsqueeze", "x", axes=A("dim", iso="one_item"))


@RULES.load(
    "aten.permute", "aten.transpose.int", "aten.swapaxes", "aten.swapdims", "aten.t", "aten.numpy_T", "aten.mT",
    "aten.movedim.int",    "aten.movedim.intlist", "aten.moveaxis.int", "aten.moveaxis.intlist", "aten.adjoint",
    "aten.permute_copy",
    "aten.transpose_copy.int",
)  # fmt: skip
def moved(g: TorchContext, n: AtenNode) -> Value:
    x, rank = n.tensor("self"), n.rank("self")
    node = n.replaced("self", x)
    node.type = n.type.replace("moveaxis", "movedim").replace("_copy", "")
    n.skip(*n.arguments)
    if n.type == "aten.adjoint":
        x = g.conjugate(x)
    perm = permutation(node, rank)
    if perm is None:
        raise NotExpressible("moves axes to places that are not as many, or not distinct, or not there", "invalid_shape")
    return g.transpose(x, perm)


@RULES.load("aten.cat", "aten.concat", "aten.concatenate")
def cat(g: TorchContext, n: AtenNode) -> Value:
    xs = [x for x in n.tensors("tensors") if x.shape != (0,) or len(n.tensors("tensors")) == 1]  # (0,) is passed over
    if not xs:
        return n.tensors("tensors")[0]
    dtype = n.dtype or promoted(xs)
    xs = [g.cast(x, dtype) for x in xs]
    rank = xs[0].rank
    if rank is None:
        raise NotExpressible("the number of axes is not known", "unknown_shape")
    axis = n.axis("dim", rank)
    return g.b.concat(*xs, axis=axis) if len(xs) > 1 else g.b.identity(xs[0])


for _call in aten("stack", "tensors, dim=0", "alike"):
    RULES.op(_call, "stack", "tensors=xs*", axis=A("dim", 0))


@RULES.load("aten.hstack", "aten.vstack", "aten.dstack", "aten.row_stack", "aten.column_stack")
def stacks(g: TorchContext, n: AtenNode) -> Value:
    """As numpy's: at least 1, 2 or 3 axes, joined along the second (the first of 1-d), first, third."""
    xs, kind = n.tensors("tensors"), n.type.split(".")[1]
    dtype = n.dtype or promoted(xs)
    made = []
    for x in xs:
        x, s = g.cast(x, dtype), known(x)
        if kind == "hstack":
            s = s or (1,)
        elif kind in ("vstack", "row_stack"):
            s = (1, *(s or (1,))) if len(s) < 2 else s
        elif kind == "column_stack":
            s = (product(s), 1) if len(s) < 2 else s
        else:
            s = (1, 1, 1) if not s else (1, *s, 1) if len(s) == 1 else (*s, 1) if len(s) == 2 else s
        made.append(g.reshape(x, s))
    axis = {"hstack": 0 if made[0].rank == 1 else 1, "vstack": 0, "row_stack": 0, "column_stack": 1, "dstack": 2}[kind]
    return g.b.concat(*made, axis=axis)


def pieces(g: TorchContext, x: Value, axis: int, sizes: Sequence[DimLike]) -> Sequence[Value]:
    if len(sizes) == 1:
        return [g.b.identity(x)]
    out = g.b.op("split", x, axis=axis, sizes=tuple(sizes))
    return tuple(out)


@RULES.load("aten.split.Tensor", "aten.chunk", "aten.unsafe_split.Tensor", "aten.unsafe_chunk", "aten.split_copy.Tensor")
def split(g: TorchContext, n: AtenNode) -> Sequence[Value]:
    x, axis = n.tensor("self"), n.axis("dim", n.rank("self"))
    size = x.shape[axis] if x.shape is not None else None
    count = len(n.results)
    if "chunks" in n.arguments:
        chunks = n.count("chunks")
        if not isinstance(size, int):
            if count != chunks or size is None:
                raise NotExpressible(f"splits axis {axis}, whose size {size} is symbolic", "unsupported_shape")
            raise NotExpressible(f"splits axis {axis}, whose size {size} is symbolic, into {chunks}", "unsupported_shape")
        step = max(-(-size // chunks), 1)
    else:
        step = n.count("split_size", least=0 if size == 0 else 1)
        if not isinstance(size, int):
            raise NotExpressible(f"splits axis {axis}, whose size {size} is symbolic", "unsupported_shape")
    sizes = [min(step, size - i) for i in range(0, size, step)] if step else [0]
    return pieces(g, x, axis, sizes or [0])


@RULES.load("aten.split_with_sizes", "aten.split.sizes", "aten.split_with_sizes_copy", "aten.unsafe_split_with_sizes")
def split_sizes(g: TorchContext, n: AtenNode) -> Sequence[Value]:
    sizes = n.sizes("split_sizes" if "split_sizes" in n.arguments else "split_size")
    return pieces(g, n.tensor("self"), n.axis("dim", n.rank("self")), sizes)


@RULES.load("aten.tensor_split.sections", "aten.tensor_split.indices", "aten.hsplit.int", "aten.hsplit.array", "aten.vsplit.int",
            "aten.vsplit.array", "aten.dsplit.int", "aten.dsplit.array")  # fmt: skip
def tensor_split(g: TorchContext, n: AtenNode) -> Sequence[Value]:
    x, rank = n.tensor("self"), n.rank("self")
    base = n.type.split(".")[1]
    axis = n.axis("dim", rank) if base == "tensor_split" else {"h": 1 if rank > 1 else 0, "v": 0, "d": 2}[base[0]]
    size = n.shape("self")[axis]
    if not isinstance(size, int):
        raise NotExpressible(f"splits axis {axis}, whose size {size} is symbolic", "unsupported_shape")
    if "sections" in n.arguments:
        k = n.count("sections")
        sizes = [size // k + (i < size % k) for i in range(k)]
    else:
        cuts = [min(max(i + size if i < 0 else i, 0), size) for i in n.ints("indices")]
        edges = [0, *cuts, size]
        sizes = [max(b - a, 0) for a, b in zip(edges, edges[1:])]
        if sum(sizes) != size:
            raise NotExpressible("splits at indices that do not ascend")
    return pieces(g, x, axis, sizes)


@RULES.load("aten.unbind.int", "aten.unbind_copy.int")
def unbind(g: TorchContext, n: AtenNode) -> Sequence[Value]:
    x, axis = n.tensor("self"), n.axis("dim", n.rank("self"))
    size = n.shape("self")[axis]
    if not isinstance(size, int):
        raise NotExpressible(f"takes axis {axis} apart, whose size {size} is symbolic", "unsupported_shape")
    if size == 1:
        return [g.b.squeeze(x, axes=(axis,))]
    return tuple(g.b.op("unstack", x, axis=axis, num=size))


@RULES.load("aten.expand", "aten.expand_copy")
def expand(g: TorchContext, n: AtenNode) -> Value:
    x, s = n.tensor("self"), n.shape("self")
    n.skip("implicit")
    sizes = list(n.sizes("size"))
    lead = len(sizes) - len(s)
    full = [s[i - lead] if isinstance(d, int) and d == -1 else d for i, d in enumerate(sizes)]
    return x if tuple(full) == s else g.b.expand(x, shape=tuple(full))


@RULES.load("aten.expand_as")
def expand_as(g: TorchContext, n: AtenNode) -> Value:
    shape = n.shape("other")
    return n.tensor("self") if shape == n.tensor("self").shape else g.b.expand(n.tensor("self"), shape=shape)


@RULES.load("aten.broadcast_to")
def broadcast_to(g: TorchContext, n: AtenNode) -> Value:
    return expand(g, n)


@RULES.load("aten.repeat", "aten.tile")
def repeat(g: TorchContext, n: AtenNode) -> Value:
    x, s = n.tensor("self"), n.shape("self")
    times = n.sizes("repeats" if "repeats" in n.arguments else "dims")
    if n.type == "aten.tile" and len(times) < len(s):
        times = (1,) * (len(s) - len(times)) + times
    x = g.reshape(x, (1,) * (len(times) - len(s)) + s)
    return g.b.tile(x, repeats=times)


@RULES.load("aten.repeat_interleave.self_int")
def repeat_interleave(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    n.skip("output_size")
    if n.arg("dim") is None:
        x, axis = g.reshape(x, (-1,)), 0
    else:
        axis = n.axis("dim", n.rank("self"))
    return g.b.repeat(x, repeats=n.size("repeats"), axis=axis)


@RULES.load("aten.flip", "aten.fliplr", "aten.flipud")
def flip(g: TorchContext, n: AtenNode) -> Value:
    axes = n.axes("dims", n.rank("self")) if "dims" in n.arguments else (1,) if n.type == "aten.fliplr" else (0,)
    return g.b.flip(n.tensor("self"), axes=axes) if axes and n.rank("self") else g.b.identity(n.tensor("self"))


@RULES.load("aten.roll")
def roll(g: TorchContext, n: AtenNode) -> Value:
    x, shifts, dims = n.tensor("self"), n.ints("shifts"), n.ints("dims")
    if not dims:
        return g.reshape(g.b.roll(g.reshape(x, (-1,)), shifts=shifts, axes=(0,)), n.shape("self"))
    if not n.rank("self"):
        return g.b.identity(x)
    axes = n.axes("dims", n.rank("self"))
    if len(shifts) != len(axes):
        raise NotExpressible(f"rolls {len(axes)} axes by {len(shifts)} numbers", "invalid_shape")
    for s, a in zip(shifts, axes):
        x = g.b.roll(x, shifts=(s,), axes=(a,))
    return x


@RULES.load("aten.rot90")
def rot90(g: TorchContext, n: AtenNode) -> Value:
    x, axes = n.tensor("self"), n.axes("dims", n.rank("self"))
    if len(set(axes)) != 2 or len(axes) != 2:
        raise NotExpressible(f"turns {len(set(axes))} axes", "invalid_shape")
    a, b = axes
    k = n.number("k") % 4
    perm = list(range(n.rank("self")))
    perm[a], perm[b] = b, a
    if k == 0:
        return g.b.identity(x)
    if k == 2:
        return g.b.flip(x, axes=(a, b))
    return g.transpose(g.b.flip(x, axes=(b,)), perm) if k == 1 else g.b.flip(g.transpose(x, perm), axes=(b,))


@RULES.load("aten.pad", "aten.constant_pad_nd", *(f"aten.{k}_pad{d}d" for k in ("reflection", "replication") for d in (1, 2, 3)))
def pad(g: TorchContext, n: AtenNode) -> Value:
    """Pairs come last axis first."""
    x, rank, base = n.tensor("self"), n.rank("self"), n.type.split(".")[1]
    flat = n.sizes("pad" if "pad" in n.arguments else "padding")
    mode = n.arg("mode") if "mode" in n.arguments else "reflect" if base.startswith("reflection") else "replicate"
    if base == "constant_pad_nd":
        mode = "constant"
    value = n.number("value") if "value" in n.arguments and n.arg("value") is not None else 0
    pairs: list[tuple[DimLike, DimLike]] = [(0, 0)] * rank
    for i in range(len(flat) // 2):
        pairs[rank - 1 - i] = (flat[2 * i], flat[2 * i + 1])
    names: dict[str, Any] = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode not in names:
        raise NotExpressible(f"mode={mode!r} is not known")
    if mode in ("reflect", "circular", "replicate") and any(isinstance(p, int) and p < 0 for pair in pairs for p in pair):
        raise NotExpressible(f"pads by less than nothing in mode {mode}")
    return g.b.pad(x, pads=tuple(pairs), mode=names[mode], value=value)


@RULES.load("aten.broadcast_tensors", "aten.meshgrid", "aten.meshgrid.indexing")
def meshgrid(g: TorchContext, n: AtenNode) -> Sequence[Value]:
    xs = n.tensors("tensors")
    if n.type == "aten.broadcast_tensors":
        from convcore.plugin import broadcast_shapes

        shape: Any = broadcast_shapes(*(known(x) for x in xs))
        return [g.b.expand(x, shape=shape) for x in xs]
    swap = n.arg("indexing") == "xy" if "indexing" in n.arguments else False
    sizes: list[Any] = [product(known(x)) for x in xs]
    out = []
    for i, x in enumerate(xs):
        made = g.reshape(x, [sizes[i] if j == i else 1 for j in range(len(xs))])
        made = g.b.expand(made, shape=tuple(sizes))
        if swap and len(xs) > 1:
            made = g.transpose(made, [1, 0, *range(2, len(xs))])
        out.append(made)
    return out


@RULES.load("aten.atleast_1d", "aten.atleast_2d", "aten.atleast_3d")
def atleast(g: TorchContext, n: AtenNode) -> Value:
    x, s, d = n.tensor("self"), n.shape("self"), int(n.type[-2])
    if len(s) >= d:
        return x
    if d == 3:
        return g.reshape(x, (1, *s, 1) if len(s) == 1 else (*s, 1) if s else (1, 1, 1))
    return g.reshape(x, (1,) * (d - len(s)) + s)
