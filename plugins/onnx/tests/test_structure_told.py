"""Models whose parts do not fit together: names twice, subgraphs and functions without end, loops over what is not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems
from convcore.errors import BadFileError

F, B, I = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def value(name: str, *shape: int, type_: int = F) -> Any:
    return helper.make_tensor_value_info(name, type_, shape)


def one(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.ones(shape, "f4"), name)


def model(nodes: list[Any], inputs: Any = None, held: Any = (), outs: Any = ("y",), functions: Any = (), opset: int = 17) -> Any:
    told = [helper.make_tensor_value_info(o, F, None) for o in outs]
    graph = helper.make_graph(nodes, "g", inputs or [value("x", 3, 2)], told, list(held))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def relu(x: str = "x", y: str = "y", **more: Any) -> Any:
    return helper.make_node("Relu", [x], [y], **more)


def function(name: str, *nodes: Any) -> Any:
    return helper.make_function(
        "own", name, ["x"], ["y"], list(nodes), [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    )


def calls(n: int) -> Any:
    """f0 calls f1 calls f2 ... so many deep."""
    inner = [function(f"f{i}", helper.make_node(f"f{i + 1}", ["x"], ["y"], domain="own")) for i in range(n - 1)]
    return model([helper.make_node("f0", ["x"], ["y"], domain="own")], functions=[*inner, function(f"f{n - 1}", relu())])


def branch(name: str, nodes: list[Any], out: str, inputs: Any = (), held: Any = ()) -> Any:
    return helper.make_graph(nodes, name, list(inputs), [helper.make_tensor_value_info(out, F, None)], list(held))


def choice(then: Any, other: Any = None, cond: str = "c") -> Any:
    """An If; ``k`` is a condition that is known, of which only one side is loaded."""
    other = other or branch("e", [relu(y="e")], "e")
    node = helper.make_node("If", [cond], ["y"], name="n", then_branch=then, else_branch=other)
    held = [numpy_helper.from_array(np.asarray(True), "k")]
    return model([node], [value("x", 3, 2), value("c", type_=B)], held)


def nested(depth: int) -> Any:
    g = branch("b0", [relu(y="t0")], "t0")
    for i in range(1, depth):
        other = branch(f"e{i}", [relu(y=f"e{i}")], f"e{i}")
        node = helper.make_node("If", ["c"], [f"t{i}"], then_branch=g, else_branch=other)
        g = branch(f"b{i}", [node], f"t{i}")
    return choice(g)


def scan(count: int = 1, axes: Any = None, inputs: Any = ("x",), depth: int = 0) -> Any:
    body = branch("body", [relu("s", "t")], "t", [value("s", 2)])
    node = helper.make_node("Scan", list(inputs), ["y"], name="n", body=body, num_scan_inputs=count)
    if axes is not None:
        node.attribute.append(helper.make_attribute("scan_input_axes", axes))
    return model([node])


def loops(depth: int) -> Any:
    """Loops within loops, so many of them."""
    body: Any = [relu("s", "t0")]
    for i in range(depth):
        inner = helper.make_graph(
            [*body, helper.make_node("Identity", [f"k{i}"], [f"g{i}"])], f"body{i}",
            [value(f"i{i}", type_=I), value(f"k{i}", type_=B), value("s" if not i else f"u{i}", 3, 2)],
            [value(f"g{i}", type_=B), value(f"t{i}", 3, 2)],
        )  # fmt: skip
        outer = "x" if i == depth - 1 else f"u{i + 1}"
        node = helper.make_node("Loop", ["m", "", outer], [f"t{i + 1}"], name=f"n{i}", body=inner)
        body = [node]
    held = [numpy_helper.from_array(np.asarray(2, np.int64), "m")]
    return model(body, held=held, outs=[f"t{depth}"])


BROKEN: list[tuple[str, Any, Any]] = [
    # why, what is refused, what is not
    ("the function 'f' is there twice", lambda: model([relu()], functions=[function("f", relu())] * 2),
     lambda: model([relu()], functions=[function("f", relu()), function("g", relu())])),
    ("functions call each other more than 64 deep, or without end", lambda: calls(65), lambda: calls(64)),
    ("the initializer 'w' is there twice", lambda: model([relu()], held=[one("w", 2), one("w", 2)]),
     lambda: model([relu()], held=[one("w", 2), one("v", 2)])),
    ("the input 'x' is there twice", lambda: model([relu()], [value("x", 3, 2), value("x", 3, 2)]),
     lambda: model([relu()], [value("x", 3, 2), value("z", 3, 2)])),
    ("subgraph 't' has inputs where none are allowed",
     lambda: choice(branch("t", [relu("q", "z")], "z", [value("q", 3, 2)]), cond="k"),
     lambda: choice(branch("t", [relu("x", "z")], "z"), cond="k")),
    ("subgraph 't' defines 'x' again", lambda: choice(branch("t", [relu("c2", "x")], "x", held=[one("c2", 3, 2)]), cond="k"),
     lambda: choice(branch("t", [relu("c2", "z")], "z", held=[one("c2", 3, 2)]), cond="k")),
]  # fmt: skip


@pytest.mark.parametrize(("why", "bad", "good"), BROKEN, ids=[b[0][:40] for b in BROKEN])
def test_models_that_are_broken(why: str, bad: Any, good: Any) -> None:
    assert not opaque_problems(load_model(good()))
    with pytest.raises(BadFileError, match=why):
        load_model(bad())


REFUSED: list[tuple[str, Any, Any]] = [
    ("num_scan_inputs=2 does not fit 1 inputs", lambda: scan(2), scan),
    ("num_scan_inputs=0 does not fit 1 inputs", lambda: scan(0), scan),
    ("scan axis 2 of an input with 2 axes", lambda: scan(axes=[2]), lambda: scan(axes=[0])),
    ("scan axis -3 of an input with 2 axes", lambda: scan(axes=[-3]), lambda: scan(axes=[-2])),
    ("loops are nested more than 8 deep", lambda: loops(10), lambda: loops(9)),
]  # fmt: skip


@pytest.mark.parametrize(("why", "bad", "good"), REFUSED, ids=[r[0] for r in REFUSED])
def test_loops_that_are_refused(why: str, bad: Any, good: Any) -> None:
    assert not opaque_problems(load_model(good()))
    assert any(why in p.why for p in opaque_problems(load_model(bad())))


def test_branches_within_branches_end() -> None:
    assert not opaque_problems(load_model(nested(30)))
