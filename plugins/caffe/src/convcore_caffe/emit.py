"""Laid-out graphs as Caffe nets: deploy.prototxt and caffemodel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convcore.plugin import (
    DType,
    EmitRequest,
    Emitted,
    Graph,
    NotExpressible,
    Problem,
    UnsupportedError,
    UsageError,
    Value,
    emit_nodes,
)

from .emit_flavors import DEFAULT_FLAVOR
from .emit_names import name_everything
from .emit_prepare import explicit_pads, fix_sizes, fold_pads
from .emit_tidy import in_place, tidy
from .emitter import Emitter, PlanLayer, Top, blob_shape, param_message
from .files import Layer, Net, write_caffemodel, write_prototxt

__all__ = ["ROUNDINGS", "emit"]

ROUNDINGS = ("crop", "round_mode", "ceil_mode")
"""How a pooling that rounds down is written. Caffe's own rounds up; crop takes the surplus off again, which every Caffe can;
round_mode is a field of BVLC's of 2018 and later, ceil_mode one of many forks."""


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out`` (.prototxt) and the weights beside it, or only make the :class:`Net` when it is None.

    UnsupportedError lists everything that Caffe lacks, UsageError names an option that is wrong.
    """
    graph, options = request.graph, request.options
    batch = int(options.get("batch") or 1)
    if batch < 1:
        raise UsageError(f"batch={batch} must be positive")
    rules = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    sizes = fix_sizes(graph, batch)
    explicit_pads(graph)
    fold_pads(graph)
    e = Emitter(graph, options.get("caffe_flavor") or DEFAULT_FLAVOR, options.get("pool_rounding") or ROUNDINGS[0])
    problems = _inputs(e)
    problems += [p for p in emit_nodes(graph, e, rules, request.overrides) if p not in problems]
    outputs: list[Top] = []
    if not problems:
        outputs = _outputs(e, problems)
    if problems:
        raise UnsupportedError(problems)
    net = _net(e, outputs)
    notes = [f"the batch size is fixed: {', '.join(f'{k} = {n}' for k, n in sizes.items())} (option batch)"] if sizes else []
    whole = [v.name for v in dict.fromkeys((*graph.inputs, *graph.outputs)) if v.dtype not in (None, DType.FLOAT32)]
    if whole:
        notes.append(f"whole numbers are float32 in Caffe, exact up to {1 << 24}: {', '.join(whole)}")
    paths: tuple[str, ...] = ()
    if request.out is not None:
        definition, weights = _paths(Path(request.out), options.get("caffe_model"))
        write_caffemodel(net, weights)
        write_prototxt(net, definition)
        main = weights if Path(request.out) == weights else definition
        paths = (str(definition), str(weights))
        notes.append(f"weights are in {weights.name}" if main == definition else f"the net is defined in {definition.name}")
    return Emitted(
        paths, lambda: net, tuple(notes), tuple(t.name for t in outputs), weights=paths[1] if paths else None, sizes=sizes
    )


def _paths(out: Path, weights: Any) -> tuple[Path, Path]:
    """Where the definition and the weights go: ``net.prototxt`` and ``net.caffemodel``."""
    if out.suffix.lower() == ".caffemodel":
        definition, held = out.with_suffix(".prototxt"), out
    else:
        definition, held = out, out.with_suffix(".caffemodel")
    if weights:
        name = str(weights)
        if Path(name).name != name or name in (".", ".."):
            raise UsageError(f"caffe_model={name!r} must be a file name: the weights lie beside the prototxt")
        held = out.with_name(name)
    if held == definition:
        raise UsageError(f"{held.name} cannot be both the definition and the weights")
    return definition, held


# ---- inputs and outputs
def _inputs(e: Emitter) -> list[Problem]:
    problems = []
    for v in e.graph.inputs:
        if v.dtype not in (None, DType.FLOAT32) and not (v.dtype is not None and (v.dtype.is_int or v.dtype is DType.BOOL)):
            problems.append(Problem(v.name, "input", f"is {v.dtype}, Caffe computes in float32", code="unsupported_dtype"))
        top = Top([d if isinstance(d, int) else 1 for d in v.shape or ()], v)
        top.name = v.name
        layer = PlanLayer("Input", v.name, [], [top], {"shape": [blob_shape(top.shape)]}, [])
        layer.name = v.name
        e.layers.append(layer)
        e.alias(v, top)
    return problems


def _outputs(e: Emitter, problems: list[Problem]) -> list[Top]:
    """A blob per output, named as it, that no layer reads: Caffe's outputs are the blobs left over.

    One that is read, or is an input, a constant or an output twice, goes through a Split; what nobody needs is left out, and a
    blob that is left over beside others of its layer ends in a Silence.
    """
    tops: list[Top] = []
    for v in e.graph.outputs:
        try:
            tops.append(e.value(v, carry=True))
        except NotExpressible as err:
            problems.append(Problem(v.name, "output", str(err), code="unsupported_output"))
    if problems:
        return []
    read = {t for layer in e.layers for t in layer.bottoms}
    names = {v.name for v in e.graph.inputs}
    out: list[Top] = []
    for v, top in zip(e.graph.outputs, tops):
        alone = top not in read and top not in out and sum(t is top for t in tops) == 1
        if alone and top.layer is not None and (top.layer.type != "Input" or top.name == v.name):
            top.name = top.name or _free(v, names)
            names.add(top.name)
            out.append(top)
            continue
        copy = Top(top.shape)
        copy.name = _free(v, names)
        names.add(copy.name)
        e.layers.append(PlanLayer("Split", f"{v.name}/output", [top], [copy], {}, []))
        out.append(copy)
    _silence(e, set(out))
    return out


def _silence(e: Emitter, read: set[Top]) -> None:
    """Leave out layers none of whose blobs is read (inputs stay), silence the other blobs that are not."""
    kept: list[PlanLayer] = []
    for layer in reversed(e.layers):
        if layer.type == "Input" or any(t in read for t in layer.tops):
            read.update(layer.bottoms)
            kept.append(layer)
    e.layers = []
    for layer in kept[::-1]:
        e.layers.append(layer)
        for top in layer.tops:
            if top not in read:
                e.layers.append(PlanLayer("Silence", f"{layer.source}/unused", [top], [], {}, []))


def _free(v: Value, names: set[str]) -> str:
    name, n = v.name, 0
    while name in names:
        n += 1
        name = f"{v.name}_output" + (f"_{n}" if n > 1 else "")
    return name


# ---- the net
def _net(e: Emitter, outputs: Sequence[Top]) -> Net:
    layers = tidy(e.layers, outputs)
    roots = in_place(layers, outputs)
    name_everything(layers, roots, outputs)
    net = Net(name=_title(e.graph))
    for layer in layers:
        made = Layer(layer.name, layer.type, [t.name for t in layer.bottoms], [t.name for t in layer.tops])
        made.blobs = list(layer.blobs)
        message = param_message(layer.type, layer.param)
        if message is not None:
            made.params[message[0]] = message[1]
        net.layers.append(made)
    net.outputs = sorted(t.name for t in outputs)
    return net


def _title(graph: Graph) -> str:
    return graph.name or "net"
