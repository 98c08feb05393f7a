"""Element by element: activations, arithmetic, types, constants."""

from __future__ import annotations

from typing import Any

from tests.support.small import Case, Small, case

__all__ = ["ACTIVATIONS", "ARITHMETIC", "CONSTANTS"]


def _each(op: str, *shape: Any, kind: str = "float32", **attrs: Any) -> Case:
    return case(lambda g: g.op(op, g.x(*(shape or ("N", 5)), kind=kind), **attrs))


ACTIVATIONS: dict[str, Case] = {
    "threshold": _each("threshold", value=0.7),
    "hard_sigmoid": _each("hard_sigmoid", alpha=0.3, beta=0.4),
    "hard_sigmoid of Keras": _each("hard_sigmoid", alpha=1 / 6, beta=0.5),
    "hard_sigmoid of Keras 2": _each("hard_sigmoid", alpha=0.2, beta=0.5),
    "swish": _each("swish", beta=1.7),
    "leaky_relu": _each("leaky_relu", alpha=0.3),
    "elu": _each("elu", alpha=0.7),
    "celu": _each("celu", alpha=0.7),
    "selu of its own": _each("selu", alpha=1.5, gamma=1.2),
    "selu": _each("selu"),
    "thresholded_relu": _each("thresholded_relu", alpha=0.6),
    "shrink": _each("shrink", lambd=0.4, bias=0.3),
    "shrink without bias": _each("shrink", lambd=0.4, bias=0.0),
    "hard_shrink": _each("hard_shrink", lambd=0.4),
    "soft_shrink": _each("soft_shrink", lambd=0.4),
    "gelu": _each("gelu", approximate="none"),
    "gelu by tanh": _each("gelu", approximate="tanh"),
    "squareplus": _each("squareplus", b=3.0),
    "erfc": _each("erfc"),
    "softmax": _each("softmax", "N", 3, 5, axis=1),
    "softmax of the last": _each("softmax", "N", 3, 5, axis=-1),
    "log_softmax": _each("log_softmax", "N", 3, 5, axis=1),
    "glu": _each("glu", "N", 4, 6, axis=1),
    "hardmax": _each("hardmax", "N", 3, 5, axis=1),
    "prelu by channel": case(lambda g: g.prelu(g.x("N", 3, 5, 7), g.w(3, 1, 1))),
    "prelu of one slope": case(lambda g: g.prelu(g.x("N", 3, 5), g.w(1))),
    "prelu of rows": case(lambda g: g.prelu(g.x("N", 3, 5), g.w(3, 5))),
    "prelu of rows of size 1": case(lambda g: g.prelu(g.x("N", 1, 5), g.w(1, 5))),
    "prelu with a batch of 1": case(lambda g: g.prelu(g.x("N", 3, 5), g.w(1, 3, 1))),
    "prelu by example": case(lambda g: g.prelu(g.x(2, 3), g.w(2, 3))),
    "prelu of one axis": case(lambda g: g.prelu(g.x("N"), g.w(1))),
    "prelu along an open axis": case(lambda g: g.prelu(g.x("N", "T", 5), g.w(7, 1))),
    "prelu computed": case(lambda g: g.prelu(g.x("N", 5), g.x(5))),
    "clip": _each("clip", min=-0.5, max=0.7),
    "clip below": _each("clip", min=-0.5),
    "clip above": _each("clip", max=0.7),
    "clip of nothing": _each("clip"),
    "clip at one number": _each("clip", min=0.5, max=0.5),
    "clip the other way round": _each("clip", min=0.7, max=-0.5),
    "clip of integers": _each("clip", kind="int32", min=2, max=5),
    "clip of long integers": _each("clip", kind="int64", min=2, max=5),
    "clip of long integers below": _each("clip", kind="int64", min=2),
    "clip of doubles above": _each("clip", kind="float64", max=0.3),
    "relu6": _each("clip", min=0.0, max=6.0),
    "dropout": case(lambda g: g.dropout(g.x("N", 5), rate=0.3, seed=7)),
    "dropout of no rate": case(lambda g: g.dropout(g.x("N", 5))),
    "dropout of everything": case(lambda g: g.dropout(g.x("N", 5), rate=1.0)),
    "dropout beyond everything": case(lambda g: g.dropout(g.x("N", 5), rate=1.5)),
    "dropout of integers": case(lambda g: g.dropout(g.x("N", 5, kind="int32"), rate=0.3)),
    "dropout of space": case(lambda g: g.dropout(g.x("N", 5, 3), rate=0.3, shared=(1,))),
    "dropout of space of two axes": case(lambda g: g.dropout(g.x("N", 5, 3, 4), rate=0.3, shared=(2, 1))),
    "dropout of space of four axes": case(lambda g: g.dropout(g.x("N", 5, 3, 4, 2, 3), rate=0.3, shared=(1, 2, 3, 4))),
    "dropout shared": case(lambda g: g.dropout(g.x("N", 5, 3, 4), rate=0.3, shared=(0, 2))),
    "dropout alpha": case(lambda g: g.dropout(g.x("N", 5, 3), rate=0.3, kind="alpha", shared=(1,))),
    "dropout gaussian": case(lambda g: g.dropout(g.x("N", 5), rate=0.3, kind="gaussian")),
    "noise": case(lambda g: g.gaussian_noise(g.x("N", 5), stddev=0.3, seed=5)),
    "noise of no amount": case(lambda g: g.gaussian_noise(g.x("N", 5))),
}


