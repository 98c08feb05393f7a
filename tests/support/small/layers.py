"""Layers with weights that are no windows: products, norms, attention, recurrent ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.support.small import Case, Small, case

__all__ = ["ATTENTION", "NORMS", "PRODUCTS", "RECURRENT"]

PRODUCTS: dict[str, Case] = {
    "linear": case(lambda g: g.linear(g.x("N", 5), g.w(3, 5), g.w(3))),
    "linear without bias": case(lambda g: g.linear(g.x("N", 7, 5), g.w(3, 5))),
    "linear of one axis": case(lambda g: g.linear(g.x(5), g.w(3, 5))),
    "linear computed": case(lambda g: g.linear(g.x("N", 5), g.x(3, 5))),
    "linear computed bias": case(lambda g: g.linear(g.x("N", 5), g.w(3, 5), g.x(3))),
    "linear frozen kernel": case(lambda g: g.linear(g.x("N", 5), g.w(3, 5, trained=False), g.w(3))),
    "linear and relu": case(lambda g: g.relu(g.linear(g.x("N", 5), g.w(3, 5)))),
    "linear and relu and its own": case(lambda g: [y := g.linear(g.x("N", 5), g.w(3, 5)), g.relu(y)]),
    "linear and two relus": case(lambda g: [g.relu(y := g.linear(g.x("N", 5), g.w(3, 5))), g.tanh(y)]),
    "linear and relu6": case(lambda g: g.clip(g.linear(g.x("N", 5), g.w(3, 5)), min=0.0, max=6.0)),
    "linear and leaky relu": case(lambda g: g.leaky_relu(g.linear(g.x("N", 5), g.w(3, 5)), alpha=0.3)),
    "norm and relu": case(lambda g: g.relu(g.layer_norm(g.x("N", 5), g.w(5), g.w(5), axes=(1,), epsilon=1e-3))),
    "embedding": case(lambda g: g.embedding(g.x("N", 3, kind="int32", high=7), g.w(7, 5))),
    "embedding of a constant": case(lambda g: g.embedding(g.x("N", 3, kind="int64", high=7), g.many(7, 5))),
    "embedding padded": case(lambda g: g.embedding(g.x("N", 3, kind="int32", high=7), g.w(7, 5), padding_idx=2)),
    "embedding computed": case(lambda g: g.embedding(g.x("N", 3, kind="int32", high=7), g.x(7, 5))),
    "embedding and its product": case(
        lambda g: g.linear(g.tanh(g.embedding(g.x("N", 3, kind="int32", high=7), t := g.w(7, 5))), t)
    ),
    "embedding and its product with a bias": case(
        lambda g: g.linear(g.tanh(g.embedding(g.x("N", 3, kind="int32", high=7), t := g.w(7, 5))), t, g.w(7))
    ),
    "embedding, its product and more": case(
        lambda g: [g.linear(g.tanh(g.embedding(g.x("N", 3, kind="int32", high=7), t := g.w(7, 5))), t), g.mul(t, g.x("N", 1, 5))]
    ),
    "matmul": case(lambda g: g.matmul(g.x("N", 3, 5), g.x("N", 5, 2))),
    "matmul with a weight": case(lambda g: g.matmul(g.x("N", 3, 5), g.w(5, 2))),
    "matmul with a weight of a vector": case(lambda g: g.matmul(g.x(5), g.w(5, 2))),
    "matmul with weights of three axes": case(lambda g: g.matmul(g.x(3, "T", 5), g.w(3, 5, 2))),
    "matmul of a weight": case(lambda g: g.matmul(g.w(2, 3), g.x(3, 5))),
    "matmul with a constant": case(lambda g: g.matmul(g.x("N", 5), g.many(5, 2))),
    "matmul of integers": case(lambda g: g.matmul(g.x(3, 5, kind="int32"), g.x(5, 2, kind="int32"))),
    "matmul of bytes": case(lambda g: g.matmul(g.x(3, 5, kind="int8"), g.x(5, 2, kind="int8"))),
    "einsum": case(lambda g: g.einsum(g.x("N", 3, 5), g.x("N", 4, 5), equation="bik,bjk->bij")),
    "einsum of capitals": case(lambda g: g.einsum(g.x("N", 3, 5), g.x("N", 4, 5), equation="Bik, Bjk -> Bij")),
    "einsum of integers": case(lambda g: g.einsum(g.x(3, 5, kind="int32"), g.x(4, 5, kind="int32"), equation="ik,jk->ij")),
    "einsum of three": case(lambda g: g.einsum(g.x(3, 5), g.x(4, 5), g.x(3), equation="ik,jk,i->ij")),
    "einsum with a weight": case(lambda g: g.einsum(g.x("N", 3, 5), g.w(5, 2, 4), equation="abc,cde->abde")),
    "einsum with a weight and a bias": case(
        lambda g: g.add(g.einsum(g.x("N", 3, 5), g.w(5, 2, 4), equation="abc,cde->abde"), g.w(2, 4))
    ),
    "einsum with a weight and a bias of one axis": case(
        lambda g: g.add(g.einsum(g.x("N", 3, 5), g.w(5, 2, 4), equation="abc,cde->abde"), g.w(1, 1, 2, 1))
    ),
    "einsum with a weight and a bias of all": case(
        lambda g: g.add(g.einsum(g.x(2, 3, 5), g.w(5, 2, 4), equation="abc,cde->abde"), g.w(2, 3, 2, 4))
    ),
    "einsum with a weight and a bias of nothing": case(
        lambda g: g.add(g.einsum(g.x("N", 3, 5), g.w(5, 2, 4), equation="abc,cde->abde"), g.w(1, 1))
    ),
    "einsum with a weight and a bias over more": case(
        lambda g: g.add(g.einsum(g.x("N", 3, 5), g.w(5, 2, 1), equation="abc,cde->abde"), g.w(2, 4))
    ),
    "einsum with a weight and a frozen bias": case(
        lambda g: g.add(g.einsum(g.x("N", 3, 5), g.w(5, 2), equation="abc,cd->abd"), g.w(2, trained=False))
    ),
    "einsum with a weight and a constant": case(
        lambda g: g.add(g.einsum(g.x("N", 3, 5), g.w(5, 2), equation="abc,cd->abd"), g.many(2))
    ),
    "einsum with a weight and a bias, read twice": case(
        lambda g: [g.add(y := g.einsum(g.x("N", 3, 5), g.w(5, 2), equation="abc,cd->abd"), g.w(2)), g.tanh(y)]
    ),
    "einsum with a weight and a bias, and itself": case(
        lambda g: [g.add(y := g.einsum(g.x("N", 3, 5), g.w(5, 2), equation="abc,cd->abd"), g.w(2)), y]
    ),
    "einsum of a weight first": case(lambda g: g.einsum(g.w(2, 5), g.x("N", 5), equation="ij,bj->bi")),
    "einsum that sums the batch": case(lambda g: g.einsum(g.x(3, 5), g.w(5, 2), equation="ab,bc->c")),
    "einsum over the batch": case(lambda g: g.einsum(g.x(5, 3), g.w(5, 2), equation="ab,ac->ac")),
    "einsum that sums outside": case(lambda g: g.einsum(g.x("N", 3, 5), g.w(5, 2), equation="abc,cd->ad")),
    "einsum of a diagonal": case(lambda g: g.einsum(g.x("N", 3, 3), g.w(3, 2), equation="abb,bd->abd")),
}


def _norm_of_last(g: Small) -> Any:
    x = g.transpose(g.x("N", 3, 5), perm=(0, 2, 1))
    return g.batch_norm(x, g.w(3), g.w(3), g.many(3), g.w(3, positive=True), epsilon=1e-3, axis=2)


def _norm(op: str, *shape: Any, weights: tuple[Any, ...] = (), **attrs: Any) -> Case:
    def build(g: Small) -> Any:
        given = [
            None if s is None else g.w(*(s if isinstance(s, tuple) else (s,)), positive=i > 2) for i, s in enumerate(weights)
        ]
        return g.op(op, g.x(*shape), *given, **attrs)

    return case(build)


NORMS: dict[str, Case] = {
    "batch norm": _norm("batch_norm", "N", 3, 5, 7, weights=(3, 3, 3, 3), epsilon=1e-3, momentum=0.8),
    "batch norm of rows": _norm("batch_norm", "N", 3, weights=(3, 3, 3, 3), epsilon=1e-4),
    "batch norm of the last": _norm("batch_norm", "N", 5, 3, weights=(3, 3, 3, 3), epsilon=1e-4, axis=2),
    "batch norm without scale": _norm("batch_norm", "N", 3, 5, weights=(None, 3, 3, 3), epsilon=1e-5),
    "batch norm without offset": _norm("batch_norm", "N", 3, 5, weights=(3, None, 3, 3), epsilon=1e-5),
    "batch norm of neither": _norm("batch_norm", "N", 3, 5, weights=(None, None, 3, 3), epsilon=1e-5),
    "batch norm partly frozen": case(
        lambda g: g.batch_norm(
            g.x("N", 5, 3), g.w(3), g.w(3, trained=False), g.many(3), g.w(3, positive=True), epsilon=1e-3, axis=2
        )
    ),
    "batch norm partly frozen, other axis": case(
        lambda g: g.batch_norm(
            g.x(3, 5, 2), g.w(3, trained=False), g.w(3), g.many(3), g.w(3, positive=True), epsilon=1e-3, axis=0, momentum=0.7
        )
    ),
    "batch norm between permutations": case(lambda g: g.transpose(_norm_of_last(g), perm=(0, 2, 1))),
    "layer norm": _norm("layer_norm", "N", 3, 5, weights=(5, 5), axes=(2,), epsilon=1e-4),
    "layer norm of two axes": _norm("layer_norm", "N", 3, 5, weights=((3, 5), (3, 5)), axes=(1, 2), epsilon=1e-4),
    "layer norm of two axes, turned": _norm("layer_norm", "N", 3, 5, weights=((5, 3), (5, 3)), axes=(2, 1), epsilon=1e-4),
    "layer norm turned of nothing": _norm("layer_norm", "N", 3, 5, axes=(2, 1), epsilon=1e-4),
    "layer norm of the middle": _norm("layer_norm", "N", 3, 5, weights=(3, 3), axes=(1,), epsilon=1e-4),
    "layer norm of everything": _norm("layer_norm", 3, 5, axes=(0, 1), epsilon=1e-4),
    "layer norm of an open axis": _norm("layer_norm", "N", "T", axes=(1,), epsilon=1e-4),
    "layer norm without offset": _norm("layer_norm", "N", 5, weights=(5, None), axes=(1,), epsilon=1e-4),
    "layer norm without scale": _norm("layer_norm", "N", 5, weights=(None, 5), axes=(1,), epsilon=1e-4),
    "layer norm of nothing": _norm("layer_norm", "N", 5, axes=(1,), epsilon=1e-4),
    "rms norm": _norm("rms_norm", "N", 3, 5, weights=(5,), axes=(2,), epsilon=1e-4),
    "rms norm without scale": _norm("rms_norm", "N", 3, 5, axes=(2,), epsilon=1e-4),
    "group norm": _norm("group_norm", "N", 6, 5, weights=(6, 6), groups=2, epsilon=1e-4),
    "group norm of the last": _norm("group_norm", "N", 5, 6, weights=(6, 6), groups=3, epsilon=1e-4, axis=2),
    "instance norm": _norm("instance_norm", "N", 3, 5, 7, weights=(3, 3), epsilon=1e-4),
    "instance norm without scale": _norm("instance_norm", "N", 3, 5, epsilon=1e-4),
    "instance norm of the last": _norm("instance_norm", "N", 5, 3, weights=(3, 3), epsilon=1e-4, axis=2),
    "instance norm of rows": _norm("instance_norm", "N", 3, epsilon=1e-4),
    "lrn": _norm("lrn", "N", 7, 3, 2, size=3, alpha=0.2, beta=0.6, bias=1.5),
    "lrn of even size": _norm("lrn", "N", 7, 3, 2, size=4, alpha=0.2, beta=0.6, bias=1.5),
    "lrn within": _norm("lrn_within", "N", 3, 5, 7, size=3, alpha=0.2, beta=0.6),
    "l2 normalise": _norm("l2_normalize", "N", 3, 5, axes=(2,), epsilon=1e-3),
    "l2 normalise by the norm": _norm("l2_normalize", "N", 3, 5, axes=(1,), epsilon=1e-3, mode="max_norm"),
    "l2 normalise with what is added": _norm("l2_normalize", "N", 3, 5, axes=(1, 2), epsilon=1e-3, mode="add_square"),
    "lp normalise": _norm("lp_normalize", "N", 3, 5, axis=1, p=1),
    "mean variance": _norm("mean_variance_norm", "N", 3, 5, 7, axes=(2, 3), epsilon=1e-3),
    "mean variance, epsilon inside": _norm("mean_variance_norm", "N", 3, 5, 7, axes=(0, 2, 3), epsilon=1e-3, epsilon_on="var"),
    "mean alone": _norm("mean_variance_norm", "N", 3, 5, 7, axes=(1, 2, 3), epsilon=1e-3, normalize_variance=False),
}


def _heads(g: Small, *, heads: int = 3, shared: int = 0, width: int = 5, value: int = 0, out: int = 8, bias: bool = True,
           mask: str = "", twice: bool = True, **attrs: Any) -> Any:  # fmt: skip
    """Attention with its projections of (N, T, 8)."""
    x = g.x("N", "T", 8)
    y = x if twice else g.x("N", 4, 8)
    value, keys = value or width, shared or heads
    ws = [g.w(heads * width, 8), g.w(keys * width, 8), g.w(keys * value, 8), g.w(out, heads * value)]
    bs = [g.w(heads * width), g.w(keys * width), g.w(keys * value), g.w(out)] if bias else [None] * 4
    kinds: dict[str, Any] = {
        "": lambda: None,
        "bool": lambda: g.x("N", 1, "T", "T", kind="bool"),
        "float": lambda: g.x("N", 1, "T", "T"),
        "constant": lambda: g.c(np.tril(np.ones((1, 1, 7, 7), bool))),
        "of two axes": lambda: g.x("T", "T", kind="bool"),
    }
    return g.multi_head_attention(x, y, y, *ws, *bs, kinds[mask](), heads=heads, kv_heads=shared, **attrs)


ATTENTION: dict[str, Case] = {
    "heads": case(lambda g: _heads(g)),
    "heads without bias": case(lambda g: _heads(g, bias=False)),
    "heads of other values": case(lambda g: _heads(g, value=2)),
    "heads to another width": case(lambda g: _heads(g, out=6)),
    "heads of another": case(lambda g: _heads(g, twice=False)),
    "heads causal": case(lambda g: _heads(g, causal=True)),
    "heads that show their weights": case(lambda g: _heads(g, weights=True)),
    "heads shared": case(lambda g: _heads(g, heads=4, shared=2)),
    "heads shared, of other values": case(lambda g: _heads(g, heads=4, shared=2, value=2)),
    "heads shared, to another width": case(lambda g: _heads(g, heads=4, shared=2, out=6)),
    "heads shared by none": case(lambda g: _heads(g, heads=3, shared=3)),
    "heads masked": case(lambda g: _heads(g, mask="bool", empty="mean")),
    "heads masked to zero": case(lambda g: _heads(g, mask="bool")),
    "heads masked by numbers": case(lambda g: _heads(g, mask="float", empty="mean")),
    "heads masked by a constant": case(lambda g: _heads(g, mask="constant", empty="mean")),
    "heads masked by two axes": case(lambda g: _heads(g, mask="of two axes", empty="mean")),
    "heads scaled": case(lambda g: _heads(g, scale=0.3)),
    "heads scaled as ever": case(lambda g: _heads(g, scale=5**-0.5)),
    "heads guarded": case(lambda g: _heads(g, guard=True)),
    "heads, time first": case(lambda g: _heads(g, layout="time_major")),
    "heads, one bias": case(
        lambda g: g.multi_head_attention(
            x := g.x("N", 4, 6), x, x, g.w(6, 6), g.w(6, 6), g.w(6, 6), g.w(6, 6), g.w(6), None, g.w(6), g.w(6), heads=2
        )
    ),
    "heads computed": case(
        lambda g: g.multi_head_attention(x := g.x("N", 4, 6), x, x, g.w(6, 6), g.x(6, 6), g.w(6, 6), g.w(6, 6), heads=2)
    ),
    "dot": case(lambda g: _dot(g)),
    "dot, heads last": case(lambda g: _dot(g, layout="heads_last")),
    "dot, heads last, causal": case(lambda g: _dot(g, layout="heads_last", causal=True)),
    "dot, heads last, causal over more keys": case(lambda g: _dot(g, layout="heads_last", causal=True, keys=6)),
    "dot, heads last, scaled": case(lambda g: _dot(g, layout="heads_last", scale=0.3)),
    "dot, heads last, of other values": case(lambda g: _dot(g, layout="heads_last", value=2)),
    "dot, heads last, shared": case(lambda g: _dot(g, layout="heads_last", heads=4, shared=2)),
    "dot causal": case(lambda g: _dot(g, causal=True)),
    "dot scaled by one": case(lambda g: _dot(g, scale=1.0)),
    "dot capped": case(lambda g: _dot(g, softcap=2.5)),
    "dot shown": case(lambda g: _dot(g, weights=True)),
    "dot shared": case(lambda g: _dot(g, heads=4, shared=2)),
    "dot masked": case(lambda g: _dot(g, mask="bool")),
    "dot masked to a mean": case(lambda g: _dot(g, mask="bool", empty="mean")),
    "dot masked to NaN": case(lambda g: _dot(g, mask="all", empty="nan")),
    "dot masked by numbers": case(lambda g: _dot(g, mask="float", causal=True)),
    "dot masked and causal": case(lambda g: _dot(g, mask="bool", causal=True)),
    "dot masked by a constant and causal": case(lambda g: _dot(g, mask="constant", causal=True)),
    "dot over an open time, causal": case(lambda g: _dot(g, time="T", causal=True)),
    "dot over an open time, masked": case(lambda g: _dot(g, time="T", mask="bool", causal=True)),
    "dot guarded": case(lambda g: _dot(g, guard=True)),
}


def _dot(g: Small, *, time: Any = 4, keys: Any = None, heads: int = 3, shared: int = 0, value: int = 5, mask: str = "",
         layout: str = "heads_first", **attrs: Any) -> Any:  # fmt: skip
    keys = keys or time

    def x(h: int, t: Any, d: int) -> Any:
        return g.x("N", h, t, d) if layout == "heads_first" else g.x("N", t, h, d)

    q, k, v = x(heads, time, 5), x(shared or heads, keys, 5), x(shared or heads, keys, value)
    kinds: dict[str, Any] = {
        "": lambda: None,
        "bool": lambda: g.x("N", 1, time, keys, kind="bool"),
        "float": lambda: g.x("N", 1, time, keys),
        "constant": lambda: g.c(np.eye(4, dtype=bool)[None, None]),
        "all": lambda: g.not_equal(x := g.x("N", 1, time, keys), g.add(x, g.c(1.0))),
    }
    return g.attention(q, k, v, kinds[mask](), layout=layout, **attrs)


def _rnn(op: str, *, directions: int = 1, bias: bool = True, states: bool = False, keep: tuple[int, ...] = (0,), end: str = "",
         **attrs: Any) -> Case:  # fmt: skip
    """A recurrent layer of (N, T, 3) with 5 units; ``keep``: which of its results are outputs."""
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[op]

    def build(g: Small) -> Any:
        time = attrs.get("layout") == "time_major"
        x = g.x(4, "N", 3) if time else g.x("N", 4, 3)
        rest: list[Any] = [
            g.w(directions, gates * 5, 3),
            g.w(directions, gates * 5, 5),
            g.w(directions, gates * 5) if bias else None,
        ]
        if op == "gru":
            rest.append(g.w(directions, 15) if bias and attrs.get("reset_after") else None)
        rest += [g.x(directions, "N", 5) if states else None] * (2 if op == "lstm" else 1)
        rest += [g.x("N", 4, kind="bool") if end == "mask" else None]
        rest += [g.x("N", kind="int32", low=1, high=5) if end == "lengths" else None]
        while rest and rest[-1] is None:
            rest.pop()
        found = g.op(op, x, *rest, hidden=5, direction=("forward", "bidirectional")[directions - 1], **attrs)
        return [found[i] for i in keep]

    return case(build)


def _recurrent() -> dict[str, Case]:
    out: dict[str, Case] = {}
    for op in ("lstm", "gru", "rnn"):
        last = 2 if op == "lstm" else 1
        more: dict[str, Any] = {"reset_after": True} if op == "gru" else {}
        out |= {
            op: _rnn(op, **more),
            f"{op} without bias": _rnn(op, bias=False, **more),
            f"{op} at the end": _rnn(op, keep=(1,), **more),
            f"{op} of all": _rnn(op, keep=tuple(range(last + 1)), states=True, **more),
            f"{op} both ways": _rnn(op, directions=2, **more),
            f"{op} both ways, of all": _rnn(op, directions=2, keep=tuple(range(last + 1)), states=True, **more),
            f"{op} both ways, at the end": _rnn(op, directions=2, keep=(1,), **more),
            f"{op} relu": _rnn(op, activation="relu", **more),
            f"{op} masked": _rnn(op, end="mask", zero_output_for_mask=True, **more),
            f"{op} masked, carried": _rnn(op, end="mask", **more),
            f"{op} masked both ways, carried": _rnn(op, end="mask", directions=2, **more),
            f"{op} masked both ways, at the end": _rnn(op, end="mask", directions=2, keep=(last,), **more),
            f"{op} of lengths": _rnn(op, end="lengths", keep=(0, last), **more),
            f"{op} clipped": _rnn(op, clip=2.0, **more),
            f"{op} time first": _rnn(op, layout="time_major", **more),
        }
    return out | {
        "gru reset before": _rnn("gru", reset_after=False),
        "gru hard": _rnn("gru", reset_after=True, recurrent_activation="hard_sigmoid"),
        "lstm output activation": _rnn("lstm", output_activation="relu"),
        "lstm the same output activation": _rnn("lstm", output_activation="tanh"),
        "lstm coupled": _rnn("lstm", input_forget=True),
        "lstm the second state": _rnn("lstm", keep=(2,)),
        "lstm unknown activation": _rnn("lstm", activation="affine(0.5, 1.0)"),
        "lstm backwards": case(lambda g: g.lstm(g.x("N", 4, 3), g.w(1, 20, 3), g.w(1, 20, 5), hidden=5, direction="reverse")[0]),
        "lstm backwards, at the end": case(
            lambda g: g.lstm(g.x("N", 4, 3), g.w(1, 20, 3), g.w(1, 20, 5), hidden=5, direction="reverse")[1]
        ),
        "lstm from one state": case(
            lambda g: g.lstm(g.x("N", 4, 3), g.w(1, 20, 3), g.w(1, 20, 5), None, g.x(1, "N", 5), hidden=5)[0]
        ),
        "rnn from a constant": case(
            lambda g: g.rnn(g.x(2, 4, 3), g.w(1, 5, 3), g.w(1, 5, 5), None, g.many(1, 2, 5), hidden=5)[0]
        ),
        "rnn computed": case(lambda g: g.rnn(g.x("N", 4, 3), g.w(1, 5, 3), g.x(1, 5, 5), hidden=5)[0]),
        "gru of a second bias": case(
            lambda g: g.gru(g.x("N", 4, 3), g.w(1, 15, 3), g.w(1, 15, 5), None, g.w(1, 15), hidden=5, reset_after=True)[0]
        ),
        "lstm with peepholes": case(
            lambda g: g.lstm(g.x("N", 4, 3), g.w(1, 20, 3), g.w(1, 20, 5), *[None] * 5, g.w(1, 15), hidden=5)[0]
        ),
    }


RECURRENT = _recurrent()
