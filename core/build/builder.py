"""Building graphs: ``b.op("relu", x)`` or ``b.relu(x)`` checks the inputs against the declaration and infers the outputs.

The same builder is handed to loaders, rules, passes and op bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..budget import bounded_results
from ..errors import ShapeError
from ..ir.dims import Shape
from ..ir.dtypes import DType, exact_array
from ..ir.graph import Graph, Node, Origin, Scope, Value
from ..ir.tensors import Tensor, as_tensor
from ..opset import Op, find_op, op
from ..opset.declare import InferContext

if TYPE_CHECKING:
    from .methods import OpMethods
else:
    OpMethods = object  # every op is a method, made by __getattr__

__all__ = ["Builder", "infer_outputs"]


def infer_outputs(decl: Op, inputs: Sequence[Value | None], attrs: Mapping[str, Any]) -> list[tuple[DType | None, Shape | None]]:
    """Run an op's type check and shape rule on completed attributes."""
    decl.check_types(inputs)
    return list(decl.infer(InferContext(decl, inputs, attrs)))


class _At:
    """See :meth:`Builder.at`; a class, because loaders enter one per node."""

    __slots__ = ("_builder", "_new", "_old")

    def __init__(self, builder: Builder, origin: Origin, scope: Scope | None) -> None:
        self._builder, self._new = builder, (origin, scope)
        self._old: tuple[Origin, Scope, str] | None = None

    def __enter__(self) -> Builder:
        b, (origin, scope) = self._builder, self._new
        self._old = b.origin, b.scope, b.prefix
        b.origin, b.scope, b.prefix = origin, scope or b.scope, origin.layer
        return b

    def __exit__(self, *error: object) -> None:
        if self._old is not None:
            b = self._builder
            b.origin, b.scope, b.prefix = self._old


