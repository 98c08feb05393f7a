"""Proves axis rules: ``op'(x.transpose(p)) == op(x).transpose(p')`` on an op's samples, for every permutation.

``op'`` is the op with the attributes, constants and orders that :func:`convcore.layout.rules.carry` answers. A rule may refuse a
permutation; it may not be wrong about one. Plugins run :func:`check_axis_rule` on their own ops::

    for op in MY_OPS.ops.values():
        check_axis_rule(op)
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..errors import DeclarationError, InputError, ShapeError
from ..interpreter.execute import Interpreter
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..layout.fold import lay_out
from ..layout.orders import Block, Order, block_indices, order_of
from ..layout.rules import Carried, NodeRule, carry
from ..opset.declare import Op, Sample
from ..records import dataclass

__all__ = ["AxisRuleReport", "check_axis_rule"]

Array = NDArray[Any]
PER_ANCHOR = 24
"""How many permutations of each input and output are tried."""
RTOL, ATOL = 1e-5, 1e-5  # sums run in another order; everything else is exact


@dataclass
class AxisRuleReport:
    """How many (sample, anchor, permutation) cases a rule carried and refused; ``refused`` by anchor."""

    op: str
    carried: int = 0
    moved: int = 0  # carried with a permutation that is not the identity
    refused: Counter[str] = field(default_factory=Counter)


def check_axis_rule(op: Op) -> AxisRuleReport:
    """Run every sample of a registered op under every order its rule carries; DeclarationError shows the first case that differs.

    Each main input and each output is the anchor in turn. Up to :data:`PER_ANCHOR` permutations of it are tried (all of
    those of four axes), more are sampled; axes of composite size are also permuted inside.
    """
    report = AxisRuleReport(op.name)
    rule = NodeRule(op)
    if not rule.movable:
        return report
    rng = np.random.default_rng(0)
    for k, sample in enumerate(op.samples):
        _check_sample(op, rule, sample, k, report, rng)
    return report


def _check_sample(op: Op, rule: NodeRule, sample: Sample, k: int, report: AxisRuleReport, rng: np.random.Generator) -> None:
    arrays = sample.arrays(k)
    for constant in (True, False):
        graph, node, live = _single(op, rule, arrays, sample.attrs, constant)
        fed = [arrays[i] for i in live]
        graph.outputs = list(node.outputs)
        want = Interpreter(graph).run([a for a in fed if a is not None])
        slots = [*(i for i in rule.main_inputs(node) if i in live), *(~i for i in range(len(node.outputs)))]
        for slot in slots:
            v = node.inputs[slot] if slot >= 0 else node.outputs[~slot]
            if v is None or v.shape is None:
                continue
            for order in _orders([int(d) for d in v.shape if isinstance(d, int)], rng, PER_ANCHOR):
                done = carry(node, rule, slot, order, {})
                if done is None:
                    report.refused[f"input {slot}" if slot >= 0 else f"output {~slot}"] += 1
                    continue
                _compare(op, node, done, order, slot, arrays, live, want)
                report.carried += 1
                report.moved += not order.identity


def _single(op: Op, rule: NodeRule, arrays: Sequence[Array | None], attrs: Any, constant: bool) -> tuple[Graph, Node, list[int]]:
    """A graph of one node; inputs that the rule fixes are constants if ``constant``. ``live``: positions fed at run time."""
    g = Graph(op.name)
    b = Builder(g)
    args = op.inputs
    live: list[int] = []
    ins: list[Value | None] = []
    for i, a in enumerate(arrays):
        if a is None:
            ins.append(None)
        elif constant and args[min(i, len(args) - 1)].name in rule.fixed:
            ins.append(b.weight(a, f"w{i}"))
        else:
            ins.append(b.input(f"x{i}", DType.of(a.dtype), a.shape))
            live.append(i)
    return g, b.node(op.name, ins, attrs), live


def _orders(shape: Sequence[int], rng: np.random.Generator, limit: int) -> Iterator[Order]:
    r = len(shape)
    if math.factorial(r) <= limit:
        yield from map(order_of, itertools.permutations(range(r)))
    else:
        yield order_of(tuple(range(r)))
        for _ in range(limit - 1):
            yield order_of([int(i) for i in rng.permutation(r)])
    for axis, n in enumerate(shape):
        f = next((f for f in range(2, n) if n % f == 0), None)
        if f is not None:
            block: Block = (((f, n // f), (1, 0)),)
            yield order_of(tuple(range(r)), {axis: block})
            yield order_of([int(i) for i in rng.permutation(r)], {axis: block})


def _stored(a: Array, order: Order | None, lift: Sequence[int] = ()) -> Array:
    if order is not None:
        for axis, block in order.blocks:
            a = a.take(block_indices(block), axis)
        a = a.transpose(order.perm)
    for i in sorted(lift):
        a = np.expand_dims(a, i)
    return a


def _compare(
    op: Op, node: Node, done: Carried, order: Order, slot: int,
    arrays: Sequence[Array | None], live: Sequence[int], want: Sequence[Array],
) -> None:  # fmt: skip
    anchor = f"{op.name}: {'input ' + str(slot) if slot >= 0 else 'output ' + str(~slot)} in order {order}"
    got_order = done.ins[slot] if slot >= 0 else done.outs[~slot]
    if got_order is not order:
        raise DeclarationError(f"{anchor}: the rule answers with the order {got_order} for it")
    g = Graph(op.name)
    b = Builder(g)
    ins: list[Value | None] = []
    feed: list[Array] = []
    for i, a in enumerate(arrays):
        v = node.inputs[i] if i < len(node.inputs) else None
        if a is None or v is None:
            ins.append(None)
        elif v.tensor is not None:
            ins.append(b.weight(lay_out(v.tensor, done.ins[i], done.lifts.get(i, ()), done.params.get(i)), v.name))
        else:
            if i in done.params:
                raise DeclarationError(f"{anchor}: wants to permute input {i}, which is not a constant")
            moved = np.asarray(_stored(a, done.ins[i], done.lifts.get(i, ())), order="C")
            ins.append(b.input(v.name, DType.of(moved.dtype), moved.shape))
            feed.append(moved)
    case = f"{anchor}, attributes { {**node.attrs, **done.attrs} }"
    try:
        made = b.node(op.name, ins, {**node.attrs, **done.attrs})
        g.outputs = list(made.outputs)
        got = Interpreter(g).run(feed)
    except (ShapeError, InputError) as e:
        raise DeclarationError(f"{case}: does not run: {e}") from e
    for n, (w, y, o, v) in enumerate(zip(want, got, done.outs, made.outputs)):
        expected = _stored(w, o)
        if v.shape is not None and tuple(v.shape) != expected.shape:
            raise DeclarationError(f"{case}: output {n} is inferred as {v.shape}, must be {expected.shape}")
        if y.shape != expected.shape or y.dtype != expected.dtype or not _equal(y, expected):
            raise DeclarationError(f"{case}: output {n} differs from the permuted result")


def _equal(a: Array, b: Array) -> bool:
    if a.dtype.kind in "fc":
        return bool(np.allclose(a, b, RTOL, ATOL, equal_nan=True))
    return bool(np.array_equal(a, b))
