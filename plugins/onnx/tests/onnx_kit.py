"""Shared by the tests of the ONNX plugin: the standard's own test cases, and ways to run them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from convcore.build.opaque import opaque_problems
from convcore.build.verify import problems as broken
from convcore.errors import ConvcoreError
from convcore.hookspecs import EmitRequest, LoadRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore.report.compare import distance
from convcore.testing.samples import Summary, same
from convcore_onnx.emit import emit
from convcore_onnx.load import load

__all__ = ["Summary", "emit_model", "load_model", "run_case", "same", "tensors_only"]


def load_model(source: Any, **kw: Any) -> Any:
    """A graph of a path or ModelProto."""
    return load(LoadRequest(source, **{"rules": host().rules("onnx"), **kw}))


def emit_model(graph: Any, opset: int = 18, out: Any = None, **options: Any) -> Any:
    """The ModelProto of a graph (or what writing it gave, with ``out``)."""
    made = emit(EmitRequest(graph, out, {"opset": opset, **options}))
    return made.model() if out is None else made


def tensors_only(case: Any) -> bool:
    """Whether a case has only tensors as inputs and outputs (sequences and optionals have no counterpart)."""
    g = case.model.graph
    return all(v.type.WhichOneof("value") == "tensor_type" for v in (*g.input, *g.output)) and all(
        isinstance(a, (np.ndarray, np.generic)) for ins, outs in case.data_sets for a in (*ins, *outs)
    )


def run_case(case: Any) -> tuple[str, str, Any]:
    """(outcome, reason, graph) of one case: passed, refused (by name), wrong, broken (the IR's rules)."""
    if not tensors_only(case):
        return "refused", "inputs or outputs are not tensors", None
    try:
        graph = load_model(case.model)
    except ConvcoreError as e:
        return "refused", str(e), None
    found = opaque_problems(graph)
    if found:
        return "refused", "; ".join(f"{p.type}: {p.why}" for p in found), None
    bad = broken(graph)
    if bad:
        return "broken", bad[0], graph
    declared = [o.name for o in case.model.graph.output]
    if [v.name for v in graph.outputs] != declared:
        return "broken", f"outputs {[v.name for v in graph.outputs]}, not {declared}", graph
    for ins, outs in case.data_sets:
        names = [v.name for v in case.model.graph.input]
        given = {n: np.asarray(a) for n, a in zip(names, ins)}
        try:
            got = Interpreter(graph).run({v.name: given[v.name] for v in graph.inputs})
        except ConvcoreError as e:
            return "refused", str(e), None
        for v, a, want in zip(graph.outputs, got, outs):
            why = same(a, want, case.rtol, case.atol)
            if why and not _nearer(graph, [given[v.name] for v in graph.inputs], v.name, a, want):
                return "wrong", f"{v.name}: {why}", graph
    return "passed", "", graph


def _nearer(graph: Any, inputs: list[Any], name: str, a: Any, want: Any) -> bool:
    """Whether a half-precision result is within two units in the last place of the largest value of what the standard expects,
    and no further from float64 than that: it was rounded after every step, and is asked for more closely than its dtype holds.
    """
    want = np.asarray(want)
    if want.dtype.itemsize != 2 or want.dtype.kind not in "fV" or a.dtype != want.dtype or a.shape != want.shape:
        return False
    step = 2.0 ** -(10 if want.dtype == np.float16 else 7)
    wide = want.astype(np.float64)
    if not np.all(np.abs(a.astype(np.float64) - wide) <= 2 * step * np.abs(wide).max(initial=0)):
        return False
    results = dict(zip((v.name for v in graph.outputs), Interpreter(graph, precise=True).run(inputs)))
    return distance(results[name], a) <= distance(results[name], want)


def node_cases() -> list[Any]:
    """The standard's node test cases, generated in process."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(collect_testcases(None))
