"""Whether an operator of an opset takes the element types it is given, from the schemas of the installed onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from convcore.plugin import DType, NotExpressible, ask_option

from .dtypes import DTYPE_NAMES, DTYPES
from .library import newest_opset, schemas

__all__ = ["before", "gives", "needs", "result_types", "same_operator", "text_type"]

_TEXT = {d: f"tensor({DTYPE_NAMES.get(d, d.value)})" for d in DTYPES.values()}
for _d in DTYPES.values():
    _TEXT[_d.sequence] = f"seq({_TEXT[_d]})"
    _TEXT[_d.optional], _TEXT[_d.sequence.optional] = f"optional({_TEXT[_d]})", f"optional(seq({_TEXT[_d]}))"
_DTYPES = {text: d for d, text in _TEXT.items()}


def text_type(text: str) -> DType | None:
    """The type that the standard writes so: ``tensor(float8e4m3fn)``."""
    return _DTYPES.get(text)


class _Signature:
    """Types of inputs and outputs: a name of a constraint, or a type; what each constraint allows, and which may be mixed."""

    __slots__ = ("allowed", "fixed", "inputs", "mixed", "outputs", "variadic")

    def __init__(self, schema: Any) -> None:
        self.inputs = tuple((i.type_str, i.name) for i in schema.inputs)
        self.variadic = bool(schema.inputs) and "Variadic" in str(schema.inputs[-1].option)
        self.mixed = {i.type_str for i in schema.inputs if not i.is_homogeneous}
        self.outputs = tuple(o.type_str for o in schema.outputs)
        self.allowed = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
        self.fixed = {k: _DTYPES.get(next(iter(v))) for k, v in self.allowed.items() if len(v) == 1}


@lru_cache(maxsize=4096)
def _signature(type: str, version: int) -> _Signature | None:
    try:
        return _Signature(schemas().get_schema(type, version, ""))
    except schemas().SchemaError:
        return None


def _newer(type: str, version: int, i: int, text: str) -> int | None:
    """The first opset that allows it."""
    for v in range(version + 1, newest_opset() + 1):
        s = _signature(type, v)
        if s is not None and i < len(s.inputs) and text in s.allowed.get(s.inputs[i][0], ()):
            return v
    return None


def before(since: int) -> str:
    """That a later opset has what is missing, and how to ask for it."""
    return f" before opset {since} ({ask_option('opset', since)})"


def needs(what: str, since: int) -> str:
    """That something is there from a later opset on, and how to ask for it."""
    return f"{what} needs opset {since} ({ask_option('opset', since)})"


def _first(type: str, version: int) -> int | None:
    """The first opset after one that has the operator."""
    return next((v for v in range(version + 1, newest_opset() + 1) if _signature(type, v) is not None), None)


def _sequence_of(types: Sequence[DType | None], attrs: Mapping[str, Any]) -> DType | None:
    return None if not types or types[0] is None else types[0].sequence


def _element_of(types: Sequence[DType | None], attrs: Mapping[str, Any]) -> DType | None:
    return None if not types or types[0] is None else types[0].element


_HOLDING: dict[str, Callable[[Sequence[DType | None], Mapping[str, Any]], DType | None]] = {
    "SequenceConstruct": _sequence_of, "SplitToSequence": _sequence_of, "SequenceAt": _element_of,
    "ConcatFromSequence": _element_of, "SequenceEmpty": lambda types, attrs: DTYPES[int(attrs.get("dtype", 1))].sequence,
    "Optional": lambda types, attrs: attrs["type"].dtype.optional if "type" in attrs else types[0] and types[0].optional,
    "OptionalGetElement": lambda types, attrs: types[0] and types[0].held,
}  # fmt: skip
"""Operators whose result is a container of what goes in, or what a container holds: schemas do not tie one to the other."""


def result_types(type: str, version: int, types: Sequence[DType | None], attrs: Mapping[str, Any]) -> list[DType | None]:
    """The element types of the outputs (None: not told by the schema).

    NotExpressible when the operator does not exist in this opset, does not take one of the inputs' types, or not two of them
    together.
    """
    s = _signature(type, version)
    if s is None:
        since = _first(type, version)
        raise NotExpressible(needs(type, since) if since else f"{type} does not exist in opset {version}")
    bound: dict[str, DType] = {}
    for k, d in enumerate(types):
        i = min(k, len(s.inputs) - 1) if s.variadic else k
        if d is None or not 0 <= i < len(s.inputs):
            continue
        kind, name = s.inputs[i]
        text, allowed = _TEXT[d], s.allowed.get(kind)
        if text not in (allowed if allowed is not None else (kind,)):
            since = _newer(type, version, i, text)
            raise NotExpressible(f"{type} takes no {d} as {name}" + (before(since) if since else ""))
        if bound.setdefault(kind, d) is not d and allowed is not None and kind not in s.mixed:
            raise NotExpressible(f"{type} takes no {d} as {name} beside {bound[kind]}")
    if type in _HOLDING:
        return [_HOLDING[type](types, attrs)]
    to = attrs.get("to") if type in ("Cast", "BitCast") else None
    if to is not None:
        wanted = to if isinstance(to, DType) else DTYPES.get(int(to))
        allowed = s.allowed.get(s.outputs[0])
        if wanted is not None and allowed is not None and _TEXT[wanted] not in allowed:
            raise NotExpressible(f"{type} gives no {wanted} in opset {version}")
        return [wanted]
    return [bound.get(kind, s.fixed.get(kind, _DTYPES.get(kind))) for kind in s.outputs]


def gives(type: str, version: int, dtype: DType) -> bool:
    """Whether the first result of an operator can be of a type."""
    s = _signature(type, version)
    return s is not None and _TEXT.get(dtype) in s.allowed.get(s.outputs[0], (s.outputs[0],))


def same_operator(type: str, a: int | None, b: int) -> bool:
    """Whether two opsets have the same version of an operator."""
    if a is None:
        return False
    defs = schemas()
    try:
        return bool(defs.get_schema(type, a, "").since_version == defs.get_schema(type, b, "").since_version)
    except defs.SchemaError:
        return False
