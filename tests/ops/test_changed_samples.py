"""Every sample of every op, changed in one place: refused with a reason, or it computes what was inferred."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.support.changed_samples import change, changes

from convcore.errors import ConvcoreError, ShapeError
from convcore.interpreter.execute import Interpreter
from convcore.ir.dtypes import DType
from convcore.ops.families import FAMILIES
from convcore.opset.declare import Op

OPS: dict[str, Op] = {name: decl for family in FAMILIES for name, decl in family.ops.items() if decl.samples}
REFUSALS: dict[str, list[tuple[int, list[Any], str]]] = json.loads(Path(__file__).with_name("refusals.json").read_text("utf-8"))
LARGEST = 10**6


@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore")
def test_refused_or_computed_as_inferred(name: str) -> None:
    """No other exception, from the shape rule or the reference; shapes and types of results are the inferred ones."""
    decl = OPS[name]
    for number, sample in enumerate(decl.samples[:4]):
        for c in changes(decl, sample):
            case = f"sample {number}, {c.what}"
            try:
                node, feed = c.build(decl)
            except ShapeError:
                continue
            except Exception as e:
                raise AssertionError(f"{case}: {type(e).__name__}: {e}") from e
            if any(math.prod(d for d in v.shape or () if isinstance(d, int)) > LARGEST for v in node.outputs):
                continue
            try:
                got = Interpreter(node.outputs[0].graph).run(feed)
            except ConvcoreError:
                continue
            except Exception as e:
                raise AssertionError(f"{case}: {type(e).__name__}: {e}") from e
            for v, a in zip(node.outputs, got, strict=True):
                if v.dtype is None or v.dtype.is_container:
                    continue
                assert DType.of(a.dtype) is v.dtype, case
                assert v.shape is None or len(v.shape) == a.ndim, case
                assert all(n == m for n, m in zip(v.shape or (), a.shape) if isinstance(n, int)), f"{case}: {v} against {a.shape}"


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_told(name: str) -> None:
    """One change for each reason that ops refuse for, by the reason's words."""
    decl = OPS[name]
    for number, what, why in REFUSALS[name]:
        with pytest.raises(ShapeError) as e:
            change(decl, decl.samples[number], what).build(decl)
        assert str(e.value).endswith(why), what
