"""ONNX models of any opset as IR graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convcore.plugin import (
    BUFFER,
    PARAMETER,
    BadFileError,
    Builder,
    Dim,
    DimLike,
    DType,
    ForeignNode,
    Graph,
    InputShapes,
    LoadRequest,
    NotExpressible,
    Origin,
    Role,
    Shape,
    Tensor,
    Trait,
    UsageError,
    Value,
    find_op,
    let_go,
    traits_of,
)

from .about import read_about
from .attributes import attributes_of, plain
from .context import OnnxContext
from .contrib import DOMAIN
from .driver import Call, OnnxDriver
from .functions import Functions
from .keep import Seen
from .nesting import nest_by_names
from .proto import Source, read_model
from .regions import Regions
from .scope import Scope, Where
from .structure import declared_type, names_read, opsets_of, ordered, read_dim
from .tensors import sparse_to_tensor, to_tensor

__all__ = ["load"]

TENSOR = 4
"""AttributeProto.TENSOR."""
FLOATS = {DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64}


def load(request: LoadRequest) -> Graph:
    """Read a path or a ModelProto.

    Every opset is accepted; what no rule covers becomes an opaque node with the reason. BadFileError for files that are
    damaged, wired wrongly (cycles, missing or doubled values), or point outside their folder.
    """
    source = read_model(request.source)
    if request.weights is not None:
        raise UsageError("an ONNX model holds its weights or names their files; give the model alone")
    loader = Loader(source, request)
    graph = loader.run()
    if loader.freed:
        loader.notes.append(let_go(graph, loader.freed, lambda s: Loader(source, replace(request, input_shapes=s)).run()))
    return graph


class Loader:
    """One model being read."""

    def __init__(self, source: Source, request: LoadRequest) -> None:
        self.source, self.request = source, request
        self.model = source.model
        self.functions = Functions(self)
        self.regions = Regions(self)
        self.where = Where(opsets_of(self.model.opset_import, "the model"))
        self.ours = self.model.producer_name == "convcore"
        self.notes: list[str] = []
        self.seen = Seen()
        self.input_names: frozenset[str] = frozenset()
        self.freed: Mapping[str, Mapping[int, tuple[int, DimLike]]] = {}
        """Sizes of inputs that the caller changed, which the file fixes: see :class:`InputShapes`."""

    # ---- the main graph
    def run(self) -> Graph:
        proto = self.model.graph
        if not self.where.opsets and self.model.ir_version >= 3:
            raise BadFileError("the model imports no operator set")
        if not self.where.opsets:
            self.where = replace(self.where, opsets={"": 1})
        graph = Graph(proto.name)
        scope = self.scope(graph, 0)
        self.initializers(scope, proto, "", self.source.raw)
        self.inputs(scope, proto)
        self.nodes(scope, proto, self.where)
        for v in proto.output:
            graph.outputs.append(self.find(scope, v.name, "the graph's outputs"))
        if named := self.size_names(scope, proto):
            graph.metadata["size_names"] = named
        self.finish(scope)
        return graph

    def finish(self, scope: Scope) -> None:
        graph, m = scope.graph, self.model
        graph.remove_unused()
        _mark_parameters(graph)
        nest_by_names(graph)
        self.seen.remember(graph)
        writer = f"{m.producer_name} {m.producer_version}".strip() or "unknown writer"
        opsets = ", ".join(f"{d or 'ai.onnx'} {v}" for d, v in self.where.opsets.items())
        graph.metadata.update(
            framework="onnx", kind="graph", version=f"{writer}, IR {m.ir_version}, opset {opsets}", notes=self.notes,
            opsets=dict(self.where.opsets),
        )  # fmt: skip
        read_about(graph.metadata, m)

    def size_names(self, scope: Scope, proto: Any) -> dict[str, list[str]]:
        """The names that the file gives to sizes of outputs which inference leaves open (how many boxes a NonMaxSuppression
        finds), by output, "" for the others: only for writing them back."""
        found = {}
        for info in proto.output:
            shape = scope.values[info.name].shape
            _, declared, _ = declared_type(info, lambda t: read_dim(t, self.ours), lambda i: None)
            if shape is None or declared is None or len(declared) != len(shape):
                continue
            names = [str(n) if d is None and isinstance(n, Dim) else "" for d, n in zip(shape, declared)]
            if any(names):
                found[info.name] = names
        return found

    def scope(self, graph: Graph, depth: int) -> Scope:
        scope = Scope(graph, depth)
        scope.context = OnnxContext(Builder(graph), self, scope)
        scope.driver = OnnxDriver("onnx", scope.context, self.request.ruleset, self.request.overrides)
        return scope

    def initializers(self, scope: Scope, proto: Any, prefix: str, raw: Mapping[int, tuple[int, int]]) -> None:
        """The weights of a graph; ``raw``: where the elements of some lie in the file."""
        folder, path = self.source.folder, self.source.path
        for i, t in enumerate(proto.initializer):
            what = f"tensor {t.name!r}"
            self.initializer(scope, prefix + t.name, lambda t=t, i=i, what=what: to_tensor(t, what, folder, raw.get(i), path))
        for s in proto.sparse_initializer:
            what = f"sparse tensor {s.values.name!r}"
            self.initializer(scope, prefix + s.values.name, lambda s=s, what=what: sparse_to_tensor(s, what, folder))

    def initializer(self, scope: Scope, name: str, read: Any) -> None:
        if scope.known(name):
            raise BadFileError(f"the initializer {name!r} is there twice")
        try:
            tensor = read()
        except NotExpressible as e:
            scope.bad[name] = f"initializer {name!r}: {e}"
            return
        trainable = tensor.dtype.is_float and tensor.ndim > 0
        v = scope.graph.add_weight(name, tensor, trainable=trainable, source=name)
        self.bind(scope, name, v)

    def inputs(self, scope: Scope, proto: Any) -> None:
        given = InputShapes(self.request.input_shapes)
        default = [v.name for v in proto.input if scope.known(v.name)]
        if default and self.model.ir_version >= 4:
            more = f" and {len(default) - 3} more" if len(default) > 3 else ""
            self.notes.append(f"inputs with a default value are kept as constants: {', '.join(default[:3])}{more}")
        for info in proto.input:
            if scope.known(info.name):
                if info.name not in default or info.name in given:
                    raise BadFileError(f"the input {info.name!r} is there twice")
                continue
            dtype, shape, why = declared_type(info, lambda t: read_dim(t, self.ours), _named(info.name))
            shape = given.take(info.name, shape, only=len(proto.input) - len(default) == 1)
            v = scope.graph.add_input(info.name, dtype, shape)
            self.bind(scope, info.name, v)
            if why:
                scope.bad[info.name] = f"input {info.name!r}: {why}"
        given.refuse_unused(v.name for v in scope.graph.inputs)
        self.freed = given.freed
        for info in proto.value_info:
            scope.declared[info.name] = info
        for info in proto.output:
            scope.declared[info.name] = info
        self.input_names = frozenset(n for v in scope.graph.inputs for d in v.shape or () if isinstance(d, Dim) for n in d.names)

    # ---- names
    def bind(self, scope: Scope, name: str, v: Value) -> None:
        """Let an ONNX name mean a value; a value made for it gets exactly that name."""
        if not name:
            return
        scope.values[name] = v
        driver = scope.driver
        if v not in driver.named:
            driver.name(v, name)
        elif name in scope.outputs and v.name != name:
            with driver.b.at(Origin("onnx", name, "Identity")):
                copy = driver.own(v)
            driver.name(copy, name)
            scope.values[name] = copy

    def find(self, scope: Scope, name: str, who: str) -> Value:
        v = scope.values.get(name)
        if v is None or v.graph is None:  # (what was made for an attempt that failed is gone)
            why = scope.bad.get(name)
            if why:
                return self.placeholder(scope, name, why)
            raise BadFileError(f"{who} use {name!r}, which nothing makes")
        return v

    def placeholder(self, scope: Scope, name: str, why: str) -> Value:
        """A value of a type convcore lacks, as an opaque node."""
        b = scope.context.b
        with b.at(Origin("onnx", name, "Initializer")):
            (v,) = b.opaque("onnx", "Initializer", [], 1, {}, why=why, code="unsupported_dtype", output_names=[name])
        scope.driver.taint([v])
        self.bind(scope, name, v)
        return v

    # ---- nodes
    def nodes(self, scope: Scope, proto: Any, where: Where) -> None:
        """All nodes of a graph."""
        scope.outputs = frozenset(v.name for v in proto.output)
        read = names_read(proto.node)
        scope.used |= scope.outputs.union(*read)
        scope.made = {o: o for n in proto.node for o in n.output}
        for o in scope.made:
            scope.graph.claim_name(o)
        for n in ordered(proto.node, read, scope.known, f"graph {proto.name!r}"):
            self.node(scope, n, where)

    def node(self, scope: Scope, n: Any, where: Where) -> None:
        """One node: by its rule, by the function it calls, or opaque."""
        p, domain, op_type, given, made, name = where.prefix, n.domain, n.op_type, list(n.input), list(n.output), n.name
        domain = "" if domain == "ai.onnx" else domain
        type_ = f"{domain}.{op_type}" if domain else op_type
        many = len(made) > 1
        outs = [scope.made.get(o, o) if not many or p or o in scope.used else "" for o in made]  # the string that is claimed
        if p:
            given, outs = [p + i if i else "" for i in given], [p + o if o else "" for o in outs]
        driver: OnnxDriver = scope.driver
        name = driver.layer_name(p + name if name else next((o for o in outs if o), op_type))
        bad = next((scope.bad[i] for i in given if i in scope.bad), "") if scope.bad else ""
        who = f"node {name!r} ({type_})"
        inputs = [self.find(scope, i, who) if i else None for i in given]
        origin = Origin("onnx", name, type_)
        version = where.opsets.get(domain)
        kept = self.seen.config(n, domain, version) if domain == DOMAIN and version is not None else None
        if op_type == "Constant" and type_ == op_type and version is not None and outs != [""] and not given:
            if driver.plain_constants and name not in driver.overrides and (tensor := self.held(n)) is not None:
                scope.graph.scope(name.removeprefix(p), type_, {"value": plain(tensor)}, parent=driver.b.scope)
                self.bind(scope, outs[0], scope.graph.add_weight(outs[0], tensor))
                return
        config: dict[str, Any] | None = {} if n.attribute and kept is None else kept  # filled when the attributes are read
        call = Call(n, domain, where, config, bad)
        node = ForeignNode(type_, name, inputs, {}, outputs=outs, version=version, origin=origin, extra=call)
        node.alone = True
        layer = scope.graph.scope(name.removeprefix(p), type_, config, parent=driver.b.scope)
        with driver.b.at(origin, layer):
            used = len(outs)
            while used and not outs[used - 1]:
                used -= 1
            results = [self.view(scope, v) for v in driver.load(node, used)]
            driver.name_node(results, name)
            for o, v in zip(outs, results):
                self.bind(scope, o, v)
        if scope.declared:
            self.declare(scope, outs)
        layer_outs = tuple(scope.values[o] for o in outs if o)
        if any(v.tensor is None for v in layer_outs):
            scope.graph.set_results(layer, layer_outs)
        if kept is not None:
            self.seen.note(kept, inputs, [(i, scope.values[o]) for i, o in enumerate(outs) if o])

    def held(self, n: Any) -> Tensor | None:
        """The tensor of a Constant as exporters write them by the thousand; None for any other, which its rule looks at."""
        if len(n.attribute) != 1 or len(n.output) != 1:
            return None
        ((name, kind, reference, a),) = attributes_of(n)
        if name != "value" or kind != TENSOR or reference:
            return None
        try:
            return to_tensor(a.t, f"the attribute {name!r} of node {n.name or n.output[0]!r} (Constant)", self.source.folder)
        except NotExpressible:
            return None

    @staticmethod
    def view(scope: Scope, v: Value) -> Value:
        """What only turns, shapes or widens a weight is a weight: a view of it."""
        node = v.producer
        x = node.inputs[0] if node is not None and node.inputs else None
        if node is None or x is None or x.tensor is None or v.shape is None or v in scope.driver.named:
            return v
        if any(i is not None for i in node.inputs[1:]) or not (Trait.VIEW in traits_of(node.op) or node.op == "cast"):
            return v
        t = x.tensor
        if node.op == "transpose":
            t = t.transpose(node.attrs["perm"])
        elif node.op == "cast":
            if not (x.dtype in FLOATS and v.dtype in FLOATS):
                return v
            t = t.cast(node.attrs["to"])
        elif all(isinstance(d, int) for d in v.shape):
            t = t.reshape(v.shape)  # type: ignore[arg-type]
        else:
            return v
        name = v.name
        scope.graph.rename(v, scope.graph.fresh_name(name))  # nothing uses it any more, and the weight has its name
        return scope.graph.add_weight(name, t, like=x)

    def declared(self, scope: Scope, name: str) -> tuple[DType | None, Shape | None]:
        """What the file says about a value; names of sizes count only where the inputs define them."""
        info = scope.declared.get(name)
        if info is None:
            return None, None
        if self.freed:  # what it says holds for the sizes that it fixes
            return declared_type(info, lambda t: None, lambda i: None)[0], None

        def dim(text: str) -> DimLike | None:
            d = read_dim(text, self.ours)
            return d if isinstance(d, int) or d.names <= self.input_names else None

        dtype, shape, _ = declared_type(info, dim, lambda i: None)
        return dtype, shape

    def declare(self, scope: Scope, outs: Sequence[str]) -> None:
        """Fill in what inference left open from the file's own declarations. Single sizes are not believed: they are noted
        (``metadata["declared"]``, by node) for targets that can hold a result to them."""
        for o in outs:
            v = scope.values.get(o) if o in scope.declared else None
            if v is None or v.tensor is not None:
                continue
            if v.shape is not None and None in v.shape:
                self.note_sizes(scope, o, v)
            if v.shape is None:
                dtype, shape = self.declared(scope, o)
                if shape is not None and (v.dtype is None or dtype is None or v.dtype == dtype):
                    v.shape = shape
                    v.dtype = v.dtype or dtype
                    while v.producer is not None and v.producer.op == "identity":  # the result of a function's node
                        v, stated = v.producer.need("x"), v
                        v.dtype, v.shape = v.dtype or stated.dtype, stated.shape if v.shape is None else v.shape

    def note_sizes(self, scope: Scope, name: str, v: Value) -> None:
        """The sizes that a file declares of a value, where inference has none."""
        while v.producer is not None and v.producer.op == "identity":
            v = v.producer.need("x")
        node, (_, stated) = v.producer, self.declared(scope, name)
        if node is None or v.shape is None or stated is None or len(stated) != len(v.shape):
            return
        if not any(n is None and isinstance(m, int) for n, m in zip(v.shape, stated)):
            return
        shapes = scope.graph.metadata.setdefault("declared", {}).setdefault(node.name, [None] * len(node.outputs))
        shapes[node.outputs.index(v)] = [m if isinstance(m, int) else None for m in stated]


def _named(name: str) -> Callable[[int], Dim]:
    """Names for the sizes of an input that has none for them."""
    return lambda i: Dim(f"{name}_dim{i}")


def _mark_parameters(graph: Graph) -> None:
    """Constants in the place of trained parameters count as trained; statistics do not."""
    for node in graph:
        for i, v in enumerate(node.inputs):
            if v is None or v.tensor is None:
                continue
            decl = find_op(node.op)
            if decl is None:
                continue
            if decl.role(i) is Role.PARAMETER and v.dtype is not None and v.dtype.is_float and v.rank:
                v.role, v.trainable = PARAMETER, True
                v.source = v.source or v.name
            elif decl.role(i) is Role.STATISTIC:
                v.role, v.trainable = BUFFER, False
        for r in node.regions:
            _mark_parameters(r)
