"""What ATen rules work with: a call with its arguments by name, and helpers for torch's numbers, types and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convcore.plugin import (
    MISSING,
    Builder,
    Dim,
    DimLike,
    DType,
    ForeignNode,
    LoadContext,
    NotExpressible,
    Origin,
    Shape,
    Value,
    product,
)  # fmt: skip

from .files.program import ElementType
from .signatures import REQUIRED, Signature

__all__ = ["AtenNode", "TorchContext", "is_number", "promoted"]


class AtenNode(ForeignNode):
    """One call of an operator. ``arguments`` are all of them by the schema's names, defaults filled in: Values, numbers, Dims,
    lists of these, or the small records of :mod:`.files.program`. ``results`` is what is known of the results: (dtype, shape).

    Rows bind them through the attributes ``args`` (by position, as in the schema) and ``kwargs``; functions read them by
    :meth:`arg`, and one that was neither read nor left at its default is an error.
    """

    def __init__(
        self, type: str, name: str, arguments: Mapping[str, Any], signature: Signature | None, origin: Origin,
        results: Sequence[tuple[DType | None, Shape | None]] = (), outputs: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.arguments, self.signature, self.results = dict(arguments), signature, list(results)
        defaults = {} if signature is None else {p.name: p.default for p in signature.parameters}
        self.given = {k: v for k, v in self.arguments.items() if _differs(v, defaults.get(k, REQUIRED))}
        by_name = set() if signature is None else {p.name for p in signature.parameters if p.keyword}
        ordered = [k for k in self.arguments if k not in by_name]
        while ordered and ordered[-1] not in self.given:
            ordered.pop()
        args = [self.arguments[k] for k in ordered]
        kwargs = {k: v for k, v in self.given.items() if k in by_name and k not in NO_MEANING}
        inputs = [v for a in self.arguments.values() for v in _values(a)]
        super().__init__(type, name, inputs, {"args": args, "kwargs": kwargs}, outputs=outputs, origin=origin)
        self._seen: set[str] = set()
        self.row_major = False
        """Whether the first tensor is certain to be all of its memory, in C order."""

    # ---- reading
    def attr(self, name: str, default: Any = MISSING) -> Any:
        """As for nodes of other formats: an argument that is no tensor, by its name in the schema."""
        return self.arg(name) if name in self.arguments and name not in self.attrs else super().attr(name, default)

    def input(self, i: int) -> Value | None:
        """As for nodes of other formats: the i-th tensor among the arguments."""
        found = super().input(i)
        self.ignore("args", "kwargs")
        self._seen.update(k for k, a in self.arguments.items() if found is not None and any(v is found for v in _values(a)))
        return found

    def arg(self, name: str) -> Any:
        """An argument, by its name in the schema."""
        self.ignore("args", "kwargs")
        self._seen.add(name)
        if name not in self.arguments:
            raise self.refuse(f"its argument {name!r} is missing", code="missing_input")
        return self.arguments[name]

    def tensor(self, name: str) -> Value:
        """A tensor argument."""
        v = self.arg(name)
        if not isinstance(v, Value):
            raise NotExpressible(f"its argument {name!r} is not a tensor", "unsupported_input")
        return v

    def optional(self, name: str) -> Value | None:
        """A tensor argument that may be None."""
        return None if self.arg(name) is None else self.tensor(name)

    def tensors(self, name: str) -> list[Value]:
        """A list of tensors."""
        vs = self.arg(name)
        if not isinstance(vs, (list, tuple)) or not all(isinstance(v, Value) for v in vs):
            raise NotExpressible(f"its argument {name!r} is not a list of tensors", "unsupported_input")
        return list(vs)

    def number(self, name: str) -> Any:
        """A plain Python number; NotExpressible for one that is computed."""
        v = self.arg(name)
        if isinstance(v, Value) and v.tensor is not None and v.tensor.size == 1:
            return v.tensor.numpy().reshape(-1)[0].item()
        if not isinstance(v, (int, float, bool)):
            raise NotExpressible(
                f"its argument {name!r} must be a number that is known, not {_text(v)}", "requires_constant_input"
            )
        return v

    def count(self, name: str, least: int = 1) -> int:
        """A number that counts something."""
        v = int(self.number(name))
        if v < least:
            raise NotExpressible(f"its argument {name}={v} is below {least}", "invalid_shape")
        return v

    def ints(self, name: str, n: int | None = None) -> tuple[int, ...]:
        """A list of plain integers, one of length 1 repeated ``n`` times."""
        v = self.sizes(name)
        if not all(isinstance(i, int) for i in v):
            raise NotExpressible(
                f"its argument {name!r} must be integers that are known, not {_text(v)}", "requires_constant_input"
            )
        return v * n if n is not None and len(v) == 1 else v  # type: ignore[return-value]

    def sizes(self, name: str) -> tuple[DimLike, ...]:
        """A list of sizes (integers, Dims)."""
        v = self.arg(name)
        v = v if isinstance(v, (list, tuple)) else [v]
        out = [_whole(i) for i in v]
        if any(i is None for i in out):
            raise NotExpressible(f"its argument {name!r} holds a size that depends on the data", "requires_constant_input")
        return tuple(i for i in out if i is not None)

    def size(self, name: str) -> DimLike:
        """One size."""
        return self.sizes(name)[0]

    def axes(self, name: str, rank: int) -> tuple[int, ...]:
        """A list of axes, counted from the front."""
        return tuple(_axis(a, rank, name) for a in self.ints(name))

    def axis(self, name: str, rank: int) -> int:
        return _axis(self.number(name), rank, name)

    def rank(self, name: str) -> int:
        """The number of axes of a tensor argument, which must be known."""
        r = self.tensor(name).rank
        if r is None:
            raise NotExpressible(f"the number of axes of {name!r} is not known", "unknown_shape")
        return r

    def shape(self, name: str) -> tuple[DimLike, ...]:
        """The shape of a tensor argument, which must be known."""
        return known(self.tensor(name), name)

    def element(self, name: str) -> DType | None:
        """A dtype argument."""
        v = self.arg(name)
        if v is None:
            return None
        if not isinstance(v, ElementType):
            raise NotExpressible(f"its argument {name!r} is not an element type", "unsupported_dtype")
        return dtype_of(v.name)

    @property
    def dtype(self) -> DType | None:
        """The element type of the first result as it was traced."""
        return self.results[0][0] if self.results else None

    def skip(self, *names: str) -> None:
        """Arguments without meaning for the values (memory format, device, cudnn)."""
        self.ignore("args", "kwargs")
        self._seen.update(names)

    def fresh(self) -> None:
        super().fresh()
        self._seen.clear()

    def unread(self) -> list[str]:
        left = super().unread()
        if left or not self._seen:
            return left
        given = self.given
        odd = [k for k in given if k not in self._seen and k not in NO_MEANING]
        if odd:
            raise self.refuse(f"its argument {odd[0]}={_text(given[odd[0]])} is not known", code="unsupported_call")
        return []

    def replaced(self, name: str, value: Value | list[Value] | float) -> AtenNode:
        """The same call with another tensor, or list of them."""
        out = AtenNode(
            self.type, self.name, {**self.arguments, name: value}, self.signature, self.origin, self.results, self.outputs
        )
        out.extra, out.row_major = self.extra, self.row_major
        return out


NO_MEANING = frozenset({"memory_format", "device", "layout", "pin_memory", "non_blocking", "requires_grad", "copy"})
"""Arguments that say where and how a tensor is held, not what it holds (``copy``: the alias analysis reads it)."""


def known(v: Value, name: str = "") -> tuple[DimLike, ...]:
    """The shape of a value, all sizes of it."""
    if v.shape is None or None in v.shape:
        raise NotExpressible(f"the shape of {name or v.name!r} is not known", "unknown_shape")
    return tuple(d for d in v.shape if d is not None)


def dtype_of(name: str) -> DType:
    """torch's element type by name; NotExpressible for one convcore lacks."""
    try:
        return DType(name)
    except ValueError:
        raise NotExpressible(f"element type torch.{name} is not known", "unsupported_dtype") from None


