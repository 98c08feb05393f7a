"""The standard's node test cases: every one is right or refused by name, none is wrong, none fails otherwise."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_kit import Summary, emit_model, load_model, run_case, same

from convcore.errors import ConvcoreError, UnsupportedError


@pytest.fixture(scope="module")
def outcomes(node_cases: list[Any]) -> tuple[Summary, dict[str, Any]]:
    """What became of every case, and the cases that passed."""
    summary, passed = Summary(), {}
    for case in node_cases:
        outcome, why, _ = run_case(case)
        summary.add(outcome, case.name, why)
        if outcome == "passed":
            passed[case.name] = case
    return summary, passed


def test_no_case_is_wrong(outcomes: Any) -> None:
    summary, _ = outcomes
    print(summary)
    assert not summary.detail.get("wrong")
    assert not summary.detail.get("broken")


def test_most_cases_pass(outcomes: Any) -> None:
    """A floor, so that a rule that stops matching shows: 1,286 passed with onnx 1.23.2 when this was written."""
    summary, _ = outcomes
    assert summary.counts["passed"] >= 1250, str(summary)


def test_refusals_name_their_reason(outcomes: Any) -> None:
    summary, _ = outcomes
    reasons = Counter(why.split("'")[0][:80] for _, why in summary.detail["refused"])
    assert all(reasons)
    for name, why in summary.detail["refused"]:
        assert why.strip(), name
        assert "cannot be read:" not in why, (name, why)  # that is for damaged nodes; these are sound


def with_constants(case: Any) -> Any:
    """The case with all inputs but the first as initializers."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    others = model.graph.input[1:]
    (ins, outs), *_ = case.data_sets
    for v, a in zip(others, ins[1:]):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(a), v.name))
    del model.graph.input[1:]
    return SimpleNamespace(name=case.name, model=model, data_sets=[(ins[:1], outs)], rtol=case.rtol, atol=case.atol)


def test_what_must_be_constant_is_right_when_it_is(outcomes: Any, node_cases: list[Any]) -> None:
    """The cases that are refused because an input is computed (Resize's scales, AffineGrid's size): given as constants."""
    summary, _ = outcomes
    refused = {n for n, why in summary.detail["refused"] if "constant" in why or "must be known" in why}
    again = Summary()
    for case in node_cases:
        if case.name in refused and len(case.model.graph.input) > 1:
            outcome, why, _ = run_case(with_constants(case))
            again.add(outcome, case.name, why)
    print(again)
    # the expected sizes of these two are not whole: neither onnxruntime 1.31 nor the standard's reference gives their values
    odd = {f"test_resize_downsample_scales_{kind}_align_corners" for kind in ("linear", "cubic")}
    assert {name for name, _ in again.detail.get("wrong", ())} <= odd
    assert not again.detail.get("broken")
    assert len(refused) < 12, "what is computed is an input of an op of its own"


@pytest.mark.parametrize("opset", [13, 18, pytest.param(23, marks=pytest.mark.slow)])
def test_what_passes_is_written_right(outcomes: Any, opset: int) -> None:
    """Loaded, written in another opset, checked, and run by onnxruntime: the expected outputs, or a refusal by name."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    _, passed = outcomes
    summary = Summary()
    for name, case in passed.items():
        try:
            model = emit_model(load_model(case.model), opset)
        except UnsupportedError as e:
            summary.add("unsupported", name, str(e))
            continue
        onnx.checker.check_model(model)
        ins, outs = case.data_sets[0]
        given = dict(zip([v.name for v in case.model.graph.input], ins))
        try:
            runtime = open_runtime(model)
            got = runtime.run([np.asarray(given[n]) for n in runtime.inputs])
        except ConvcoreError as e:
            summary.add("runtime refuses", name, str(e))
            continue
        why = next((w for w in (same(a, b, max(case.rtol, 1e-3), max(case.atol, 1e-5)) for a, b in zip(got, outs)) if w), "")
        if why:  # onnxruntime's own answer to the case itself may be that far off (its Fourier transforms are)
            theirs = open_runtime(case.model)
            own = theirs.run([np.asarray(given[n]) for n in theirs.inputs])
            if any(same(a, b, max(case.rtol, 1e-3), max(case.atol, 1e-5)) for a, b in zip(own, outs)):
                summary.add("disputed", name, why)
                continue
        summary.add("wrong" if why else "right", name, why)
    print(summary)
    assert not summary.detail.get("wrong") and len(summary.detail.get("disputed", ())) < 12
    refused = [why for _, why in summary.detail.get("runtime refuses", [])]
    assert all("NOT_IMPLEMENTED" in w or "MLDataType" in w or "implementation for" in w or "kernel for" in w for w in refused), (
        refused
    )
    assert summary.counts["right"] >= 1100, str(summary)
