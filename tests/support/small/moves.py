"""Elements moved, joined, read and reduced: each axis, sizes that are known and not, edges of each condition."""

from __future__ import annotations

import numpy as np
from tests.support.small import Case, case

__all__ = ["INDEXING", "MOVES", "REDUCTIONS"]

MOVES: dict[str, Case] = {
    "reshape behind a batch": case(lambda g: g.reshape(g.x("N", 6, 5), shape=(g.dim("N"), 3, 10))),
    "reshape to rows": case(lambda g: g.reshape(g.x("N", 6, 5), shape=(g.dim("N"), 30))),
    "reshape to the same": case(lambda g: g.reshape(g.x("N", 6, 5), shape=(g.dim("N"), 6, 5))),
    "reshape of two axes": case(lambda g: g.reshape(g.x("N", 6), shape=(g.dim("N"), 6, 1))),
    "reshape with an open axis": case(lambda g: g.reshape(g.x("N", "T", 6), shape=(g.dim("N"), g.dim("T"), 2, 3))),
    "reshape with two open axes": case(
        lambda g: g.reshape(g.x("N", "H", "W", 6), shape=(g.dim("N"), g.dim("H"), g.dim("W"), 2, 3))
    ),
    "reshape open axes as one": case(lambda g: g.reshape(g.x("N", "T", 6), shape=(g.dim("N") * g.dim("T"), 6))),
    "reshape open axes as one, and more": case(lambda g: g.reshape(g.x("N", "T", 6), shape=(g.dim("N") * g.dim("T") * 2, 3))),
    "reshape one as open axes": case(
        lambda g: g.reshape(
            g.tanh(g.reshape(g.x("N", "T", 6), shape=(g.dim("N") * g.dim("T"), 6))), shape=(g.dim("N"), g.dim("T"), 6)
        )
    ),
    "reshape one as open axes, the last split": case(
        lambda g: g.reshape(
            g.tanh(g.reshape(g.x("N", "T", 6), shape=(g.dim("N") * g.dim("T"), 6))), shape=(g.dim("N"), g.dim("T"), 2, 3)
        )
    ),
    "reshape open axes, none stays": case(lambda g: g.reshape(g.x("N", "T", 6), shape=(g.dim("T"), g.dim("N"), 2, 3))),
    "reshape of no batch": case(lambda g: g.reshape(g.x(4, 6), shape=(3, 8))),
    "reshape to no axes": case(lambda g: g.reshape(g.x(1, 1), shape=())),
    "reshape to nothing": case(lambda g: g.reshape(g.x("N", 0, 5), shape=(g.dim("N"), 5, 0))),
    "reshape flat": case(lambda g: g.reshape(g.x("N", 6), shape=(g.dim("N") * 6,))),
    "permute": case(lambda g: g.transpose(g.x("N", 3, 5), perm=(0, 2, 1))),
    "permute the batch": case(lambda g: g.transpose(g.x("N", 3, 5), perm=(2, 0, 1))),
    "permute not": case(lambda g: g.transpose(g.x("N", 3, 5), perm=(0, 1, 2))),
    "permute an axis of size 1": case(lambda g: g.transpose(g.x("N", 1, 5, 3), perm=(0, 2, 1, 3))),
    "permute an axis of size 1 and open ones": case(lambda g: g.transpose(g.x("N", 1, "T", 3), perm=(0, 2, 1, 3))),
    "permute an axis of size 1 and many open ones": case(lambda g: g.transpose(g.x("N", 1, "H", "W"), perm=(0, 2, 1, 3))),
    "permute the batch over an axis of size 1": case(lambda g: g.transpose(g.x("N", 1, 5), perm=(1, 0, 2))),
    "permute the batch over an axis of size 1, open": case(lambda g: g.transpose(g.x("N", 1, "T"), perm=(1, 0, 2))),
    "shuffle by three": case(
        lambda g: g.reshape(
            g.transpose(g.reshape(g.x("N", 12, 5), shape=(g.dim("N"), 2, 3, 2, 5)), perm=(0, 3, 1, 2, 4)),
            shape=(g.dim("N"), 12, 5),
        )
    ),
    "shuffle of the last": case(
        lambda g: g.reshape(
            g.transpose(g.reshape(g.x("N", 5, 6), shape=(g.dim("N"), 5, 2, 3)), perm=(0, 1, 3, 2)), shape=(g.dim("N"), 5, 6)
        )
    ),
    "shuffle with another axis": case(
        lambda g: g.reshape(
            g.transpose(g.reshape(g.x("N", 5, 6), shape=(g.dim("N"), 5, 2, 3)), perm=(0, 2, 1, 3)), shape=(g.dim("N"), 5, 6)
        )
    ),
    "shuffle that is read": case(
        lambda g: [
            y := g.transpose(g.reshape(g.x("N", 6, 5), shape=(g.dim("N"), 2, 3, 5)), perm=(0, 2, 1, 3)),
            g.reshape(y, shape=(g.dim("N"), 6, 5)),
        ]
    ),
    "shuffle to another shape": case(
        lambda g: g.reshape(
            g.transpose(g.reshape(g.x("N", 6, 5), shape=(g.dim("N"), 2, 3, 5)), perm=(0, 2, 1, 3)), shape=(g.dim("N"), 3, 10)
        )
    ),
    "shuffle channels": case(lambda g: g.shuffle_channels(g.x("N", 6, 5, 3), groups=2)),
    "squeeze": case(lambda g: g.squeeze(g.x("N", 1, 5, 1), axes=(1, 3))),
    "squeeze an open size": case(lambda g: g.squeeze(g.x(3, "?", 5), axes=(1,))),
    "squeeze ones": case(lambda g: g.squeeze_ones(g.x(1, 3, 1))),
    "unsqueeze": case(lambda g: g.unsqueeze(g.x("N", 5), axes=(0, 2))),
    "slice": case(lambda g: g.slice(g.x("N", 9, 7), starts=(0, 2, 1), stops=(None, 8, 6), steps=(1, 1, 2))),
    "slice to the end": case(lambda g: g.slice(g.x("N", 9, 7), starts=(0, 2, 0), stops=(None, 9, 7), steps=(1, 3, 1))),
    "slice of all": case(lambda g: g.slice(g.x("N", 9, 7), starts=(0, 0, 0), stops=(None, 9, 7), steps=(1, 1, 1))),
    "slice backwards": case(lambda g: g.slice(g.x("N", 9, 7), starts=(0, 7, 6), stops=(None, 1, None), steps=(1, -2, -1))),
    "slice an open axis": case(lambda g: g.slice(g.x("N", "T"), starts=(0, 2), stops=(None, None), steps=(1, 2))),
    "slice the end of an open axis": case(lambda g: g.slice(g.x("N", "T"), starts=(0, -3), stops=(None, -1), steps=(1, 1))),
    "slice an open axis backwards": case(lambda g: g.slice(g.x("N", "T"), starts=(0, -1), stops=(None, None), steps=(1, -1))),
    "slice an open axis backwards by steps": case(
        lambda g: g.slice(g.x("N", "T"), starts=(0, -1), stops=(None, None), steps=(1, -3))
    ),
    "slice part of an open axis backwards": case(
        lambda g: g.slice(g.x("N", "T"), starts=(0, -2), stops=(None, None), steps=(1, -1))
    ),
    "slice as far as another": case(
        lambda g: [g.tanh(g.x("N", "T")), g.slice(g.x("N", 9), starts=(0, 0), stops=(None, g.dim("T")), steps=(1, 1))]
    ),
    "slice as far as another, from the second": case(
        lambda g: [g.tanh(g.x("N", "T")), g.slice(g.x("N", 9), starts=(0, 1), stops=(None, g.dim("T")), steps=(1, 1))]
    ),
    "slice nothing": case(lambda g: g.slice(g.x("N", 5), starts=(0, 2), stops=(None, 2), steps=(1, 1))),
    "expand": case(lambda g: g.expand(g.x(1, 5), shape=(3, 5))),
    "expand to a batch": case(lambda g: [g.tanh(g.x("N", 3)), g.expand(g.x(1, 5), shape=(g.dim("N"), 5))]),
    "expand to a batch and more": case(lambda g: [g.tanh(g.x("N", 3)), g.expand(g.x(1, 5, 1), shape=(g.dim("N"), 5, 4))]),
    "expand truths to a batch": case(
        lambda g: [g.tanh(g.x("N", 3)), g.expand(g.x(1, 5, 1, kind="bool"), shape=(g.dim("N"), 5, 4))]
    ),
    "expand a batch": case(lambda g: g.expand(g.x("N", 1, 5), shape=(g.dim("N"), 3, 5))),
    "expand ranks": case(lambda g: g.expand(g.x("N", 5), shape=(1, g.dim("N"), 5))),
    "expand to its shape": case(lambda g: g.expand(g.x("N", 5), shape=(g.dim("N"), 5))),
    "expand to a product": case(lambda g: [g.tanh(g.x("N", 3)), g.expand(g.x(1, 5), shape=(g.dim("N") * 2, 5))]),
    "tile": case(lambda g: g.tile(g.x("N", 3, 5), repeats=(1, 2, 3))),
    "tile a batch": case(lambda g: [g.tanh(g.x("N", 3)), g.tile(g.x(1, 5), repeats=(g.dim("N"), 2))]),
    "tile a batch of more": case(lambda g: [g.tanh(g.x("N", 3)), g.tile(g.x(2, 5), repeats=(g.dim("N"), 2))]),
    "repeat": case(lambda g: g.repeat(g.x("N", 3, 5), repeats=2, axis=1)),
    "roll": case(lambda g: g.roll(g.x("N", 3, 5), shifts=(1, -2), axes=(1, 2))),
    "flip": case(lambda g: g.flip(g.x("N", 3, 5), axes=(2,))),
    "flip twice": case(lambda g: g.flip(g.x("N", 3, 5), axes=(1, 2))),
    "flip not": case(lambda g: g.flip(g.x("N", 3, 5), axes=())),
    "pad": case(lambda g: g.pad(g.x("N", 3, 5), pads=((0, 0), (1, 2), (0, 0)))),
    "pad channels": case(lambda g: g.pad(g.x("N", 3, 5), pads=((0, 0), (1, 2), (0, 1)))),
    "pad the batch": case(lambda g: g.pad(g.x("N", 3, 5), pads=((1, 0), (1, 2), (0, 0)))),
    "pad images": case(lambda g: g.pad(g.x("N", 3, 5, 7), pads=((0, 0), (0, 0), (1, 2), (0, 3)))),
    "pad with a number": case(lambda g: g.pad(g.x("N", 3, 5), pads=((0, 0), (1, 2), (0, 0)), value=1.5)),
    "pad integers": case(lambda g: g.pad(g.x("N", 3, 5, kind="int32"), pads=((0, 0), (1, 2), (0, 0)), value=4)),
    "pad truths": case(lambda g: g.pad(g.x("N", 3, 5, kind="bool"), pads=((0, 0), (1, 2), (0, 0)), value=False)),
    "pad with the lowest": case(
        lambda g: g.pad(g.x("N", 3, 5), pads=((0, 0), (1, 2), (0, 0)), value=float(np.finfo(np.float32).min))
    ),
    "pad of two axes": case(lambda g: g.pad(g.x("N", 5), pads=((0, 0), (1, 2)))),
    "pad and crop": case(lambda g: g.pad(g.x("N", 3, 5), pads=((0, 0), (1, -1), (-2, 0)))),
    "pad and crop an open axis": case(lambda g: g.pad(g.x("N", "T", 5), pads=((0, 0), (-1, -2), (0, 1)))),
    "pad nothing": case(lambda g: g.pad(g.x("N", 3, 5), pads=((0, 0), (0, 0), (0, 0)))),
    "pad by a size": case(lambda g: [g.tanh(g.x("N", "T")), g.pad(g.x("N", 5), pads=((0, 0), (0, g.dim("T"))))]),
    **{
        f"pad {mode}": case(lambda g, mode=mode: g.pad(g.x("N", 3, 5), pads=((0, 0), (1, 2), (3, 0)), mode=mode))
        for mode in ("edge", "reflect", "symmetric", "wrap")
    },
    **{
        f"pad {mode} of an open axis": case(
            lambda g, mode=mode: g.pad(g.x("N", "T", 5), pads=((0, 0), (2, 1), (0, 0)), mode=mode)
        )
        for mode in ("edge", "reflect", "symmetric", "wrap")
    },
    **{
        f"pad {mode} by all": case(lambda g, mode=mode: g.pad(g.x("N", 3, 5), pads=((0, 0), (3, 3), (0, 0)), mode=mode))
        for mode in ("symmetric", "wrap")
    },
    **{
        f"pad {mode} by more": case(lambda g, mode=mode: g.pad(g.x("N", 3, 5), pads=((0, 0), (4, 0), (0, 0)), mode=mode))
        for mode in ("symmetric", "wrap")
    },
    "concat": case(lambda g: g.concat(g.x("N", 3, 5), g.x("N", 2, 5), axis=1)),
    "concat batches": case(lambda g: g.concat(g.x(3, 5), g.x(2, 5), axis=0)),
    "concat with a constant": case(lambda g: g.concat(g.x(3, 5), g.many(3, 2), axis=1)),
    "concat integers": case(lambda g: g.concat(g.x("N", 3, kind="int64"), g.x("N", 3, kind="int64"), axis=-1)),
    "stack": case(lambda g: g.stack(g.x("N", 3), g.tanh(g.x("N", 3)), axis=1)),
    "unstack": case(lambda g: g.unstack(g.x("N", 3, 5), axis=1)),
    "split": case(lambda g: g.split(g.x("N", 7, 5), axis=1, sizes=(2, 4, 1))),
    "split evenly": case(lambda g: g.split(g.x("N", 6, 5), axis=1, sizes=(2, 2, 2))),
    "split an open axis": case(lambda g: g.split(g.x("N", "T", 5), axis=1, sizes=(2, 3, g.dim("T") - 5))),
    "split an open axis first": case(lambda g: g.split(g.x("N", "T", 5), axis=1, sizes=(g.dim("T") - 5, 2, 3))),
    "split in one": case(lambda g: g.split(g.x("N", 6), axis=1, sizes=(6,))),
    "depth to space": case(lambda g: g.depth_to_space(g.x("N", 12, 3, 5), block=2)),
    "depth to space by channel": case(lambda g: g.depth_to_space(g.x("N", 12, 3, 5), block=2, mode="CRD")),
    "space to depth": case(lambda g: g.space_to_depth(g.x("N", 3, 4, 6), block=2)),
    "space to depth by channel": case(lambda g: g.space_to_depth(g.x("N", 3, 4, 6), block=2, mode="CRD")),
}

