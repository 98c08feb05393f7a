"""What schemas do not tell of operators before opset 13: other meanings and names, and what stands for those not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from convcore.plugin import DType, NotExpressible, State

from .typecheck import needs

__all__ = ["OTHER", "Call", "constant_of"]

Call: TypeAlias = "tuple[str, list[Any], dict[str, Any]]"
"""Operator, operands, attributes."""
Respell: TypeAlias = Callable[[Any, str, list[Any], dict[str, Any]], Call]

MOST = 1 << 20
"""Elements that a constant made for the purpose may have."""


def constant_of(x: Any, what: str, since: int) -> Any:
    """The elements of a constant operand as an array; NotExpressible when it is computed."""
    if not isinstance(x, State):
        raise NotExpressible(needs(what, since), "requires_constant_input")
    return x.tensor.numpy()


def _int64(s: Any, *values: int) -> Any:
    return s.const(list(values), DType.INT64)


def _softmax(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Before opset 13 all axes from ``axis`` on are one: the axis is moved to the end."""
    x = ins[0]
    shape = getattr(x, "shape", None)
    if shape is None and attrs.get("axis", -1) == -1 and s.dialect.opset >= 11:
        return type, ins, {"axis": -1}
    if shape is None:
        raise NotExpressible(needs(f"{type} of an input of unknown shape", 13), "unknown_shape")
    rank, axis = len(shape), attrs.get("axis", -1)
    axis += rank if axis < 0 else 0
    if all(d == 1 for d in shape[axis + 1 :]):
        return type, ins, {"axis": axis}
    perm = [i for i in range(rank) if i != axis] + [axis]
    (moved,) = s.call("Transpose", [x], {"perm": perm}, shapes=[[shape[i] for i in perm]])
    (y,) = s.call(type, [moved], {"axis": rank - 1}, shapes=[[shape[i] for i in perm]])
    return "Transpose", [y], {"perm": np.argsort(perm).tolist()}