def _whole(v: Any) -> DimLike | None:
    if isinstance(v, Value) and v.tensor is not None and v.tensor.size == 1:
        return int(v.tensor.numpy().reshape(-1)[0])
    if isinstance(v, Value) and v.producer is not None and v.producer.op == "dim_value":
        d = v.producer.attrs["value"]
        return d if isinstance(d, (int, Dim)) else None
    if isinstance(v, bool) or not isinstance(v, (int, Dim)):
        return None
    return v


def _axis(a: Any, rank: int, name: str) -> int:
    if not isinstance(a, int) or not -max(rank, 1) <= a < max(rank, 1):
        raise NotExpressible(f"its argument {name}={a} is out of range for {rank} axes", "invalid_shape")
    return a % max(rank, 1)


def _values(a: Any) -> Iterable[Value]:
    if isinstance(a, Value):
        yield a
    elif isinstance(a, (list, tuple)):
        for i in a:
            yield from _values(i)


def _differs(v: Any, default: Any) -> bool:
    if default is REQUIRED or isinstance(v, (Value, Dim)):
        return True
    if isinstance(v, (list, tuple)) and isinstance(default, (list, tuple)):
        return len(v) != len(default) or any(_differs(a, b) for a, b in zip(v, default))
    return (
        bool(type(v) is not type(default) and not (isinstance(v, (int, float)) and isinstance(default, (int, float))))
        or v != default
    )


