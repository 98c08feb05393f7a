"""The ONNX standard's node tests written as PyTorch: a seeded sample with every operator; all of them by the command in
docs/support/onnx_node_pytorch.md."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convcore.testing import standard

pytest.importorskip("torch")
OUTSIDE = re.compile(
    r"op string_\w+: pytorch|op (label_encode|count_ngrams): pytorch"
    r"|op mel_weight_matrix: pytorch|is (uint64|string)"
)
"""Why PyTorch refuses what the IR has for ONNX: strings, a filter bank of computed size, the one type it cannot sort."""
PAGE = Path(__file__).resolve().parents[3] / "docs" / "support" / "onnx_node_pytorch.md"


@pytest.fixture(scope="module")
def cases() -> list[standard.Case]:
    return standard.node_cases()


def test_a_sample_of_the_standard(cases: list[standard.Case]) -> None:
    chosen = standard.sample(cases, 500, seed=7)
    assert {c.op for c in chosen} == {c.op for c in cases}
    result = standard.run_cases("pytorch", chosen)
    assert not result.of("wrong") and not result.of("failed"), result.of("wrong") + result.of("failed")
    whole = [o for o in result.outcomes if o.what == "right" or (o.what == "refused" and not OUTSIDE.search(o.why))]
    assert len(result.of("right")) / len(whole) >= 0.98, str(result)
    assert len(result.of("right")) >= 0.91 * len(chosen), str(result)
    reasons = Counter(o.why for o in result.of("refused"))
    assert all(reasons) and not any("body" in why for why in reasons)


def test_the_page_says_the_whole(cases: list[standard.Case]) -> None:
    """What is committed is that of a whole run: every operator, nothing wrong."""
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{op}` |" in text for op in {c.op for c in cases}), "make it anew with the command it names"
    assert ", 0 wrong (" in text


def test_the_runner_tells_right_from_wrong(cases: list[standard.Case]) -> None:
    relu = next(c for c in cases if c.name == "test_relu")
    ((ins, outs),) = relu.sets
    other = [np.asarray(outs[0]) + 1]
    made = standard.run_cases("interpreter", [relu, replace(relu, sets=[(ins, other)])])
    assert [o.what for o in made.outcomes] == ["right", "wrong"] and made.share == 0.5
    (refused,) = standard.run_cases("pytorch", [next(c for c in cases if c.name == "test_top_k_uint64")]).outcomes
    assert refused.what == "refused" and "uint64" in refused.why
    (text,) = standard.run_cases("pytorch", [next(c for c in cases if c.name == "test_string_concat")]).outcomes
    assert text.what == "refused" and "string_concat" in text.why
    (lacking,) = standard.run_cases("pytorch", [next(c for c in cases if c.name == "test_image_decoder_decode_png_rgb")]).outcomes
    assert lacking.what == "lacking" and lacking.why


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert standard.command(["--to", "pytorch", "--case", "test_relu", "--page", str(page)]) == 0
    assert "pytorch: 2 right, 0 wrong" in capsys.readouterr().out and "| `Relu` | 1 |" in page.read_text()
