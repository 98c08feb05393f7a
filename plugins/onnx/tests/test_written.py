"""What is written of small graphs, held whole: each option at values of its own, each edge of a condition, each reason; in the
opset that is written by default, and in an old one where that is another text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_kit import emit_model
from tests.support.small import Held, about, data, fraction
from tests.support.small.graphs import GRAPHS as ALL

from convcore.errors import ConvcoreError
from convcore.ir.graph import Graph
from convcore.layout import assign
from convcore_onnx.layout import CONVENTION

GRAPHS = {name: c for name, c in ALL.items() if not c.options}
OPSET, OLD = 18, 8

LACKS = (
    "NOT_IMPLEMENTED", "is not a registered function", "Type Error", "Dilation not supported for AutoPadType",
    "Unsupported pooling", "Unsupported kernel dimension", "ScalesValidation", "clip_internal", "No corresponding Numpy type",
    "bool data type", "nn/lrn.h",
)  # fmt: skip
"""What onnxruntime says of operators, types and numbers of axes that it has not, though the standard does."""


def _text(model: Any) -> list[str]:
    held = {t.name: data(_array(t)) for t in model.graph.initializer}
    out = [*(f"{v.name}: {_typed(v)}" for v in model.graph.input), *_nodes(model.graph, "")]
    out += [f"-> {', '.join(f'{v.name}: {_typed(v)}' for v in model.graph.output)}", *(f"{k}: {v}" for k, v in held.items())]
    return out


def _nodes(graph: Any, pad: str) -> list[str]:
    found = []
    for n in graph.node:
        regions = [a for a in n.attribute if a.type == onnx.AttributeProto.GRAPH]
        said = ", ".join(f"{a.name}={_value(a)}" for a in sorted(n.attribute, key=lambda a: a.name) if a not in regions)
        domain = f"{n.domain}." if n.domain else ""
        made = f"({said})" if said else ""
        found.append(f"{pad}{', '.join(n.output)} = {domain}{n.op_type}{made}({', '.join(n.input)})")
        for a in regions:
            inside = [*(f"{pad}  {t.name}: {data(_array(t))}" for t in a.g.initializer), *_nodes(a.g, pad + "  ")]
            ends = [f"{pad}  -> {', '.join(v.name for v in a.g.output)}"]
            found += [f"{pad}  {a.name} ({', '.join(v.name for v in a.g.input)})", *inside, *ends]
    return found


def _array(t: Any) -> Any:
    a = onnx.numpy_helper.to_array(t)
    return a.astype(np.float32) if str(a.dtype) == "bfloat16" else a


def _value(a: Any) -> str:
    v = onnx.helper.get_attribute_value(a)
    if isinstance(v, onnx.TensorProto):
        return data(_array(v))
    if isinstance(v, bytes):
        return repr(v.decode())
    return (
        fraction(v)
        if isinstance(v, float)
        else str([fraction(x) if isinstance(x, float) else x for x in v] if hasattr(v, "__len__") else v)
    )


def _typed(v: Any) -> str:
    t = v.type.tensor_type
    sizes = [d.dim_param or (str(d.dim_value) if d.HasField("dim_value") else "?") for d in t.shape.dim]
    return f"{onnx.helper.tensor_dtype_to_np_dtype(t.elem_type)} [{', '.join(sizes)}]"


def _run(model: Any, feeds: list[Any]) -> list[Any]:
    """By onnxruntime, or where that has no such operator, by the standard's reference."""
    import onnxruntime as ort
    from onnx.reference import ReferenceEvaluator

    given = dict(zip([i.name for i in model.graph.input], feeds))
    try:
        return list(ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, given))
    except Exception as e:
        if not any(why in str(e) for why in LACKS):
            raise
    if any(n.op_type == "LRN" or (n.op_type == "MaxPool" and len(n.output) > 1) for n in model.graph.node):
        return [None for _ in model.graph.output]  # onnx 1.23.2: its LRN goes over the batch, its indices know three axes
    return [np.asarray(a) for a in ReferenceEvaluator(model).run(None, given)]


def write(graph: Graph, options: Mapping[str, Any], folder: Path) -> tuple[list[str], Callable[[list[Any]], list[Any]]]:
    assign(graph, CONVENTION, io="source")
    model = emit_model(graph, options["opset"])
    return _text(model), lambda feeds: _run(model, feeds)


def both(graph: Graph, options: Mapping[str, Any], folder: Path) -> tuple[list[str], Callable[[list[Any]], list[Any]]]:
    """The lines of the new opset, then those of the old one that are others."""
    try:
        old, run_old = write(graph.clone(), {"opset": OLD}, folder)
    except ConvcoreError as e:
        old, run_old = about(e), None
    new, run_new = write(graph, {"opset": OPSET}, folder)
    others = [f"{OLD}: {line}" for line in old if line not in new]

    def run(feeds: list[Any]) -> list[Any]:
        found = run_new(feeds)
        if run_old is not None:
            for a, b in zip(run_old(feeds), found, strict=True):
                assert a is None or b is None or np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
        return found

    return [*new, *others], run


HELD = Held(Path(__file__).with_name("data") / "written.txt", GRAPHS, both)


@pytest.mark.parametrize("name", GRAPHS)
def test_is_written_as_recorded(name: str, tmp_path: Path) -> None:
    HELD.check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_is_right_in_onnxruntime(name: str, tmp_path: Path) -> None:
    HELD.check(name, tmp_path, run=True)


def test_the_record_has_no_other_graphs() -> None:
    assert HELD.sections.keys() == GRAPHS.keys()
