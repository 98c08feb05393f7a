"""Bodies of composites changed in one place: whatever is found in them computes what the changed primitives did.

Another op of the same kind, another attribute, operands exchanged, another value of the same shape, another number in a constant:
what is still the composite may be found, what is no longer must stay, and the interpreter over the primitives is the judge.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rewrite import test_fixtures, test_simplify
from tests.rewrite.test_recovered import BLOCKS, CASES, run, same, written
from tests.rewrite.test_recurrent import KINDS, graph_of, layer
from tests.support.held import Held

import convcore
from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.emit.legalise import expand
from convcore.errors import ConvcoreError, InputError
from convcore.ir.graph import Graph, Node, Value
from convcore.ir.tensors import as_tensor
from convcore.opset import Trait, op, traits_of
from convcore.rewrite import find_composites
from convcore.rewrite.simplify import simplify

ALIKE = [
    ("add", "sub", "mul", "div", "maximum", "minimum"), ("tanh", "sigmoid", "exp", "neg", "abs", "square", "relu", "erf"),
    ("reduce_mean", "reduce_sum", "reduce_max"), ("sqrt", "square", "reciprocal", "rsqrt"), ("greater", "less", "greater_equal"),
]  # fmt: skip
LEFT = Held(Path(__file__).parent / "near.json")
"""How many changes there are, and what the graphs consist of afterwards: what is no longer found is another count."""
SHARE = 2
"""Of what can be changed one in so many is, told by its description; all with ``-m slow``."""


def _other(value: Any) -> list[Any]:
    """Other attributes of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.25 + 0.125]
    if isinstance(value, tuple) and value and all(isinstance(v, int) for v in value):
        turned = [value[::-1]] if value[::-1] != value else []
        return turned + [(*value[:i], v + 1, *value[i + 1 :]) for i, v in enumerate(value)]
    return []


def changes(graph: Graph) -> Iterator[tuple[Any, ...]]:
    """Every change: the number of a node, or the name of a constant, and what becomes of it."""
    values = list(graph.inputs)
    for n, node in enumerate(graph):
        for group in ALIKE:
            yield from ((n, "op", other) for other in group if node.op in group and other != node.op)
        yield from ((n, "attr", name, v) for name, now in node.attrs.items() for v in _other(now))
        if len(node.inputs) == 2 and Trait.COMMUTES not in traits_of(node.op):
            yield n, "exchanged"
        for i, v in enumerate(node.inputs):
            like = [w for w in values if v is not None and w is not v and (w.shape, w.dtype) == (v.shape, v.dtype)]
            yield from ((n, "input", i, w.name) for w in like[:1] + like[1:][-1:])
        values += node.outputs
    for name, w in graph.weights.items():
        if w.tensor is not None and w.tensor.size and w.tensor.numpy().dtype.kind == "f":
            yield name, "number"


def change(graph: Graph, what: Sequence[Any]) -> bool:
    """Makes one change; False where the result is of another shape or type, or there is none."""
    at, how = what[:2]
    if how == "number":
        w = graph.weights[at]
        assert w.tensor is not None
        a = w.tensor.numpy().copy()
        a.reshape(-1)[-1] = a.reshape(-1)[-1] * 1.25 + 0.125
        w.tensor = as_tensor(a)
        return True
    node: Node = list(graph)[at]
    name, attrs, inputs = node.op, dict(node.attrs), list[Value | None](node.inputs)
    if how == "op":
        name = what[2]
    elif how == "attr":
        attrs[what[2]] = what[3]
    elif how == "exchanged":
        inputs.reverse()
    else:
        inputs[what[2]] = next(v for v in graph.values() if v.name == what[3])
    try:
        new = Builder(graph, before=node).node(name, inputs, {k: v for k, v in attrs.items() if k in op(name).attrs})
    except ConvcoreError:
        return False
    if [(v.shape, v.dtype) for v in new.outputs] != [(v.shape, v.dtype) for v in node.outputs]:
        return False
    for old, v in zip(node.outputs, new.outputs):
        old.replace_uses(v)
    graph.remove(node)
    return True


def close(found: list[Any], wanted: list[Any]) -> None:
    """Within 128 units in the last place of the range, of whatever type: the networks are several layers deep."""
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        if b.dtype.kind != "f":
            assert np.array_equal(a, b)
            continue
        wide = b.astype(np.float64)
        span = np.max(np.abs(wide[np.isfinite(wide)]), initial=1e-30)
        np.testing.assert_allclose(a.astype(np.float64), wide, rtol=0, atol=128 * float(np.finfo(b.dtype).eps) * span)


def examined(
    graph: Graph, arrays: list[Any], name: str, share: int, rewrite: Callable[[Graph], Any] = find_composites, judge: Any = same
) -> int:
    """Makes the changes and compares; how many there were. What ops are left of them all is held."""
    made, left = 0, Counter[str]()
    for what in changes(graph):
        if zlib.crc32(f"{name} {what}".encode()) % share:
            continue
        changed = graph.clone()
        if not change(changed, what):
            continue
        with np.errstate(all="ignore"):
            try:
                before = run(changed, arrays)
            except ConvcoreError:
                continue
            rewrite(changed)
            verify(changed, name)
            left.update(n.op for n in changed)
            try:
                judge(run(changed, arrays), before)
            except InputError as e:  # a trained table is an embedding, which has no rows from the end
                assert "ids span" in str(e), f"{name}, {what}: {e}"
            except AssertionError as e:
                raise AssertionError(f"{name}, {what}: {e}") from e
        made += 1
    if share > 1:
        LEFT.check(f"{name} of {share}", [made, dict(sorted(left.items()))])
    return made


@pytest.mark.parametrize("share", [SHARE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "i"), CASES, ids=[f"{n}-{i}" for n, i in CASES])
def test_what_is_found_computes_the_same(name: str, i: int, share: int) -> None:
    graph, arrays = written(name, op(name).samples[i])
    assert examined(graph, arrays, f"{name} {i}", share) or share > 1 or name in BLOCKS


def test_what_reads_a_second_result_early_stands_behind_it() -> None:
    """The weights of an attention are read before its result is computed."""
    graph, arrays = written("attention", op("attention").samples[5])
    product, guard = next(n for n in list(graph)[::-1] if n.op == "matmul"), next(n for n in graph if n.op == "where")
    product.set_inputs([guard.inputs[2], product.inputs[1]])
    before = run(graph, arrays)
    assert [f.op for f in find_composites(graph)][-1] == "attention"
    verify(graph, "attention")
    same(run(graph, arrays), before)


@pytest.mark.parametrize("share", [5 * SHARE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "more"), KINDS, ids=lambda p: str(p))
@pytest.mark.parametrize("unrolled", [False, True])
def test_what_is_found_in_steps_computes_the_same(name: str, more: dict[str, Any], unrolled: bool, share: int) -> None:
    graph = graph_of(lambda b: layer(b, name, "time_major", "forward", True, **more))
    for inner in (name, "scan") if unrolled else (name,):
        expand(graph, next(n for n in graph if n.op == inner))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[d if isinstance(d, int) else 2 for d in v.shape or ()]).astype("f4") for v in graph.inputs]
    assert examined(graph, arrays, f"{name} {more} {unrolled}", share) or share > 1


@pytest.mark.parametrize("share", [12 * SHARE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("file", [f["file"] for f in test_fixtures.FILES])
def test_what_is_found_in_exports_computes_the_same(file: str, share: int) -> None:
    graph = convcore.load(test_fixtures.DATA / file, fuse=False).graph
    inputs, _ = test_fixtures.recorded(file.removesuffix(".onnx"))
    examined(graph, [inputs[v.name] for v in graph.inputs], file, share, judge=close)


def test_a_mask_that_counts_the_batch_is_not_known() -> None:
    """Its numbers are sums with a size that no shape of it names."""
    graph = convcore.load(test_fixtures.DATA / "t5-encoder__torch-ts_17.onnx", fuse=False).graph
    inputs, _ = test_fixtures.recorded("t5-encoder__torch-ts_17")
    size = next(v for v in graph.values() if v.name.endswith("Range/dim_value:0"))
    added = next(n for n in graph if n.name.endswith("SelfAttention/Add_1"))
    added.set_inputs([added.inputs[0], size])
    find_composites(graph)
    verify(graph, "t5")
    assert run(graph, [inputs[v.name] for v in graph.inputs])


@pytest.mark.parametrize("share", [2 * SHARE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*test_simplify.CASES, *test_simplify.STAYS])
def test_what_is_simplified_computes_the_same(name: str, share: int, tmp_path: Path) -> None:
    nodes, inputs, weights, *_ = {**test_simplify.CASES, **test_simplify.STAYS}[name]
    graph = convcore.load(test_simplify.model(tmp_path / "a.onnx", nodes, inputs, ["y"], weights), fuse=False).graph
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=[d if isinstance(d, int) else 2 for d in v.shape or ()]).astype("f4") for v in graph.inputs]
    examined(graph, arrays, name, share, rewrite=lambda g: simplify(g, True), judge=close)