def _pairs() -> dict[str, Case]:
    """Two operands of each type, a number on either side, rows and columns."""
    out = {}
    for op in ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "floor_div", "floor_mod", "fmod", "atan2"):
        for kind in ("float32", "float64", "float16", "int32", "int64", "int8", "uint8", "uint16"):
            if op in ("pow", "atan2") and not kind.startswith("float"):
                continue

            def build(g: Small, op: str = op, kind: str = kind) -> Any:
                return g.op(op, g.x("N", 5, kind=kind, low=1), g.x("N", 1, kind=kind, low=1))

            out[f"{op} {kind}"] = case(build)
        out[f"{op} a number"] = case(lambda g, op=op: g.op(op, g.x("N", 5), g.c(2.5)))
        out[f"{op} to a number"] = case(lambda g, op=op: g.op(op, g.c(2.5), g.x("N", 5)))
        out[f"{op} a row"] = case(lambda g, op=op: g.op(op, g.x("N", 5), g.many(5)))
    return out


ARITHMETIC: dict[str, Case] = {
    **_pairs(),
    "cast by way of int4": case(lambda g: g.cast(g.cast(g.x("N", 5), to="int4"), to="float32")),
    "cast by way of float8": case(lambda g: g.cast(g.cast(g.x("N", 5), to="float8_e4m3fn"), to="float32")),
    "add layers": case(lambda g: g.add(g.relu(g.x("N", 5)), g.tanh(g.x("N", 5)))),
    "add of batches 1 and N": case(lambda g: g.add(g.x("N", 5), g.x(1, 5))),
    "add of batches 1 and 2": case(lambda g: g.add(g.x(2, 5), g.x(1, 5))),
    "add of other ranks": case(lambda g: g.add(g.x("N", 3, 5), g.x(5))),
    "add a large integer": case(lambda g: g.add(g.x("N", 5, kind="int64"), g.c(1 << 31, "int64"))),
    "add a nearly large integer": case(lambda g: g.add(g.x("N", 5, kind="int64"), g.c((1 << 31) - 1, "int64"))),
    "add a number of one axis": case(lambda g: g.add(g.x("N", 5), g.many(1))),
    "add a number of more axes": case(lambda g: g.add(g.x("N", 5), g.many(1, 1, 1))),
    "add a parameter": case(lambda g: g.add(g.x("N", 3, 5), g.w(5))),
    "add a frozen parameter": case(lambda g: g.add(g.x("N", 3, 5), g.w(5, trained=False))),
    "add a parameter of no axes": case(lambda g: g.add(g.x("N", 5), g.w())),
    "add two parameters": case(lambda g: g.add(g.add(g.x("N", 5), g.w(5)), g.w(1, 5))),
    "and": case(lambda g: g.and_(g.x("N", 5, kind="bool"), g.x("N", 1, kind="bool"))),
    "or with a constant": case(lambda g: g.or_(g.x("N", 5, kind="bool"), g.c([True, False, True, True, False]))),
    "xor with a truth": case(lambda g: g.xor(g.x("N", 5, kind="bool"), g.c(True))),
    "not": case(lambda g: g.not_(g.x("N", 5, kind="bool"))),
    "equal": case(lambda g: g.equal(g.x("N", 5, kind="int32", high=3), g.x("N", 1, kind="int32", high=3))),
    "less than a number": case(lambda g: g.less(g.x("N", 5), g.c(0.3))),
    "greater of integers": case(lambda g: g.greater(g.x("N", 5, kind="int64"), g.c(4, "int64"))),
    "where": case(lambda g: g.where(g.x("N", 1, kind="bool"), g.x("N", 5), g.c(0.5))),
    "where of a constant": case(lambda g: g.where(g.c([True, False, True, True, False]), g.x("N", 5), g.x("N", 5))),
    "shift left": case(lambda g: g.shift_left(g.x("N", 5, kind="int32"), g.x("N", 5, kind="int32", high=4))),
    "bitwise and": case(lambda g: g.bitwise_and(g.x("N", 5, kind="int32"), g.c(6, "int32"))),
    "round": case(lambda g: g.round(g.x("N", 5))),
    "sign": case(lambda g: g.sign(g.x("N", 5))),
    "isinf above": case(lambda g: g.isinf_signed(g.x("N", 5), negative=False)),
    "isinf below": case(lambda g: g.isinf_signed(g.x("N", 5), positive=False)),
    "reciprocal": case(lambda g: g.reciprocal(g.x("N", 5))),
    "identity": case(lambda g: g.identity(g.x("N", 5))),
    "identity of a result": case(lambda g: g.identity(g.tanh(g.x("N", 5)))),
    **{
        f"cast {a} to {b}": case(lambda g, a=a, b=b: g.cast(g.x("N", 5, kind=a), to=b))
        for a, b in (
            ("float32", "int32"),
            ("int32", "float32"),
            ("bool", "float32"),
            ("float32", "bool"),
            ("float32", "float16"),
            ("int64", "uint8"),
            ("float32", "uint16"),
            ("uint16", "float32"),
            ("float32", "float32"),
            ("float32", "bfloat16"),
            ("float32", "float64"),
            ("int8", "int64"),
        )
    },
}

