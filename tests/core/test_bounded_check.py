"""What a few bytes of a file ask of the check is bounded; files of the IR whose kept nodes are damaged are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore import budget
from convcore.build.builder import Builder
from convcore.errors import BadFileError, UnsupportedError
from convcore.interpreter import execute
from convcore.ir.graph import Graph
from convcore.model import Model

onnx = pytest.importorskip("onnx")
pytest.importorskip("convcore_onnx")
from onnx import helper, numpy_helper


def bomb(n: int) -> Any:
    """The largest of n copies of three numbers."""
    nodes = [helper.make_node("Expand", ["x", "n"], ["e"], name="bomb"), helper.make_node("ReduceMax", ["e"], ["y"], keepdims=0)]
    info = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [3]), ("y", []))]
    graph = helper.make_graph(nodes, "g", [info[0]], [info[1]], [numpy_helper.from_array(np.int64([n, 1]), "n")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_value_out_of_all_proportion_is_not_computed_in_the_check() -> None:
    with pytest.raises(execute.TooLargeError, match=r"'bomb'.*1,000 times.*check=False.*CONVCORE_BUDGET"):
        convcore.convert(bomb(10**8), "onnx")
    assert convcore.convert(bomb(10**8), "onnx", check=False).model.graph.node  # what the message says
    assert convcore.convert(bomb(10**5), "onnx").report.ok


def test_the_bound_grows_with_what_the_model_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.expand(b.weight(np.zeros((1, 40_000), np.float32), "w"), shape=(900, 40_000))]  # 900 times, 144 MB
    with execute.affording(g):
        Model(g)()
        monkeypatch.setattr(execute, "GROWTH", 800)
    with execute.affording(g), pytest.raises(execute.TooLargeError):
        Model(g)()
    Model(g)()  # only the check is bounded
    assert budget.GROWTH == 1_000


@pytest.mark.parametrize(
    "what, value",
    [
        ("proto", b"\xff\xff"), ("proto", "text"), ("opset", "x"), ("opset", 1 << 62), ("opset", 0),
        *(("proto", helper.make_node("Mine", ["x"], outs, domain="my").SerializeToString()) for outs in ([], [""], ["y", "z"])),
    ],
)  # fmt: skip
def test_a_kept_node_that_is_damaged(what: str, value: Any, tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, 1, ["batch", 3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Mine", ["x"], ["y"], "mine", domain="my")], "g", [x], [y])
    model = convcore.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]))
    node = next(iter(model.graph))
    node.attrs["attributes"] = {**node.attrs["attributes"], what: value}
    with pytest.raises(UnsupportedError, match="what was kept of it is damaged") as e:
        convcore.convert(model, "onnx", tmp_path / "o.onnx", check=False)
    assert e.value.problems[0].layer == "mine" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("opsets", [None, [], {"": "x"}, {"": None}, {"": 10**30}])
def test_opsets_in_the_metadata_of_a_file_that_are_none(opsets: Any) -> None:
    model = convcore.load(bomb(7))
    model.graph.metadata["opsets"] = opsets
    assert convcore.convert(model, "onnx").model.opset_import[0].version == 18


def test_a_number_too_large_for_a_float(tmp_path: Path) -> None:
    b = Builder(Graph("g"))
    b.graph.outputs = [b.leaky_relu(b.input("x", "float32", (2, 3)), alpha=0.25)]
    Model(b.graph).save(tmp_path / "a.ccir")
    data = (tmp_path / "a.ccir").read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = data[8 : 8 + size].replace(b"0.25", b"9" * 400)
    assert len(head) > size
    (tmp_path / "a.ccir").write_bytes(len(head).to_bytes(8, "little") + head + data[8 + size :])
    with pytest.raises(BadFileError, match=r"alpha=9+: int too large to convert to float"):
        convcore.load(tmp_path / "a.ccir")