def _clip(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """A limit that is left out was the largest float32, which limits infinities: it is written as infinite."""
    low, high = ([*ins, None, None])[1:3]
    low = s.const(-np.inf, DType.FLOAT32) if low is None else low
    return type, [ins[0], low, s.const(np.inf, DType.FLOAT32) if high is None else high], attrs


def _equal_shapes(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Before opset 8 there is no broadcasting."""
    shapes = [getattr(x, "shape", None) for x in ins]
    first = shapes[0]
    if len(ins) == 1 or (first is not None and None not in first and all(sh == first for sh in shapes)):
        return type, ins, attrs
    what = f"{type} of inputs of different shapes"
    full = np.broadcast_shapes(*(_fixed(what, x, 8) for x in ins))
    return type, [x if x.shape == full else s.call("Expand", [x, _int64(s, *full)], shapes=[full])[0] for x in ins], attrs


def _largest_of_ints(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Max and Min take floats only before opset 12: the one of two integers that is larger."""
    if len(ins) != 2 or any(x.dtype is None or not x.dtype.is_int for x in ins):
        return type, ins, attrs
    (first,) = s.call("Greater" if type == "Max" else "Less", ins)
    return "Where", [first, *ins], {}


def _cast(s: Any, x: Any, to: DType) -> Any:
    return x if x.dtype is to else s.call("Cast", [x], {"to": to})[0]


_WIDER = {
    "int8": "float32", "uint8": "float32", "int16": "float32", "uint16": "float32", "int32": "float64", "uint32": "float64",
}  # fmt: skip
"""A float type that holds every number of an integer type."""


def _ordered(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Less and Greater take floats only before opset 9."""
    wide = _WIDER.get(ins[0].dtype.value) if ins[0].dtype is not None and ins[0].dtype is ins[1].dtype else None
    return type, ins if wide is None else [_cast(s, x, DType(wide)) for x in ins], attrs


def _equal(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Before opset 11 of bool, int32 and int64 only. Floats are equal where neither is less and no one is NaN: the sum of their
    absolute values (which may be infinite) is below 1 or above 0."""
    d = ins[0].dtype
    if d is None or d is not ins[1].dtype:
        return type, ins, attrs
    if d.is_int:
        to = {"int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64"}.get(d.value)
        return type, ins if to is None else [_cast(s, x, DType(to)) for x in ins], attrs
    if not d.is_float:
        return type, ins, attrs
    a, b = (s.call("Abs", [x])[0] for x in ins)
    (total,) = s.call("Add", [a, b])
    unequal = s.call("Or", [s.call("Less", ins)[0], s.call("Greater", ins)[0]])[0]
    return "And", [_is_number(s, total, d), s.call("Not", [unequal])[0]], {}


def _is_number(s: Any, size: Any, d: DType) -> Any:
    """Whether what is not negative is no NaN."""
    below, above = s.call("Less", [size, s.const(1, d)])[0], s.call("Greater", [size, s.const(0, d)])[0]
    return s.call("Or", [below, above])[0]


def _isnan(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Neither below 1 nor above 0, as an absolute value."""
    return "Not", [_is_number(s, s.call("Abs", ins)[0], ins[0].dtype)], {}


def _no_axes(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """As Identity where there are no axes: an attribute without any is all of them to runtimes."""
    none = len(ins) > 1 and isinstance(ins[1], State) and not ins[1].tensor.shape[0]
    return ("Identity", ins[:1], {}) if none else (type, ins, attrs)


def _scatter(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Under its old name."""
    return "Scatter", ins, attrs


def _gemm(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """C may be left out from opset 11 on; adding -0 changes nothing."""
    if len(ins) == 2 and ins[0].dtype is not None:
        d = ins[0].dtype
        ins = [*ins, s.const(np.asarray([-0.0 if d.is_float else 0], np.float64).astype(d.numpy), d)]
    return type, ins, attrs


def _gather(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Constant indices below 0, which count from the end from opset 11 on, count from the front."""
    x, at = ins
    if isinstance(at, State):
        values = at.tensor.numpy()
        if (values < 0).any():
            n = (getattr(x, "shape", None) or ())[attrs.get("axis", 0) : None][:1]
            if len(n) != 1 or not isinstance(n[0], int):
                raise NotExpressible(needs(f"{type} from the end of an axis of unknown size", 11), "unknown_shape")
            ins = [x, s.const(np.where(values < 0, values + n[0], values).astype(values.dtype))]
    return type, ins, attrs


def _one_hot(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Ids below 0 count from the end from opset 11 on: moved to where they are, or to ``depth``, which is outside."""
    ids, depth, values = ins
    a = constant_of(depth, f"{type} to a depth that depends on the data", 11)
    if ids.dtype is None or not ids.dtype.is_int or a.size != 1:
        raise NotExpressible(needs(f"{type} of {ids.dtype}", 11))
    n, zero = s.const(int(a.item()), ids.dtype), s.const(0, ids.dtype)
    (moved,) = s.call("Add", [ids, n])
    outside = s.call("Less", [moved, zero])[0]
    (back,) = s.call("Where", [outside, n, moved])
    below = s.call("Less", [ids, zero])[0]
    return type, [s.call("Where", [below, back, ids])[0], depth, values], attrs


def _expand(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Before opset 8: repeated along axes of size 1."""
    x, wanted = ins[0], constant_of(ins[1], f"{type} to a shape that depends on the data", 8).ravel().tolist()
    shape = getattr(x, "shape", None)
    if shape is None:
        raise NotExpressible(needs(f"{type} of an input of unknown shape", 8), "unknown_shape")
    if len(wanted) > len(shape):
        new = list(range(len(wanted) - len(shape)))
        shape = (*(1,) * len(new), *shape)
        x = s.call("Unsqueeze", [x, _int64(s, *new)], shapes=[shape])[0]
    wanted = [1] * (len(shape) - len(wanted)) + wanted
    if any(n not in (1, d) and d != 1 for d, n in zip(shape, wanted)):
        raise NotExpressible(needs(f"{type} of an input of shape {shape} to {wanted}", 8))
    return "Tile", [x, _int64(s, *(n if d == 1 else 1 for d, n in zip(shape, wanted)))], {}


def _per_tensor(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Before opset 13 there is one scale for all."""
    if getattr(ins[1], "shape", None) != ():
        raise NotExpressible(needs(f"{type} with a scale per axis", 13))
    attrs.pop("axis", None)
    return type, ins, attrs


def _scan(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Refused: Scan-8 has a batch axis."""
    raise NotExpressible(needs("Scan without a batch axis", 9))


def _resize_11(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Inputs that are left out are empty."""
    if len(ins) < 3 or ins[1] is None or ins[2] is None:
        none = s.const(np.zeros(0, np.float32))
        x, roi, scales, *sizes = [*ins, None, None][: max(3, len(ins))]
        ins = [x, none if roi is None else roi, none if scales is None else scales, *sizes]
    return type, ins, attrs


def _resize_10(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """By scales, asymmetric; the nearest element is the one before along an axis that grows, the next along one that shrinks
    (onnxruntime's ``ResizeNearestMode::SIMPLE``). Before opset 10 as Upsample, which only grows."""
    mode, how = attrs.get("mode", "nearest"), attrs.get("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear") or how != "asymmetric" or attrs.get("exclude_outside"):
        raise NotExpressible(needs(f"{type} by {mode} at {how} coordinates", 11))
    x, _, scales, sizes = [*ins, None, None][:4]
    a = _ratios(type, x, sizes) if scales is None else constant_of(scales, f"{type} by scales that depend on the data", 11)
    rounding = attrs.get("nearest_mode", "round_prefer_floor")
    plain = (rounding == "floor" and (a >= 1).all()) or (rounding == "ceil" and (a <= 1).all())
    if mode == "nearest" and not plain:
        raise NotExpressible(needs(f"{type} by {a.tolist()} with nearest_mode={rounding}", 11))
    factors = s.const(a.astype(np.float32))
    if s.dialect.opset == 10:
        return type, [x, factors], {"mode": mode}
    if (a < 1).any():
        raise NotExpressible(needs(f"{type} by {a.tolist()}, which shrinks,", 10))
    return "Upsample", [x, factors], {"mode": mode}


def _ratios(type: str, x: Any, sizes: Any) -> Any:
    """Whole factors that sizes stand for."""
    old, new = (
        getattr(x, "shape", None) or (),
        constant_of(sizes, f"{type} to sizes that depend on the data", 11).ravel().tolist(),
    )
    if len(old) != len(new) or any(not isinstance(n, int) or n == 0 or m % n for n, m in zip(old, new)):
        raise NotExpressible(needs(f"{type} of {old} to {new}", 11))
    return np.asarray([m // n for n, m in zip(old, new)], np.float32)


def _or_equal(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Less or Greater, or Equal."""
    return "Or", [s.call(type.removesuffix("OrEqual"), ins)[0], s.call("Equal", ins)[0]], {}


def _isinf(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Beyond the largest number."""
    d = ins[0].dtype
    if d not in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(needs(f"{type} of {d}", 10))
    most = float(np.finfo(d.numpy).max)
    above, below = (attrs.get(name) != 0 for name in ("detect_positive", "detect_negative"))
    if not above and not below:
        raise NotExpressible(needs(f"{type} of neither sign", 10))
    if above and below:
        return "Greater", [s.call("Abs", ins)[0], s.const(most, d)], {}
    return ("Greater", [*ins, s.const(most, d)], {}) if above else ("Less", [*ins, s.const(-most, d)], {})


def _round(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """The floor, and 1 more where more than half is left, or half and the floor is odd."""
    d = ins[0].dtype
    if d is None:
        raise NotExpressible(needs(f"{type} of an unknown element type", 11))
    half = s.const(0.5, d)
    (floor,) = s.call("Floor", ins)
    (left,) = s.call("Sub", [*ins, floor])
    (even,) = s.call("Mul", [s.call("Floor", [s.call("Mul", [floor, half])[0]])[0], s.const(2.0, d)])
    (odd,) = s.call("Greater", [s.call("Sub", [floor, even])[0], half])
    (exact,) = s.call("Not", [s.call("Less", [left, half])[0]])
    (up,) = s.call("Or", [s.call("Greater", [left, half])[0], s.call("And", [exact, odd])[0]])
    return "Add", [floor, s.call("Cast", [up], {"to": d})[0]], {}


def _mod(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Of integers by a constant: the remainder of a division towards zero, moved to the sign of the divisor."""
    x, y = ins
    if attrs.get("fmod") or x.dtype not in (DType.INT32, DType.INT64) or not isinstance(y, State):
        raise NotExpressible(needs(f"{type} of {x.dtype} by what is no constant integer", 10))
    by = y.tensor.numpy()
    if by.size and (np.abs(by.astype(np.float64)).max() >= 2**30 or not by.all()):
        raise NotExpressible(needs(f"{type} by numbers of 2**30 and more or by 0", 10))

    def rest(v: Any) -> list[Any]:
        return [v, s.call("Mul", [s.call("Div", [v, y])[0], y])[0]]

    return "Sub", rest(s.call("Add", [s.call("Sub", rest(x))[0], y])[0]), {}


def _fixed(type: str, x: Any, since: int) -> tuple[int, ...]:
    shape = getattr(x, "shape", None)
    if shape is None or any(not isinstance(d, int) for d in shape):
        raise NotExpressible(needs(f"{type} of an input whose sizes are not fixed", since), "unknown_shape")
    return tuple(int(d) for d in shape)


def _where(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Both operands in a row, and of each place the position of the one that is taken."""
    shape = np.broadcast_shapes(*(_fixed(type, v, 9) for v in ins))
    n = int(np.prod(shape))
    if not 0 < n <= MOST:
        raise NotExpressible(needs(f"{type} of {n} elements", 9))
    rows = []
    for v in ins[1:]:
        full = v if tuple(v.shape) == shape else s.call("Expand", [v, _int64(s, *shape)], shapes=[shape])[0]
        rows.append(s.call("Reshape", [full, _int64(s, -1)], shapes=[[n]])[0])
    (both,) = s.call("Concat", rows, {"axis": 0}, shapes=[[2 * n]])
    (second,) = s.call("Cast", [s.call("Not", [ins[0]])[0]], {"to": DType.INT32})
    (step,) = s.call("Mul", [second, s.const(n, DType.INT32)])
    places = s.const(np.arange(n, dtype=np.int32).reshape(shape))
    return "Gather", [both, s.call("Add", [places, step])[0]], {"axis": 0}


def _filled(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """One element, spread."""
    value = attrs.get("value")
    a = np.zeros((), np.float32) if value is None else value.numpy().reshape(())
    return "Expand", [s.const(a), ins[0]], {}


def _stepped(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> Call:
    """Slices have steps from opset 10 on: elements of an axis of fixed size by their positions."""
    if len(ins) < 5 or ins[4] is None:
        return type, ins, attrs
    what = f"{type} with steps, whose bounds depend on the data,"
    starts, ends, steps = (constant_of(ins[i], what, 10).ravel().tolist() for i in (1, 2, 4))
    shape = getattr(ins[0], "shape", None)
    axes = list(range(len(starts))) if ins[3] is None else constant_of(ins[3], what, 10).ravel().tolist()
    if all(step == 1 for step in steps):
        return type, ins, attrs
    if shape is None:
        raise NotExpressible(needs(f"{type} with steps of an input of unknown shape", 10), "unknown_shape")
    x, calls = ins[0], []
    for start, end, axis, step in zip(starts, ends, axes, steps):
        axis += len(shape) if axis < 0 else 0
        if not isinstance(shape[axis], int) or shape[axis] > MOST:
            raise NotExpressible(needs(f"{type} with steps={steps} of an axis of size {shape[axis]}", 10), "unknown_shape")
        first = max(start, -shape[axis]) if step < 0 else start
        calls.append((axis, np.arange(shape[axis], dtype=np.int64)[first:end:step]))
    for axis, at in calls[:-1]:
        shape = (*shape[:axis], at.size, *shape[axis + 1 :])
        (x,) = s.call("Gather", [x, s.const(at)], {"axis": axis}, shapes=[shape])
    axis, at = calls[-1]
    return "Gather", [x, s.const(at)], {"axis": axis}


OTHER: dict[str, Sequence[tuple[int, Respell]]] = {
    "Softmax": [(12, _softmax)], "LogSoftmax": [(12, _softmax)], "Hardmax": [(12, _softmax)],
    "Squeeze": [(12, _no_axes)], "Unsqueeze": [(12, _no_axes)],
    "Clip": [(10, _clip)], "Max": [(7, _equal_shapes), (11, _largest_of_ints)],
    "Min": [(7, _equal_shapes), (11, _largest_of_ints)],
    "Sum": [(7, _equal_shapes)], "Mean": [(7, _equal_shapes)], "Less": [(8, _ordered)], "Greater": [(8, _ordered)],
    "Equal": [(10, _equal)], "IsNaN": [(8, _isnan)], "ScatterElements": [(10, _scatter)], "Gemm": [(10, _gemm)],
    "Gather": [(10, _gather)], "OneHot": [(10, _one_hot)], "Expand": [(7, _expand)], "Scan": [(8, _scan)],
    "LessOrEqual": [(11, _or_equal)], "GreaterOrEqual": [(11, _or_equal)], "IsInf": [(9, _isinf)], "Round": [(10, _round)],
    "Mod": [(9, _mod)], "Where": [(8, _where)], "ConstantOfShape": [(8, _filled)], "Slice": [(9, _stepped)],
    "QuantizeLinear": [(12, _per_tensor)], "DequantizeLinear": [(12, _per_tensor)],
    "Resize": [(10, _resize_10), (12, _resize_11)],
}  # fmt: skip
"""What an operator of opset 13 is up to an older opset: (the newest of them, how it is written)."""
