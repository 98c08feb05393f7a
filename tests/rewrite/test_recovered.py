"""Every composite that can be recovered, from its own body: operands exchanged, products spelled otherwise, constants spoiled.

A body is written into a graph, taken apart down to primitives, shuffled; the op must come back and compute the same. What is not
the op (a constant off by 1e-4, a sample variance, an epsilon outside the root) must stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.emit.legalise import expand
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Value
from convcore.ir.tensors import as_tensor
from convcore.opset import Trait, find_op, op, traits_of
from convcore.opset.declare import Role, Sample
from convcore.passes.constants import fold_constants
from convcore.rewrite import find_composites

POINTWISE = [
    "gelu",
    "silu",
    "swish",
    "mish",
    "log_sigmoid",
    "softsign",
    "tanh_shrink",
    "hard_swish",
    "hard_sigmoid",
    "leaky_relu",
]
NORMS = ["layer_norm", "rms_norm", "instance_norm", "group_norm", "l2_normalize"]
BLOCKS = ["space_to_depth", "depth_to_space", "shuffle_channels", "upsample_nearest"]
RECOVERED = [*POINTWISE, "prelu", "softmax", *NORMS, "linear", "attention", "multi_head_attention", "rotary_embedding", *BLOCKS]
SELF = frozenset(RECOVERED)


def constant_inputs(name: str) -> set[int]:
    return {i for i, a in enumerate(op(name).inputs) if a.role is Role.PARAMETER}


def written(name: str, sample: Sample, seed: int = 0) -> tuple[Graph, list[Any]]:
    """A graph of the body of an op on a sample, in primitives, and its inputs."""
    graph = Graph(name)
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    arrays = sample.arrays(seed)
    values: list[Value | None] = []
    given: list[Any] = []
    for i, a in enumerate(arrays):
        if a is None:
            values.append(None)
        elif i in constant_inputs(name):
            values.append(b.weight(a, f"w{i}", trainable=True))
        else:
            values.append(b.input(f"x{i}", str(a.dtype), a.shape))
            given.append(a)
    values += [None] * (len(op(name).inputs) - len(values))
    attrs = op(name).complete(sample.attrs, values)
    result = op(name).body(b, *values, **attrs)  # type: ignore[misc]
    graph.outputs = list(result) if isinstance(result, tuple) else [result]
    for _ in range(4):
        for node in graph:
            decl = find_op(node.op)
            if decl is not None and decl.body is not None and (node.op in SELF or node.op in ("repeat", "upsample_nearest")):
                expand(graph, node)
    fold_constants(graph)
    return graph, given


def shuffled(graph: Graph, choose: Callable[[int], int]) -> None:
    """Operands exchanged, and squares, divisions and roots spelled otherwise."""
    for node in list(graph):
        if Trait.COMMUTES in traits_of(node.op) and len(node.inputs) == 2 and choose(2):
            node.set_inputs(node.inputs[::-1])
        b = Builder(graph, before=node)
        x = node.inputs[0] if node.inputs else None
        d = node.inputs[1] if len(node.inputs) == 2 else None
        new: Value | None = None
        if node.op == "square" and x is not None:
            how = choose(3)
            new = b.mul(x, x) if how == 1 else b.pow(x, b.like(x, 2)) if how == 2 else None
        elif node.op == "div" and x is not None and d is not None and d.tensor is None:
            how = choose(3)
            new = b.mul(x, b.reciprocal(d)) if how == 1 else b.mul(b.div(b.like(d, 1), d), x) if how == 2 else None
        if new is not None:
            node.outputs[0].replace_uses(new)
            graph.remove(node)


def run(graph: Graph, arrays: list[Any]) -> list[Any]:
    return Interpreter(graph).run(arrays)


def same(found: list[Any], wanted: list[Any]) -> None:
    for a, b in zip(found, wanted, strict=True):
        span = np.max(np.abs(b[np.isfinite(b)]), initial=1e-30) if b.dtype.kind == "f" else 1
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.array_equal(np.isnan(a), np.isnan(b)), "NaN where the primitives have none"
        np.testing.assert_allclose(a, b, rtol=0, atol=4e-6 * span)


def kinds(graph: Graph) -> list[str]:
    return [n.op for n in graph if n.op in SELF]


NOT_TOLD = {("rotary_embedding", 1), ("rotary_embedding", 3), ("upsample_nearest", 1), ("upsample_nearest", 2)}
"""Interleaved pairs; one spatial axis only, which may as well be heads repeated."""

OTHER = {("prelu", 2): "leaky_relu", ("group_norm", 2): "layer_norm"}
"""One slope for all is leaky_relu, one group without a factor is layer_norm and an addend."""

CASES = [(n, i) for n in RECOVERED if op(n).body is not None for i in range(len(op(n).samples)) if (n, i) not in NOT_TOLD]


@pytest.mark.parametrize(("name", "i"), CASES, ids=[f"{n}-{i}" for n, i in CASES])
def test_a_body_is_told_from_its_primitives(name: str, i: int) -> None:
    sample = op(name).samples[i]
    graph, arrays = written(name, sample)
    before = run(graph, arrays)
    primitives = [n.op for n in graph]
    assert name not in primitives or name == "softmax"
    found = find_composites(graph)
    verify(graph, name)
    assert kinds(graph) == [OTHER.get((name, i), name)], primitives
    assert [f.op for f in found][-1] == OTHER.get((name, i), name)
    same(run(graph, arrays), before)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_however_it_is_spelled(data: st.DataObject) -> None:
    name, i = data.draw(st.sampled_from(CASES))
    graph, arrays = written(name, op(name).samples[i])
    before = run(graph, arrays)
    shuffled(graph, lambda n: data.draw(st.integers(0, n - 1)))
    verify(graph, name)
    find_composites(graph)
    verify(graph, name)
    assert kinds(graph) == [OTHER.get((name, i), name)]
    same(run(graph, arrays), before)


# ---- what is not the op
FIXED = [c for c in CASES if c[0] in ("gelu", "silu", "mish", "log_sigmoid", "softsign", "tanh_shrink", "hard_swish")]


@pytest.mark.parametrize(("name", "i"), FIXED, ids=[f"{n}-{i}" for n, i in FIXED])
@pytest.mark.parametrize("factor", [1 + 1e-4, 1 - 1e-5], ids=["1e-4", "1e-5"])
def test_a_constant_that_is_another_is_not_taken(name: str, i: int, factor: float) -> None:
    graph, _ = written(name, op(name).samples[i])
    numbers = [
        k for k, v in graph.weights.items() if v.tensor is not None and v.tensor.size == 1 and float(v.tensor.numpy()) != 0
    ]
    for k in numbers:
        spoiled = graph.clone()
        w = spoiled.weights[k]
        assert w.tensor is not None
        w.tensor = as_tensor(np.asarray(w.tensor.numpy() * np.float32(factor)))
        find_composites(spoiled)
        assert name not in kinds(spoiled), f"{k} times {factor}"


def half_constants(graph: Graph) -> None:
    """The graph over half-precision numbers."""
    for v in graph.values():
        if v.dtype is DType.FLOAT32:
            v.dtype = DType.FLOAT16
            if v.tensor is not None:
                v.tensor = as_tensor(v.tensor.numpy().astype(np.float16))


@pytest.mark.parametrize(("name", "i"), FIXED, ids=[f"{n}-{i}" for n, i in FIXED])
def test_constants_are_compared_in_the_files_own_precision(name: str, i: int) -> None:
    graph, arrays = written(name, op(name).samples[i])
    half_constants(graph)
    inputs = [a.astype(np.float16) for a in arrays]
    before = run(graph, inputs)
    find_composites(graph)
    assert kinds(graph) == [name]
    for a, b in zip(run(graph, inputs), before):
        np.testing.assert_allclose(a.astype("f4"), b.astype("f4"), rtol=0, atol=4e-3 * float(np.abs(b).max()))


def _graph(make: Callable[[Any], Any]) -> Graph:
    graph = Graph("g")
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    result = make(b)
    graph.outputs = list(result) if isinstance(result, tuple) else [result]
    return graph


def _moments(b: Any, x: Any, axes: tuple[int, ...] = (2,), of: tuple[int, ...] = (2,)) -> tuple[Any, Any]:
    c = b.sub(x, b.mean(x, axes=of, keepdims=True))
    return c, b.mean(b.square(c), axes=axes, keepdims=True)


def _ddof(b: Any) -> Any:
    x = b.input("x", "float32", (2, 5, 7))
    c, var = _moments(b, x)
    return b.div(c, b.sqrt(b.add(b.mul(var, b.const(7 / 6)), b.const(1e-5))))


def _outside(b: Any) -> Any:
    x = b.input("x", "float32", (2, 5, 7))
    c, var = _moments(b, x)
    return b.div(c, b.add(b.sqrt(var), b.const(1e-5)))


def _another(b: Any) -> Any:
    x, z = b.input("x", "float32", (2, 5, 7)), b.input("z", "float32", (2, 5, 7))
    _c, var = _moments(b, x)
    return b.div(b.sub(z, b.mean(x, axes=(2,), keepdims=True)), b.sqrt(b.add(var, b.const(1e-5))))


def _raw_moments(b: Any) -> Any:
    x = b.input("x", "float32", (2, 5, 7))
    m = b.mean(x, axes=(2,), keepdims=True)
    var = b.sub(b.mean(b.square(x), axes=(2,), keepdims=True), b.square(m))
    return b.div(b.sub(x, m), b.sqrt(b.add(var, b.const(1e-5))))


def _log_of_sigmoid(b: Any) -> Any:
    return b.log(b.sigmoid(b.input("x", "float32", (2, 5, 7))))


def _maximum_of_steep(b: Any) -> Any:
    x = b.input("x", "float32", (2, 5, 7))
    return b.maximum(x, b.mul(x, b.const(1.5)))


def _overflowing_softmax(b: Any) -> Any:
    e = b.exp(b.input("x", "float32", (2, 5, 7)))
    return b.div(e, b.sum(e, axes=(2,), keepdims=True))


def _sigmoid_read_twice(b: Any) -> Any:
    x = b.input("x", "float32", (2, 5, 7))
    s = b.sigmoid(x)
    return b.mul(x, s), s


def _windows(b: Any) -> Any:
    x = b.reshape(b.input("x", "float32", (2, 6, 10, 7)), shape=(2, 3, 2, 5, 2, 7))
    return b.reshape(b.transpose(x, perm=(0, 1, 3, 2, 4, 5)), shape=(30, 4, 7))


def _channel_affine(b: Any) -> Any:
    x = b.input("x", "float32", (2, 6, 6, 5))
    return b.add(b.mul(x, b.weight(np.ones(5, "f4") * 3, "s")), b.weight(np.ones(5, "f4"), "t"))


def _scaled_mask(b: Any) -> Any:
    q, k, v, m = (b.input(n, "float32", s) for n, s in zip("qkvm", [(2, 3, 5, 7), (2, 3, 11, 7), (2, 3, 11, 7), (5, 11)]))
    s = b.add(b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2))), m)
    return b.matmul(b.softmax(b.mul(s, b.const(0.3)), axis=-1), v)


def _softmax_over_queries(b: Any) -> Any:
    q, k, v = (b.input(n, "float32", (2, 3, 5, 7)) for n in "qkv")
    return b.matmul(b.softmax(b.matmul(q, b.transpose(k, perm=(0, 1, 3, 2))), axis=2), v)


def _slope(x: Any, b: Any, below: Callable[[Any], Any]) -> Any:
    """max(x, 0) and something of min(x, 0)."""
    zero = b.const(np.float32(0))
    return b.add(b.maximum(x, zero), below(b.minimum(x, zero)))


def _slope_squared(b: Any) -> Any:
    x, w = b.input("x", "float32", (2, 5, 7)), b.weight(np.full((5, 1), 3, "f4"), "w")
    return _slope(x, b, lambda y: b.mul(b.mul(y, w), w))


def _slope_inverted(b: Any) -> Any:
    x, w = b.input("x", "float32", (2, 5, 7)), b.weight(np.full((5, 1), 3, "f4"), "w")
    return _slope(x, b, lambda y: b.div(y, w))


def _slope_of_data(b: Any) -> Any:
    x, w = b.input("x", "float32", (2, 5, 7)), b.input("w", "float32", (5, 1))
    return _slope(x, b, lambda y: b.mul(y, w))


def _slope_and_more(b: Any) -> Any:
    x, w = b.input("x", "float32", (2, 5, 7)), b.weight(np.full((5, 1), 3, "f4"), "w")
    return b.add(_slope(x, b, lambda y: b.mul(y, w)), b.const(np.float32(1)))


def _slope_of_the_square(b: Any) -> Any:
    x, w = b.input("x", "float32", (2, 5, 7)), b.weight(np.full((5, 1), 3, "f4"), "w")
    return _slope(x, b, lambda y: b.mul(b.square(y), w))


TRAPS = [
    _slope_squared, _slope_inverted, _slope_of_data, _slope_of_the_square,
    _ddof, _outside, _another, _raw_moments, _log_of_sigmoid, _maximum_of_steep, _overflowing_softmax, _sigmoid_read_twice,
    _windows, _channel_affine, _scaled_mask, _softmax_over_queries,
]  # fmt: skip


@pytest.mark.parametrize("make", TRAPS, ids=[f.__name__[1:] for f in TRAPS])
def test_what_only_looks_like_one_stays(make: Callable[[Any], Any]) -> None:
    graph = _graph(make)
    ops = [n.op for n in graph]
    assert find_composites(graph) == []
    assert [n.op for n in graph] == ops


def test_layers_of_the_source_stay_layers() -> None:
    graph = _graph(lambda b: None or b.input("x", "float32", (2, 5)))
    graph.metadata["kind"] = "functional"
    b = Builder(graph)
    with b.within(graph.scope("gate")):
        s = b.sigmoid(graph.inputs[0])
    with b.within(graph.scope("product")):
        y = b.mul(graph.inputs[0], s)
    graph.outputs = [y]
    assert find_composites(graph.clone()) == []
    graph.metadata["kind"] = "graph"
    assert [f.op for f in find_composites(graph)] == ["silu"]


# ---- attention: masks of every kind, rows without a key among them
MASKS = ("none", "added", "added_finite", "keep_inf", "keep_finite", "causal_keep", "causal_added", "causal_finite")


def masked(b: Any, kinds_: tuple[str, ...], guard: bool, where: str) -> Any:
    q, k, v = (b.input(n, "float32", s) for n, s in zip("qkv", [(2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 2)]))
    kt = b.transpose(k, perm=(0, 1, 3, 2))
    if where == "q":
        q = b.mul(q, b.const(0.3))
    if where == "both":
        q, kt = b.mul(q, b.const(0.3**0.5)), b.mul(b.const(0.3**0.5), kt)
    s = b.matmul(q, kt)
    s = b.mul(s, b.const(0.3)) if where == "s" else b.div(s, b.const(1 / 0.3)) if where == "d" else s
    lower = np.tri(5) > 0
    low = float(np.finfo(np.float32).min)
    for n, kind in enumerate(kinds_):
        if kind == "added":
            s = b.add(s, b.input(f"a{n}", "float32", (2, 1, 5, 5)))
        elif kind == "added_finite":
            keep = b.input(f"k{n}", "bool", (2, 1, 5, 5))
            s = b.add(s, b.where(keep, b.const(0.0), b.const(low)))
        elif kind in ("keep_inf", "keep_finite"):
            keep = b.input(f"k{n}", "bool", (2, 1, 5, 5))
            s = b.where(keep, s, b.const(-np.inf if kind == "keep_inf" else low, "float32"))
        elif kind == "causal_keep":
            s = b.where(b.const(~lower), b.const(-np.inf, "float32"), s)
        elif kind in ("causal_added", "causal_finite"):
            s = b.add(b.weight(np.where(lower, 0, -np.inf if kind == "causal_added" else -1e9).astype("f4"), f"c{n}"), s)
    p = b.softmax(s, axis=-1)
    if guard:
        p = b.where(b.isnan(p), b.const(0.0), p)
    return b.matmul(p, v)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(MASKS), max_size=3), st.booleans(), st.sampled_from(["", "q", "both", "s", "d"]), st.integers(0, 99),
    st.booleans(),
)  # fmt: skip
def test_masks_mean_what_they_meant(kinds_: list[str], guard: bool, where: str, seed: int, spoiled: bool) -> None:
    """Found or not, the result is the same: NaN, 0 or a mean where a query sees no key, or is NaN itself."""
    graph = _graph(lambda b: masked(b, tuple(kinds_), guard, where))
    rng = np.random.default_rng(seed)
    inputs: list[Any] = []
    for v in graph.inputs:
        shape = tuple(int(n) for n in v.shape or ())  # type: ignore[arg-type]
        a = rng.normal(size=shape).astype("f4") if v.dtype is DType.FLOAT32 else rng.random(shape) < 0.6
        if v.name[0] in "ak":
            a = np.where(rng.random(shape) < 0.3, -np.inf, a).astype("f4") if v.name[0] == "a" else a
            if v.name[1:]:
                a[0, 0, 2] = -np.inf if v.name[0] == "a" else False  # a query without a key
        if v.name == "q" and spoiled:
            a[0, 1, 3, 2] = np.nan
        inputs.append(a)
    with np.errstate(all="ignore"):
        before = run(graph, inputs)
        found = find_composites(graph)
        verify(graph, "masked")
        after = run(graph, inputs)
    same(after, before)
    if not (guard and "keep_finite" in kinds_) and len([k for k in kinds_ if k != "none"]) <= 1:
        assert [f.op for f in found] == ["attention"]


def test_what_only_weights_give_is_no_composite() -> None:
    """A kernel that is normalised (weight standardisation): one value for all inputs, which a node would compute at each run."""
    graph = Graph("kernel")
    graph.metadata["kind"] = "graph"
    b = Builder(graph)
    x, w = (
        b.input("x", DType.FLOAT32, (3, 5)),
        b.weight(np.random.default_rng(2).normal(size=(5, 7)).astype(np.float32), "w", trainable=True),
    )
    mean = b.mean(w, axes=(0,), keepdims=True)
    var = b.variance(w, axes=(0,), keepdims=True, ddof=0)
    normal = b.div(b.sub(w, mean), b.sqrt(b.add(var, b.like(w, 1e-5))))
    graph.outputs = [b.matmul(x, b.transpose(b.transpose(normal, perm=(1, 0)), perm=(1, 0)))]
    a = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    want = Interpreter(graph).run([a])[0]
    assert not [f for f in find_composites(graph) if f.op == "layer_norm"]
    verify(graph)
    np.testing.assert_allclose(Interpreter(graph).run([a])[0], want, rtol=1e-5)


@pytest.mark.parametrize("high", [0.0, -1.0, float("inf")])
def test_a_clip_without_a_slope_is_no_activation(high: float) -> None:
    """torch.nn.functional.hardtanh(x, 0, 0): all zeros, whose slope would be one over nothing."""
    x = np.random.default_rng(1).normal(size=(3, 5)).astype("f4")
    graph = _graph(lambda b: b.mul(b.clip(b.add(b.input("x", "float32", (3, 5)), b.const(3.0)), min=0, max=high), b.const(1 / 6)))
    before = run(graph, [x])
    assert not [f for f in find_composites(graph) if f.op in ("hard_sigmoid", "hard_swish")]
    same(run(graph, [x]), before)
