"""Calls of operators, which rules write for opset 13 and newer, in the words of the opsets before it.

What :func:`spelled` does for every operator is read from the schemas: attributes that an older one lacks go where they say what
it does anyway, defaults that have changed are written out, axes count from the front before opset 11, and inputs, outputs and
attributes that are not there refuse the call. MOVED and ``older_forms.OTHER`` have what schemas do not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from convcore.plugin import NotExpressible, State

from .older_forms import OTHER, Call, constant_of
from .typecheck import needs, same_operator

__all__ = ["MOVED", "WRITTEN", "changed_before", "spelled"]

WRITTEN = 13
"""The oldest opset that rules write for."""

MOVED: dict[str, tuple[int, dict[int, str]]] = {
    "Squeeze": (13, {1: "axes"}), "Unsqueeze": (13, {1: "axes"}), "ReduceSum": (13, {1: "axes"}), "Split": (13, {1: "split"}),
    "Dropout": (12, {1: "ratio", 2: "training_mode"}), "Clip": (11, {1: "min", 2: "max"}), "Pad": (11, {1: "pads", 2: "value"}),
    "Slice": (10, {1: "starts", 2: "ends", 3: "axes", 4: "steps"}), "TopK": (10, {1: "k"}), "Upsample": (9, {1: "scales"}),
}  # fmt: skip
"""Where inputs became inputs, and the attributes that they were before."""

_NUMBERS = frozenset({"ratio", "min", "max", "value", "k", "training_mode"})


def spelled(s: Any, opset: int, type: str, args: Sequence[Any], config: Mapping[str, Any], results: int) -> Call:
    """The call in an opset before 13; steps before it are made by ``s.call``. NotExpressible: "needs opset N"."""
    ins, attrs = list(args), {k: v for k, v in config.items() if v is not None}
    for until, respell in OTHER.get(type, ()):
        if opset <= until:
            other, ins, attrs = respell(s, type, ins, attrs)
            if other != type:
                return spelled(s, opset, other, ins, attrs, results)
            break
    if opset < 11:
        ins, attrs = _from_the_front(s, type, ins, attrs)
    since, moved = MOVED.get(type, (0, {}))
    if opset < since:
        ins, attrs = _as_attributes(type, since, moved, ins, attrs)
    return type, ins, _fitting(opset, type, ins, attrs, results)


# ---- what schemas tell


@lru_cache(maxsize=1024)
def _schema(type: str, opset: int) -> Any:
    import onnx.defs

    try:
        return onnx.defs.get_schema(type, opset, "")
    except onnx.defs.SchemaError:
        return None


def changed_before(type: str, opset: int) -> bool:
    """Whether an opset has the operator in another form (inputs, outputs, attributes, defaults) than opset 13."""
    old, new = _schema(type, opset), _schema(type, WRITTEN)
    return old is not None and new is not None and _form(old) != _form(new)


def _form(schema: Any) -> tuple[Any, ...]:
    return (
        [(i.name, i.option) for i in schema.inputs], [o.name for o in schema.outputs],
        {k: _default(a) for k, a in schema.attributes.items()},
    )  # fmt: skip


def _default(attribute: Any) -> Any:
    from onnx.helper import get_attribute_value

    return get_attribute_value(attribute.default_value) if attribute.default_value.name else None


def _same(a: Any, b: Any) -> bool:
    a, b = (x.decode() if isinstance(x, bytes) else x for x in (a, b))
    return bool(a == b)


def _fitting(opset: int, type: str, ins: list[Any], attrs: dict[str, Any], results: int) -> dict[str, Any]:
    """The attributes as the opset's schema has them; NotExpressible for what it has no place for."""
    old, new = _schema(type, opset), _schema(type, WRITTEN)
    if old is None or new is None or same_operator(type, opset, WRITTEN):
        return attrs  # refused by its types, or written as always
    kept = {}
    for key, value in attrs.items():
        if key in old.attributes:
            kept[key] = value
        elif not (key in new.attributes and _same(_default(new.attributes[key]), value)) and not _neutral(key, value):
            raise NotExpressible(
                needs(f"{type} with {key}={value!r}", _since(type, opset, lambda f, key=key: key in f.attributes))
            )
    for key, attribute in new.attributes.items():
        default = _default(attribute)
        if (
            key in old.attributes
            and key not in kept
            and default is not None
            and not _same(default, _default(old.attributes[key]))
        ):
            kept[key] = default.decode() if isinstance(default, bytes) else default
    if len(ins) > old.max_input:
        n = len(ins)
        raise NotExpressible(needs(f"{type} with {n} inputs", _since(type, opset, lambda f: f.max_input >= n)))
    for i, formal in enumerate(old.inputs):
        if _single(formal) and (i >= len(ins) or ins[i] is None):
            since = _since(type, opset, lambda f, i=i: i >= len(f.inputs) or not _single(f.inputs[i]))
            raise NotExpressible(needs(f"{type} without {formal.name}", since))
    if results > old.max_output:
        raise NotExpressible(needs(f"{type} with {results} results", _since(type, opset, lambda f: f.max_output >= results)))
    return kept


def _single(formal: Any) -> bool:
    return "Single" in str(formal.option)


def _since(type: str, opset: int, holds: Callable[..., bool]) -> int:
    """The first opset after one whose schema has something."""
    found = (v for v in range(opset + 1, WRITTEN + 1) if (f := _schema(type, v)) is not None and holds(f))
    return next(found, WRITTEN)


def _neutral(key: str, value: Any) -> bool:
    """Dilations of 1 are none."""
    return key == "dilations" and all(d == 1 for d in value)


# ---- inputs that were attributes


def _as_attributes(
    type: str, since: int, moved: Mapping[int, str], ins: list[Any], attrs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    more = {}
    for i, key in moved.items():
        if i >= len(ins) or ins[i] is None:
            continue
        a = constant_of(ins[i], f"{type} whose {key} depends on the data", since)
        value = a.item() if key in _NUMBERS and a.size == 1 else a.ravel().tolist()
        if key == "training_mode":
            if value:
                raise NotExpressible(needs(f"{type} in training mode", since))
            continue
        if key == "steps":
            if any(step != 1 for step in value):
                raise NotExpressible(needs(f"{type} with steps={value}", since))
            continue
        if a.dtype.kind == "f" or key in ("min", "max", "value", "ratio"):
            single = np.float32(value)
            if not np.array_equal(single.astype(np.float64), np.asarray(value, np.float64), equal_nan=True):
                raise NotExpressible(needs(f"{type} with {key}={value!r}, which is no float32,", since))
            value = single.astype(float).tolist()
        more[key] = value
    if type == "ReduceSum" and not more.get("axes"):  # no axes: all of them, or with noop_with_empty_axes, which is refused, none
        more = {}
    elif type == "ReduceSum":
        attrs = {k: v for k, v in attrs.items() if k != "noop_with_empty_axes"}
    return [x for i, x in enumerate(ins) if i not in moved], {**attrs, **more}


def _rank(type: str, x: Any) -> int:
    if getattr(x, "shape", None) is None:
        raise NotExpressible(needs(f"{type} with axes from the end of an input of unknown shape", 11), "unknown_shape")
    return len(x.shape)


_SELF = frozenset({"OneHot", "Scatter", "CumSum", "QuantizeLinear", "DequantizeLinear"})
"""Operators whose axis may be negative in their first version already, or is none of the first input's alone."""


def _from_the_front(s: Any, type: str, ins: list[Any], attrs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Before opset 11 axes count from the front (attributes; the axes of Slice-10 are an input)."""
    attrs = dict(attrs)
    if type in _SELF:
        return ins, attrs
    axis, axes = attrs.get("axis"), attrs.get("axes")
    at = MOVED.get(type, (0, {}))[1]
    where = next((i for i, key in at.items() if key == "axes"), None)
    if isinstance(axis, int) and axis < 0:
        attrs["axis"] = axis + _rank(type, ins[0])
    if axes is not None and any(a < 0 for a in axes):
        rank = _rank(type, ins[0])
        attrs["axes"] = [a + rank if a < 0 else a for a in axes]
    if where is not None and where < len(ins) and isinstance(ins[where], State):
        values = ins[where].tensor.numpy()
        if values.size and (values < 0).any():
            rank = _rank(type, ins[0]) + (values.size if type == "Unsqueeze" else 0)
            ins[where] = s.const(np.where(values < 0, values + rank, values))
    return ins, attrs