class Builder(OpMethods):
    """Appends nodes to a graph (or inserts them before ``before``), with a current origin, scope and name prefix.

    The scope defaults to that of ``before``, else to the root.
    """

    def __init__(self, graph: Graph, *, before: Node | None = None, origin: Origin | None = None) -> None:
        self.graph = graph
        self.before = before
        self.origin = origin or Origin()
        self.prefix = ""
        self.scope: Scope = graph.root if before is None else before.scope

    def at(self, origin: Origin, scope: Scope | None = None) -> AbstractContextManager[Builder]:
        """Nodes made inside carry ``origin`` and ``scope`` (default: as before); names start with the origin's layer."""
        return _At(self, origin, scope)

    @contextmanager
    def within(self, scope: Scope) -> Iterator[Builder]:
        """Nodes made inside belong to ``scope``."""
        old, self.scope = self.scope, scope
        try:
            yield self
        finally:
            self.scope = old

    def attempt(self) -> AbstractContextManager[None]:
        """What is made inside (nodes, inputs, weights, claimed names) is undone when an exception leaves the block."""
        return self.graph.attempt()

    def input(self, name: str, dtype: DType | str | None, shape: Shape | None) -> Value:
        """An input of the graph; None for a dtype or shape that is not known. ShapeError for a size of 2**63 and more."""
        if shape is not None and any(isinstance(d, int) and d >= 1 << 63 for d in shape):
            raise ShapeError(f"the input {name!r} has a size of 2**63 or more")
        return self.graph.add_input(name, None if dtype is None else DType(dtype), shape)

    def weight(self, tensor: Any, name: str = "", *, trainable: bool = False, source: str = "", role: str = "") -> Value:
        """A trained array or constant of the graph; ``name`` defaults to ``<prefix>/const``. See :meth:`Graph.add_weight`."""
        t = tensor if isinstance(tensor, Tensor) else as_tensor(tensor)
        return self.graph.add_weight(name or self._name("const"), t, trainable=trainable, source=source, role=role)

    def const(self, value: Any, dtype: DType | str | None = None, name: str = "") -> Value:
        """A constant from a Python number, list or array; Python floats become float32 unless ``dtype`` says otherwise.

        ShapeError where an integer dtype does not hold it.
        """
        try:
            a = exact_array(value, None if dtype is None else DType(dtype))
        except ValueError as e:
            raise ShapeError(str(e)) from None
        if dtype is None and not isinstance(value, (np.ndarray, np.generic)) and a.dtype == np.float64:
            a = a.astype(np.float32)
        return self.weight(a, name)

    def like(self, x: Value, value: Any) -> Value:
        """A scalar constant with the dtype of ``x``."""
        return self.const(value, x.dtype or DType.FLOAT32)

    def op(
        self,
        name: str,
        *inputs: Value | None,
        node_name: str = "",
        output_names: Sequence[str] = (),
        regions: Sequence[Graph] = (),
        n_outputs: int | None = None,
        **attrs: Any,
    ) -> Any:
        """Apply an op; returns its output Value, or a tuple when it declares several.

        Raises ShapeError (naming the layer) when inputs or attributes do not fit the declaration.
        """
        node = self.node(
            name, inputs, attrs, node_name=node_name, output_names=output_names, regions=regions, n_outputs=n_outputs
        )
        many = len(node.outputs) != 1 or op(name).variadic_outputs
        return node.outputs if many else node.outputs[0]

    def node(
        self,
        name: str,
        inputs: Sequence[Value | None],
        attrs: Mapping[str, Any] | None = None,
        *,
        node_name: str = "",
        output_names: Sequence[str] = (),
        regions: Sequence[Graph] = (),
        n_outputs: int | None = None,
        exact: bool = False,
    ) -> Node:
        """Like :meth:`op` but returns the node. ``exact``: the outputs' names are taken as they are, as the node's always is;
        that no other value has them is the caller's business."""
        decl = op(name)
        ins = list(inputs)
        while ins and ins[-1] is None:
            ins.pop()
        try:
            for v in ins:
                if v is not None and v.graph is not self.graph:
                    raise ShapeError(f"{name}: input {v} belongs to another graph")
            if len(regions) != decl.regions:
                raise ShapeError(f"{name} takes {decl.regions} regions, got {len(regions)}")
            decl.check_types(ins)
            full = decl.complete(attrs or {}, ins)
            seen = {**full, "regions": tuple(regions)} if decl.regions else full
            results = list(decl.infer(InferContext(decl, ins, seen)))
        except ShapeError as e:
            if self.origin.layer and str(self.origin) not in str(e):
                raise ShapeError(f"layer {self.origin}: {e}") from e
            raise
        base = node_name or self._name(name)
        nname = node_name or self.graph.fresh_name(base)
        if node_name:
            self.graph.claim_name(node_name)
        outs = []
        for i, (dtype, shape) in enumerate(results):
            if i < len(output_names) and output_names[i]:
                oname = output_names[i] if exact else self.graph.fresh_name(output_names[i])
                if exact:
                    self.graph.claim_name(oname)
            elif len(results) == 1:
                oname = self.graph.fresh_name(f"{nname}:0")
            else:
                label = decl.outputs[i] if i < len(decl.outputs) and not decl.variadic_outputs else str(i)
                oname = self.graph.fresh_name(f"{nname}:{label}")
            outs.append(Value(oname, dtype, shape))
        node = Node(name, ins, outs, full, name=nname, regions=regions, origin=self.origin, scope=self.scope)
        self.graph.insert(node, before=self.before)
        return node

    def opaque(
        self,
        framework: str,
        type: str,
        inputs: Sequence[Value | None],
        n_outputs: int,
        attributes: Mapping[str, Any],
        *,
        why: str = "",
        hint: str = "",
        code: str = "unsupported_layer",
        follows: bool = False,
        output_names: Sequence[str] = (),
        results: Sequence[tuple[DType | None, Shape | None]] = (),
    ) -> tuple[Value, ...]:
        """A foreign op convcore does not know: kept whole for inspection and same-format output, refused elsewhere.

        ``why``, ``hint`` and ``code`` make the Problem quoted when it is refused. ``follows`` marks a node that is only opaque
        because an input of it is (its type has a rule): it gives no problem of its own.
        """
        bounded_results(n_outputs, f"layer {self.origin}" if self.origin.layer else type)
        base = self._name(type)
        nname = self.graph.fresh_name(base)
        outs = []
        for i in range(n_outputs):
            dtype, shape = results[i] if i < len(results) else (None, None)
            want = output_names[i] if i < len(output_names) else ""
            outs.append(Value(self.graph.fresh_name(want or f"{nname}:{i}"), dtype, shape))
        attrs: dict[str, Any] = {
            "framework": framework,
            "type": type,
            "attributes": dict(attributes),
            "why": why,
            "hint": hint,
            "code": code,
        }
        if follows:
            attrs["follows"] = True
        node = Node("opaque", inputs, outs, attrs, name=nname, origin=self.origin, scope=self.scope)
        self.graph.insert(node, before=self.before)
        return node.outputs

    def _name(self, suffix: str) -> str:
        if not self.prefix:
            return suffix
        return f"{self.prefix}/{suffix}"

    if not TYPE_CHECKING:  # there, methods.pyi says what ops there are

        def __getattr__(self, name: str) -> Callable[..., Any]:
            if name.startswith("_"):
                raise AttributeError(name)
            py = name.rstrip("_")  # and_, or_, not_
            if find_op(py) is None:
                raise AttributeError(f"Builder has no attribute and convcore no op {py!r}")

            def apply(*inputs: Value | None, **attrs: Any) -> Any:
                return self.op(py, *inputs, **attrs)

            return apply

    def require(self, condition: bool, why: str) -> None:
        """Raise ShapeError naming the current layer unless ``condition``."""
        if not condition:
            raise ShapeError(f"layer {self.origin}: {why}" if self.origin.layer else why)
