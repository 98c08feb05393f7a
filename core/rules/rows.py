"""Mapping rows: data that runs both ways.

    RULES.op("LeakyRelu", "leaky_relu", "X=x", alpha=A("alpha", default=0.01))
    RULES.op("Dense", "linear", "inputs=x", w=W("kernel", "IO->OI"), b=W("bias", optional=True), units=Size("w", 0),
             use_bias=Given("b"))
    RULES.op("torch.nn.Linear", "linear", "input=x", w=W("weight"), b=W("bias", optional=True), in_features=Size("w", 1),
             out_features=Size("w", 0), bias=Given("b"), also=Call("aten.linear", "input, weight, bias?"))

The words are those of ``words.py``. A plain value fixes the op's attribute: the row makes it when loading and requires it when
emitting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import DeclarationError, ShapeError
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.tensors import Tensor
from ..opset import Op, op
from ..opset.declare import REQUIRED
from .calls import Call, bind
from .foreign import MISSING, EmitContext, ForeignNode, LoadContext
from .isomorphisms import NotExpressible
from .values import equal, jsonable, symbolic, text
from .wiring import Wiring, wire
from .words import A, Given, I, Rank, Size, W, permutation_of

__all__ = ["A", "Given", "I", "Rank", "Row", "Size", "W", "permutation_of"]


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    """``"X=x, W=w"`` as pairs; a bare name stands for both."""
    out = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        theirs, _, ours = part.partition("=")
        out.append((theirs.strip(), (ours or theirs).strip()))
    return tuple(out)


MOST_NUMBERS = 1 << 20
"""Largest constant input that is read into an attribute."""


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
    rank: Rank | None = None
    alike: tuple[str, ...] = ()
    types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    call: Call | None = None
    unless: Mapping[str, Any] = field(default_factory=dict)
    one_of: tuple[str, ...] = ()

    @property
    def decl(self) -> Op:
        return op(self.op_name)

    @cached_property
    def _wiring(self) -> Wiring:
        return wire(self.decl, self.inputs, self.outputs, self.mapping, (*self.ignore, *self.when))

    def validate(self) -> None:
        """Check the row against the op's declaration; DeclarationError says what does not fit."""
        decl = self.decl
        names = {a.name for a in decl.inputs}

        def bad(why: str) -> DeclarationError:
            return DeclarationError(f"row {self.foreign} -> {self.op_name}: {why}")

        given = {ours.rstrip("*") for _, ours in self.inputs if ours != "_"}
        sized: set[str] = set()
        for key, src in self.mapping.items():
            if isinstance(src, (Size, Given)):
                if src.of not in names:
                    raise bad(f"the op has no input {src.of!r}, which {key} speaks of")
            elif key in names:
                if not isinstance(src, W):
                    raise bad(f"{key} is an input of the op and must be mapped by W or in the input list")
                given.add(key)
                src.validate()
                for _, size in src.sizes:
                    if size not in decl.attrs:
                        raise bad(f"the op has no attribute {size!r}, which is said to be a size of {key}")
                    sized.add(size)
            elif key not in decl.attrs:
                raise bad(f"the op has neither an input nor an attribute {key!r}")
            elif isinstance(src, W):
                raise bad(f"{key} is an attribute, not an input")
            elif isinstance(src, I) and src.name not in {t.rstrip("*?") for t, _ in self.inputs}:
                raise bad(f"input {src.name!r} of I is not in the input list")
        for of in (*self.types, *((self.rank.of,) if self.rank is not None and self.rank.of else ())):
            if of not in names:
                raise bad(f"the op has no input {of!r}")
        for key in (*self.unless, *self.one_of):
            if key not in decl.attrs:
                raise bad(f"the op has no attribute {key!r}")
        if set(self.alike) - {"rank", "dtype"}:
            raise bad(f"alike={self.alike} is not of 'rank' and 'dtype'")
        if self.call is not None:
            left = {t.rstrip("*?") for t, _ in self.inputs} - {p.ours for p in self.call.parameters}
            if left:
                raise bad(f"the call has no parameter {sorted(left)[0]!r}")
        for name in given - names:
            raise bad(f"the op has no input {name!r}")
        for a in decl.inputs:
            if not a.optional and not a.variadic and a.name not in given:
                raise bad(f"the op's input {a.name!r} is not mapped")
        for name, attr in decl.attrs.items():
            if attr.default is REQUIRED and name not in self.mapping and name not in sized:
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
        wiring = self._wiring
        if self.call is not None:
            asked, node = node, bind(self.call, node, [t.rstrip("*?") for t, _ in self.inputs])
        given = node.inputs
        count = len(given)
        ins: dict[str, Value | None] = {ours: given[i] if i < count else None for ours, i in wiring.named}
        for ours, theirs in wiring.needed:
            if ins[ours] is None:
                raise NotExpressible(f"its input {theirs!r} is missing", "missing_input")
        if wiring.most is not None and count > wiring.most:
            raise NotExpressible(f"has {count} inputs, the rule knows {wiring.most}", "unsupported_input")
        attrs = dict(wiring.fixed)
        for key, src in wiring.read:
            if isinstance(src, W):
                t = node.weights.get(src.name)
                if t is None:
                    if not src.optional:
                        raise node.refuse(f"its weight {src.name!r} is missing", code="missing_weight")
                    ins[key] = None
                    continue
                ins[key] = self._weight(g, node, src, t)
                attrs |= src.sizes_of(t)
            elif isinstance(src, A):
                attrs[key] = self._attribute(node, src)
            elif isinstance(src, I):
                v = self._constant(g, node, src, wiring.constants)
                attrs[key] = v if v is None else src.iso.load(v)
            else:
                attrs[key] = tuple(self._attribute(node, p) if isinstance(p, A) else p for p in src)
        full = [ins.get(name) for name in wiring.order]
        if wiring.rest is not None:
            full += given[wiring.rest :]
        if self.rank is not None or self.alike or self.types:
            self._check_inputs(ins, full, emitting=False)
        if wiring.restated:
            self._check_restated(node, ins, attrs)
        if wiring.ignored:
            node.ignore(*wiring.ignored)
        if self.call is not None:
            self._check_arguments(asked, node)
        outputs = g.b.node(self.op_name, full, attrs).outputs
        return outputs if wiring.outputs is None else tuple(outputs[i] for i in wiring.outputs)

    @staticmethod
    def _attribute(node: ForeignNode, src: A) -> Any:
        v = node.attr(src.name, src.default)
        return v if v is None else src.iso.load(v)

    @staticmethod
    def _weight(g: LoadContext, node: ForeignNode, src: W, t: Tensor) -> Value:
        made = src.load(t)
        if made is t:
            return g.weight(node, src.name, t)
        return g.derived((src.name, src.order), lambda: g.weight(node, src.name, made), of=t)

    def _check_restated(self, node: ForeignNode, ins: Mapping[str, Value | None], attrs: Mapping[str, Any]) -> None:
        """Attributes that say again what an input says must agree with it."""
        for key, src in self.mapping.items():
            key = key.rstrip("_")
            if not isinstance(src, (Size, Given)) or not node.has(key):
                continue
            stated, v = node.attr(key), ins.get(src.of)
            if isinstance(src, Given):
                if bool(stated) is not (v is not None):
                    raise node.refuse(f"{key}={stated!r}, but it has {'no' if v is None else 'a'} {src.of}", code="invalid_shape")
                continue
            defaults = {k: a.default for k, a in self.decl.attrs.items()}
            want = None if v is None else src.value(v.shape, {**defaults, **attrs})
            if want is not None and stated is not None and not equal(stated, want):
                raise node.refuse(f"{key}={stated!r}, but by the shape of its weights it is {want!r}", code="invalid_shape")

    def _check_arguments(self, asked: ForeignNode, node: ForeignNode) -> None:
        """An argument of a call that the row says nothing about must be what it is when left out."""
        defaults = {p.ours: p.default for p in self.call.parameters} if self.call is not None else {}
        own = {k for k in asked.attrs if k not in ("args", "kwargs")}
        for key in node.unread():
            if key not in own and not equal(node.attrs[key], defaults.get(key, MISSING)):
                raise NotExpressible(f"its argument {key}={text(node.attrs[key])} is not known", "unsupported_call")

    def _constant(self, g: LoadContext, node: ForeignNode, src: I, where: Mapping[str, int]) -> Any:
        v = node.input(where[src.name])
        if v is None:
            if src.default is MISSING:
                raise NotExpressible(f"its input {src.name!r} is missing", "missing_input")
            return src.default
        a = g.constant(v)
        if a is None:
            raise NotExpressible(f"its input {src.name!r} must be a constant", "requires_constant_input")
        if a.size > MOST_NUMBERS:
            raise NotExpressible(f"its input {src.name!r} has {a.size} numbers, too many for an attribute", "unsupported_input")
        return a.item() if np.ndim(a) == 0 else tuple(a.tolist())

    # ---- emitting
    def emit(self, e: EmitContext, node: Node) -> None:
        """Add the foreign node for an IR node; NotExpressible says why the row does not apply."""
        decl = self.decl
        by_name: dict[str, Value | None] = {}
        for i, a in enumerate(decl.inputs):
            if not a.variadic:
                by_name[a.name] = node.inputs[i] if i < len(node.inputs) else None
        rest = list(node.inputs[len(by_name) :]) if decl.inputs and decl.inputs[-1].variadic else []
        wiring = self._wiring
        if self.rank is not None or self.alike or self.types:
            self._check_inputs(by_name, node.inputs, emitting=True)
        for key, value in self.unless.items():
            if equal(node.attrs[key], value):
                raise NotExpressible(f"{self.foreign} is not written for {key}={text(value)}")
        several = [k for k in self.one_of if not all(equal(n, 1) for n in node.attrs[k])]
        if len(several) > 1:
            raise NotExpressible(f"{self.foreign} takes only one of {' and '.join(several)} other than 1")
        attrs: dict[str, Any] = {}
        for k, want in self.when.items():
            if isinstance(want, (set, frozenset)):
                if MISSING not in want:
                    attrs[k] = min(want, key=repr)
            elif want is not None:
                attrs[k] = want
        states: dict[str, Any] = {}
        const_inputs: dict[str, Any] = {}
        for key, src in self.mapping.items():
            if isinstance(src, W):
                v = by_name[key]
                if v is None:
                    if not src.optional:
                        raise NotExpressible(f"{self.foreign} needs {src.name}")
                    continue
                if v.tensor is None:
                    raise NotExpressible(f"{self.foreign} wants {key} as a constant weight")
                states[src.name] = self._state(e, src, v, v.tensor, node)
                continue
            if isinstance(src, (Size, Given)):
                attrs[key.rstrip("_")] = self._restated(src, key, by_name.get(src.of), node)
                continue
            value = node.attrs[key]
            if isinstance(src, tuple) and any(isinstance(p, A) for p in src):
                self._split(src, key, value, attrs)
                continue
            if isinstance(src, A):
                if value is not None or not decl.attrs[key].training:  # what is not known is left to the format's default
                    self._write(src, key, value, attrs)
            elif isinstance(src, I):
                out = None if value is None else src.iso.emit(value)
                if (out is None and src.default is None) or (src.default is not MISSING and equal(out, src.default)):
                    const_inputs[src.name] = None
                elif out is None:
                    raise NotExpressible(f"{key} is not set")
                elif symbolic(out):
                    raise NotExpressible(f"{key}={text(value)} is symbolic")
                else:
                    const_inputs[src.name] = (out, src.dtype, node)
            elif not decl.attrs[key].training and not equal(value, src) and not self._means(node, key, src):
                raise NotExpressible(f"{key} is {text(value)}, {self.foreign} means {src!r}")
        for name, v in by_name.items():
            if v is not None and name not in wiring.used:
                raise NotExpressible(f"{self.foreign} has no counterpart of the input {name!r}")
        for key, attr in wiring.silent:
            if equal(node.attrs[key], attr.default):
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
        made = node.outputs
        outs = made if wiring.outputs is None else [made[i] for i in wiring.outputs]
        for v in made:
            if v not in outs and (v.uses or v.is_output):
                raise NotExpressible(f"{self.foreign} has no counterpart of an output that is used")
        e.unit(self.foreign, handles, attrs, states, outputs=outs, name=node.name)

    @staticmethod
    def _write(src: A, key: str, value: Any, attrs: dict[str, Any]) -> None:
        """One foreign attribute from the op's value; nothing where it is the default."""
        out = None if value is None else src.iso.emit(value)
        if out is None and src.default is not None:
            raise NotExpressible(f"{key} is not set")
        if out is None or (not src.write_default and src.default is not MISSING and equal(out, src.default)):
            return
        if symbolic(out):
            raise NotExpressible(f"{key}={text(value)} is symbolic")
        attrs[src.name] = out

    def _split(self, src: tuple[Any, ...], key: str, value: Any, attrs: dict[str, Any]) -> None:
        if not isinstance(value, (list, tuple)) or len(value) != len(src):
            raise NotExpressible(f"{key}={text(value)} is not {len(src)} values")
        for part, v in zip(src, value):
            if isinstance(part, A):
                self._write(part, key, v, attrs)
            elif not equal(part, v):
                raise NotExpressible(f"{key}={text(value)}, {self.foreign} means {text(part)} there")

    @staticmethod
    def _state(e: EmitContext, src: W, v: Value, t: Tensor, node: Node) -> Any:
        """The weight as the layer holds it: once per weight, however often the layer is called."""
        out = src.emit(t, node.attrs)
        for attr, n in src.sizes_of(out).items():
            if not equal(node.attrs[attr], n):
                raise NotExpressible(f"{attr} is {text(node.attrs[attr])}, {src.name} has {n}")
        if out is t:
            return e.state(v)
        return e.state(v, f"{src.order} {[node.attrs[a] for _, a in src.sizes]}", lambda _: out)

    def _restated(self, src: Size | Given, key: str, v: Value | None, node: Node) -> Any:
        if isinstance(src, Given):
            return v is not None
        out = None if v is None else src.value(v.shape, node.attrs)
        if out is None:
            raise NotExpressible(f"{key} is not a known number")
        return out

    def _check_inputs(self, by_name: Mapping[str, Value | None], every: Sequence[Value | None], *, emitting: bool) -> None:
        """The row's conditions on ranks and element types; NotExpressible where one is not met (or, emitting, not known)."""
        if self.rank is not None:
            v = by_name.get(self.rank.of) if self.rank.of else next(iter(every), None)
            rank = None if v is None else v.rank
            if rank != self.rank.n and (rank is not None or (emitting and v is not None)):
                shown = "an unknown number of" if rank is None else rank
                raise NotExpressible(f"its input has {shown} axes, {self.foreign} takes {self.rank.n}", "unsupported_input")
        for what in self.alike:
            found = [getattr(v, what) for v in every if v is not None]
            if any(x is None or x != found[0] for x in found):
                raise NotExpressible(f"its inputs are not of one {what}: {', '.join(map(str, found))}", "unsupported_input")
        for name, allowed in self.types.items():
            for v in [by_name.get(name)] if name in by_name else every:
                if v is not None and not _is_of(v.dtype, allowed):
                    raise NotExpressible(f"{name} is {v.dtype}, the rule is for {', '.join(allowed)}", "unsupported_dtype")

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
            "mapping": {k: _source_json(v) for k, v in self.mapping.items()},
            "direction": self.direction,
            "distribution": self.distribution,
        }
        for key in ("since", "until"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        if self.rank is not None:
            out["rank"] = self.rank.to_json() if self.rank.of else self.rank.n
        if self.alike:
            out["alike"] = list(self.alike)
        if self.types:
            out["types"] = {k: list(v) for k, v in self.types.items()}
        if self.call is not None:
            out["call"] = self.call.to_json()
        if self.unless:
            out["unless"] = jsonable(dict(self.unless))
        if self.one_of:
            out["one_of"] = list(self.one_of)
        if self.priority:
            out["priority"] = self.priority
        if self.when:
            out["when"] = jsonable(dict(self.when))
        if self.ignore:
            out["ignore"] = list(self.ignore)
        if self.then:
            out["then"] = list(self.then)
        return out

    def faces(self, calls: Sequence[Call]) -> Iterator[Row]:
        """The same row for functions: what the layer owns are arguments there, and nothing is said twice.

        DeclarationError where a weight has other axes than the op: a function takes it as it is.
        """
        weights = [(src.name, key, src) for key, src in self.mapping.items() if isinstance(src, W)]
        for call in calls:
            known = {p.ours for p in call.parameters}
            for name, _, src in weights:
                if src.order or name not in known:
                    why = f"its parameter {name!r} is missing" if name not in known else f"{name!r} has other axes there"
                    raise DeclarationError(f"row {self.foreign} -> {self.op_name}: {call.name} cannot be the same row: {why}")
            mapping = {k: v for k, v in self.mapping.items() if not isinstance(v, (W, Size, Given))}
            inputs = (*self.inputs, *((name, key) for name, key, _ in weights))
            yield replace(self, foreign=call.name, inputs=inputs, mapping=mapping, call=call, then=(), ignore=())


def _is_of(dtype: DType | None, allowed: Sequence[str]) -> bool:
    """Whether a dtype is one of those named; "float" and "int" name all of their kind. An unknown one is none."""
    if dtype is None:
        return False
    return str(dtype) in allowed or ("float" in allowed and dtype.is_float) or ("int" in allowed and dtype.is_int)


def _source_json(v: Any) -> Any:
    if isinstance(v, (A, I, W, Size, Given)):
        return v.to_json()
    if isinstance(v, tuple) and any(isinstance(p, A) for p in v):
        return [_source_json(p) for p in v]
    return {"value": jsonable(v)}
