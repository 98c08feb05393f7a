"""The elementwise, shape, indexing, sorting, constant and quantisation ops written with nothing but named sizes, and at the edges
of their ranges. (With fixed sizes and a named batch every op's samples are in test_samples.py.)"""

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.opset import all_ops

FAMILIES = {
    "arithmetic", "activation", "softmax", "reduce", "shape", "joining", "indexing", "scatter", "blocks", "constants",
    "sorting", "quant",
}  # fmt: skip
OPSETS = (13, 18, 26)

REFUSED = {
    # op: (opsets below this refuse, why)
    "erfc": (99, "no counterpart"),
    "bitwise_and": (18, "from version 18"),
    "bitwise_or": (18, "from version 18"),
    "bitwise_xor": (18, "from version 18"),
    "bitwise_not": (18, "from version 18"),
    "bitcast": (26, "from version 26"),
    "quantize_blocks": (21, "from version 21"),
    "dequantize_blocks": (21, "from version 21"),
    "trilu": (14, "before opset 14 needs fixed sizes"),
}
SOMETIMES = {
    "quantize_blocks": "the scale has a size that is not known",
    "relu": "Relu takes no int32",  # before opset 14
    "shift_left": "BitShift takes no int32",
    "shift_right": "BitShift takes no int32",
    "scatter_nd": "no counterpart of reduction",
    "scatter_elements": "no counterpart of reduction",
    "cumprod": "needs the size of its axis",
    "pad": "is not one slice on each side",
    "roll": "axis of unknown size",
    "dynamic_reshape": "zero_copies is False",
}
UNRANKED = {"dynamic_reshape", "dynamic_expand", "dynamic_fill", "gather_nd", "unstack", "squeeze_ones"}
"""With a named length even the number of axes (of outputs) is unknown, which the checker does not accept."""


def cases():
    for name, decl in sorted(all_ops().items()):
        if decl.family in FAMILIES:
            for i, sample in enumerate(decl.samples if name not in UNRANKED else ()):
                yield pytest.param(decl, sample, id=f"{name}-{i}")


def build(decl, sample, named):
    g = Graph("g")
    b = Builder(g)
    arrays, ins = sample.arrays(), []
    for i, a in enumerate(arrays):
        shape = () if a is None else tuple(Dim(f"n{n}") if named and n > 1 else n for n in a.shape)
        ins.append(None if a is None else b.input(f"x{i}", DType.of(a.dtype), shape))
    g.outputs = list(b.node(decl.name, ins, sample.attrs).outputs)
    return g, {f"x{i}": a for i, a in enumerate(arrays) if a is not None}


@pytest.mark.parametrize(("decl", "sample"), list(cases()))
def test_named_sizes(kit, decl, sample):
    for opset in OPSETS:
        g, feed = build(decl, sample, True)
        want = Interpreter(g).run(feed)
        below, why = REFUSED.get(decl.name, (0, ""))
        if opset < below:
            with pytest.raises(UnsupportedError, match=why):
                kit.emit(g, opset)
            continue
        try:
            made = kit.emit(g, opset)
        except UnsupportedError as e:
            if SOMETIMES.get(decl.name, "nothing") not in str(e):
                raise
            continue
        try:
            got = kit.native(made, feed)
        except IndexError:
            assert decl.name == "pad"
            continue
        kit.agree(got, want, f"opset {opset}: {[n.op_type for n in made.graph.node]}", 1e-4, 2e-5)


def test_what_is_refused_sometimes_is_written_otherwise(kit):
    """At the newest opset only sizes that are not known stand in the way."""
    for name in SOMETIMES:
        decl = all_ops()[name]
        for sample in decl.samples:
            if name.startswith("shift"):
                continue
            kit.emit(build(decl, sample, False)[0], 26)


EDGES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-8, -1e-8, 0.3, -0.3, 1.0, -1.0, 12.0, -12.0], np.float32)
UNARY_EDGES = [
    "expm1", "log1p", "trunc", "isfinite", "isinf", "isnan", "square", "rsqrt", "exp2", "cbrt", "log2", "sign", "round",
    "relu", "leaky_relu", "hard_shrink", "soft_shrink", "softplus", "log_sigmoid", "hard_swish",
]  # fmt: skip
GIVEN = {"leaky_relu": {"alpha": 0.1}, "hard_shrink": {"lambd": 0.5}, "soft_shrink": {"lambd": 0.5}}
NAN_TO_ZERO = {"cbrt", "soft_shrink"}
"""Built on Sign, of which onnxruntime makes 0 for NaN while numpy keeps it."""


@pytest.mark.parametrize("name", UNARY_EDGES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_of_unary_ops(kit, name, dtype):
    x = EDGES.astype(dtype)
    if name in NAN_TO_ZERO or (name == "sign"):
        x = x[~np.isnan(x)]
    if name in ("hard_swish", "soft_shrink"):  # inf * 0 and inf - inf, on either side
        x = x[np.isfinite(x)]
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.op(name, b.input("x", dtype, x.shape), **GIVEN.get(name, {}))]
    want = Interpreter(g).run([x])
    try:
        got = kit.native(kit.emit(g, 18), {"x": x})
    except Exception as e:
        if dtype == "float64" and "float64" not in str(e) and "double" in str(e):
            pytest.skip("onnxruntime has no double kernel")
        raise
    kit.agree(got, want, name, 2e-6 if dtype == "float32" else 1e-6, 1e-12)


