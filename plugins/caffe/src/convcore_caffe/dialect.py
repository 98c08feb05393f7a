"""What Caffe is, for the plan: float32 blobs of fixed shapes, layer types by flavor, outputs that no layer reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from convcore.plugin import (
    Dialect,
    DType,
    Node,
    NotExpressible,
    Problem,
    Ref,
    Scribe,
    State,
    UnsupportedError,
    Value,
    keep_layers,
    leaves,
    prune,
)

from .emit_flavors import check_type
from .emit_params import params_message
from .emit_prepare import explicit_pads, find_shuffles, fix_sizes, fold_pads
from .files import Layer, Message
from .keep import SourceConfig
from .layer_spec import spec_of
from .opencv import faults

__all__ = ["CaffeDialect", "CaffeScribe", "blob_shape", "label", "static"]


class CaffeDialect(Dialect):
    """``flavor`` says which layer types there are, ``rounding`` how a pooling that rounds down is written.

    A layer writes blobs of its own (Refs with a fixed shape) and owns its weights, which no other layer shares. Caffe computes
    in float32: other dtypes are refused unless a rule says that its layers only carry numbers.
    """

    title = "Caffe"
    dtypes = frozenset([DType.FLOAT32])
    shares_units = False

    def __init__(self, flavor: str, rounding: str, batch: int) -> None:
        self.flavor, self.rounding, self.batch = flavor, rounding, batch
        self.sizes: dict[str, int] = {}

    # ---- the graph
    def enter(self, s: CaffeScribe) -> list[Problem]:
        """Keep what Caffe's own layers were, fix sizes, write paddings out, and an Input layer per input."""
        keep_layers(
            s.graph, "caffe", s.overrides or {}, lambda config: isinstance(config, SourceConfig) and config.fits(self.flavor)
        )
        self.sizes = fix_sizes(s.graph, self.batch)
        find_shuffles(s.graph)
        explicit_pads(s.graph)
        fold_pads(s.graph)
        problems = []
        for v in s.graph.inputs:
            if v.dtype not in (None, DType.FLOAT32) and not (v.dtype is not None and (v.dtype.is_int or v.dtype is DType.BOOL)):
                problems.append(Problem(v.name, "input", f"is {v.dtype}, Caffe computes in float32", code="unsupported_dtype"))
            shape = tuple(d if isinstance(d, int) else 1 for d in v.shape or ())
            param = {"shape": [blob_shape(shape)]}
            (top,) = s.call("Input", (), param, outputs=[v], shapes=[shape], name=v.name, carry=True)
            top.name = v.name
        return problems

    def leave(self, s: CaffeScribe) -> list[Problem]:
        """A blob per output, named as it, that no layer reads: Caffe's outputs are the blobs left over.

        One that is read, or is an input, a constant or an output twice, goes through a Split; what nobody needs is left out,
        and a blob that is left over beside others of its layer ends in a Silence.
        """
        problems: list[Problem] = []
        tops: list[Ref] = []
        for v in s.graph.outputs:
            try:
                tops.append(s.value(v, carry=True))
            except NotExpressible as err:
                problems.append(Problem(v.name, "output", str(err), code="unsupported_output"))
        if problems:
            return problems
        read = {a for call in s.block.calls for a in call.args}
        names = {v.name for v in s.graph.inputs}
        for v, top in zip(s.graph.outputs, tops):
            alone = top not in read and tops.count(top) == 1 and not (self.flavor == "opencv" and _one_of_several(top))
            if alone and top.call is not None and (top.call.type != "Input" or top.name == v.name):
                top.name = top.name or _free(v, names)
                names.add(top.name)
                s.block.outputs.append(top)
                continue
            kind = "Concat" if self.flavor == "opencv" else "Split"  # of one blob; OpenCV drops a Split, and its name
            (copy,) = s.call(kind, [top], shapes=[static(v) if top.shape is None else top.dims], name=f"{v.name}_output")
            copy.name = _free(v, names)
            names.add(copy.name)
            s.block.outputs.append(copy)
        prune(s.plan, keep=("Input",))
        _silence(s)
        return []

    # ---- layers
    def has(self, type: str) -> bool:
        """Whether the flavor has the type."""
        return self.flavor in spec_of(type).flavors

    def check(self, s: CaffeScribe, type: str, args: Sequence[Any], config: Mapping[str, Any]) -> Sequence[DType | None]:
        """Whether the flavor has the type, for blobs of so few axes; OpenCV, whether it reads these fields as Caffe does."""
        check_type(type, self.flavor)
        if type == "PReLU" and len(args[0].shape) < 2:
            raise NotExpressible("Caffe's PReLU takes blobs of at least 2 axes")
        if self.flavor == "opencv":
            layer = Layer(type, type, ["bottom"] * len(args), params=params_message(type, config))
            for why in faults(layer):
                raise NotExpressible(f"OpenCV {why}", "known_opencv_error")
        return ()

    def shape_of(self, v: Value) -> tuple[int, ...]:
        return static(v)

    def hold(self, s: CaffeScribe, state: State, value: Value | None, name: str) -> Ref:
        """A constant that is read as a blob: a Parameter layer."""
        if state.tensor.dtype is not DType.FLOAT32:
            what = f"the constant {value.name!r}" if value is not None else f"a constant of {name or 'a layer'}"
            raise NotExpressible(f"{what} is {state.tensor.dtype}, Caffe's blobs are float32")
        shape, outputs = state.tensor.shape, [] if value is None else [value]
        wanted = name or (value.source or value.name.replace("/", "_") if value is not None else "constant")
        return s.unit("Parameter", (), {"shape": blob_shape(shape)}, [state], outputs=outputs, shapes=[shape], name=wanted)[0]

    def opaque(self, s: CaffeScribe, node: Node) -> None:
        """A layer of the source as it was. Any other is refused: its meaning, so what its blobs hold, is not known."""
        source = node.attrs.get("layer")
        if isinstance(source, SourceConfig):
            bottoms = [s.value(v, carry=True) for v in node.inputs if v is not None]
            shapes = [tuple(d if isinstance(d, int) else 1 for d in v.shape or ()) for v in node.outputs]
            kept = (source.layer, source.blobs)
            s.call(source.layer.type, bottoms, outputs=node.outputs, name=label(node), shapes=shapes, carry=True, kept=kept)
            return
        why = str(node.attrs["why"]) or "convcore has no op for it"
        code, hint = str(node.attrs["code"]), str(node.attrs.get("hint") or "")
        raise UnsupportedError(Problem(label(node), str(node.attrs["type"]), why, hint, code))


