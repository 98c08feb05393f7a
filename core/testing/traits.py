"""Checks of the facts an op declares (:mod:`convcore.opset.traits`), on its own samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.dims import Dim
from ..opset.axes import Insert, Perm, Remove, Reshape
from ..opset.declare import Op, Sample
from ..opset.traits import Role, Trait
from .failed import CheckFailed

__all__ = ["check_declared", "check_traits"]

Array = NDArray[Any]
WINDOWED = ("strides", "pads", "dilations", "layout")


def check_declared(decl: Op) -> None:
    """What the traits say of the declaration itself."""
    traits, data = decl.traits, [a for a in decl.inputs if a.role is Role.DATA]
    if Trait.VIEW in traits and (len(decl.inputs) != 1 or len(data) != 1 or len(decl.outputs) != 1 or data[0].variadic):
        raise CheckFailed(f"op {decl.name}: a view has one input, which is data, and one output")
    if Trait.POINTWISE in traits and len(decl.outputs) != 1:
        raise CheckFailed(f"op {decl.name}: what is pointwise has one result")
    if Trait.COMMUTES in traits and len(decl.inputs) != 2:
        raise CheckFailed(f"op {decl.name}: only two inputs commute, it has {len(decl.inputs)}")
    if Trait.SCALED in traits and (
        not any(a.name == "scale" and a.role is Role.PARAMETER and a.optional for a in decl.inputs)
        or ("axis" in decl.attrs) is ("axes" in decl.attrs)
    ):
        raise CheckFailed(f"op {decl.name}: a scaled op has an optional parameter scale, and the attribute axis or axes")
    lacking = [a for a in WINDOWED if a not in decl.attrs]
    kernel = "kernel" in decl.attrs or any(a.role is Role.PARAMETER for a in decl.inputs)
    if Trait.WINDOW in traits and (lacking or not kernel):
        raise CheckFailed(f"op {decl.name}: a window needs {', '.join(lacking) or 'a kernel'}")
    parameters = [a.name for a in decl.inputs if a.role is Role.PARAMETER]
    if Trait.AFFINE in traits and (len(parameters) != 2 or parameters[1] != "b" or len(decl.outputs) != 1):
        raise CheckFailed(f"op {decl.name}: an affine op has one output and two parameters, the second of which is b")
    if Trait.RECURRENT in traits and (not any(a.name == "h0" and a.optional for a in decl.inputs) or len(decl.outputs) < 2):
        raise CheckFailed(f"op {decl.name}: a recurrent op has an optional input h0, and its last state as second result")
    for a in decl.inputs:
        if a.role is Role.INDEX and a.types != "int":
            raise CheckFailed(f"op {decl.name}: {a.name} is an index, so its type must be int")


def check_traits(decl: Op, sample: Sample, *, label: str = "") -> None:
    """The traits hold for the reference on a sample; CheckFailed names the trait."""
    reference, traits = decl.reference, decl.traits
    if reference is None or not traits:
        return
    label = label or decl.name
    arrays = sample.arrays()
    attrs = _complete(decl, sample, arrays)
    truth = _outputs(reference(*arrays, **attrs))
    if Trait.SAME in traits and not _same([a for a in arrays if a is not None], truth):
        raise CheckFailed(f"{label}: its result is not its input")
    if Trait.VIEW in traits:
        _check_view(decl, label, arrays, attrs, truth)
    if Trait.MOVES in traits and attrs.get("reduction", "none") == "none":
        _check_moves(decl, label, arrays, attrs)
    if Trait.POINTWISE in traits:
        _check_pointwise(decl, label, arrays, attrs, truth)
    if Trait.BROADCASTS in traits:
        x = next(a for i, a in enumerate(arrays) if a is not None and decl.role(i) is Role.DATA)
        if not _broadcast(x, truth[0]):
            raise CheckFailed(f"{label}: its result is not its input broadcast")
    if Trait.OF_SHAPES in traits:
        others = [None if a is None else _turned(a) + np.asarray(1, a.dtype) for a in arrays]
        if not _same(truth, _outputs(reference(*others, **attrs))):
            raise CheckFailed(f"{label}: its results depend on elements of its inputs")
    if Trait.SCALED in traits:
        _check_scaled(decl, label, arrays, attrs, truth[0])
    if Trait.COMMUTES in traits and not _same(truth, _outputs(reference(*reversed(arrays), **attrs))):
        raise CheckFailed(f"{label}: does not commute")
    if Trait.NONNEGATIVE in traits and _negative(truth):
        raise CheckFailed(f"{label}: is declared nonnegative and gives {min(float(t.min()) for t in truth if t.size):.6g}")
    if Trait.AFFINE in traits:
        _check_affine(decl, label, arrays, attrs, truth[0])
    if Trait.RECURRENT in traits:
        states = [i for i, a in enumerate(decl.inputs) if a.name in ("h0", "c0")]
        given = [*arrays, *[None] * (len(decl.inputs) - len(arrays))]
        none, zeros = (
            _outputs(reference(*(new if i in states else a for i, a in enumerate(given)), **attrs))
            for new in (None, np.zeros_like(truth[1]))
        )
        if not _same(none, zeros):
            raise CheckFailed(f"{label}: a first state that is left out is not zeros")
    if Trait.KEEPS_SIGN in traits:
        results = _outputs(reference(*(_absolute(decl, i, a) for i, a in enumerate(arrays)), **attrs))
        if _negative(results):
            raise CheckFailed(f"{label}: keeps no sign, of nonnegative inputs it gives negative results")


def _complete(decl: Op, sample: Sample, arrays: Sequence[Array | None]) -> dict[str, Any]:
    """The attributes with defaults, normalised for inputs of these shapes."""
    from ..ir.dtypes import DType
    from ..ir.graph import Value

    values = [None if a is None else Value(f"i{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(arrays)]
    attrs = decl.complete(sample.attrs, values)
    return {k: int(v.evaluate({})) if isinstance(v, Dim) else v for k, v in attrs.items()}


def _absolute(decl: Op, i: int, a: Array | None) -> Array | None:
    return a if a is None or a.dtype.kind not in "if" or decl.role(i) is Role.INDEX else np.abs(a)


def _outputs(result: Any) -> list[Array]:
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]


def _same(a: Sequence[Array], b: Sequence[Array]) -> bool:
    return all(x.shape == y.shape and np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


def _negative(results: Sequence[Array]) -> bool:
    return any(bool((r < 0).any()) for r in results if r.dtype.kind in "iuf")


def _check_view(decl: Op, label: str, arrays: Sequence[Array | None], attrs: dict[str, Any], truth: Sequence[Array]) -> None:
    x = arrays[0]
    assert x is not None
    rule = decl.axes
    expected = x.transpose(attrs[rule.attr]) if isinstance(rule, Perm) else x.reshape(truth[0].shape)
    if not isinstance(rule, (Perm, Reshape, Insert, Remove)) and truth[0].shape != x.shape:
        raise CheckFailed(f"{label}: a view of another shape needs the axis rule Perm, Reshape, Insert or Remove")
    if not _same([expected], truth):
        raise CheckFailed(f"{label}: is no view: its elements are not those of its input in that order")


def _check_moves(decl: Op, label: str, arrays: Sequence[Array | None], attrs: dict[str, Any]) -> None:
    """With every element of the data inputs replaced by an object of its own, the results hold only such objects."""
    assert decl.reference is not None
    tokens: set[object] = set()
    ins: list[Array | None] = []
    for i, a in enumerate(arrays):
        if a is None or decl.role(i) is not Role.DATA:
            ins.append(a)
            continue
        marked = np.empty(a.shape, object)
        for where in np.ndindex(a.shape):
            marked[where] = (i, *where)
            tokens.add(marked[where])
        ins.append(marked)
    try:
        results = _outputs(decl.reference(*ins, **attrs))
    except (TypeError, ValueError) as e:
        raise CheckFailed(f"{label}: is declared to move elements, but computes with them: {e}") from e
    if any(e not in tokens for r in results for e in r.ravel().tolist()):
        raise CheckFailed(f"{label}: gives elements that are not among those of its data inputs")


def _turned(a: Array) -> Array:
    """The elements of an array in the other order."""
    return a.reshape(-1)[::-1].reshape(a.shape)


def _broadcast(x: Array, y: Array) -> bool:
    try:
        return np.array_equal(np.broadcast_to(x, y.shape), y)
    except ValueError:
        return False


def _check_pointwise(decl: Op, label: str, arrays: Sequence[Array | None], attrs: dict[str, Any], truth: Sequence[Array]) -> None:
    """With other elements at some places of one input, no other places of the result are others."""
    assert decl.reference is not None
    whole = np.broadcast_shapes(*(a.shape for a in arrays if a is not None))
    if truth[0].shape != whole:
        raise CheckFailed(f"{label}: is no pointwise op: its result has the shape {truth[0].shape}, its inputs {whole}")
    for i, a in enumerate(arrays):
        if a is None:
            continue
        other = np.random.default_rng(1).random(a.shape) < 0.5
        ins = [*arrays[:i], np.where(other, _turned(a), a), *arrays[i + 1 :]]
        (result,) = _outputs(decl.reference(*ins, **attrs))
        kept = ~np.broadcast_to(other, whole)
        if not np.array_equal(result[kept], truth[0][kept], equal_nan=result.dtype.kind == "f"):
            raise CheckFailed(f"{label}: is no pointwise op: elements of {decl.inputs[i].name} reach other places of its result")


def _check_scaled(decl: Op, label: str, arrays: Sequence[Array | None], attrs: dict[str, Any], truth: Array) -> None:
    """The result is that without scale and bias, times the one and plus the other along the axes."""
    assert decl.reference is not None
    own = {a.name: v for a, v in zip(decl.inputs, arrays)}
    axes = [attrs["axis"]] if "axis" in attrs else list(attrs["axes"])
    plain = [None if a.name in ("scale", "bias") else v for a, v in zip(decl.inputs, arrays)]
    (wanted,) = _outputs(decl.reference(*plain, **attrs))
    for name in ("scale", "bias"):
        p = own.get(name)
        if p is not None:
            p = np.expand_dims(p.transpose(np.argsort(axes)), [i for i in range(wanted.ndim) if i not in axes])
            wanted = wanted * p if name == "scale" else wanted + p
    if wanted.shape != truth.shape or not np.allclose(wanted, truth, rtol=1e-4, atol=1e-5):
        raise CheckFailed(f"{label}: is not multiplied by its scale, with its bias added, along axis {axes}")


def _check_affine(decl: Op, label: str, arrays: Sequence[Array | None], attrs: dict[str, Any], truth: Array) -> None:
    """The result is the sum of those of two parts of the parameter and b, and its first channels are those of the parameter's."""
    assert decl.reference is not None
    x, w, *rest = arrays
    b = rest[0] if rest else None
    assert w is not None
    axis = 1 if attrs.get("layout") == "channels_first" else truth.ndim - 1
    rng = np.random.default_rng(0)
    part = (w * rng.uniform(-1, 2, w.shape)).astype(w.dtype)
    total: Any = sum(_outputs(decl.reference(x, p, None, **attrs))[0] for p in (part, w - part))
    if b is not None:
        total = total + b.reshape(-1, *(1,) * (truth.ndim - 1 - axis))
    if total.shape != truth.shape or not np.allclose(total, truth, rtol=1e-4, atol=1e-4):
        raise CheckFailed(f"{label}: is no sum of products with parts of its first parameter, and b")
    if attrs.get("groups", 1) == 1 and w.shape[0] > 1:
        few = _outputs(decl.reference(x, w[:-1], None if b is None else b[:-1], **attrs))[0]
        if not np.allclose(few, truth.take(range(w.shape[0] - 1), axis), rtol=1e-4, atol=1e-4):
            raise CheckFailed(f"{label}: its channels are not those of the first axis of its parameters")