INDEXING: dict[str, Case] = {
    "gather": case(lambda g: g.gather(g.x("N", 7, 5), g.c(np.array([4, 0, -1])), axis=1)),
    "gather one": case(lambda g: g.gather(g.x("N", 7, 5), g.c(np.array(-2)), axis=1)),
    "gather by an input": case(lambda g: g.gather(g.x("N", 7, 5), g.x(3, kind="int64", high=7), axis=1)),
    "gather of a constant": case(lambda g: g.gather(g.many(7, 5), g.x("N", kind="int64", high=7), axis=0)),
    "gather of a table": case(lambda g: g.gather(g.w(7, 5), g.x("N", 3, kind="int32", high=7), axis=0)),
    "gather of a table's columns": case(lambda g: g.gather(g.w(7, 5), g.x("N", kind="int32", high=5), axis=1)),
    "gather of a table of three axes": case(lambda g: g.gather(g.w(7, 5, 2), g.x("N", kind="int32", high=7), axis=0)),
    "gather of a table by constants": case(lambda g: g.add(g.x("N", 5), g.gather(g.w(7, 5), g.c(np.array(3)), axis=0))),
    "take along": case(lambda g: g.take_along_axis(g.x(3, 5), g.x(3, 2, kind="int64", high=5), axis=1)),
    "take along fewer": case(lambda g: g.take_along_axis(g.x(3, 5), g.x(2, 2, kind="int64", high=5), axis=1)),
    "take along by constants": case(lambda g: g.take_along_axis(g.x(2, 5), g.c(np.array([[0, 3], [4, 1]])), axis=1)),
    "gather nd": case(lambda g: g.gather_nd(g.x(3, 5, 2), g.c(np.array([[0, 1], [-1, 4]])))),
    "gather nd by an input": case(lambda g: g.gather_nd(g.x(3, 5, 2), g.x("N", 2, kind="int64", low=-3, high=3))),
    "gather nd of a batch": case(lambda g: g.gather_nd(g.x("N", 5, 3), g.x("N", 4, 1, kind="int64", high=5), batch_dims=1)),
    "gather nd of an open batch, by constants": case(
        lambda g: g.gather_nd(g.x(2, 5, 3), g.c(np.array([[[1]], [[4]]])), batch_dims=1)
    ),
    "gather nd of open axes": case(lambda g: g.gather_nd(g.x("N", "T", 3), g.x(4, 2, kind="int64", high=2))),
    "gather nd of an open tail": case(lambda g: g.gather_nd(g.x("N", 3, "T"), g.x(4, 1, kind="int64", high=2))),
    "gather nd of a constant": case(lambda g: g.gather_nd(g.many(3, 5), g.x("N", 2, kind="int64", low=-3, high=3))),
    "scatter elements": case(lambda g: g.scatter_elements(g.x(3, 5), g.c(np.array([[1, 0], [4, -1]])), g.x(2, 2), axis=1)),
    "scatter elements by an input": case(
        lambda g: g.scatter_elements(g.x(3, 5), g.cast(g.x(1, 5, kind="int32", low=-3, high=3), to="int64"), g.x(1, 5), axis=0)
    ),
    "scatter elements adding": case(
        lambda g: g.scatter_elements(g.x("N", 5), g.c(np.array([[1, 1, 3]])), g.x(1, 3), axis=1, reduction="add")
    ),
    "scatter elements of constants": case(
        lambda g: g.scatter_elements(g.many(3, 5), g.c(np.array([[1, 0], [4, -1]])), g.x(2, 2), axis=1, reduction="max")
    ),
    "scatter elements, constants in": case(
        lambda g: g.scatter_elements(g.x(3, 5), g.c(np.array([[1, 0], [4, -1]])), g.many(2, 2), axis=1, reduction="min")
    ),
    "scatter elements of truths, joined": case(
        lambda g: g.scatter_elements(
            g.x(3, 5, kind="bool"), g.c(np.array([[1, 0]])), g.x(1, 2, kind="bool"), axis=1, reduction="max"
        )
    ),
    "scatter nd": case(lambda g: g.scatter_nd(g.x(3, 5, 2), g.c(np.array([[0, 1], [-1, 4]])), g.x(2, 2), reduction="mul")),
    "scatter nd by an input": case(lambda g: g.scatter_nd(g.x("N", 5, 2), g.x(1, 2, kind="int64", low=-2, high=2), g.x(1, 2))),
    "scatter nd of an open tail": case(lambda g: g.scatter_nd(g.x(3, "T"), g.x(1, 1, kind="int64", high=3), g.x(1, "T"))),
    "reverse sequence": case(
        lambda g: g.reverse_sequence(g.x("N", 5, 3), g.x("N", kind="int64", low=1, high=6), batch_axis=0, time_axis=1)
    ),
    "reverse sequence, time first": case(
        lambda g: g.reverse_sequence(g.x("T", 3), g.x(3, kind="int64", low=1, high=6), batch_axis=1, time_axis=0)
    ),
    "reverse sequence of other axes": case(
        lambda g: g.reverse_sequence(g.x(2, 3, 5), g.x(3, kind="int64", low=1, high=6), batch_axis=1, time_axis=2)
    ),
}


