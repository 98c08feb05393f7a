"""Laid-out graphs as ONNX models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convcore.plugin import EmitRequest, Emitted, Graph, RuleSet, UsageError, plan, prune

from .about import write_about
from .casts import casts_first
from .dialect import DEFAULT_OPSET, OLDEST_OPSET, OnnxDialect
from .library import messages, newest_opset
from .older import WRITTEN
from .write import model_parts

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "dialect", "emit"]


def dialect(request: EmitRequest) -> OnnxDialect:
    """ONNX in the versions asked for; UsageError for an opset that is not known."""
    options = request.options
    versions = _versions(options, request.graph)
    return OnnxDialect(*versions, bool(options.get("keep_training")), options.get("contrib") != "standard")


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out`` (and ``<out>.data`` with external data), or only prepare the ModelProto when it is None.

    UnsupportedError lists everything that ONNX lacks; UsageError for an opset that is not known.
    """
    options = request.options
    onnx = dialect(request)
    rules: RuleSet[Any, Any] | None = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    made = plan(request.graph, rules, max(onnx.opset, WRITTEN), onnx, request.overrides)
    casts_first(made)
    prune(made)
    parts = model_parts(made, onnx, request.graph.name, options.get("onnx_functions") or ())
    write_about(parts.head, request.graph.metadata)
    paths: tuple[str, ...] = ()
    if request.out is not None:
        paths = parts.write(Path(request.out), options.get("external_data") or "auto")
    notes = made.remarks()
    if len(paths) > 1:
        notes.append(f"weights are in {Path(paths[1]).name}, which belongs to the model")
    return Emitted(paths, parts.build, tuple(notes), tuple(ref.name for ref in made.root.outputs))


def _versions(options: Any, graph: Graph) -> tuple[int, int]:
    """(opset, ir_version), checked against the installed onnx."""
    newest = newest_opset()
    opset = options.get("opset")
    if opset is None:
        known = graph.metadata.get("opsets") if graph.metadata.get("framework") == "onnx" else None
        source = known.get("") if isinstance(known, dict) else None
        opset = source if isinstance(source, int) and WRITTEN <= source <= newest else min(DEFAULT_OPSET, newest)
    if not OLDEST_OPSET <= opset <= newest:
        from onnx import __version__

        raise UsageError(
            f"opset {opset} cannot be written: convcore writes {OLDEST_OPSET} to {newest}, "
            f"the newest of the installed onnx {__version__}"
        )
    oldest_ir = _oldest_ir(opset)
    newest_ir = int(messages().IR_VERSION)
    ir = options.get("ir_version")
    ir = oldest_ir if ir is None else int(ir)
    if not oldest_ir <= ir <= newest_ir:
        raise UsageError(f"ir_version {ir} does not fit opset {opset}: {oldest_ir} to {newest_ir} do")
    return opset, ir


IR_VERSIONS = {3: 7, 4: 9, 5: 10, 6: 11, 7: 12, 8: 15, 9: 19, 10: 21, 11: 23, 12: 24, 13: 25, 14: 28}
"""The first opset of each IR version (onnx.helper.VERSION_TABLE, which takes the whole package; onnx 1.23)."""


def _oldest_ir(opset: int) -> int:
    """The first IR version that has an opset."""
    if opset <= max(IR_VERSIONS.values()):
        return max(ir for ir, first in IR_VERSIONS.items() if first <= opset)
    from onnx.helper import OP_SET_ID_VERSION_MAP

    return int(OP_SET_ID_VERSION_MAP["ai.onnx", opset])
