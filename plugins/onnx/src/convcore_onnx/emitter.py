"""What emit rules work with: nodes, names, constants and weights of the ONNX graph being made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from convcore.plugin import (
    Dim,
    DimLike,
    DType,
    Graph,
    Node,
    NotExpressible,
    RuleSet,
    Tensor,
    UnsupportedError,
    Value,
    as_tensor,
    emit_nodes,
    unsupported,
)

from .rules.sizes import emit_size
from .typecheck import result_types, same_operator

__all__ = ["Emitter", "OnnxNode", "OnnxRegion"]


class OnnxNode:
    """A node to be written. ``attrs`` are plain Python, Tensors and :class:`OnnxRegion`, ``kept`` AttributeProtos."""

    __slots__ = ("attrs", "domain", "inputs", "kept", "name", "outputs", "type")

    def __init__(
        self, type: str, inputs: list[str], outputs: list[str], attrs: dict[str, Any], name: str, domain: str,
        kept: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        self.type, self.inputs, self.outputs = type, inputs, outputs
        self.attrs, self.name, self.domain, self.kept = attrs, name, domain, kept


class OnnxRegion:
    """A subgraph to be written: its formal inputs and outputs with their types, and its nodes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[tuple[str, Value]] = []
        self.outputs: list[tuple[str, Value]] = []
        self.nodes: list[OnnxNode] = []


_ABSENT = object()