def _reductions() -> dict[str, Case]:
    out = {}
    kinds = ("sum", "mean", "max", "min", "prod", "all", "any", "l1_norm", "l2_norm", "sum_square", "log_sum", "logsumexp", "std",
             "variance")  # fmt: skip
    ways = {"": {"axes": (1,)}, " kept": {"axes": (1, 2), "keepdims": True}, " of all": {}, " of all kept": {"keepdims": True},
            " of nothing": {"axes": ()}}  # fmt: skip
    for op in kinds:
        for word, attrs in ways.items():
            if op in ("std", "variance") and word == " of nothing":
                continue
            kind = "bool" if op in ("all", "any") else "float32"
            positive = op in ("log_sum",)
            out[f"{op}{word}"] = case(
                lambda g, op=op, attrs=attrs, kind=kind, positive=positive: g.op(
                    op, g.abs(g.x("N", 3, 5, kind=kind)) if positive else g.x("N", 3, 5, kind=kind), **attrs
                )
            )
    for op in ("sum", "mean", "max", "prod", "l1_norm"):
        for kind in ("int32", "int64", "int8", "float64", "float16"):
            out[f"{op} of {kind}"] = case(lambda g, op=op, kind=kind: g.op(op, g.x("N", 3, kind=kind), axes=(1,)))
    return out


