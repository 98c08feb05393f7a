"""The standard's cases by the runner (``python -m convcore.testing onnx-backend``): what test_backend.py leaves out.

The whole, with the figures of docs/support/onnx_node_interpreter.md and onnx_node_onnx.md, is that command.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_kit import emit_model, load_model

from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ops.sequences import as_sequence
from convcore.testing import standard

PAGES = Path(__file__).resolve().parents[3] / "docs" / "support"


@pytest.fixture(scope="module")
def cases() -> list[standard.Case]:
    return standard.all_cases()


def held(case: standard.Case) -> bool:
    """Whether a case has values that are no tensors, of elements or types that numpy lacks."""
    values = [a for ins, outs in case.sets for a in (*ins, *outs)]
    return any(not isinstance(a, (np.ndarray, np.generic)) or DType.of(a.dtype).is_small for a in values)


def test_sequences_and_small_types_run_and_are_written_back(cases: list[standard.Case]) -> None:
    """Not held: a loop whose state is an optional sequence first and a sequence afterwards."""
    chosen = [c for c in cases if held(c)]
    assert len(chosen) > 180
    result = standard.run_cases("interpreter", chosen)
    assert {o.what for o in result.outcomes} <= {"right", "lacking"}
    assert {o.case for o in result.of("lacking")} == {"test_loop16_seq_none"}
    few = [c for c in chosen if "cast" not in c.name] + [c for c in chosen if "cast" in c.name][::7]
    back = standard.run_cases("onnx", few)
    assert not back.of("wrong") and not back.of("failed"), back.outcomes
    assert {o.case for o in back.of("refused")} == {"test_loop16_seq_none"}, back.of("refused")


def test_stored_cases_are_right(cases: list[standard.Case]) -> None:
    stored = [c for c in cases if c.kind not in ("node", "real")]
    assert len(stored) == 140
    result = standard.run_cases("interpreter", stored)
    assert {(o.case, o.what) for o in result.outcomes if o.what != "right"} == {
        ("test_gradient_of_add", "lacking"), ("test_gradient_of_add_and_mul", "lacking"),
    }  # fmt: skip


def test_what_the_runtime_itself_gives_is_disputed(cases: list[standard.Case]) -> None:
    """Random numbers are carried as they are; onnxruntime's transforms differ from the standard's whoever wrote the model."""
    named = {c.name: c for c in cases}
    result = standard.run_cases("onnx", [named["test_training_dropout"], named["test_dft_rfft"]])
    assert [o.what for o in result.outcomes] == ["disputed", "disputed"], result.outcomes
    relu = named["test_relu"]
    ((ins, outs),) = relu.sets
    (wrong,) = standard.run_cases("onnx", [replace(relu, sets=[(ins, [np.asarray(outs[0]) + 1])])]).outcomes
    assert wrong.what == "wrong"


@pytest.mark.parametrize("target", ["interpreter", "onnx"])
def test_the_pages_say_the_whole(cases: list[standard.Case], target: str) -> None:
    text = (PAGES / f"onnx_node_{target}.md").read_text(encoding="utf-8")
    assert all(f"| `{op}` |" in text for op in {c.op for c in cases}), "make it anew with the command it names"
    assert ", 0 wrong" in text
    share = float(text.partition("% of all 2033 right")[0].rpartition(" ")[2])
    assert share >= 97


def wrap(nodes: list[Any], inputs: list[Any], outputs: list[Any], opset: int = 17) -> Any:
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_types_of_what_holds_tensors_are_written() -> None:
    """An optional sequence of another element type, through the interpreter, ONNX and onnxruntime."""
    pytest.importorskip("onnxruntime")
    from convcore_onnx.runtime import open_runtime

    seq = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.INT64, None))
    nodes = [
        helper.make_node("Optional", ["s"], ["o"]), helper.make_node("OptionalGetElement", ["o"], ["t"]),
        helper.make_node("SequenceErase", ["t"], ["u"]), helper.make_node("Optional", [], ["none"], type=seq),
        helper.make_node("OptionalHasElement", ["none"], ["has"]),
    ]  # fmt: skip
    source = wrap(
        nodes, [helper.make_value_info("s", seq)],
        [helper.make_value_info("u", seq), helper.make_tensor_value_info("has", TensorProto.BOOL, [])],
    )  # fmt: skip
    graph = load_model(source)
    assert graph.inputs[0].dtype is DType.INT64.sequence and graph.outputs[0].dtype is DType.INT64.sequence
    s = as_sequence([np.array([2, 3]), np.array([[5]])])
    (rest, has) = Interpreter(graph).run([s])
    assert len(rest) == 1 and rest[0].tolist() == [2, 3] and not has
    made = emit_model(graph, 17)
    onnx.checker.check_model(made, full_check=True)
    got = open_runtime(made).run([s])
    assert len(got[0]) == 1 and got[0][0].tolist() == [2, 3] and not got[1]


def test_an_absent_value_needs_a_type() -> None:
    model = wrap([helper.make_node("Optional", [], ["o"]), helper.make_node("OptionalHasElement", ["o"], ["h"])], [],
                 [helper.make_tensor_value_info("h", TensorProto.BOOL, [])])  # fmt: skip
    from convcore.build.opaque import opaque_problems

    assert any("the type of its absent value is not known" in p.why for p in opaque_problems(load_model(model)))


def test_outputs_that_nothing_uses_are_left_out() -> None:
    """The mask of an old Dropout has no meaning at inference; named and not used, it needs none."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    node = helper.make_node("Dropout", ["x"], ["y", "mask"])
    a = np.ones((2, 3), np.float32)
    assert np.array_equal(Interpreter(load_model(wrap([node], [x], [y], 9))).run([a])[0], a)
    from convcore.build.opaque import opaque_problems

    used = wrap([node], [x], [y, helper.make_tensor_value_info("mask", TensorProto.FLOAT, [2, 3])], 9)
    assert any("its mask is used" in p.why for p in opaque_problems(load_model(used)))