CaffeScribe: TypeAlias = Scribe[CaffeDialect]


def _one_of_several(top: Ref) -> bool:
    """Whether it is a top OpenCV cannot be asked for."""
    return top.call is not None and len(top.call.results) > 1


def _free(v: Value, names: set[str]) -> str:
    name, n = v.name, 0
    while name in names:
        n += 1
        name = f"{v.name}_output" + (f"_{n}" if n > 1 else "")
    return name


def _silence(s: CaffeScribe) -> None:
    """End in a Silence, behind its layer, every blob that nothing reads; inputs and outputs too may be read by nobody."""
    read = {*leaves(s.block.outputs), *(a for call in s.block.calls for a in call.args)}
    calls, s.block.calls = s.block.calls, []
    for call in calls:
        s.block.calls.append(call)
        for top in call.results:
            if top not in read:
                s.call("Silence", [top], n_outputs=0, name=f"{call.source}_unused")


def label(node: Node) -> str:
    """The source layer a node comes from: what its Caffe layers are named after."""
    return node.origin.layer or node.name


def static(v: Value) -> tuple[int, ...]:
    """The shape as integers; NotExpressible where it is not fixed."""
    if v.shape is None or any(not isinstance(d, int) for d in v.shape):
        shown = "unknown" if v.shape is None else "(" + ", ".join("?" if d is None else str(d) for d in v.shape) + ")"
        raise NotExpressible(f"Caffe's blobs have fixed shapes, that of {v.name!r} is {shown}", "unknown_shape")
    return tuple(int(d) for d in v.shape)  # type: ignore[arg-type]


def blob_shape(shape: Sequence[int]) -> Message:
    """A BlobShape message."""
    m = Message("BlobShape")
    if shape:
        m.set("dim", [int(n) for n in shape])
    return m