REDUCTIONS: dict[str, Case] = {
    **_reductions(),
    "argmax": case(lambda g: g.argmax(g.x("N", 3, 5), axis=1)),
    "argmin kept": case(lambda g: g.argmin(g.x("N", 3, 5), axis=2, keepdims=True, dtype="int32")),
    "argmax, the last": case(lambda g: g.argmax(g.x("N", 5, kind="int32", high=3), axis=1, last=True)),
    "argmax, the last, open": case(lambda g: g.argmax(g.x("N", "T"), axis=1, last=True)),
    **{
        f"{op} {kind}": case(lambda g, op=op, kind=kind: g.op(op, g.x("N", 5, kind=kind, low=1, high=3), axis=1))
        for op in ("cumsum", "cumprod")
        for kind in ("float32", "int32", "int64", "int8", "float64")
    },
    "cumsum before": case(lambda g: g.cumsum(g.x("N", 5), axis=1, exclusive=True)),
    "cumprod before": case(lambda g: g.cumprod(g.x("N", 5), axis=1, exclusive=True)),
    "cumsum from the end": case(lambda g: g.cumsum(g.x("N", 5, 3), axis=1, reverse=True)),
    "cumsum before, from the end": case(lambda g: g.cumsum(g.x("N", 5), axis=-1, exclusive=True, reverse=True)),
    "cumsum of truths": case(lambda g: g.cumsum(g.cast(g.x("N", 5, kind="bool"), to="int64"), axis=1)),
    "cumsum of truths by way of int32": case(
        lambda g: g.cumsum(g.cast(g.cast(g.x("N", 5, kind="bool"), to="int32"), to="int64"), axis=1)
    ),
    "argsort": case(lambda g: g.argsort(g.x("N", 5), axis=1)),
    "argsort down": case(lambda g: g.argsort(g.x("N", 5, 3, kind="int32"), axis=1, descending=True)),
    "sort": case(lambda g: g.sort(g.x("N", 5, 3), axis=1)),
    "sort down": case(lambda g: g.sort(g.x("N", 5, kind="int64"), axis=-1, descending=True)),
    "sort of truths down": case(lambda g: g.sort(g.x("N", 5, kind="uint8"), axis=-1, descending=True)),
    "topk": case(lambda g: g.topk(g.x("N", 5, 3), k=2, axis=1)),
    "topk, the smallest": case(lambda g: g.topk(g.x("N", 5, kind="int32"), k=3, largest=False)),
    "topk of bytes": case(lambda g: g.topk(g.x("N", 5, kind="uint8"), k=3)),
    "topk of a size": case(lambda g: g.topk(g.x("N", 5), k=g.dim("N"))),
}
