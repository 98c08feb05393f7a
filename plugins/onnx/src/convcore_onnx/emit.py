"""Laid-out graphs as ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convcore.plugin import EmitRequest, Emitted, UnsupportedError, UsageError, emit_nodes

from .emitter import Emitter
from .write import model_parts

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "emit"]

OLDEST_OPSET = 13
DEFAULT_OPSET = 18
"""The default of torch.onnx.export(dynamo=True), which every runtime of the last years reads; ONNX models keep their own."""


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out`` (and ``<out>.data`` with external data), or only prepare the ModelProto when it is None.

    UnsupportedError lists everything that ONNX lacks; UsageError for an opset that is not known.
    """
    graph, options = request.graph, request.options
    opset, ir = _versions(options, graph)
    rules = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    e = Emitter(opset, rules, request.overrides, graph)
    e.reserve()
    inputs = [(e.bind(v, e.own_name(v.name)), v) for v in graph.inputs]
    problems = emit_nodes(graph, e, rules, request.overrides)
    if problems:
        raise UnsupportedError(problems)
    outputs = _outputs(e)
    parts = model_parts(e, inputs, outputs, opset, ir)
    paths: tuple[str, ...] = ()
    if request.out is not None:
        paths = parts.write(Path(request.out), options.get("external_data") or "auto")
    notes = (f"weights are in {Path(paths[1]).name}, which belongs to the model",) if len(paths) > 1 else ()
    return Emitted(paths, parts.build, notes, parts.rename)


def _versions(options: Any, graph: Any) -> tuple[int, int]:
    """(opset, ir_version), checked against the installed onnx."""
    import onnx
    from onnx.helper import OP_SET_ID_VERSION_MAP

    newest = onnx.defs.onnx_opset_version()
    opset = options.get("opset")
    if opset is None:
        source = graph.metadata.get("opsets", {}).get("", 0) if graph.metadata.get("framework") == "onnx" else 0
        opset = source if OLDEST_OPSET <= source <= newest else min(DEFAULT_OPSET, newest)
    if not OLDEST_OPSET <= opset <= newest:
        raise UsageError(
            f"opset {opset} cannot be written: convcore writes {OLDEST_OPSET} to {newest}, "
            f"the newest of the installed onnx {onnx.__version__}"
        )
    oldest_ir = OP_SET_ID_VERSION_MAP["ai.onnx", opset]
    ir = options.get("ir_version")
    ir = oldest_ir if ir is None else int(ir)
    if not oldest_ir <= ir <= onnx.IR_VERSION:
        raise UsageError(f"ir_version {ir} does not fit opset {opset}: {oldest_ir} to {onnx.IR_VERSION} do")
    return opset, ir


def _outputs(e: Emitter) -> list[tuple[str, Any]]:
    """The graph's outputs with their names.

    One that is an input or a weight as well, or an output twice, is a copy of its own under a name of its own.
    """
    made = {o for n in e.nodes for o in n.outputs}
    seen: set[str] = set()
    out = []
    for v in e.graph.outputs:
        name = e.value(v)
        if name not in made or name in seen:
            copy = e.fresh(f"{v.name}_output")
            e.add("Identity", [name], {}, name=copy)
            e.nodes[-1].outputs[:] = [copy]
            name = copy
        seen.add(name)
        out.append((name, v))
    return out