class _Shared:
    """What all regions of a model have in common: names, initializers, constants."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.node_names: dict[str, int] = {}
        self.weights: dict[str, tuple[Tensor, Value | None]] = {}
        self.by_tensor: dict[tuple[Tensor, str], str] = {}
        self.reserved: dict[str, bool] = {}
        self.consts: dict[Any, str] = {}
        self.domains: dict[str, int] = {}
        self.types: dict[str, DType] = {}


class Emitter:
    """The EmitContext of ONNX. A handle is the name of a value. ``version`` is the opset written.

    Weights of regions are initializers of the main graph, which subgraphs may refer to.
    """

    def __init__(
        self, version: int, rules: RuleSet, overrides: Mapping[str, Any], graph: Graph, shared: _Shared | None = None,
        outer: Emitter | None = None,
    ) -> None:  # fmt: skip
        self.version: int | None = version
        self.opset = version
        self.rules, self.overrides, self.graph = rules, overrides, graph
        self.shared = shared if shared is not None else _Shared()
        self.outer = outer
        self.nodes: list[OnnxNode] = []
        self.bound: dict[Value, str] = {}
        self._log: list[tuple[dict[Any, Any], Any, Any]] = []
        self._sizes: dict[DimLike, str] = {}
        self._where: dict[str, tuple[Value, int]] | None = None

    # ---- rollback
    def mark(self) -> tuple[int, int]:
        return len(self.nodes), len(self._log)

    def rollback(self, mark: tuple[int, int]) -> None:
        del self.nodes[mark[0] :]
        while len(self._log) > mark[1]:
            table, key, old = self._log.pop()
            if old is _ABSENT:
                del table[key]
            else:
                table[key] = old

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._log.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    # ---- names
    def reserve(self) -> None:
        """Keep the names of this graph's values for them; whatever is made on the way takes others."""
        for v in self.graph.values():
            if v.name:
                self.shared.reserved[v.name] = True
                self.shared.names.setdefault(v.name, 0)

    def own_name(self, name: str) -> str:
        """The name reserved for a value, or a fresh one."""
        if self.outer is None and self.shared.reserved.get(name):
            self._put(self.shared.reserved, name, False)
            return name
        return self.fresh(name)

    def fresh(self, base: str) -> str:
        """A value name nothing has yet: ``base``, or ``base_1``..."""
        return self._fresh(self.shared.names, base or "value")

    def _fresh(self, table: dict[str, int], base: str) -> str:
        n = table.get(base)
        if n is None:
            self._put(table, base, 0)
            return base
        while True:
            n += 1
            name = f"{base}_{n}"
            if name not in table:
                self._put(table, base, n)
                self._put(table, name, 0)
                return name

    def bind(self, v: Value, name: str) -> str:
        """Let an IR value be known by a name."""
        self._put(self.bound, v, name)
        if v.dtype is not None:
            self._put(self.shared.types, name, v.dtype)
        return name

    # ---- EmitContext
    def skip(self, v: Value) -> None:
        """Bind a value whose node failed to a name nothing makes; the model is not written then."""
        self.bind(v, self.own_name(v.name))

    def opaque(self, node: Node) -> None:
        """Write a node without a rule back as it was, where the opset written gives it the meaning it had."""
        kept = node.attrs["attributes"]
        if "proto" not in kept or node.attrs["code"] in ("malformed_node", "invalid_shape"):  # wrong in its source already
            raise unsupported(node, str(node.attrs["why"]), code=str(node.attrs["code"]))
        from onnx import NodeProto

        proto = NodeProto.FromString(kept["proto"])
        why = str(node.attrs["why"])
        if any(a.ref_attr_name or a.type in (a.GRAPH, a.GRAPHS) for a in proto.attribute):
            raise unsupported(node, "it holds subgraphs or is part of a function: it cannot be written back alone", why)
        if any(t.data_location == t.EXTERNAL for a in proto.attribute for t in (a.t, *a.tensors)):
            raise unsupported(node, "an attribute's data is in another file: it cannot be written back alone", why)
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        if not domain and not same_operator(proto.op_type, kept["opset"], self.opset):
            hint = f"{why}; choose opset={kept['opset']}, that of its source" if kept["opset"] else why
            raise unsupported(node, f"opset {self.opset} has another {proto.op_type} than its source", hint)
        if domain:
            if self.shared.domains.get(domain, kept["opset"]) != kept["opset"] or not kept["opset"]:
                raise unsupported(node, f"the version of the operator set {domain!r} is not clear")
            self._put(self.shared.domains, domain, kept["opset"])
        ins = ["" if v is None else self.value(v) for v in node.inputs]
        outs = [self.bind(v, self.own_name(v.name)) if o else "" for v, o in zip(node.outputs, proto.output)]
        name = self._fresh(self.shared.node_names, node.name)
        self.nodes.append(OnnxNode(proto.op_type, ins, outs, {}, name, domain, list(proto.attribute)))

    def value(self, v: Value) -> str:
        """The name of an IR value; a weight becomes an initializer at its first use."""
        name = self.bound.get(v)
        if name is not None:
            return name
        if v.tensor is None:
            raise NotExpressible(f"the value {v.name!r} has not been emitted")
        return self.bind(v, self._initializer(v.tensor, v.name, v, ""))

    def weight(self, v: Value, key: str, make: Callable[[Tensor], Tensor]) -> str:
        """An initializer made from a weight by ``make`` (transposed, reordered...), once per weight and ``key``."""
        if v.tensor is None:
            raise NotExpressible(f"{v.name!r} is not a constant")
        found = self.shared.by_tensor.get((v.tensor, key))
        return found if found is not None else self._initializer(make(v.tensor), v.name, v, key, of=v.tensor)

    def _initializer(self, tensor: Tensor, name: str, v: Value | None, key: str, of: Tensor | None = None) -> str:
        ident = (tensor if of is None else of, key)
        found = self.shared.by_tensor.get(ident)
        if found is not None:
            return found
        name = self.own_name(name)
        self._put(self.shared.by_tensor, ident, name)
        self._put(self.shared.weights, name, (tensor, v))
        return name

    def const(self, value: Any, dtype: Any = None, name: str = "") -> str:
        """An initializer of a number, list or array; equal small ones are stored once."""
        if isinstance(value, Tensor):
            tensor = value
            key: Any = None
        else:
            try:
                a = np.asarray(value, None if dtype is None else DType(dtype).numpy)
            except OverflowError:
                raise NotExpressible(f"the constant {value} does not fit {dtype}") from None
            if dtype is None and a.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
                a = a.astype(np.float32)
            tensor = as_tensor(a)
            key = (tensor.dtype, tensor.shape, a.tobytes()) if a.nbytes <= 256 and a.dtype != object else None
        found = self.shared.consts.get(key) if key is not None else None
        if found is not None:
            return found
        made = self.fresh(name or "const")
        self._put(self.shared.weights, made, (tensor, None))
        if key is not None:
            self._put(self.shared.consts, key, made)
        return made

    def add(
        self, type: str, inputs: Sequence[Any], attrs: Mapping[str, Any], *, weights: Mapping[str, Tensor] | None = None,
        outputs: Sequence[Value | None] = (), n_outputs: int = 1, name: str = "",
    ) -> Sequence[str]:  # fmt: skip
        """Add a node ``type`` (``domain.Type`` outside the standard). None among ``outputs`` is an output left out."""
        if weights:
            raise NotExpressible("an ONNX node owns no weights")
        domain, _, op_type = type.rpartition(".")
        ins = ["" if i is None else i for i in inputs]
        while ins and not ins[-1]:
            ins.pop()
        types = [] if domain else result_types(op_type, self.opset, [self.dtype_of(i) for i in ins], attrs)
        if outputs:
            outs = ["" if v is None else self.bind(v, self.own_name(v.name)) for v in outputs]
        else:
            base = name or op_type
            outs = [self.fresh(f"{base}/out" if n_outputs == 1 else f"{base}/out{i}") for i in range(n_outputs)]
        for i, out in enumerate(outs if types else ()):
            made = types[min(i, len(types) - 1)]
            if made is not None and out and self.shared.types.get(out) is None:
                self._put(self.shared.types, out, made)
        node_name = self._fresh(self.shared.node_names, name or op_type)
        if domain:
            self._put(self.shared.domains, domain, 1)
        clean = {k: v for k, v in attrs.items() if v is not None}
        self.nodes.append(OnnxNode(op_type, ins, outs, clean, node_name, domain))
        return outs

    def dtype_of(self, name: str) -> DType | None:
        """The element type of a value, None where it is not known."""
        held = self.shared.weights.get(name)
        return self.shared.types.get(name) if held is None else held[0].dtype

    # ---- sizes as data
    def size(self, d: DimLike) -> str:
        """A vector with one int64 element: the size, computed from the shapes of inputs when it is symbolic."""
        found = self._sizes.get(d)
        if found is None:
            found = emit_size(self, d)
            self._put(self._sizes, d, found)
        return found

    def sizes(self, dims: Sequence[DimLike | None]) -> str:
        """An int64 vector of sizes: a constant when all are integers. NotExpressible when one is unknown."""
        if any(d is None for d in dims):
            raise NotExpressible(f"a size of ({', '.join('?' if d is None else str(d) for d in dims)}) is unknown")
        if not any(isinstance(d, Dim) for d in dims):
            return self.const([int(d) for d in dims], DType.INT64)  # type: ignore[arg-type]
        if len(dims) == 1:
            return self.size(dims[0])  # type: ignore[arg-type]
        return self.add("Concat", [self.size(d) for d in dims], {"axis": 0}, name="shape")[0]  # type: ignore[arg-type]

    def dim_source(self, name: str) -> tuple[str, int]:
        """(value name, axis) of a value emitted so far that has the named size as an axis, inputs first."""
        if self._where is None:
            self._where = {}
            for v in self.graph.inputs:
                self._note(v)
        at = self._where.get(name)
        if at is None:
            for node in self.graph:
                for v in node.outputs:
                    if v in self.bound:
                        self._note(v)
            at = self._where.get(name)
        if at is not None and at[0] in self.bound:
            return self.bound[at[0]], at[1]
        if self.outer is not None:
            return self.outer.dim_source(name)
        raise NotExpressible(f"the size {name!r} is not the size of any input")

    def _note(self, v: Value) -> None:
        for i, d in enumerate(v.shape or ()):
            if isinstance(d, Dim) and d.is_name and self._where is not None:
                self._where.setdefault(next(iter(d.names)), (v, i))

    # ---- regions
    def region(self, graph: Graph, bound: Sequence[Value | None], formal: int) -> OnnxRegion:
        """A region as a subgraph: its first ``formal`` inputs are its own, the rest stand for ``bound`` values of this scope."""
        inner = Emitter(self.opset, self.rules, self.overrides, graph, self.shared, self)
        inner._log = self._log
        out = OnnxRegion(graph.name or "body")
        for v in graph.inputs[:formal]:
            out.inputs.append((inner.bind(v, inner.fresh(v.name)), v))
        for v, ours in zip(graph.inputs[formal:], bound):
            if ours is not None:
                inner.bind(v, self.value(ours))
        graph.remove_unused()
        problems = emit_nodes(graph, inner, self.rules, self.overrides)
        if problems:
            raise UnsupportedError(problems)
        inner.results(out.outputs, {n for n, _ in out.inputs})
        out.nodes = inner.nodes
        return out

    def results(self, outputs: list[tuple[str, Value]], inputs: set[str]) -> None:
        """Bind the graph's outputs: one made elsewhere, or named twice, goes through Identity."""
        made = {o for n in self.nodes for o in n.outputs}
        seen: set[str] = set()
        for v in self.graph.outputs:
            name = self.value(v)
            if name not in made or name in seen:
                (name,) = self.add("Identity", [name], {}, name=f"{v.name}/output")
            seen.add(name)
            outputs.append((name, v))