def _text(v: Any) -> str:
    return f"%{v.name}" if isinstance(v, Value) else repr(v)[:80]


_ORDER = [DType.BOOL, DType.UINT8, DType.INT8, DType.INT16, DType.INT32, DType.INT64]
_FLOATS = [DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64]
_COMPLEX = [DType.COMPLEX64, DType.COMPLEX128]
_COMPLEX_OF = {DType.BFLOAT16: DType.COMPLEX64, DType.FLOAT32: DType.COMPLEX64, DType.FLOAT64: DType.COMPLEX128}
"""What complex numbers without axes make of floating point with axes; of float16 a type that convcore lacks."""
_NUMBERS = [DType.BOOL, DType.INT64, DType.FLOAT32, DType.COMPLEX64]
"""What numbers of Python are, by kind."""


def promoted(operands: Sequence[Any]) -> DType | None:
    """The type torch computes in (c10/core/ScalarType.h, promoteTypes; ATen/native/TypeProperties.cpp, result_type).

    Tensors with axes decide within a kind over those without, these over Python numbers. None where a dtype is not known. A
    constant without axes of a TorchScript archive is a number of Python when torch loads it, whatever its type (measured, 2.13).
    """
    best: list[DType | None] = [None, None, None]
    for v in operands:
        if isinstance(v, Value):
            if v.dtype is None or v.rank is None:
                return None
            level, d = (0 if v.rank else 1), v.dtype
            if is_number(v):
                level, d = 2, _NUMBERS[_kind(d)]
        elif isinstance(v, bool):
            level, d = 2, DType.BOOL
        elif isinstance(v, (int, Dim)):
            level, d = 2, DType.INT64
        elif isinstance(v, float):
            level, d = 2, DType.FLOAT32
        else:
            return None
        old = best[level]
        best[level] = wider = d if old is None else _wider(old, d)
        if wider is None:
            return None
    out = best[2]
    for higher in (best[1], best[0]):
        if higher is None or out is None:
            out = higher or out
        elif (_kind(higher), _kind(out)) == (2, 3):
            out = _COMPLEX_OF.get(higher)
            if out is None:
                return None
        else:
            out = out if _kind(out) > _kind(higher) else higher
    return out


def is_number(v: Value) -> bool:
    """Whether a value is a constant without axes of a TorchScript archive."""
    return v.tensor is not None and v.rank == 0 and v.source.startswith("CONSTANTS.")


def _kind(d: DType) -> int:
    return 3 if d in _COMPLEX else 2 if d.is_float else 0 if d is DType.BOOL else 1


