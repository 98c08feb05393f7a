"""A loaded model: inspect it, run it or any slice of it, save it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, UsageError
from .files import Watch
from .ir.dims import Shape, shape_text
from .ir.dtypes import DType
from .ir.graph import Graph, Layer, Node, Value, copy_graph
from .ir.scopes import layer_scope
from .records import dataclass

if TYPE_CHECKING:
    from .interpreter import Interpreter

__all__ = ["LayerInfo", "Model", "TensorInfo"]

Array = NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """Name, dtype and shape of an input or output. Sizes are integers, symbols (:class:`~convcore.ir.dims.Dim`) or None."""

    name: str
    dtype: DType | None
    shape: Shape | None

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{shape_text(self.shape)}"


@dataclass(frozen=True)
class LayerInfo:
    """A layer of the source: name, class, output tensors, number of parameters and the weights' names."""

    name: str
    type: str
    outputs: tuple[TensorInfo, ...]
    params: int
    weights: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.type})"


class Model:
    """A model in convcore's intermediate representation.

    ``model(x)`` runs it in the reference interpreter: inputs positional or by name, a single output comes back as an array,
    several as a tuple in the model's order. ``model[:5]`` is the model of its first five layers, ``model[2:5]`` of layers 2 to
    4 (its inputs are what these layers take), ``model["name"]`` everything up to that layer or tensor, ``model["a", "b"]`` up to
    several.
    """

    def __init__(
        self, graph: Graph, framework: str = "", source: Any = None, weights: Any = None, files: Watch | None = None
    ) -> None:
        self.graph = graph
        self.files = files or Watch()
        self.framework = framework or str(graph.metadata.get("framework", ""))
        self.source, self.weights_source = source, weights
        self._interpreter: Interpreter | None = None

    # ---- description
    @property
    def kind(self) -> str:
        """ "sequential", "functional", "graph" ...: how the source describes itself."""
        return str(self.graph.metadata.get("kind", "graph"))

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(_info(v) for v in self.graph.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(_info(v) for v in self.graph.outputs)

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers in the source's order."""
        return tuple(
            LayerInfo(
                layer.name, layer.type, tuple(_info(v) for v in layer.outputs),
                sum(v.tensor.size for v in layer.weights if v.tensor is not None), tuple(v.name for v in layer.weights),
            )
            for layer in self.graph.layers
        )  # fmt: skip

    @property
    def num_params(self) -> int:
        """Number of elements of all weights that came from the source, branches and loops included."""
        return self.graph.num_params

    @property
    def metadata(self) -> dict[str, Any]:
        """What the source says about itself: version, notes, labels, preprocessing."""
        return dict(self.graph.metadata)

    @property
    def problems(self) -> list[Any]:
        """What convcore does not know in this model (empty: everything is mapped)."""
        from .build.opaque import opaque_problems

        return opaque_problems(self.graph)

    # ---- running
    def __call__(self, *args: Any, **named: Any) -> Array | tuple[Array, ...]:
        """Run on arrays: positional in order, one dict by name, or keywords. Raises InputError when they do not fit."""
        if len(args) == 1 and isinstance(args[0], Mapping):
            named = {**args[0], **named}
            args = ()
        elif len(args) == 1 and isinstance(args[0], (list, tuple)) and len(self.graph.inputs) > 1:
            args = tuple(args[0])
        if args and named:
            raise InputError("give inputs either in order or by name, not both")
        if self._interpreter is None:
            from .interpreter import Interpreter

            self._interpreter = Interpreter(self.graph)
        out = self._interpreter.run(named if named else list(args))
        return out[0] if len(out) == 1 else tuple(out)

    def run(self, inputs: Mapping[str, Any] | Sequence[Any]) -> dict[str, Array]:
        """Outputs by name."""
        result = self(inputs) if isinstance(inputs, Mapping) else self(*inputs)
        arrays = result if isinstance(result, tuple) else (result,)
        return {v.name: a for v, a in zip(self.graph.outputs, arrays)}

    def __len__(self) -> int:
        return len(self.graph.layers)

    def __getitem__(self, key: int | str | slice | Sequence[str]) -> Model:
        layers = self.graph.layers
        if isinstance(key, (tuple, list)):
            return self._until([v for name in key for v in self._named(name)])
        if isinstance(key, slice):
            if key.step not in (None, 1):
                raise UsageError("a slice of a model has step 1")
            start, stop, _ = key.indices(len(layers))
            if stop <= start:
                raise UsageError(f"the slice {key.start}:{key.stop} holds no layer of {len(layers)}")
            return self._cut(layers[:start], layers[start:stop])
        if isinstance(key, str):
            return self._until(self._named(key))
        if not isinstance(key, int):
            raise UsageError(f"a model is indexed by number, name, names or slice, not {type(key).__name__}")
        n = key + len(layers) if key < 0 else key
        if not 0 <= n < len(layers):
            raise UsageError(f"the model has {len(layers)} layers, no number {key}")
        return self._until(layers[n].outputs)

    def _named(self, name: str) -> tuple[Value, ...]:
        """The outputs of the layer, or else the tensor, of that name."""
        for layer in self.graph.layers:
            if layer.name == name:
                return layer.outputs
        v = self.graph.find(name)
        if v is None:
            import difflib

            names = [layer.name for layer in self.graph.layers]
            close = difflib.get_close_matches(name, names, 3)
            raise UsageError(f"no layer or tensor {name!r}" + (f"; did you mean {', '.join(close)}?" if close else ""))
        return (v,)

    def _until(self, outputs: Sequence[Value]) -> Model:
        return self._cut([], [Layer("", "", tuple(outputs))], keep_layers=self.graph.layers)

    def _cut(self, before: Sequence[Layer], inside: Sequence[Layer], keep_layers: Sequence[Layer] | None = None) -> Model:
        """The graph between the outputs of ``before`` and the outputs of the last layer of ``inside``."""
        outs = [v for v in inside[-1].outputs if v.graph is not None or v.tensor is not None]
        if not outs:
            raise UsageError(f"layer {inside[-1].name!r} has no output of its own")
        borders = {id(v): v for layer in before for v in layer.outputs}
        need: set[Node] = set()
        entry: dict[int, Value] = {}
        stack = list(outs)
        while stack:
            v = stack.pop()
            if id(v) in borders and not (v in outs and not need):
                entry[id(v)] = v
            elif v.producer is not None:
                if v.producer not in need:
                    need.add(v.producer)
                    stack += [x for x in v.producer.inputs if x is not None]
            elif v.tensor is None:
                entry[id(v)] = v
        ordered = [v for v in self.graph.inputs if id(v) in entry]
        ordered += [v for v in borders.values() if id(v) in entry and v not in ordered]
        sub = Graph(self.graph.name)
        sub.metadata = dict(self.graph.metadata)
        full, names = copy_graph(self.graph), {}
        for v in full.values():
            names[v.name] = v
        keep_names = {n.name for n in need}
        fresh: dict[int, Value] = {}
        for v in ordered:
            fresh[id(names[v.name])] = given = sub.add_input(v.name, v.dtype, v.shape)
            given.results = v.results
        for node in full:
            if node.name not in keep_names or any(o.name in {v.name for v in ordered} for o in node.outputs):
                continue
            full.detach(node)
            ins: list[Value | None] = []
            for x in node.inputs:
                if x is not None and id(x) in fresh:
                    ins.append(fresh[id(x)])
                else:
                    ins.append(x)
                    if x is not None and x.tensor is not None and x.graph is not sub:
                        x.graph = sub
                        sub.claim_name(x.name)
                        sub.weights[x.name] = x
            node.set_inputs(ins)
            for o in node.outputs:
                sub.claim_name(o.name)
            sub.insert(node)
        sub.outputs = [fresh.get(id(names[v.name]), names[v.name]) for v in outs]
        alive = {v.name for v in sub.values()}
        chosen = {x.path for x in (inside if keep_layers is None else keep_layers) if all(v.name in alive for v in x.outputs)}
        sub.adopt_scopes(self.graph)
        for v in sub.values():
            v.results = tuple((s, i) for s, i in v.results if layer_scope(s, chosen) is not None)
        return Model(sub, self.framework, files=self.files)

    # ---- text and files
    def summary(self, *, nested: bool = False) -> str:
        """A table of the layers; ``nested`` also shows what is inside them, and each use of a shared one."""
        from .inspection import layer_tree, walk

        rows = [("layer", "type", "output", "params")]
        if nested:
            for depth, b in walk(layer_tree(self.graph), 0):
                call = f" (call {b.scope.call + 1} of {b.calls})" if b.calls > 1 else ""
                shapes = "; ".join(shape_text(v.shape) for v in b.outputs)
                rows.append((f"{'  ' * depth}{b.scope.name}{call}", b.scope.type, shapes, f"{b.params:,}"))
        else:
            for layer in self.layers:
                shapes = "; ".join(shape_text(t.shape) for t in layer.outputs)
                rows.append((layer.name, layer.type, shapes, f"{layer.params:,}"))
        widths = [max(len(r[i]) for r in rows) for i in range(4)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows]
        head = f"{self.name or 'model'}: {self.kind} {self.framework} model, {len(self)} layers, {self.num_params:,} parameters"
        io = [f"  input  {t}" for t in self.inputs] + [f"  output {t}" for t in self.outputs]
        return "\n".join([head, *io, "", lines[0], "-" * len(lines[0]), *lines[1:]])

    def save(self, path: str | Path) -> Path:
        """Write the intermediate representation, as a ``.ccir`` file; :func:`convcore.convert` writes every other format.

        UsageError for another suffix, OutputError for a file the model is read from.
        """
        from .ir.serialize import save

        path = Path(path)
        if path.suffix != ".ccir":
            raise UsageError(
                f"{path}: a model is saved as .ccir; convcore.convert(model, out={str(path)!r}) writes other formats"
            )
        self.files.protect(path)
        save(self.graph, path)
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows: facts, and the layers in their order."""
        from .viewing.notebook import picture, table

        facts = {
            "kind": f"{self.kind} {self.framework}", "inputs": "; ".join(map(str, self.inputs)),
            "outputs": "; ".join(map(str, self.outputs)), "layers": len(self), "parameters": f"{self.num_params:,}",
            "cannot be converted": "; ".join(str(p) for p in self.problems[:5]),
        }  # fmt: skip
        return f"{table(self.name or 'model', facts)}<details><summary>layers</summary>{picture(self.graph)}</details>"

    def __repr__(self) -> str:
        ins, outs = (
            ", ".join([*map(str, x[:4]), *([f"{len(x) - 4} more"] if len(x) > 4 else [])]) for x in (self.inputs, self.outputs)
        )
        return f"<convcore.Model {self.name!r}: {self.kind} {self.framework}, ({ins}) -> ({outs})>"


def _info(v: Value) -> TensorInfo:
    return TensorInfo(v.name, v.dtype, v.shape)


def as_list(x: Array | tuple[Array, ...]) -> list[Array]:
    """The outputs of a call as a list."""
    return list(x) if isinstance(x, tuple) else [np.asarray(x)]
