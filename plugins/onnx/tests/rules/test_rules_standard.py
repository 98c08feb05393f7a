"""The standard's own node cases of these families with their shape-like inputs (shapes, axes, pads, limits...) as constants,
which is how models hold them: loaded, run, and written again at several opsets. As given they are in test_backend.py."""

import re

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError, UnsupportedError
from convcore.hookspecs import LoadRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore_onnx.load import load
from convcore_onnx.rules import RULES

FAMILIES = {
    "arithmetic",
    "activation",
    "softmax",
    "reduce",
    "shape",
    "joining",
    "indexing",
    "scatter",
    "blocks",
    "constants",
    "sorting",
    "quant",
    "sampling",
}
OPSETS = (13, 18, 26)

REFUSED = [
    r"to string is not supported",
    r"regular expressions of RE2",
]
REFUSED_OUT = [
    r"takes no \S+ as \S+( before opset \d+)?",
    r"onnx has it from version \d+ on",
    r"no counterpart of reduction=\w+",
    r"(a size of 0|half_pixel) needs opset \d+",
    r"zero_copies is False",
    r"(Cast|BitCast) gives no \S+ in opset \d+",
    r"needs the size of its axis",
]


def mine():
    """Foreign types whose rules live in these families."""
    from convcore.opset import op

    out = {}
    for foreign, rules in RULES.load_rules.items():
        for r in rules:
            module = getattr(getattr(r, "fn", None), "__module__", "").rpartition(".")[2]
            out.setdefault(foreign, set()).add(module or op(r.op_name).family)
    return {f for f, families in out.items() if families & FAMILIES}


def arrays(case):
    """Inputs and outputs of a case's data sets as arrays; None where something is not a tensor."""
    out = []
    for sets in case.data_sets:
        both = [[numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a for a in part] for part in sets]
        if not all(isinstance(a, (np.ndarray, np.generic)) for part in both for a in part):
            return None
        out.append([[np.asarray(a) for a in part] for part in both])
    return out


def with_constants(model, ins):
    """The model with its small later inputs as initializers, and the inputs that stay; None if there are none."""
    new = onnx.ModelProto()
    new.CopyFrom(model)
    infos = list(new.graph.input)
    keep = [i for i, a in enumerate(ins) if i == 0 or a.ndim > 1 or a.size > 16 or a.dtype.name not in np.sctypeDict]
    if len(keep) == len(ins):
        return None
    new.graph.initializer.extend(numpy_helper.from_array(a, infos[i].name) for i, a in enumerate(ins) if i not in keep)
    del new.graph.input[:]
    new.graph.input.extend(infos[i] for i in keep)
    return new, [ins[i] for i in keep]


@pytest.fixture(scope="module")
def results(node_cases):
    """(case, model, inputs, outputs) of everything that was loaded; refusals with their reasons; what went wrong."""
    types, passed, refused, wrong = mine(), [], [], []
    for case in node_cases:
        if not {n.op_type for n in case.model.graph.node} <= types or any(n.domain for n in case.model.graph.node):
            continue
        for ins, outs in arrays(case) or ():
            made = with_constants(case.model, ins)
            if made is None:
                continue
            model, feed = made
            graph = load(LoadRequest(model, rules=host().rules("onnx")))
            problems = opaque_problems(graph)
            if problems:
                refused.append((case.name, str(problems[0])))
                continue
            feed = dict(zip([v.name for v in model.graph.input], feed))
            try:
                got = Interpreter(graph).run({v.name: feed[v.name] for v in graph.inputs})
            except ConvcoreError as e:
                wrong.append(f"{case.name}: {e}")
                continue
            why = differs(got, outs, case)
            if why:
                wrong.append(f"{case.name}: {why}")
            passed.append((case, model, feed, outs))
    return passed, refused, wrong


def differs(got, want, case):
    for g, w in zip(got, want):
        g = np.asarray(g)
        g = (
            g.view(w.dtype) if w.dtype.kind == "V" and w.dtype.itemsize == 1 and g.dtype == np.uint8 else g
        )  # float8 of onnxruntime
        if g.shape != w.shape or (g.dtype != w.dtype and w.dtype.kind not in "OSU"):
            return f"{g.dtype}{g.shape}, not {w.dtype}{w.shape}"
        if w.dtype.kind in "fc" or w.dtype.name == "bfloat16":
            if not np.allclose(g.astype(np.float64), w.astype(np.float64), rtol=max(case.rtol, 1e-3), atol=1e-5, equal_nan=True):
                return "values differ"
        elif w.dtype.kind == "V":  # types below 8 bits: exactly
            if not np.array_equal(g.astype(np.float64), w.astype(np.float64), equal_nan=True):
                return "values differ"
        elif not (g == w).all():
            return "values differ"
    return ""


def test_loaded_cases_agree(results):
    passed, _, wrong = results
    assert not wrong, "\n".join(wrong)
    assert len(passed) > 350


def test_refusals_are_the_known_ones(results):
    for name, why in results[1]:
        assert any(re.search(p, why) for p in REFUSED), f"{name}: {why}"


@pytest.mark.parametrize("opset", OPSETS)
def test_written_again_they_agree(kit, results, opset):
    written, wrong = 0, []
    for case, model, feed, outs in results[0]:
        try:
            made = kit.emit(kit.load(model), opset)
        except UnsupportedError as e:
            if not any(re.search(p, str(e)) for p in REFUSED_OUT):
                wrong.append(f"{case.name}: {e}")
            continue
        try:
            got = kit.native(made, feed)
        except (RuntimeError, TypeError) as e:
            if not re.search("Numpy.type", str(e), re.IGNORECASE):
                wrong.append(f"{case.name}: {str(e)[:200]}")
                continue
            got = ReferenceEvaluator(made).run(None, feed)  # onnxruntime has no way in or out for float8 and 4 bits
        why = differs(got, outs, case)
        if why:
            wrong.append(f"{case.name}: {why}: {[n.op_type for n in made.graph.node]}")
        written += 1
    assert not wrong, f"{len(wrong)} of {written}:\n" + "\n".join(wrong[:40])
    assert written > 300


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_lp_pool(kit, p: int) -> None:
    """The whole plane's p-norm, for a p that has no op of its own too."""
    x = np.random.default_rng(7).uniform(-1, 1, (2, 3, 5, 7)).astype(np.float32)
    model = kit.model("GlobalLpPool", {"x": x}, {"p": p}, opset=18)
    kit.both_ways(model, {"x": x}, kit.native(model, {"x": x}))
