"""The standard's node cases changed in one place are refused with a reason, or loaded as onnx.reference computes them."""

from __future__ import annotations

import json
import warnings
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_nodes import Changed, base, change, changes
from onnx.reference import ReferenceEvaluator
from onnx_kit import load_model, node_cases

from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError, PluginBugError
from convcore.interpreter import Interpreter

REFUSALS: dict[str, list[tuple[list[Any], str]]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def cases() -> dict[str, Changed]:
    return {c.name: b for c in node_cases() if (b := base(c)) is not None}


def refusal(case: Changed) -> str:
    """Why it is refused; "" where it loads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "; ".join(p.why for p in opaque_problems(load_model(case.model())))
        except PluginBugError:
            raise
        except ConvcoreError as e:
            return str(e)


@pytest.mark.parametrize("part", range(8))
def test_changes_end_in_no_other_exception(cases: dict[str, Changed], part: int) -> None:
    """One case of each operator; every fourth change of it."""
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for name, c in cases.items():
        seen[f"{c.node.domain} {c.node.op_type}"].append(name)
    for name in [names[0] for names in seen.values()][part::8]:
        for what in list(changes(cases[name]))[::4]:
            try:
                refusal(change(cases[name], what))
            except Exception as e:
                raise AssertionError(f"{name}, {what}: {type(e).__name__}: {e}") from e


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_told(cases: dict[str, Changed], name: str) -> None:
    """One change for each reason that nodes are refused for, by the reason's words."""
    for what, why in REFUSALS[name]:
        assert why in refusal(change(cases[name], what)), what


BY_THE_REFERENCE = {
    ("Attention", "softcap"), ("Attention", "qk_matmul_output_mode"),  # NaN; modes that are none, and what mode 0 gives
    ("AveragePool", "strides"), ("MaxPool", "strides"),  # onnxruntime agrees with convcore
    ("BlackmanWindow", "output_datatype"),  # rounded to whole numbers
    ("GRU", "clip"), ("LSTM", "clip"), ("RNN", "clip"),  # below 0
    ("Gemm", ""), ("GlobalMaxPool", ""), ("RoiAlign", ""),  # shapes that the standard does not allow
    ("LeakyRelu", "alpha"), ("LpPool", "p"),  # NaN; powers beyond float32
    ("SoftmaxCrossEntropyLoss", "reduction"),  # a word that is none
    ("StringNormalizer", ""), ("StringNormalizer", "case_change_action"),
}  # fmt: skip
"""Where onnx.reference gives something else, by operator and attribute, and why it is no judge."""
AT_RUN_TIME = {
    "AveragePool", "ConvInteger", "GatherElements", "Hardmax", "LinearAttention", "MatMulInteger", "MaxPool", "MaxUnpool",
    "MelWeightMatrix", "NegativeLogLikelihoodLoss", "NonMaxSuppression", "NonZero", "Resize", "ReverseSequence", "RoiAlign",
    "SplitToSequence", "StringSplit",
}  # fmt: skip
"""Operators that are refused for the values they are given, where numpy takes them in its own way (-1 as the last)."""


@pytest.mark.parametrize("part", range(4))
def test_what_loads_computes_what_the_reference_computes(cases: dict[str, Changed], part: int) -> None:
    """A quarter of the changes of values, shapes and attributes, of a case of each set of attributes."""
    seen: dict[tuple[str, ...], str] = {}
    for name, c in cases.items():
        seen.setdefault((c.node.domain, c.node.op_type, *sorted(a.name for a in c.node.attribute)), name)
    equal = 0
    for name in sorted(seen.values())[part::4]:
        c = cases[name]
        for what in changes(c):
            left_out = what[0] in ("late", "more", "output", "type") or what[1] == "strange"
            if left_out or zlib.crc32(repr((name, what)).encode()) % 4:
                continue
            changed = change(c, what)
            found = _computed(changed)
            if found is None:
                continue
            key = (c.node.op_type, str(what[1]) if what[0] in ("attr", "without") else "")
            if found == "refused":
                assert c.node.op_type in AT_RUN_TIME, (name, what)
            elif found == "differs":
                assert key in BY_THE_REFERENCE, (name, what)
            else:
                equal += 1
    assert equal > 300


def _computed(case: Changed) -> str | None:
    """Whether it is what onnx.reference gives; None where either does not take it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = load_model(case.model())
        except ConvcoreError:
            return None
        if opaque_problems(graph):
            return None
        try:
            want = ReferenceEvaluator(case.model()).run(None, case.feed())
        except Exception:  # noqa: BLE001  whatever the reference is not made for
            return None
        if any(isinstance(a, list) for a in want):
            return None
        try:
            got = Interpreter(graph).run([case.feed()[v.name] for v in graph.inputs])
        except ConvcoreError:
            return "refused"
    for a, b in zip(map(np.asarray, want), map(np.asarray, got), strict=True):
        close = np.allclose(a.astype(float), b.astype(float), 1e-3, 1e-5, equal_nan=True) if (
            a.dtype.kind in "fc" and a.shape == b.shape
        ) else np.array_equal(a, b)  # fmt: skip
        if not close:
            return "differs"
    return "equal"
