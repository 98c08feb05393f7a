"""A seeded sample of the sweeps (``python -m sweeps``): every one agrees or is refused with a reason."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("keras")
pytest.importorskip("onnxruntime")
from sweeps import ops_cases
from sweeps.judge import Case, judge

SAMPLE = random.Random(8)
OPS = SAMPLE.sample(ops_cases.cases(), 150)
REFUSED = {
    "O.inv(a)": "linear algebra",
    "O.gcd(i, j)": "common divisors",
    "O.argpartition(x, 2)": "left open",
    "O.unique(i)": "depends on the data",
    "O.bincount(l, minlength=6)": "depends on the data",
    "O.empty_like(x)": "not defined",
    "O.ndim(x)": "Python number",
    "O.polar(x, y)": "complex numbers",
    "O.quantile(x, 0.3, axis=1, method='nearest')": "computes linear",
    "O.image.gaussian_blur(m, (5, 3), (0.7, 1.3))": "odd square",
    "O.image.resize(m, (9, 11), interpolation='bicubic')": "differs between Keras's backends",
    "O.norm(x, ord=2, axis=(1, 2))": "singular values",
}
BY_NAME: dict[str, Case] = {c.name: c for c in ops_cases.cases()}


@pytest.mark.parametrize("case", OPS, ids=lambda c: c.name)
def test_operations(case: Case) -> None:
    v = judge(case)
    assert v.what in ("agree", "onnx") or (v.what == "refused" and v.why), v


@pytest.mark.parametrize("name", REFUSED)
def test_refused_operations_say_why(name: str) -> None:
    v: Any = judge(BY_NAME[name], onnx=False)
    assert v.what == "refused" and REFUSED[name] in v.why, v