CONSTANTS: dict[str, Case] = {
    "a constant beside": case(lambda g: [g.tanh(g.x("N", 5)), g.many(3, 2)]),
    "a truth beside": case(lambda g: [g.tanh(g.x("N", 5)), g.c([True, False])]),
    "a number beside": case(lambda g: [g.tanh(g.x(5)), g.c(3, "int64")]),
    "a parameter beside": case(lambda g: [g.tanh(g.x("N", 5)), g.w(3, 2)]),
    "an input twice": case(lambda g: [(x := g.x("N", 5)), g.relu(x), x]),
    "a result twice": case(lambda g: [(y := g.relu(g.x("N", 5))), y]),
    "fill": case(lambda g: g.add(g.x("N", 5), g.fill(shape=(1, 5), value=2.5))),
    "fill a batch": case(lambda g: g.concat(g.x("N", 5), g.fill(shape=(g.dim("N"), 3), value=2.5), axis=1)),
    "fill a batch with ones": case(lambda g: g.concat(g.x("N", 5), g.fill(shape=(g.dim("N"), 3), value=1.0), axis=1)),
    "fill a batch with truth": case(
        lambda g: g.concat(g.x("N", 5, kind="bool"), g.fill(shape=(g.dim("N"), 3), value=True, dtype="bool"), axis=1)
    ),
    "fill a batch with falsehood": case(
        lambda g: g.concat(g.x("N", 5, kind="bool"), g.fill(shape=(g.dim("N"), 3), value=False, dtype="bool"), axis=1)
    ),
    "eye": case(lambda g: g.matmul(g.x("N", 5), g.eye(rows=5, columns=3, k=-1))),
    "eye like": case(lambda g: g.eye_like(g.x("H", 5), k=2)),
    "eye like, as integers": case(lambda g: g.eye_like(g.x("H", 5), k=-3, dtype="int64")),
    "shape": case(lambda g: g.shape_of(g.x("N", "T", 5))),
    "shape from the second": case(lambda g: g.shape_of(g.x("N", "T", 5), start=1, end=2)),
    "shape of the first": case(lambda g: g.shape_of(g.x("N", "T", 5), end=1)),
    "number of elements": case(lambda g: g.size_of(g.x("N", "T", 5))),
    "number of known elements": case(lambda g: [(x := g.x(3, 5)), g.size_of(x)]),
    "a size": case(lambda g: [g.tanh(g.x("N", 5)), g.dim_value(value=g.dim("N") * 3 + 1)]),
    "a difference of sizes": case(lambda g: [g.tanh(g.x("N", "T")), g.dim_value(value=g.dim("T") - 2)]),
    "one hot": case(lambda g: g.one_hot(g.x("N", 3, kind="int32", high=5), depth=5)),
    "one hot, first": case(lambda g: g.one_hot(g.x("N", 3, kind="int64", low=-4, high=5), depth=5, axis=1, wrap_negative=True)),
    "one hot, values": case(
        lambda g: g.one_hot(g.x("N", 3, kind="int32", high=7), depth=5, on_value=3.0, off_value=-2.0, dtype="float16")
    ),
    "one hot, given": case(lambda g: g.one_hot(g.x("N", 3, kind="int32", high=5), g.c([-1.5, 2.5]), depth=5, axis=0)),
    "one hot, computed": case(lambda g: g.one_hot(g.x("N", 3, kind="int32", high=5), g.x(2), depth=5)),
    "one hot, open": case(lambda g: g.one_hot(g.x("N", 3, kind="int32", high=5), depth=g.dim("N"))),
    "range of a size": case(lambda g: [g.relu(x := g.x("N", "T")), g.range(g.c(3, "int64"), _end(g, x, 3, 1), g.c(1, "int64"))]),
    "range of a size by steps": case(
        lambda g: [g.relu(x := g.x("N", "T")), g.range(g.c(0, "int64"), _end(g, x, 0, 2), g.c(2, "int64"))]
    ),
}


def _end(g: Small, x: Any, start: int, step: int) -> Any:
    """Where a range of as many as the second axis has ends."""
    n = g.gather(g.shape_of(x), g.c(1, "int64"), axis=0)
    return g.add(g.mul(n, g.c(step, "int64")), g.c(start, "int64"))