BINARY_EDGES = np.array([0.0, -0.0, 3.0, -3.0, 0.7, -0.7, 5.5, -5.5], np.float32)


@pytest.mark.parametrize("name", ["atan2", "floor_mod", "floor_div", "fmod", "div"])
def test_edges_of_binary_ops(kit, name):
    x, y = (a.ravel() for a in np.meshgrid(BINARY_EDGES, BINARY_EDGES))
    if name == "atan2":
        more = np.array([np.inf, -np.inf, 2.0], np.float32)
        x2, y2 = (a.ravel() for a in np.meshgrid(more, more))
        x, y = np.concatenate([x, x2]), np.concatenate([y, y2])
    if name in ("floor_mod", "floor_div", "div"):
        more = np.array([np.inf, -np.inf], np.float32)
        x2, y2 = (a.ravel() for a in np.meshgrid(BINARY_EDGES, more))
        x, y = np.concatenate([x, x2]), np.concatenate([y, y2])
    for dtype in ["float32", "int32", "uint8"] if name in ("floor_mod", "floor_div", "div") else ["float32"]:
        a, c = x, y
        if dtype != "float32":
            whole = (y == np.rint(y)) & (x == np.rint(x)) & (y != 0) & np.isfinite(y)
            a, c = x[whole].astype(dtype), y[whole].astype(dtype)
        g = Graph("g")
        b = Builder(g)
        g.outputs = [b.op(name, b.input("x", dtype, a.shape), b.input("y", dtype, c.shape))]
        want = Interpreter(g).run([a, c])
        for opset in (14, 18, 26):
            kit.agree(kit.native(kit.emit(g.clone(), opset), {"x": a, "y": c}), want, f"{name} {dtype} {opset}", 1e-6, 1e-7)


def test_global_pooling_is_named(kit):
    for op, kind in (("mean", "GlobalAveragePool"), ("max", "GlobalMaxPool")):
        for axes, keep, wanted in [((2, 3), True, kind), ((2, 3), False, "Reduce"), ((1, 2), True, "Reduce")]:
            g = Graph("g")
            b = Builder(g)
            g.outputs = [b.op(op, b.input("x", "float32", (Dim("N"), 3, 5, 7)), axes=axes, keepdims=keep)]
            x = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
            want = Interpreter(g).run([x])
            made = kit.emit(g, 18)
            assert [n.op_type.startswith(wanted) for n in made.graph.node] == [True]
            kit.agree(kit.native(made, {"x": x}), want)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_recurrent_layers_of_float64_are_their_steps(kit, name):
    """onnxruntime 1.32 has no kernels for them; a model whose steps it ran must not become one that it does not run."""
    decl = all_ops()[name]
    sample = next(s for s in decl.samples if s.attrs.get("layout") == "time_major")
    arrays = [a if a is None or a.dtype != np.float32 else a.astype(np.float64) for a in sample.arrays(3)]
    g = Graph("g")
    b = Builder(g)
    ins = [None if a is None else b.input(f"x{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(arrays)]
    g.outputs = list(b.node(name, ins, sample.attrs).outputs)
    feed = {f"x{i}": a for i, a in enumerate(arrays) if a is not None}
    want = Interpreter(g).run(list(feed.values()))
    made = kit.emit(g, 18)
    assert name.upper() not in [n.op_type for n in made.graph.node]
    kit.agree(kit.native(made, feed), want, name, 1e-12, 1e-12)


def test_any_and_all_of_nothing(kit):
    x = np.zeros((0, 3), bool)
    for opset in (13, 18):  # onnxruntime has no kernel for empty booleans from opset 20 on
        for op, want in (("any", False), ("all", True)):
            g = Graph("g")
            b = Builder(g)
            g.outputs = [b.op(op, b.input("x", "bool", (Dim("N"), 3)), axes=(0,))]
            kit.agree(kit.native(kit.emit(g, opset), {"x": x}), [np.full(3, want)], f"{op} {opset}")


def test_element_types_of_the_opset(kit):
    """An operator that does not take a type yet gives way to simpler ones, or is refused by name and opset."""
    from convcore.rules import NotExpressible
    from convcore_onnx.typecheck import result_types

    f16, i8 = DType.FLOAT16, DType.INT8
    assert result_types("Add", 14, [i8, i8], {}) == [i8]
    with pytest.raises(NotExpressible, match="Add takes no int8 as A before opset 14"):
        result_types("Add", 13, [i8, i8], {})
    with pytest.raises(NotExpressible, match=r"Gelu needs opset 20 \(opset=20\)"):
        result_types("Gelu", 19, [f16], {})
    assert result_types("Shape", 13, [f16], {}) == [DType.INT64]
    assert result_types("Cast", 13, [f16], {"to": 7}) == [DType.INT64]
    assert result_types("Cast", 13, [None], {"to": DType.BOOL}) == [DType.BOOL]
    assert result_types("Max", 13, [f16, None, f16], {}) == [f16]
    g = Graph("g")
    b = Builder(g)
    g.outputs = [b.isinf(b.input("x", "float16", (3,)))]
    x = np.array([np.inf, -np.inf, 1], np.float16)
    made = kit.emit(g, 18)
    assert [n.op_type for n in made.graph.node][:2] == ["Abs", "Equal"]
    kit.agree(kit.native(made, {"x": x}), [np.isinf(x)])
