"""Single-node models, and the judges: onnxruntime where it has the opset, else the standard's reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper

from convcore.build.opaque import opaque_problems
from convcore.hookspecs import EmitRequest, LoadRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore_onnx.emit import emit
from convcore_onnx.load import load

ORT_OPSET = 26
"""The newest opset of the onnxruntime the tests run with."""

LIMITS = ("NOT_IMPLEMENTED", "bfloat16", "is not defined for empty set")
"""Of onnxruntime's kernels: element types, and boolean reductions of nothing."""


class Kit:
    """What the tests of rules share."""

    @staticmethod
    def model(
        op: str, inputs: dict[str, Any], attrs: dict[str, Any] | None = None, *, opset: int, constants: tuple[str, ...] = (),
        outputs: int = 1, dims: dict[str, tuple[Any, ...]] | None = None, domain: str = "",
    ) -> onnx.ModelProto:  # fmt: skip
        """A model of one node; ``constants`` are initializers, ``dims`` the declared shapes (names for symbolic sizes)."""
        infos, weights = [], []
        for name, a in inputs.items():
            if a is None:
                continue
            a = np.asarray(a)
            if name in constants:
                weights.append(numpy_helper.from_array(a, name))
            else:
                infos.append(
                    helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), (dims or {}).get(name, a.shape))
                )
        names = ["" if a is None else n for n, a in inputs.items()]
        node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], "node", domain=domain, **(attrs or {}))
        outs = [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)]
        return Kit.wrap([node], infos, outs, weights, opset)

    @staticmethod
    def wrap(nodes: Any, infos: Any, outs: Any, weights: Any = (), opset: int = 18) -> onnx.ModelProto:
        graph = helper.make_graph(nodes, "g", infos, outs, list(weights))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    @staticmethod
    def load(model: Any) -> Any:
        """The graph, which must hold nothing opaque."""
        graph = load(LoadRequest(model, rules=host().rules("onnx")))
        assert not opaque_problems(graph), "\n".join(map(str, opaque_problems(graph)))
        return graph

    @staticmethod
    def refused(model: Any) -> str:
        """Why a model is refused."""
        found = opaque_problems(load(LoadRequest(model, rules=host().rules("onnx"))))
        assert found, "the model is not refused"
        return "\n".join(map(str, found))

    @staticmethod
    def run(graph: Any, feed: dict[str, Any]) -> list[np.ndarray]:
        return Interpreter(graph).run({v.name: np.asarray(feed[v.name]) for v in graph.inputs})

    @staticmethod
    def emit(graph: Any, opset: int) -> onnx.ModelProto:
        made = emit(EmitRequest(graph, None, {"opset": opset})).model()
        onnx.checker.check_model(made, full_check=True)
        return made

    @staticmethod
    def native(model: onnx.ModelProto, feed: dict[str, Any]) -> list[np.ndarray]:
        """What onnxruntime says, or the reference implementation where onnxruntime lacks the opset or the kernel."""
        import onnxruntime as ort
        from onnx.reference import ReferenceEvaluator

        given = {v.name: np.asarray(feed[v.name]) for v in model.graph.input}
        if model.opset_import[0].version <= ORT_OPSET and not any(a.dtype.name == "bfloat16" for a in given.values()):
            options = ort.SessionOptions()
            options.log_severity_level = 4
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            try:
                return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, given)
            except Exception as e:
                if not any(known in str(e) for known in LIMITS):
                    raise
        return ReferenceEvaluator(model).run(None, given)

    @staticmethod
    def agree(got: Any, want: Any, what: str = "", rtol: float = 1e-5, atol: float = 1e-6) -> None:
        got, want = list(got), list(want)
        assert len(got) == len(want), f"{what}: {len(got)} results, {len(want)} wanted"
        for g, w in zip(got, want):
            g, w = np.asarray(g), np.asarray(w)
            assert (g.dtype, g.shape) == (w.dtype, w.shape), what
            if w.dtype.kind in "fc" or w.dtype.name == "bfloat16":
                if w.dtype.name in ("float16", "bfloat16"):
                    rtol, atol = max(rtol, 2e-3), max(atol, 1e-3)
                kind = np.complex128 if w.dtype.kind == "c" else np.float64
                np.testing.assert_allclose(g.astype(kind), w.astype(kind), rtol=rtol, atol=atol, err_msg=what)
            else:
                np.testing.assert_array_equal(g, w, err_msg=what)

    @classmethod
    def both_ways(cls, model: Any, feed: dict[str, Any], want: Any, opsets: tuple[int, ...] = (13, 18, ORT_OPSET)) -> Any:
        """Loaded and run: ``want``. Emitted at each opset and run by onnxruntime: ``want`` again. Returns the graph."""
        graph = cls.load(model)
        got = cls.run(graph, feed)
        cls.agree(got, want, "loaded")
        for v, a in zip(graph.outputs, got):
            assert v.dtype is None or v.dtype.numpy == a.dtype
            assert v.shape is None or all(d == n for d, n in zip(v.shape, a.shape) if isinstance(d, int))
        for opset in opsets:
            again = cls.emit(cls.load(model), opset)
            cls.agree(cls.native(again, feed), want, f"emitted at opset {opset}: {[n.op_type for n in again.graph.node]}")
        return graph


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit
