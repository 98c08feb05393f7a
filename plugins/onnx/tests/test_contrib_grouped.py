"""com.microsoft.GroupQueryAttention with a cache, drawn at random: onnxruntime judges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from contrib_cases import f4
from contrib_float_cases import cached
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import load_model

import convcore
from convcore.build.opaque import opaque_problems
from convcore.interpreter import Interpreter

ort = pytest.importorskip("onnxruntime")


def run(model: Any, feeds: Any) -> list[Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return list(ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feeds))


def near(got: Any, want: Any, most: float = 1e-6) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.abs(a.astype("f8") - b.astype("f8")).max(initial=0) <= most * np.abs(b.astype("f8")).max(initial=1)


@st.composite
def _cases(draw: Any) -> Any:
    """One step of several sequences, or some of one: a buffer that is full, or longer than all that comes to be."""
    steps = draw(st.integers(1, 4))
    n = draw(st.integers(1, 3)) if steps == 1 else 1
    held: int | None = draw(st.integers(0, 7))
    room = draw(st.booleans()) and held is not None and held >= steps
    if held == 0 and draw(st.booleans()):
        held = None
    total = draw(st.integers(steps, held)) if room and held is not None else (held or 0) + steps
    ends = [total - 1, *(draw(st.integers(0, total - 1)) for _ in range(n - 1))] if steps == 1 else [total - 1]
    window = draw(st.sampled_from([-1, -1, 1, 2, 5]))
    added = f4(draw(st.sampled_from([1, n])), draw(st.sampled_from([1, 4])), steps, total) if draw(st.booleans()) else None
    more: dict[str, Any] = {"causal": draw(st.integers(0, 1)) if window < 0 else 1}
    if draw(st.booleans()):
        more["softcap"] = 0.7
    if draw(st.booleans()):
        more["scale"] = 0.3
    return cached(
        ends, total, steps=steps, held=held, packed=draw(st.booleans()), turned=draw(st.booleans()), added=added,
        told=(told := draw(st.booleans())), free=not told and added is None and draw(st.booleans()),
        interleaved=draw(st.integers(0, 1)), local_window_size=window, **more,
    )  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(_cases())
def test_a_cache_as_onnxruntime_has_it(drawn: Any) -> None:
    model, feeds = drawn
    graph = load_model(model)
    assert not opaque_problems(graph)
    near(Interpreter(graph).run([feeds[v.name] for v in graph.inputs]), run(model, feeds))


def decoder(cache: bool = True) -> Any:
    """As onnxruntime's model builder writes it: the lengths are sums and the width of a mask of all that was seen."""
    heads = {"i0": ("n", "t", 64), "i1": ("n", "t", 32), "i2": ("n", "t", 32)}
    past = dict.fromkeys(("i3", "i4"), ("n", 2, "past", 16)) if cache else {}
    given = [helper.make_tensor_value_info(k, TensorProto.FLOAT, s) for k, s in {**heads, **past}.items()]
    given.append(helper.make_tensor_value_info("seen", TensorProto.INT64, ("n", "all")))
    numbers = {"axis": np.asarray([1]), "one": np.asarray([1]), "at": np.asarray(1), "cos": f4(23, 8), "sin": f4(23, 8)}
    nodes = [
        helper.make_node("ReduceSum", ["seen", "axis"], ["summed"], keepdims=0),
        helper.make_node("Sub", ["summed", "one"], ["before"]),
        helper.make_node("Cast", ["before"], ["ends"], to=TensorProto.INT32),
        helper.make_node("Shape", ["seen"], ["shape"]),
        helper.make_node("Gather", ["shape", "at"], ["width"], axis=0),
        helper.make_node("Cast", ["width"], ["total"], to=TensorProto.INT32),
        helper.make_node(
            "GroupQueryAttention", [*heads, *(past or ("", "")), "ends", "total", "cos", "sin"], ["y", "key", "value"], "n",
            domain="com.microsoft", num_heads=4, kv_num_heads=2, do_rotary=1, local_window_size=3,
        ),
    ]  # fmt: skip
    outs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in ("y", "key", "value")]
    graph = helper.make_graph(nodes, "g", given, outs, [numpy_helper.from_array(a, k) for k, a in numbers.items()])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8
    )


def _fed(n: int, t: int, held: int, total: int, ends: Any) -> dict[str, Any]:
    shapes = [(n, t, 64), (n, t, 32), (n, t, 32), (n, 2, held, 16), (n, 2, held, 16)]
    seen = np.zeros((n, total), np.int64)
    for row, end in zip(seen, ends):
        row[: end + 1] = 1
    return {**{f"i{k}": f4(*s) for k, s in enumerate(shapes)}, "seen": seen}


STEPS = {
    "one sequence": [(1, 3, 5, 8, [7]), (1, 1, 5, 6, [5]), (1, 4, 0, 4, [3]), (1, 2, 9, 6, [5])],
    "one step": [(3, 1, 5, 6, [5, 2, 0]), (2, 1, 9, 6, [3, 5])],
}


@pytest.mark.parametrize("target", ["interpreter", "onnx", "pytorch"])
@pytest.mark.parametrize("name", STEPS)
def test_a_decoder_of_one_sequence_or_one_step(name: str, target: str) -> None:
    """Any length of what is held; sizes of the other inputs follow by their names."""
    feeds = [_fed(*s) for s in STEPS[name]]
    model = decoder()
    assert "how long its sequences are is not known" in opaque_problems(load_model(model))[0].why
    size, value = ("n", 1) if name == "one sequence" else ("t", 1)
    for v in model.graph.input:
        for d in v.type.tensor_type.shape.dim:
            if d.dim_param == size:
                d.dim_value = value
    if target == "interpreter":
        graph = load_model(model)
        for f in feeds:
            near(Interpreter(graph).run([f[v.name] for v in graph.inputs]), run(model, f))
        return
    options: dict[str, Any] = {"contrib": "standard"} if target == "onnx" else {"io_layout": "source"}
    done = convcore.convert(model, target, check=False, **options)
    for f in feeds:
        if target == "onnx":
            assert {o.domain for o in done.model.opset_import} == {""}
            near(run(done.model, f), run(model, f))
        else:
            torch = pytest.importorskip("torch")
            with torch.no_grad():
                near([a.numpy() for a in done.model(*(torch.from_numpy(a) for a in f.values()))], run(model, f), 2e-6)


def test_a_decoder_without_a_cache() -> None:
    """All that was seen is what it is given."""
    model, feeds = decoder(cache=False), _fed(1, 4, 0, 4, [3])
    for v in model.graph.input:
        v.type.tensor_type.shape.dim[0].dim_value = 1
    feeds = {v.name: feeds[v.name] for v in model.graph.input}
    graph = load_model(model)
    assert [str(n) for n in graph.outputs[1].shape or ()] == ["1", "2", "t", "16"]
    near(Interpreter(graph).run([feeds[v.name] for v in graph.inputs]), run(model, feeds))
