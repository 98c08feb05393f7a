"""What is done to a graph before it is written: composites found, axes laid out, last passes; what a target lacks of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .build.opaque import opaque_problems
from .collector import without_collector
from .errors import Problem, UnsupportedError, UsageError
from .hookspecs import EmitRequest
from .host import host, resolve
from .ir.graph import Graph
from .job import Job
from .report import Report
from .rewrite import find_composites, told

__all__ = ["arrange", "fuse", "lay_out", "missing"]


def fuse(job: Job) -> None:
    """Find composites in the graph that is written. The reference stays as it was read: the check proves what was found.

    Where a format is written as itself, layers stay their author's; operators are nobody's, so there the graph is simplified
    unless that is not wanted.
    """
    again, operators = job.framework == job.target, job.graph.metadata.get("kind") == "graph"
    own = _dialect(job) if again else None
    if own is not None:
        own.keep(job.graph, job.emit_overrides)
    if job.simplify or (job.simplify is None and job.fuse and again and operators and _free(job)):
        from .rewrite.simplify import simplify

        job.tell("simplifying", 0.25)
        with without_collector():
            found, lines = simplify(job.graph, job.fuse, _writable(job))
        job.report.add("simplified", lines)
        job.report.add("fused", told(found), [{"op": f.op, "name": f.name, "nodes": list(f.nodes)} for f in found])
        return
    if not job.fuse or (again and not operators):
        return
    job.tell("fusing", 0.25)
    with without_collector():
        found = find_composites(job.graph, not again, _writable(job))
    job.report.add("fused", told(found), [{"op": f.op, "name": f.name, "nodes": list(f.nodes)} for f in found])


def _dialect(job: Job) -> Any:
    h = host()
    return h.dialect(job.target, EmitRequest(job.graph, None, job.emit_options, job.emit_overrides, h.rules(job.target)))


def _writable(job: Job) -> set[str]:
    """The ops the target has a rule for in the version that is written."""
    dialect = _dialect(job)
    return host().rules(job.target).writable(None if dialect is None else dialect.version)


def _free(job: Job) -> bool:
    """Whether nobody asked for nodes by name, or for those that only training needs."""
    dialect = _dialect(job)
    return not job.emit_overrides and not (dialect is not None and dialect.keep_training)


def arrange(job: Job) -> None:
    """Bring the graph into the target's layout and run the plugins' last passes."""
    job.tell("laying out", 0.3)
    job.layout = lay_out(job.graph, job.target, job.io_layout, job.report, job.emit_options)
    for spec in host().passes("laid_out", job.target):
        resolve(spec.run)(job.graph)
    job.graph.remove_unused()


def lay_out(graph: Graph, target: str, io_layout: Any, report: Report, options: Mapping[str, Any]) -> Any:
    convention = host().convention(target, options)
    if convention is None:
        return None
    from .layout import assign

    io = convention.io if io_layout is None or isinstance(io_layout, Mapping) else io_layout
    known = {v.name for v in (*graph.inputs, *graph.outputs)}
    per_tensor = dict(io_layout) if isinstance(io_layout, Mapping) else {}
    if per_tensor.keys() - known:
        raise UsageError(
            f"io_layout names {', '.join(sorted(per_tensor.keys() - known))}; inputs and outputs are {', '.join(sorted(known))}"
        )
    layout = assign(graph, convention, io=io, io_overrides=per_tensor)
    report.add("layout", layout.lines(), layout.to_dict())
    if os.environ.get("CONVCORE_DEBUG") == "1":
        from .build.verify import verify as verify_ir

        verify_ir(graph, "the layout pass")
    return layout


def missing(
    graph: Graph, target: str, options: Mapping[str, Any], overrides: Mapping[str, Any], fuse: bool
) -> list[Problem]:  # fmt: skip
    """What else the target lacks: the known part of the graph is laid out and legalised (written into nowhere by a target
    without a dialect)."""
    work = graph.clone()
    rules = host().rules(target)
    request = EmitRequest(work, None, options, overrides, rules)
    if graph.metadata.get("framework") == target and (own := host().dialect(target, request)) is not None:
        own.keep(work, overrides)
    if fuse:
        find_composites(work, across=True)
    try:
        convention = host().convention(target, options)
        if convention is not None:
            from .layout import assign

            assign(work, convention, io=convention.io)
        if not opaque_problems(work):  # what a conversion does before it writes
            for spec in host().passes("laid_out", target):
                resolve(spec.run)(work)
        dialect = host().dialect(target, request)
        if dialect is not None:
            from .emit.legalise import legalise

            return legalise(work, rules, dialect.version, dialect, overrides)
        host().emit(target, request)
    except UnsupportedError as e:
        return list(e.problems)
    return []
