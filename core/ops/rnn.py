"""Recurrent layers: lstm, gru and the simple rnn, over a whole sequence, in one or both directions.

x is (N, T, I) in layout batch_major, (T, N, I) in time_major. D is the number of directions, H = hidden, G the number of gates:
w (D, G*H, I), r (D, G*H, H), b (D, G*H), initial states (D, N, H). y has the features of the forward direction, then those of
the reverse one, each at the time of its input; final states are (D, N, H).

``mask`` (bool, (N, T) or (T, N)): a step that is False keeps the state, and its output is the previous output of that direction
(zeros before the first), or zeros with zero_output_for_mask. ``lengths`` (N): the steps t >= length count as masked with zero
outputs, which is ONNX's sequence_lens in every direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import DimLike, Shape
from ..ir.dtypes import DType
from ..opset.axes import TIME
from ..opset.declare import Attr, OpSet, Sample
from ..opset.infer import InferContext
from ..opset.shapes import common_dtype
from ..opset.traits import Trait
from .recurrence import directions, gru, lstm, rnn
from .rnn_activations import activation
from .rnn_bodies import gru_body, lstm_body, rnn_body

RNN = OpSet("rnn")

Shapes = list[tuple[DType | None, Shape | None]]
_ACTIVATION = Attr("str", "tanh", doc='name or "name(parameter, ...)" from rnn_activations')
_GATE = Attr("str", "sigmoid", doc="activation of the gates")
_CLIP = Attr(
    "float", None, doc="bound on the inputs of the gates' activations (as onnxruntime 1.31 reads ONNX clip), None for none"
)
_COMMON = {
    "hidden": Attr("int"),
    "direction": Attr("str", "forward", ("forward", "reverse", "bidirectional")),
    "layout": Attr("str", "batch_major", ("batch_major", "time_major"), doc="order of the axes of x, y and mask"),
    "zero_output_for_mask": Attr("bool", False),
}


_FLOATS = ("x", "w", "r", "b", "rb", "h0", "c0", "peephole")


def _recurrent(gates: int, n_states: int) -> Any:
    """The shape rule of a recurrent op."""

    def infer(c: InferContext) -> Shapes:
        for name in ("activation", "recurrent_activation", "output_activation"):
            if c.attrs.get(name) is not None:
                activation(c[name])
        common_dtype(c, *(n for n in _FLOATS if n in c.op._positions))
        x, h, d = c.shape("x"), c["hidden"], len(directions(c["direction"]))
        c.rank("x", 3)
        batch: DimLike | None = None
        steps: DimLike | None = None
        if x is not None:
            batch, steps = (x[0], x[1]) if c["layout"] == "batch_major" else (x[1], x[0])
        want: dict[str, tuple[Any, ...]] = {
            "w": (d, gates * h, None if x is None else x[2]), "r": (d, gates * h, h), "b": (d, gates * h), "rb": (d, gates * h),
            "h0": (d, batch, h), "c0": (d, batch, h), "lengths": (batch,), "peephole": (d, 3 * h),
            "mask": (batch, steps) if c["layout"] == "batch_major" else (steps, batch),
        }  # fmt: skip
        for name, sizes in want.items():
            s = c.shape(name) if name in c.op._positions else None
            if s is None:
                continue
            if len(s) != len(sizes):
                c.fail(f"{name} has {len(s)} axes, must have {len(sizes)}")
            for i, (a, e) in enumerate(zip(s, sizes)):
                c.same(a, e, f"axis {i} of {name}")
        if c.has("mask") and c.has("lengths"):
            c.fail("give mask or lengths, not both")
        y = (batch, steps, d * h) if c["layout"] == "batch_major" else (steps, batch, d * h)
        return [(c.dtype("x"), y)] + [(c.dtype("x"), (d, batch, h))] * n_states

    return infer


def _samples(gates: int, n_states: int, tail: int, **attrs: Any) -> list[Sample]:
    """N=3, T=5, I=7, H=2 (4 and 11 where they must differ): plain, reversed with a mask, bidirectional with states, lengths."""

    def weights(d: int, h: int, i: int = 7) -> list[Any]:
        return [(d, gates * h, i), (d, gates * h, h), (d, gates * h)]

    none = [None] * (tail + n_states)
    masked = [*none, ("bool", (3, 5))]
    lengths = [*none, None, np.asarray([5, 2, 3], np.int64)]
    states = [*[None] * tail, *[(2, 3, 2)] * n_states]
    both = {"direction": "bidirectional", **attrs}
    turned = {"hidden": 2, "layout": "time_major", **both}
    return [
        Sample((3, 5, 7), *weights(1, 2), hidden=2, **attrs),
        Sample((3, 5, 7), *weights(1, 2)[:2], None, *masked, hidden=2, direction="reverse", **attrs),
        Sample((3, 5, 7), *weights(2, 4), *masked, hidden=4, zero_output_for_mask=True, **both),
        Sample((5, 3, 7), *weights(2, 2), *states, **turned),
        Sample((5, 3, 7), *weights(2, 2), *lengths, **turned),
    ]


_ODD = {"activation": "softsign", "recurrent_activation": "hard_sigmoid(0.2, 0.5)", "clip": 0.7}
_STATES = [(1, 3, 2), (1, 3, 2)]
RNN.op(
    "lstm",
    "x:float, w:float, r:float, b:float?, h0:float?, c0:float?, mask:bool?, lengths:int?, peephole:float?",
    "Gates i, f, g, o: c = f c + i act(g), h = o output_act(c). peephole (D, 3H) in the order i, o, f. input_forget: f = 1 - i.",
    outputs="y, h_n, c_n", reference=lstm, body=lstm_body, infer=_recurrent(4, 2),
    attrs={
        **_COMMON, "activation": _ACTIVATION, "recurrent_activation": _GATE, "clip": _CLIP,
        "output_activation": Attr("str", None, doc="activation of c on its way out (default: activation)"),
        "input_forget": Attr("bool", False, doc="couple the forget gate to the input gate"),
    },
    axes=TIME(x="NTC", y="NTC", mask="NT"),
    samples=[
        *_samples(4, 2, 0), *_samples(4, 2, 0, **_ODD)[:2],
        Sample(
            (3, 5, 7), (1, 8, 7), (1, 8, 2), (1, 8), *_STATES, None, None, (1, 6), hidden=2, output_activation="relu",
            input_forget=True,
        ),
        Sample((3, 5, 7), (1, 8, 7), (1, 8, 2), (1, 8), None, None, None, None, (1, 6), hidden=2),
    ],
    traits=Trait.NO_FOLD | Trait.HEAVY | Trait.RECURRENT, roles={"parameter": "w r b peephole", "index": "lengths"},
)  # fmt: skip

RNN.op(
    "gru",
    "x:float, w:float, r:float, b:float?, rb:float?, h0:float?, mask:bool?, lengths:int?",
    "Gates z, r, n: h = z h + (1 - z) n with n = act(x w_n + b_n + r (h r_n + rb_n)) when reset_after (ONNX "
    "linear_before_reset), "
    "else act(x w_n + b_n + (r h) r_n + rb_n).",
    outputs="y, h_n", reference=gru, body=gru_body, infer=_recurrent(3, 1),
    attrs={**_COMMON, "activation": _ACTIVATION, "recurrent_activation": _GATE, "clip": _CLIP, "reset_after": Attr("bool")},
    axes=TIME(x="NTC", y="NTC", mask="NT"),
    samples=[
        *_samples(3, 1, 1, reset_after=True), *_samples(3, 1, 1, reset_after=False),
        Sample((3, 5, 7), (1, 6, 7), (1, 6, 2), (1, 6), (1, 6), hidden=2, reset_after=True, clip=0.5),
        Sample((3, 5, 7), (1, 6, 7), (1, 6, 2), (1, 6), (1, 6), hidden=2, reset_after=False, activation="affine(0.5, 0.1)"),
        Sample((3, 5, 7), (1, 6, 7), (1, 6, 2), (1, 6), (1, 6), hidden=2, reset_after=True, recurrent_activation="softmax"),
    ],
    traits=Trait.NO_FOLD | Trait.HEAVY | Trait.RECURRENT, roles={"parameter": "w r b rb", "index": "lengths"},
)  # fmt: skip

RNN.op(
    "rnn",
    "x:float, w:float, r:float, b:float?, h0:float?, mask:bool?, lengths:int?",
    "h = act(x w + b + h r): Keras SimpleRNN, torch.nn.RNN, ONNX RNN.",
    outputs="y, h_n", reference=rnn, body=rnn_body, infer=_recurrent(1, 1),
    attrs={**_COMMON, "activation": _ACTIVATION, "clip": _CLIP},
    axes=TIME(x="NTC", y="NTC", mask="NT"),
    samples=[*_samples(1, 1, 0), *_samples(1, 1, 0, activation="scaled_tanh(0.8, 0.5)", clip=2.0)[:1]],
    traits=Trait.NO_FOLD | Trait.HEAVY | Trait.RECURRENT, roles={"parameter": "w r b", "index": "lengths"},
)  # fmt: skip
