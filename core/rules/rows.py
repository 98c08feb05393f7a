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
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DeclarationError, ShapeError
from ..ir.dtypes import DType
from ..ir.graph import Node, Value
from ..ir.tensors import Tensor, as_tensor
from ..opset.declare import REQUIRED
from ..opset.traits import Trait
from .calls import Call
from .foreign import MISSING, EmitContext
from .isomorphisms import NotExpressible
from .row_load import LoadRow
from .values import equal, symbolic, text
from .words import A, Given, I, Last, Rank, Rest, Size, W, permutation_of

__all__ = ["A", "Given", "I", "Last", "Rank", "Rest", "Row", "Size", "W", "permutation_of"]


class Row(LoadRow):
    """One mapping row. Made by :meth:`RuleSet.op`; see the module's docstring."""

    def emit(self, e: EmitContext, node: Node) -> None:
        """Add the foreign node for an IR node; NotExpressible says why the row does not apply."""
        decl = self.decl
        by_name: dict[str, Value | None] = {}
        for i, a in enumerate(decl.inputs):
            if not a.variadic:
                by_name[a.name] = node.inputs[i] if i < len(node.inputs) else None
        rest = list(node.inputs[len(by_name) :]) if decl.inputs and decl.inputs[-1].variadic else []
        wiring = self._wiring
        if self.rank or self.needs or self.alike or self.types:
            self._check_inputs(by_name, node.inputs, emitting=True)
        if self.spans:
            self._check_spans(by_name, node.attrs["axes"], node.inputs[0], emitting=True)
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
                    if key in self.fills:
                        states[src.name] = as_tensor(self._fill(key, by_name, node))
                        continue
                    if not src.optional:
                        raise NotExpressible(f"{self.foreign} needs {src.name}")
                    continue
                if v.tensor is None:
                    raise NotExpressible(f"{self.foreign} wants {key} as a constant weight")
                states[src.name] = self._state(e, src, v, v.tensor, node)
                continue
            if isinstance(src, (Size, Given)):
                stated = self._restated(src, key, by_name.get(src.of), node)
                if not isinstance(src, Given) or stated is not src.default:
                    attrs[key.rstrip("_")] = stated
                continue
            value = node.attrs[key]
            if isinstance(src, tuple) and any(isinstance(p, A) for p in src):
                self._split(e, src, key, value, attrs, node)
                continue
            if isinstance(src, Rest):
                x = node.inputs[0]
                start = src.emit(key, value, None if x is None else x.rank)
                if isinstance(src.start, A):
                    self._write(e, src.start, key, start, attrs, node)
                continue
            if isinstance(src, Last):
                x = node.inputs[0]
                attrs[src.name] = src.emit(key, value, None if x is None else x.shape)
                continue
            if isinstance(src, A):
                training = decl.attrs[key].training  # what is not known of it is left to the format's default
                if not training or (value is not None and e.keeps(key, node)):
                    self._write(e, src, key, value, attrs, node)
            elif isinstance(src, I):
                out = None if value is None else src.iso.emit(value)
                if (out is None and src.default is None) or (src.default is not MISSING and equal(out, src.default)):
                    const_inputs[src.name] = None
                elif out is None:
                    raise NotExpressible(f"{key} is not set")
                elif symbolic(out) and src.dtype != "size":
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
        moves = Trait.MOVES in decl.traits
        for theirs, ours in self.inputs:
            if ours.endswith("*"):
                held = [None if v is None else e.value(v, carry=moves) for v in rest]
                handles += [e.several(held)] if self.listed else held
            elif ours == "_":
                c = const_inputs.get(theirs.rstrip("?"))
                handles.append(None if c is None else self._emit_const(e, *c))
            else:
                v = by_name[ours]
                if v is None and ours in self.fills:
                    handles.append(e.const(self._fill(ours, by_name, node)))
                else:
                    other = by_name.get(self.numbers.get(ours, ""))
                    one = v is not None and other is not None
                    handles.append(e.operand(v, other) if one else None if v is None else e.value(v, carry=moves))  # type: ignore[arg-type]
        while handles and handles[-1] is None:
            handles.pop()
        made = node.outputs
        outs = made if wiring.outputs is None else [None if i is None else made[i] for i in wiring.outputs]
        for v in made:
            if v not in outs and (v.uses or v.is_output):
                raise NotExpressible(f"{self.foreign} has no counterpart of an output that is used")
        e.unit(self.foreign, handles, attrs, states, outputs=outs, name=node.name, carry=moves, places=self.places)

    @cached_property
    def places(self) -> tuple[tuple[int, str, bool], ...]:
        """Attributes that are arguments by position: where, which, and whether what they list are so many arguments."""
        found = [(v.at, v.name, v.each) for v in self.mapping.values() if isinstance(v, (A, Last)) and v.at is not None]
        return tuple(sorted(found))

    @staticmethod
    def _write(e: EmitContext, src: A, key: str, value: Any, attrs: dict[str, Any], node: Node) -> None:
        """One foreign attribute from the op's value; nothing where it is the default."""
        out = None if value is None else src.iso.emit(value)
        if out is None and src.default is not None:
            raise NotExpressible(f"{key} is not set")
        if out is None or (not src.write_default and src.default is not MISSING and equal(out, src.default)):
            return
        if symbolic(out):
            if not src.sizes:
                raise NotExpressible(f"{key}={text(value)} is symbolic")
            out = e.argument(out, [v for v in node.inputs if v is not None])
        attrs[src.name] = out

    def _split(
        self, e: EmitContext, src: tuple[Any, ...], key: str, value: Any, attrs: dict[str, Any], node: Node
    ) -> None:  # fmt: skip
        if not isinstance(value, (list, tuple)) or len(value) != len(src):
            raise NotExpressible(f"{key}={text(value)} is not {len(src)} values")
        for part, v in zip(src, value):
            if isinstance(part, A):
                made: dict[str, Any] = {}
                self._write(e, part, key, v, made, node)
                if any(k in attrs and not equal(attrs[k], x) for k, x in made.items()):
                    raise NotExpressible(f"{key}={text(value)}, {self.foreign} has one {part.name} for both")
                attrs |= made
            elif not equal(part, v):
                raise NotExpressible(f"{key}={text(value)}, {self.foreign} means {text(part)} there")

    @staticmethod
    def _state(e: EmitContext, src: W, v: Value, t: Tensor, node: Node) -> Any:
        """The weight as the layer holds it: once per weight, however often the layer is called."""
        out = src.emit(t, node.attrs, None if node.inputs[0] is None else node.inputs[0].shape)
        for attr, n in src.sizes_of(out).items():
            if not equal(node.attrs[attr], n):
                raise NotExpressible(f"{attr} is {text(node.attrs[attr])}, {src.name} has {n}")
        if out is t:
            return e.state(v)
        return e.state(v, f"{src.order} {out.shape} {[node.attrs[a] for _, a in src.sizes]}", lambda _: out)

    def _fill(self, key: str, by_name: Mapping[str, Value | None], node: Node) -> NDArray[Any]:
        """What stands for an input that is missing: its number along the axes that the op's parameters lie along, of the type of
        those that are given, else of the data."""
        x = node.inputs[0]
        axes = sorted(node.attrs["axes"]) if "axes" in node.attrs else (node.attrs["axis"],)
        sizes = [None if x is None or x.shape is None else x.shape[a] for a in axes]
        kinds = [v.dtype for name, v in by_name.items() if name in self.fills and v is not None]
        dtype = kinds[0] if kinds else None if x is None else x.dtype
        if any(not isinstance(n, int) for n in sizes) or dtype is None:
            raise NotExpressible(f"{self.foreign} needs a {key} of {', '.join(map(text, sizes))} elements: a size is not known")
        return np.full([n for n in sizes if isinstance(n, int)], self.fills[key], dtype.numpy)

    def _restated(self, src: Size | Given, key: str, v: Value | None, node: Node) -> Any:
        if isinstance(src, Given):
            return v is not None
        out = None if v is None else src.value(v.shape, node.attrs)
        if out is None or out == []:
            raise NotExpressible(f"{key} is not a known number")
        return out

    def _means(self, node: Node, key: str, fixed: Any) -> bool:
        """Whether the op's own normalisation makes the node's attribute of a fixed value (axis -1, pads None)."""
        try:
            full = self.decl.complete({**node.attrs, key: fixed}, node.inputs)
        except ShapeError:
            return False
        ours, theirs = node.attrs[key], full[key]
        if self.decl.attrs[key].kind == "axes" and ours is not None and theirs is not None:
            ours, theirs = sorted(ours), sorted(theirs)  # in which order axes are named does not matter
        return equal(theirs, ours)

    @staticmethod
    def _emit_const(e: EmitContext, value: Any, dtype: str, node: Node) -> Any:
        if dtype == "size":
            return e.sizes(value)
        if dtype == "like":
            first = node.inputs[0]
            return e.const(value, first.dtype if first is not None else None)
        return e.const(value, DType(dtype))

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
            way = self.direction if call.direction == "both" else call.direction
            yield replace(self, foreign=call.name, inputs=inputs, mapping=mapping, call=call, then=(), ignore=(), direction=way)
