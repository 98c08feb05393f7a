"""Damaged nodes: whatever is changed in a model, the answer is a model, or an error of ours, soon."""

from __future__ import annotations

import random
from typing import Any

import onnx
import pytest
from onnx import AttributeProto, helper
from onnx_kit import emit_model, load_model, tensors_only

from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError, PluginBugError

ODD = (-1, 0, 1, -5, 10**12, -(2**63), 2**63 - 1, 7)


def damage(rng: random.Random, m: onnx.ModelProto) -> None:
    """One change: an attribute's value, length or type, an input, a declared type or size, the opset."""
    n = rng.choice(list(m.graph.node))
    names = [i.name for i in m.graph.input] or [""]
    kind = rng.randrange(8)
    a = rng.choice(list(n.attribute)) if n.attribute else None
    if kind == 0 and a is not None:
        if a.type == AttributeProto.INTS and len(a.ints):
            a.ints[rng.randrange(len(a.ints))] = rng.choice(ODD)
        else:
            a.i, a.f, a.s = rng.choice(ODD), rng.choice([float("nan"), float("inf"), -1.0]), rng.choice([b"", b"x", b"\xff"])
    elif kind == 1 and a is not None and a.type == AttributeProto.INTS:
        a.ints.append(rng.choice(ODD[:4]))
    elif kind == 2 and a is not None:
        a.type = rng.randrange(9)
    elif kind == 3 and len(n.input):
        n.input[rng.randrange(len(n.input))] = rng.choice(["", *names])
    elif kind == 4 and len(n.input):
        n.input.pop()
    elif kind == 5:
        n.input.append(rng.choice(names))
    elif kind == 6 and m.graph.input:
        t = rng.choice(list(m.graph.input)).type.tensor_type
        if rng.random() < 0.3:
            t.elem_type = rng.choice([0, 1, 6, 7, 8, 9, 10, 11, 16, 22])
        elif len(t.shape.dim) and rng.random() < 0.8:
            rng.choice(list(t.shape.dim)).dim_value = rng.choice([0, 1, 3, 10**15, 2**62])
        else:
            t.ClearField("shape")
    elif kind == 7:
        m.opset_import[0].version = rng.choice([1, 5, 6, 7, 9, 10, 11, 12, 13, 17, 18, 21, 22, 28, 99])


@pytest.mark.parametrize("seed", range(4))
def test_damaged_models_are_refused_or_read(node_cases: list[Any], seed: int) -> None:
    rng = random.Random(seed)
    cases = [c for c in node_cases if tensors_only(c) and c.model.ByteSize() < 20000]
    for _ in range(500):
        m = onnx.ModelProto()
        m.CopyFrom(rng.choice(cases).model)
        for _ in range(rng.choice([1, 1, 2, 3])):
            damage(rng, m)
        try:
            graph = load_model(m)
        except PluginBugError:
            raise
        except ConvcoreError:
            continue
        if not opaque_problems(graph):
            try:
                emit_model(graph, 18)
            except ConvcoreError:
                continue


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "why"),
    [
        ("Add", ["x"], {}, "has 1 inputs, Add takes 2"),
        ("Add", ["x", ""], {}, "input 'B' is missing"),
        ("Conv", ["x", "x"], {"strides": 2}, "'strides' must be integers"),
        ("Concat", ["x", "x"], {}, "'axis' is missing"),
        ("MaxPool", ["x"], {}, "'kernel_shape' is missing"),
    ],
)
def test_malformed_nodes_say_what_is_wrong(op: str, inputs: list[str], attrs: dict[str, Any], why: str) -> None:
    info = helper.make_tensor_value_info
    g = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], name="n", **attrs)], "g", [info("x", 1, [2, 3])], [info("y", 1, None)]
    )
    (p,) = opaque_problems(load_model(helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)])))
    assert p.layer == "n" and why in p.why