def _wider(a: DType, b: DType) -> DType | None:
    if a == b:
        return a
    if _kind(a) != _kind(b):
        if {a, b} == {DType.FLOAT64, DType.COMPLEX64}:
            return DType.COMPLEX128
        return a if _kind(a) > _kind(b) else b
    if _kind(a) == 3:
        return DType.COMPLEX128
    if a.is_float:
        if {a, b} == {DType.FLOAT16, DType.BFLOAT16}:
            return DType.FLOAT32
        return max(a, b, key=_FLOATS.index)
    if DType.UINT8 in (a, b):
        other = b if a is DType.UINT8 else a
        return DType.INT16 if other is DType.INT8 else other
    if a not in _ORDER or b not in _ORDER:
        return None
    return max(a, b, key=_ORDER.index)


class TorchContext(LoadContext):
    """The builder with torch's conversions. ``loader`` is the one at work (regions, symbols)."""

    def __init__(self, builder: Builder, loader: Any = None) -> None:
        super().__init__(builder)
        self.loader = loader
        self.unwritten: set[Value] = set()
        """Tensors of memory that nobody has written (``torch.empty``)."""

    def note(self, text: str) -> None:
        """Say something beside the graph."""
        notes = self.loader.loader.notes
        if text not in notes:
            notes.append(text)

    def cast(self, v: Value, dtype: DType | None) -> Value:
        """The value in a type; itself where it has it or none is known."""
        return v if dtype is None or v.dtype == dtype else self.b.cast(v, to=dtype)

    def scalar(self, value: Any, dtype: DType | None) -> Value:
        """A number, size or 0-d tensor as a tensor without axes of a type."""
        if isinstance(value, Value):
            return self.cast(value, dtype)
        if isinstance(value, Dim):
            return self.cast(self.b.dim_value(value=value), dtype)
        if not isinstance(value, (int, float, complex)):
            raise NotExpressible(f"{value!r:.60} is not a number", "unsupported_input")
        if dtype is None:
            dtype = promoted([value])
        return self.b.const(value, dtype)

    def operands(self, dtype: DType | None, *values: Any) -> list[Value]:
        """Tensors and numbers in one type."""
        return [self.cast(v, dtype) if isinstance(v, Value) else self.scalar(v, dtype) for v in values]

    def float(self, v: Value | int | Dim, dtype: DType | None = None) -> Value:
        """An integer or bool tensor, or a size of a trace, in the default floating type (or the traced one), as torch's unary
        functions take it."""
        v = self.scalar(v, None) if isinstance(v, (int, Dim)) else v
        if v.dtype is None or v.dtype.is_float or v.dtype in _COMPLEX:
            return v
        return self.cast(v, dtype if dtype is not None and dtype.is_float else DType.FLOAT32)

    def conjugate(self, v: Value) -> Value:
        """The conjugate of complex numbers; of others it is themselves."""
        return self.b.complex(self.b.real(v), self.b.neg(self.b.imag(v))) if v.dtype in _COMPLEX else v

    def reshape(self, v: Value, shape: Sequence[DimLike]) -> Value:
        """The elements in another shape, one size of which may be -1."""
        out = list(shape)
        if any(isinstance(d, int) and d == -1 for d in out):
            at = next(i for i, d in enumerate(out) if isinstance(d, int) and d == -1)
            rest = product([d for i, d in enumerate(out) if i != at])
            total = product(known(v))
            if isinstance(rest, int) and rest == 0:
                raise NotExpressible("a size of -1 beside a size of 0", "invalid_shape")
            out[at] = total // rest
        if v.shape is not None and tuple(out) == tuple(v.shape):
            return v
        sizes = [d for d in out if isinstance(d, int)]
        if v.tensor is not None and len(sizes) == len(out):
            return self.view(v, ("reshape", tuple(sizes)), lambda t: t.reshape(sizes))
        return self.b.reshape(v, shape=tuple(out))

    def transpose(self, v: Value, perm: Sequence[int]) -> Value:
        """Axes in another order; a weight stays one."""
        perm = tuple(perm)
        if perm == tuple(range(len(perm))):
            return v
        if v.tensor is not None:
            return self.view(v, ("transpose", perm), lambda t: t.transpose(perm))
        return self.b.transpose(v, perm=perm)
