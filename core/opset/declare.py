"""How an op is declared: once, as data plus small functions.

    elementwise unary     unary("exp", np.exp, "e to the power x")
    anything else         op("softmax", "x:float", attrs={"axis": AxisAttr(-1)}, infer=same("x"), reference=softmax,
                             axes=Axis(), samples=[Sample((2, 3, 5), axis=1)])

* The signature lists inputs in order: ``name[:types]``, ``?`` after it for optional, ``*`` for any number (last).
  ``types`` is one of float, int, number, bool, any (default any), or of values that are no tensors: sequence, value (anything).
* ``reference(*arrays, **attrs)`` takes numpy arrays in that order (None for an omitted one) and every attribute with sizes
  evaluated, and returns an array or a tuple. It is the op's meaning. Half-precision floats reach it as float32, and its float32
  results are rounded to half precision; ops that only move elements (Trait.MOVES) get them as they are.
* ``infer(c)`` returns ``(dtype, shape)`` per output from an :class:`InferContext`.
* ``body(b, *values, **attrs)`` builds the same thing from simpler ops; a target without a rule for the op gets the body.
* ``traits`` and ``roles`` are facts that passes and targets ask for, instead of listing op names themselves (:mod:`.traits`).
* ``samples`` let the op test itself: shape rule == reference, body == reference, axis rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import cache, cached_property
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeclarationError, ShapeError
from ..ir.dtypes import DType
from ..ir.graph import Value
from ..records import dataclass
from .attributes import REQUIRED, Attr, AxesAttr, AxisAttr, coerce
from .axes import AxisRule, Elementwise, Opaque
from .half import body_in_float32, in_float32
from .infer import InferContext, Inferred
from .traits import Role, Trait

__all__ = [
    "REQUIRED",
    "Arg",
    "Attr",
    "AxesAttr",
    "AxisAttr",
    "InferContext",
    "Op",
    "OpSet",
    "Role",
    "Sample",
    "Trait",
    "uniform",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class Arg:
    """One input of an op."""

    name: str
    types: str = "any"
    optional: bool = False
    variadic: bool = False
    role: Role = Role.DATA

    def __str__(self) -> str:
        """As a signature says it: ``b:float?``, ``xs*``."""
        types = f":{self.types}" if self.types != "any" else ""
        return f"{self.name}{types}{'?' if self.optional else '*' if self.variadic else ''}"


@dataclass(frozen=True, init=False)
class Sample:
    """One test case of an op.

    Per input: a shape (float32), ``(dtype, shape)``, ``(dtype, shape, low, high)``, an array, or None where it is omitted.
    """

    inputs: tuple[Any, ...]
    attrs: Mapping[str, Any]

    def __init__(self, *inputs: Any, **attrs: Any) -> None:
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "attrs", attrs)

    def arrays(self, seed: int = 0) -> list[Array | None]:
        """Seeded input arrays: floats normal, ints in [low, high) (default 0..7), bools fair."""
        rng = np.random.default_rng(seed)
        out: list[Array | None] = []
        for spec in self.inputs:
            if spec is None or isinstance(spec, (np.ndarray, np.generic)):
                out.append(None if spec is None else np.asarray(spec))
                continue
            dtype, shape, low, high = "float32", spec, None, None
            if spec and isinstance(spec[0], str):
                dtype, shape = spec[0], spec[1]
                if len(spec) == 4:
                    low, high = spec[2], spec[3]
            nd = DType(dtype).numpy
            if dtype == "bool":
                out.append(rng.random(shape) < 0.5)
            elif nd.kind in "iu":
                out.append(rng.integers(low or 0, 7 if high is None else high, shape).astype(nd))
            elif low is not None and high is not None:
                out.append(np.asarray(rng.uniform(low, high, shape), nd))
            else:
                out.append(rng.standard_normal(shape).astype(nd))
        return out


def uniform(rng: Random, low: float, high: float, *shape: int) -> Array:
    """Random numbers for samples, which are made with the declarations: numpy.random takes longer to import than all ops."""
    return np.array([rng.uniform(low, high) for _ in range(math.prod(shape))]).reshape(shape)


_TYPES: dict[str, Callable[[DType], bool]] = {
    "any": lambda d: not d.is_container,
    "value": lambda d: True,
    "sequence": lambda d: d.is_sequence,
    "float": lambda d: d.is_float,
    "int": lambda d: d.is_int,
    "number": lambda d: d.is_float or d.is_int or d.value.startswith("complex"),
    "bool": lambda d: d is DType.BOOL,
    "complex": lambda d: d in (DType.COMPLEX64, DType.COMPLEX128),
}


_SAMPLE_DTYPES = {"float": "float32", "number": "float32", "any": "float32", "value": "float32", "int": "int32", "bool": "bool"}


@dataclass(frozen=True, eq=False)
class Op:
    """The declaration of an op. See the module's docstring."""

    name: str
    inputs: tuple[Arg, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attr]
    infer: Callable[[InferContext], Inferred]
    reference: Callable[..., Any] | None
    axes: AxisRule
    body: Callable[..., Any] | None = None
    doc: str = ""
    family: str = ""
    samples: tuple[Sample, ...] = ()
    normalize: Callable[[dict[str, Any], Sequence[Value | None]], None] | None = None
    regions: int = 0
    variadic_outputs: bool = False
    distribution: str = "convcore"
    traits: Trait = Trait.NONE
    _positions: Mapping[str, int] = field(default_factory=dict, repr=False)

    def position(self, name: str) -> int:
        """The index of an input."""
        try:
            return self._positions[name]
        except KeyError:
            raise DeclarationError(f"op {self.name} has no input {name!r}") from None

    @cached_property
    def arguments(self) -> tuple[tuple[str, bool], ...]:
        """The name of every input and whether it is variadic."""
        return tuple((a.name, a.variadic) for a in self.inputs)

    def role(self, i: int) -> Role:
        """The role of the i-th input given (those of a variadic name share one)."""
        return self.inputs[min(i, len(self.inputs) - 1)].role

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """The names of the inputs that are not data, by role."""
        found: dict[str, tuple[str, ...]] = {}
        for a in self.inputs:
            if a.role is not Role.DATA:
                found[a.role.value] = (*found.get(a.role.value, ()), a.name)
        return found

    def training_facts(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes of a node that say something about training, as far as they are known."""
        return {k: attrs[k] for k, a in self.attrs.items() if a.training and attrs.get(k) not in (None, ())}

    @property
    def composite(self) -> bool:
        return self.body is not None

    def complete(self, attrs: Mapping[str, Any], inputs: Sequence[Value | None]) -> dict[str, Any]:
        """The attributes with defaults filled in, checked and normalised (axes non-negative, tuples, DType)."""
        unknown = attrs.keys() - self.attrs.keys()
        if unknown:
            raise ShapeError(f"{self.name} has no attribute {', '.join(sorted(unknown))}")
        out: dict[str, Any] = {}
        for name, a in self.attrs.items():
            v = attrs.get(name, a.default)
            if v is REQUIRED:
                raise ShapeError(f"{self.name} needs the attribute {name}")
            i = self.position(a.of) if a.of else 0
            out[name] = coerce(self.name, name, a, v, inputs[i] if i < len(inputs) else None)
        if self.normalize is not None:
            self.normalize(out, inputs)
        return out

    def check_types(self, inputs: Sequence[Value | None]) -> None:
        """Number and element types of inputs; ShapeError says which is wrong."""
        args = self.inputs
        if args and args[-1].variadic:
            args = args[:-1] + (args[-1],) * max(0, len(inputs) - len(args) + 1)
        if len(inputs) > len(args):
            raise ShapeError(f"{self.name} takes {len(args)} inputs, got {len(inputs)}")
        for i, arg in enumerate(args):
            v = inputs[i] if i < len(inputs) else None
            if v is None:
                if not (arg.optional or arg.variadic):
                    raise ShapeError(f"{self.name} needs its input {arg.name}")
            elif v.dtype is not None and not _TYPES[arg.types](v.dtype):
                raise ShapeError(f"{self.name}: {arg.name} is {v.dtype}, must be {arg.types}")


_SIG = re.compile(r"^(\w+)(?::(\w+))?([?*]?)$")


@cache
def _arg(part: str) -> Arg:
    """One input; most ops have some of the same few."""
    m = _SIG.match(part)
    if not m or (m[2] or "any") not in _TYPES:
        raise DeclarationError(f"bad signature {part!r}")
    return Arg(m[1], m[2] or "any", m[3] == "?", m[3] == "*")


def parse_signature(text: str) -> tuple[Arg, ...]:
    """``"x:float, w:float, b:float?, rest*"`` as Args."""
    args = [_arg(part) for part in filter(None, (p.strip() for p in text.split(",")))]
    if any(a.variadic for a in args[:-1]):
        raise DeclarationError(f"only the last input may be variadic: {text!r}")
    return tuple(args)


def _with_roles(op: str, args: tuple[Arg, ...], roles: Mapping[str, str]) -> tuple[Arg, ...]:
    found: dict[str, Role] = {}
    for role, names in roles.items():
        if role not in set(Role):
            raise DeclarationError(f"op {op}: unknown role {role!r}, must be one of {', '.join(Role)}")
        for n in names.split():
            if n in found or n not in {a.name for a in args}:
                raise DeclarationError(f"op {op}: roles name the input {n!r}, " + ("twice" if n in found else "which it lacks"))
            found[n] = Role(role)
    return tuple(replace(a, role=found[a.name]) if a.name in found else a for a in args)


class OpSet:
    """A family of op declarations: ``FAMILY = OpSet("activation")``; ``FAMILY.op(...)``."""

    def __init__(self, family: str, distribution: str = "convcore") -> None:
        self.family, self.distribution = family, distribution
        self.ops: dict[str, Op] = {}

    def op(
        self,
        name: str,
        signature: str,
        doc: str = "",
        *,
        outputs: str = "y",
        attrs: Mapping[str, Attr] | None = None,
        infer: Callable[[InferContext], Inferred] | None = None,
        reference: Callable[..., Any] | None = None,
        axes: AxisRule | None = None,
        body: Callable[..., Any] | None = None,
        samples: Sequence[Sample] = (),
        normalize: Callable[[dict[str, Any], Sequence[Value | None]], None] | None = None,
        regions: int = 0,
        traits: Trait = Trait.NONE,
        roles: Mapping[str, str] | None = None,
        wide: bool = False,
    ) -> Op:
        """Declare an op. ``infer`` defaults to "like the first input"; without ``reference`` the body runs instead.

        ``outputs`` lists output names; a trailing ``*`` means any number of them. ``roles`` names the inputs that are not data:
        ``{"parameter": "scale bias", "statistic": "mean var"}``. ``wide``: the body, too, computes half precision in float32 (it
        squares, or adds up, what half precision does not hold).
        """
        args = _with_roles(name, parse_signature(signature), roles or {})
        if reference is None and body is None:
            raise DeclarationError(f"op {name}: needs a reference or a body")
        if name in self.ops:
            raise DeclarationError(f"op {name} is declared twice in {self.family}")
        if infer is None:
            from .shapes import same

            infer = same(args[0].name)
        if reference is not None and Trait.MOVES not in traits.complete and any(a.types in ("float", "number") for a in args):
            reference = in_float32(reference)
        if wide and body is not None:
            body = body_in_float32(body)
        outs = tuple(o.strip() for o in outputs.split(","))
        variadic = outs[-1].endswith("*")
        decl = Op(
            name, args, tuple(o.rstrip("*") for o in outs), dict(attrs or {}), infer, reference, axes or Opaque(), body,
            doc, self.family, tuple(samples), normalize, regions, variadic, self.distribution,
            traits.complete, {a.name: i for i, a in enumerate(args)},
        )  # fmt: skip
        named = [
            getattr(axes, "attr", None),
            *getattr(axes, "attrs", ()),
            getattr(axes, "keepdims", None),
            getattr(axes, "axes", ""),
        ]
        for attr in named:
            if isinstance(attr, str) and attr and attr not in decl.attrs:
                raise DeclarationError(f"op {name}: its axis rule names the attribute {attr!r}, which it lacks")
        self.ops[name] = decl
        return decl

    def unary(
        self,
        name: str,
        fn: Callable[..., Any],
        doc: str = "",
        *,
        types: str = "float",
        attrs: Mapping[str, Attr] | None = None,
        body: Callable[..., Any] | None = None,
        to: DType | None = None,
        samples: Sequence[Sample] | None = None,
        traits: Trait = Trait.NONE,
    ) -> Op:
        """An elementwise function of one input; the result has the input's dtype (``to`` overrides)."""
        from .shapes import same

        if samples is None:
            samples = [Sample((_SAMPLE_DTYPES[types], (2, 3, 5)))]

        def reference(x: Array, **kw: Any) -> Array:
            with np.errstate(all="ignore"):
                return np.asarray(fn(x, **kw), (to.numpy if to else x.dtype))

        return self.op(
            name, f"x:{types}", doc, attrs=attrs, infer=same("x", to), reference=reference,
            axes=Elementwise(), body=body, samples=samples, traits=traits | Trait.POINTWISE,
        )  # fmt: skip

    def binary(
        self,
        name: str,
        fn: Callable[..., Any],
        doc: str = "",
        *,
        types: str = "number",
        to: DType | None = None,
        body: Callable[..., Any] | None = None,
        samples: Sequence[Sample] | None = None,
        traits: Trait = Trait.NONE,
    ) -> Op:
        """An elementwise function of two broadcast inputs of one dtype; the result has it too (``to`` overrides)."""
        from .axes import Broadcast
        from .shapes import broadcast

        if samples is None:
            d = _SAMPLE_DTYPES[types]
            samples = [
                Sample((d, (2, 3, 5)), (d, (2, 3, 5))),
                Sample((d, (2, 3, 5)), (d, (3, 1))),
                Sample((d, (5,)), (d, (2, 3, 5))),
            ]

        def reference(x: Array, y: Array) -> Array:
            with np.errstate(all="ignore"):
                return np.asarray(fn(x, y), (to.numpy if to else x.dtype))

        return self.op(
            name, f"x:{types}, y:{types}", doc, outputs="z", infer=broadcast("x", "y", to=to), reference=reference,
            axes=Broadcast(), body=body, samples=samples, traits=traits | Trait.POINTWISE,
        )  # fmt: skip
