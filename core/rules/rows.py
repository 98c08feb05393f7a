"""Mapping rows: data that runs both ways.

    RULES.op("LeakyRelu", "leaky_relu", "X=x", alpha=A("alpha", default=0.01))
    RULES.op("keras.layers.Dense", "linear", "inputs=x", w=W("kernel", "IO->OI"), b=W("bias", optional=True))

Keyword arguments name what the op needs: ``A`` takes an attribute of the foreign node, ``W`` a weight it owns, ``I`` an
attribute that the foreign format passes as a constant input. A plain value fixes the op's attribute: the row makes it when
loading and requires it when emitting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DeclarationError, ShapeError
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.tensors import Tensor
from ..opset import Op, op
from ..opset.declare import REQUIRED
from .foreign import MISSING, EmitContext, ForeignNode, LoadContext
from .isomorphisms import Iso, NotExpressible, find_iso
from .values import equal, jsonable, symbolic, text

__all__ = ["A", "I", "Row", "W", "permutation_of"]


@dataclass(frozen=True, init=False)
class A:
    """An attribute of the foreign node.

    ``default`` is the foreign format's own default (MISSING: required); on emission an attribute equal to it is left out
    unless ``write_default``. ``iso`` names a conversion, or a tuple of its name and arguments.
    """

    name: str
    default: Any
    iso: Iso
    write_default: bool

    def __init__(
        self, name: str, default: Any = MISSING, iso: str | tuple[Any, ...] = "same", *, write_default: bool = False
    ) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "default", default)
        object.__setattr__(self, "iso", find_iso(iso))
        object.__setattr__(self, "write_default", write_default)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"attribute": self.name}
        if self.default is not MISSING:
            out["default"] = jsonable(self.default)
        if self.iso.name != "same":
            out["iso"] = jsonable(self.iso.to_json())
        return out


@dataclass(frozen=True, init=False)
class I:  # noqa: E742
    """An attribute of the op that the foreign format passes as a constant input (by name in the row's input list)."""

    name: str
    default: Any
    iso: Iso
    dtype: str

    def __init__(self, name: str, default: Any = MISSING, iso: str | tuple[Any, ...] = "same", *, dtype: str = "int64") -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "default", default)
        object.__setattr__(self, "iso", find_iso(iso))
        object.__setattr__(self, "dtype", dtype)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"input": self.name, "dtype": self.dtype}
        if self.default is not MISSING:
            out["default"] = jsonable(self.default)
        if self.iso.name != "same":
            out["iso"] = jsonable(self.iso.to_json())
        return out


@dataclass(frozen=True)
class W:
    """A weight of the foreign layer. ``order`` is its axes there and here, ``*`` for all spatial ones: ``"*IO->OI*"``."""

    name: str
    order: str = ""
    optional: bool = False

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"weight": self.name}
        if self.order:
            out["order"] = self.order
        if self.optional:
            out["optional"] = True
        return out


