"""Rows from the foreign format to the op."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir.graph import Value
from ..ir.tensors import Tensor
from .calls import bind
from .foreign import MISSING, ForeignNode, LoadContext
from .isomorphisms import NotExpressible
from .row_fields import RowFields
from .values import equal, text
from .words import A, Given, I, Last, Rest, Size, W

__all__ = ["LoadRow"]

MOST_NUMBERS = 1 << 20
"""Largest constant input that is read into an attribute."""


class LoadRow(RowFields):
    """A row that loads."""

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
                ins[key] = self._weight(g, node, src, t, ins)
                attrs |= src.sizes_of(t)
            elif isinstance(src, A):
                attrs[key] = self._attribute(node, src)
            elif isinstance(src, Rest):
                first = ins.get(self.decl.inputs[0].name)
                start = self._attribute(node, src.start) if isinstance(src.start, A) else src.start
                attrs[key] = src.load(start, None if first is None else first.rank)
            elif isinstance(src, Last):
                first = ins.get(self.decl.inputs[0].name)
                attrs[key] = src.load(node.attr(src.name), None if first is None else first.shape)
            elif isinstance(src, I):
                v = self._constant(g, node, src, wiring.constants)
                attrs[key] = v if v is None else src.iso.load(v)
            else:
                attrs[key] = tuple(self._attribute(node, p) if isinstance(p, A) else p for p in src)
        full = [ins.get(name) for name in wiring.order]
        if wiring.rest is not None:
            full += given[wiring.rest :]
        if self.rank or self.needs or self.alike or self.types:
            self._check_inputs(ins, full, emitting=False)
        if self.spans:
            self._check_spans(ins, attrs["axes"], full[0], emitting=False)
        if wiring.restated:
            self._check_restated(node, ins, attrs)
        if wiring.ignored:
            node.ignore(*wiring.ignored)
        if self.call is not None:
            self._check_arguments(asked, node)
        if node.alone and wiring.outputs == (0,) and not self.then:
            outputs = g.b.node(self.op_name, full, attrs, node_name=node.name, output_names=node.outputs[:1], exact=True).outputs
        else:
            outputs = g.b.node(self.op_name, full, attrs).outputs
        if wiring.outputs is None:
            if node.outputs and len(node.outputs) != len(outputs):
                raise NotExpressible(f"has {len(node.outputs)} outputs, {len(outputs)} are made", "unsupported_output")
            return outputs
        if len(node.outputs) > len(wiring.outputs) and any(node.outputs[len(wiring.outputs) :]):
            raise NotExpressible(f"has {len(node.outputs)} outputs, the rule knows {len(wiring.outputs)}", "unsupported_output")
        return tuple(outputs[i] for i in wiring.outputs if i is not None)

    @staticmethod
    def _attribute(node: ForeignNode, src: A) -> Any:
        v = node.attr(src.name, src.default)
        return v if v is None else src.iso.load(v)

    def _weight(self, g: LoadContext, node: ForeignNode, src: W, t: Tensor, ins: Mapping[str, Value | None]) -> Value:
        first = ins.get(self.decl.inputs[0].name)
        rank = None if first is None else first.rank
        made = src.load(t, rank)
        if made is t:
            return g.weight(node, src.name, t)
        return g.derived((src.name, src.order_for(rank)), lambda: g.weight(node, src.name, made), of=t)

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
        if src.dtype == "size":
            sizes = g.sizes(v)
            if sizes is None or any(n is None for n in sizes):
                raise NotExpressible(f"its input {src.name!r} depends on the data", "requires_constant_input")
            return sizes
        a = g.constant(v)
        if a is None:
            raise NotExpressible(f"its input {src.name!r} must be a constant", "requires_constant_input")
        if a.size > MOST_NUMBERS:
            raise NotExpressible(f"its input {src.name!r} has {a.size} numbers, too many for an attribute", "unsupported_input")
        if np.ndim(a) > 1:
            raise NotExpressible(f"its input {src.name!r} has {np.ndim(a)} axes, must be a list of numbers", "unsupported_input")
        return a.item() if np.ndim(a) == 0 else tuple(a.tolist())
