"""Laid-out graphs as Caffe nets: deploy.prototxt and caffemodel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from convcore.plugin import (
    DType,
    EmitRequest,
    Emitted,
    Graph,
    Plan,
    PlanCall,
    RuleSet,
    State,
    Unit,
    UnsupportedError,
    UsageError,
    ViewTensor,
    about_text,
    ask_option,
    plan,
    tidy,
)

from .dialect import CaffeDialect
from .emit_flavors import DEFAULT_FLAVOR
from .emit_names import name_everything
from .emit_params import params_message
from .emit_tidy import PEEPHOLES, in_place
from .files import Layer, Net, ParamSpec, write_caffemodel, write_prototxt
from .layer_spec import spec_of
from .opencv import opencv_problems

__all__ = ["ROUNDINGS", "dialect", "emit"]

ROUNDINGS = ("crop", "round_mode", "ceil_mode")
"""How a pooling that rounds down is written. Caffe's own rounds up; crop takes the surplus off again, which every Caffe can;
round_mode is a field of BVLC's of 2018 and later, ceil_mode one of many forks."""


def dialect(request: EmitRequest) -> CaffeDialect:
    """Caffe as the options ask for it; UsageError names one that is wrong."""
    options = request.options
    batch = int(options.get("batch") or 1)
    if batch < 1:
        raise UsageError(f"{ask_option('batch', batch)} must be positive")
    flavor, rounding = options.get("caffe_flavor") or DEFAULT_FLAVOR, options.get("pool_rounding") or ROUNDINGS[0]
    if flavor == "ssd" and rounding == "round_mode":
        raise UsageError(
            f"weiliu89's Caffe ({ask_option('caffe_flavor', 'ssd')}) cannot parse round_mode: choose "
            + ask_option("pool_rounding", "crop")
        )
    if flavor == "opencv" and rounding != "crop":
        raise UsageError(f"OpenCV misreads {rounding}: choose {ask_option('pool_rounding', 'crop')}")
    return CaffeDialect(flavor, rounding, batch)


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out`` (.prototxt) and the weights beside it, or only make the :class:`Net` when it is None.

    UnsupportedError lists everything that Caffe lacks, UsageError names an option that is wrong.
    """
    graph, options = request.graph, request.options
    rules: RuleSet[Any, Any] | None = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    caffe = dialect(request)
    made = plan(graph, rules, None, caffe, request.overrides)
    net = _net(made, graph)
    problems = opencv_problems(net) if caffe.flavor == "opencv" else []
    if problems:
        raise UnsupportedError(problems)
    sizes, outputs = caffe.sizes, tuple(t.name for t in made.root.outputs)
    notes = made.remarks()
    if sizes:
        notes.append(f"the batch size is fixed: {', '.join(f'{k} = {n}' for k, n in sizes.items())} (option batch)")
    whole = [v.name for v in dict.fromkeys((*graph.inputs, *graph.outputs)) if v.dtype not in (None, DType.FLOAT32)]
    if whole:
        notes.append(f"whole numbers are float32 in Caffe, exact up to {1 << 24}: {', '.join(whole)}")
    if list(outputs) != net.outputs:
        notes.append(f"Caffe gives its outputs in the order of their names ({', '.join(net.outputs)}): take them by name")
    paths: tuple[str, ...] = ()
    if request.out is not None:
        definition, weights = _paths(Path(request.out), options.get("caffe_model"))
        write_caffemodel(net, weights)
        write_prototxt(net, definition)
        main = weights if Path(request.out) == weights else definition
        paths = (str(definition), str(weights))
        notes.append(f"weights are in {weights.name}" if main == definition else f"the net is defined in {definition.name}")
    return Emitted(paths, lambda: net, tuple(notes), outputs, weights=paths[1] if paths else None, sizes=sizes)


def _paths(out: Path, weights: Any) -> tuple[Path, Path]:
    """Where the definition and the weights go: ``net.prototxt`` and ``net.caffemodel``."""
    if out.suffix.lower() == ".caffemodel":
        definition, held = out.with_suffix(".prototxt"), out
    else:
        definition, held = out, out.with_suffix(".caffemodel")
    if weights:
        name = str(weights)
        if Path(name).name != name or name in (".", ".."):
            raise UsageError(f"{ask_option('caffe_model', name)} must be a file name: the weights lie beside the prototxt")
        held = out.with_name(name)
    if held == definition:
        raise UsageError(f"{held.name} cannot be both the definition and the weights")
    return definition, held


# ---- the net
def _net(made: Plan, graph: Graph) -> Net:
    trained = {v.tensor for v in graph.weights.values() if v.trainable}

    def learns(state: State) -> bool:
        """Whether it is a weight of the source that learns, in whatever form; Caffe trains all that it is not told not to."""
        tensor = state.tensor
        while tensor not in trained and isinstance(tensor, ViewTensor):
            tensor = tensor.base
        return tensor in trained

    tidy(made, PEEPHOLES)
    name_everything(made, in_place(made))
    net = Net(name=graph.name or "net", about=about_text(graph.metadata))
    for call in made.root.calls:
        layer = Layer(call.name, call.type, [a.name for a in call.args], [r.name for r in call.results])
        if call.kept:
            source, layer.blobs = call.kept
            net.layers.append(_as_it_was(layer, source))
            continue
        held = _blobs(call)
        layer.blobs = [s.tensor for s in held]
        if call.type != "BatchNorm" and not all(map(learns, held)):  # which freezes its own, and refuses to be told otherwise
            layer.param_specs = [ParamSpec() if learns(s) else ParamSpec(lr_mult=0.0, decay_mult=0.0) for s in held]
        layer.params = params_message(call.type, call.config)
        net.layers.append(layer)
    net.outputs = sorted(r.name for r in made.root.outputs)
    return net


def _as_it_was(layer: Layer, source: Layer) -> Layer:
    """A layer with all that the source says of it, but for the rules by which it was chosen."""
    fields = ("params", "param_specs", "own_phase", "loss_weight", "propagate_down")
    return replace(layer, **{name: getattr(source, name) for name in fields})


def _blobs(call: PlanCall) -> list[State]:
    """The weights in Caffe's order: rows give them by name, functions in order."""
    states = call.target.states if isinstance(call.target, Unit) else {}
    named = [states[b.name] for b in spec_of(call.type).blobs if b.name in states]
    return named or list(states.values())