def permutation_of(order: str, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``"*IO->OI*"`` for a rank as (perm, inverse): ours = theirs.transpose(perm)."""
    theirs, sep, ours = order.partition("->")
    if not sep or sorted(theirs) != sorted(ours):
        raise DeclarationError(f"bad axis order {order!r}")
    stars = rank - (len(theirs) - theirs.count("*"))
    if stars < 0 or (stars and "*" not in theirs):
        raise ShapeError(f"a weight with {rank} axes does not fit the order {order!r}")

    def expand(s: str) -> list[str]:
        out: list[str] = []
        for ch in s:
            out += [f"*{i}" for i in range(stars)] if ch == "*" else [ch]
        return out

    a, b = expand(theirs), expand(ours)
    perm = tuple(a.index(x) for x in b)
    return perm, tuple(perm.index(i) for i in range(rank))


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """``"X=x, W=w"`` as pairs; a bare name stands for both."""
    out = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        theirs, _, ours = part.partition("=")
        out.append((theirs.strip(), (ours or theirs).strip()))
    return tuple(out)


@dataclass(frozen=True, eq=False)
class Row:
    """One mapping row. Made by :meth:`RuleSet.op`; see the module's docstring."""

    foreign: str
    op_name: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    mapping: Mapping[str, Any]
    when: Mapping[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    priority: int = 0
    direction: str = "both"
    then: tuple[str, ...] = ()
    distribution: str = "convcore"
    doc: str = ""
    rank: int | None = None

    @property
    def decl(self) -> Op:
        return op(self.op_name)

    def validate(self) -> None:
        """Check the row against the op's declaration; DeclarationError says what does not fit."""
        decl = self.decl
        names = {a.name for a in decl.inputs}

        def bad(why: str) -> DeclarationError:
            return DeclarationError(f"row {self.foreign} -> {self.op_name}: {why}")

        given = {ours.rstrip("*") for _, ours in self.inputs if ours != "_"}
        for key, src in self.mapping.items():
            if key in names:
                if not isinstance(src, W):
                    raise bad(f"{key} is an input of the op and must be mapped by W or in the input list")
                given.add(key)
                if src.order:
                    theirs, _, ours = src.order.partition("->")
                    if sorted(theirs) != sorted(ours):
                        raise bad(f"bad axis order {src.order!r}")
            elif key not in decl.attrs:
                raise bad(f"the op has neither an input nor an attribute {key!r}")
            elif isinstance(src, W):
                raise bad(f"{key} is an attribute, not an input")
            elif isinstance(src, I) and src.name not in {t.rstrip("*?") for t, _ in self.inputs}:
                raise bad(f"input {src.name!r} of I is not in the input list")
        for name in given - names:
            raise bad(f"the op has no input {name!r}")
        for a in decl.inputs:
            if not a.optional and not a.variadic and a.name not in given:
                raise bad(f"the op's input {a.name!r} is not mapped")
        for name, attr in decl.attrs.items():
            if attr.default is REQUIRED and name not in self.mapping:
                raise bad(f"the op's attribute {name!r} has no default and is not mapped")
        for _, ours in self.outputs:
            if ours.rstrip("*") not in decl.outputs:
                raise bad(f"the op has no output {ours!r}")

    # ---- loading
    def mismatch(self, node: ForeignNode) -> str:
        """Why the row does not apply to a foreign node ("" if it does)."""
        for name, want in self.when.items():
            got = node.attrs.get(name, MISSING)
            if isinstance(want, (set, frozenset)):
                if got not in want:
                    return f"{name} is {got!r}, the rule wants one of {sorted(want, key=repr)}"
            elif got is MISSING:
                if want is not None:
                    return f"{name} is not set, the rule wants {want!r}"
            elif got != want:
                return f"{name} is {got!r}, the rule wants {want!r}"
        return ""

    def load(self, g: LoadContext, node: ForeignNode) -> tuple[Value, ...]:
        """Build the op from a foreign node; NotExpressible when a conversion does not apply."""
        decl = self.decl
        ins: dict[str, Value | None] = {}
        rest: list[Value | None] = []
        const_inputs: dict[str, int] = {}
        for i, (theirs, ours) in enumerate(self.inputs):
            if ours.endswith("*"):
                rest = node.inputs[i:]
            elif ours == "_":
                const_inputs[theirs.rstrip("?")] = i
            else:
                ins[ours] = node.input(i)
        for a in decl.inputs:
            if ins.get(a.name, MISSING) is None and not (a.optional or a.variadic):
                theirs = next(t for t, ours in self.inputs if ours == a.name)
                raise NotExpressible(f"its input {theirs!r} is missing", "missing_input")
        if not any(ours.endswith("*") for _, ours in self.inputs) and len(node.inputs) > len(self.inputs):
            raise NotExpressible(f"has {len(node.inputs)} inputs, the rule knows {len(self.inputs)}", "unsupported_input")
        attrs: dict[str, Any] = {}
        for key, src in self.mapping.items():
            if isinstance(src, W):
                t = node.weights.get(src.name)
                if t is None:
                    if not src.optional:
                        raise node.refuse(f"its weight {src.name!r} is missing", code="missing_weight")
                    ins[key] = None
                    continue
                perm = permutation_of(src.order, t.ndim)[0] if src.order else tuple(range(t.ndim))
                same = perm == tuple(range(t.ndim))
                ins[key] = g.weight(node, src.name, t) if same else self._permuted(g, node, src, t, perm)
            elif isinstance(src, A):
                v = node.attr(src.name, src.default)
                attrs[key] = v if v is None else src.iso.load(v)
            elif isinstance(src, I):
                v = self._constant(g, node, src, const_inputs)
                attrs[key] = v if v is None else src.iso.load(v)
            else:
                attrs[key] = src
        if self.rank is not None:
            self._check_rank(next(iter(node.inputs), None))
        node.ignore(*self.ignore, *self.when)
        full = [*(ins.get(a.name) for a in decl.inputs if not a.variadic), *rest]
        names = node.outputs if all(o for o in node.outputs) else []
        n = g.b.node(self.op_name, full, attrs, output_names=names if not self.then else ())
        order = [o.rstrip("*") for _, o in self.outputs]
        if decl.variadic_outputs:
            return n.outputs
        return tuple(n.outputs[decl.outputs.index(o)] for o in order)

    def _permuted(self, g: LoadContext, node: ForeignNode, src: W, t: Tensor, perm: tuple[int, ...]) -> Value:
        cache: dict[tuple[int, str], Value] = g._weights
        key = (id(t), f"{src.name}:{src.order}")
        found = cache.get(key)
        if found is None:
            found = cache[key] = g.weight(node, src.name, t.transpose(perm))
        return found

    def _constant(self, g: LoadContext, node: ForeignNode, src: I, where: Mapping[str, int]) -> Any:
        v = node.input(where[src.name])
        if v is None:
            if src.default is MISSING:
                raise NotExpressible(f"its input {src.name!r} is missing", "missing_input")
            return src.default
        a = g.constant(v)
        if a is None:
            raise NotExpressible(f"its input {src.name!r} must be a constant", "requires_constant_input")
        return a.item() if np.ndim(a) == 0 else tuple(a.tolist())

    # ---- emitting
    def emit(self, e: EmitContext, node: Node) -> None:
        """Add the foreign node for an IR node; NotExpressible says why the row does not apply."""
        decl = self.decl
        if self.rank is not None:
            self._check_rank(next(iter(node.inputs), None))
        by_name: dict[str, Value | None] = {}
        for i, a in enumerate(decl.inputs):
            if not a.variadic:
                by_name[a.name] = node.inputs[i] if i < len(node.inputs) else None
        rest = list(node.inputs[len(by_name) :]) if decl.inputs and decl.inputs[-1].variadic else []
        attrs: dict[str, Any] = {}
        for k, want in self.when.items():
            if isinstance(want, (set, frozenset)):
                if MISSING not in want:
                    attrs[k] = min(want, key=repr)
            elif want is not None:
                attrs[k] = want
        weights: dict[str, Tensor] = {}
        const_inputs: dict[str, Any] = {}
        used = {ours.rstrip("*") for _, ours in self.inputs}
        for key, src in self.mapping.items():
            if isinstance(src, W):
                used.add(key)
                v = by_name[key]
                if v is None:
                    if not src.optional:
                        raise NotExpressible(f"{self.foreign} needs {src.name}")
                    continue
                if v.tensor is None:
                    raise NotExpressible(f"{self.foreign} wants {key} as a constant weight")
                t = v.tensor
                weights[src.name] = t.transpose(permutation_of(src.order, t.ndim)[1]) if src.order else t
                continue
            value = node.attrs[key]
            if isinstance(src, (A, I)):
                out = None if value is None else src.iso.emit(value)
                if isinstance(src, A):
                    if out is None and src.default is not None:
                        raise NotExpressible(f"{key} is not set")
                    if out is None or (not src.write_default and src.default is not MISSING and equal(out, src.default)):
                        continue
                    if symbolic(out):
                        raise NotExpressible(f"{key}={text(value)} is symbolic")
                    attrs[src.name] = out
                elif (out is None and src.default is None) or (src.default is not MISSING and equal(out, src.default)):
                    const_inputs[src.name] = None
                elif out is None:
                    raise NotExpressible(f"{key} is not set")
                elif symbolic(out):
                    raise NotExpressible(f"{key}={text(value)} is symbolic")
                else:
                    const_inputs[src.name] = (out, src.dtype, node)
            elif not equal(value, src) and not self._means(node, key, src):
                raise NotExpressible(f"{key} is {text(value)}, {self.foreign} means {src!r}")
        for name, v in by_name.items():
            if v is not None and name not in used:
                raise NotExpressible(f"{self.foreign} has no counterpart of the input {name!r}")
        for key, attr in decl.attrs.items():
            if key in self.mapping or equal(node.attrs[key], attr.default):
                continue
            if attr.default is REQUIRED or not self._means(node, key, attr.default):
                raise NotExpressible(f"{self.foreign} has no counterpart of {key}={text(node.attrs[key])}")
        handles: list[Any] = []
        for theirs, ours in self.inputs:
            if ours.endswith("*"):
                handles += [None if v is None else e.value(v) for v in rest]
            elif ours == "_":
                c = const_inputs.get(theirs.rstrip("?"))
                handles.append(None if c is None else self._emit_const(e, *c))
            else:
                v = by_name[ours]
                handles.append(None if v is None else e.value(v))
        while handles and handles[-1] is None:
            handles.pop()
        outs = node.outputs if decl.variadic_outputs else [node.outputs[decl.outputs.index(o)] for _, o in self.outputs]
        for v in node.outputs:
            if not any(v is o for o in outs) and (v.uses or v.is_output):
                raise NotExpressible(f"{self.foreign} has no counterpart of an output that is used")
        e.add(self.foreign, handles, attrs, weights=weights, outputs=outs, name=node.name)

    def _check_rank(self, x: Value | None) -> None:
        if x is not None and x.rank is not None and x.rank != self.rank:
            raise NotExpressible(f"its input has {x.rank} axes, {self.foreign} takes {self.rank}", "unsupported_input")

    def _means(self, node: Node, key: str, fixed: Any) -> bool:
        """Whether the op's own normalisation makes the node's attribute of a fixed value (axis -1, pads None)."""
        try:
            full = self.decl.complete({**node.attrs, key: fixed}, node.inputs)
        except ShapeError:
            return False
        return equal(full[key], node.attrs[key])

    @staticmethod
    def _emit_const(e: EmitContext, value: Any, dtype: str, node: Node) -> Any:
        if dtype == "like":
            first = node.inputs[0]
            return e.const(value, first.dtype if first is not None else None)
        return e.const(value, DType(dtype))

    def to_json(self) -> dict[str, Any]:
        """The row as plain data; every function in it is a name."""
        out: dict[str, Any] = {
            "foreign": self.foreign,
            "op": self.op_name,
            "inputs": [list(p) for p in self.inputs],
            "outputs": [list(p) for p in self.outputs],
            "mapping": {k: v.to_json() if isinstance(v, (A, I, W)) else {"value": jsonable(v)} for k, v in self.mapping.items()},
            "direction": self.direction,
            "distribution": self.distribution,
        }
        for key in ("since", "until", "rank"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        if self.priority:
            out["priority"] = self.priority
        if self.when:
            out["when"] = jsonable(dict(self.when))
        if self.ignore:
            out["ignore"] = list(self.ignore)
        if self.then:
            out["then"] = list(self.then)
        return out
