"""ConvLSTM1D/2D/3D: an LSTM whose products are convolutions, as a scan over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import ForeignNode, Value, activation, known_shape

from ..conv_lstm import step
from ..layer_spec import V, layer
from ..load_context import UNKNOWN_SHAPE, KerasContext
from ..recurrence import IGNORED, activation_name, initial_states, main_input, sequence_mask, to_flags
from ..ruleset import RULES
from .conv import explicit_pads

__all__: list[str] = []

# ---- what the layers are
_RECORD: dict[str, Any] = {
    "defaults": {
        "strides": 1,
        "padding": "valid",
        "data_format": "channels_last",
        "dilation_rate": 1,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "unit_forget_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "return_sequences": False,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
    },
    "required": ("filters", "kernel_size"),
    "variables": (
        V("kernel", ("*kernel_size", None, "4*filters"), folders=("cell",)),
        V("recurrent_kernel", ("*kernel_size", "filters", "4*filters"), folders=("cell",)),
        V("bias", ("4*filters",), when="use_bias", folders=("cell",)),
    ),
    "masks": "own",
    "takes_mask": True,
    "training": True,
    "flipped": True,
}
_OLD = {"recurrent_activation": "hard_sigmoid"}
layer("ConvLSTM1D", **_RECORD, older={"tf.keras": _OLD}, spatial=1)
layer(
    "ConvLSTM2D",
    **_RECORD,
    spatial=2,
    gates=(0, 2, 1, 3),
    older=dict.fromkeys(("keras1", "keras2", "keras2.3", "tf.keras"), _OLD),
)
layer("ConvLSTM3D", **_RECORD, older={"tf.keras": _OLD}, spatial=3)

# ---- rules


@RULES.load("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def conv_lstm(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """``keras.src.layers.rnn.conv_lstm``: the input's convolution with the layer's strides and padding, the state's with stride 1
    and ``same``; gates i, f, c, o along the channels."""
    flags = to_flags(node, False)
    node.ignore(*IGNORED)
    x, b = main_input(node), g.b
    kind = x.dtype
    if kind is None:
        raise node.refuse("the element type of its input is not known", code=UNKNOWN_SHAPE)
    layout, filters = node.attr("data_format"), node.whole("filters")
    kernel_size, strides, dilations = node.attr("kernel_size"), node.attr("strides"), node.attr("dilation_rate")
    act = activation(activation_name(node, node.attr("activation", "tanh")))
    gate = activation(activation_name(node, node.attr("recurrent_activation")))
    n, t, *_ = known_shape(x, sizes=True)
    frames = b.reshape(x, shape=(n * t, *known_shape(x, sizes=True)[2:]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilations, strict=True)]
    gates = b.conv(
        frames, g.variable(node, "kernel", "*IO->OI*"), g.optional(node, "bias"), strides=strides,
        dilations=dilations, pads=explicit_pads(node, frames, reach), layout=layout,
    )  # fmt: skip
    size = known_shape(gates, sizes=True)[1:]
    steps = b.reshape(gates, shape=(n, t, *size))
    channel = 0 if layout == "channels_first" else len(size) - 1
    state = tuple(filters if i == channel else d for i, d in enumerate(size))
    given = initial_states(g, node, 2)
    mask = sequence_mask(g, node, bool(given))
    if mask is not None and g.era in ("keras1", "keras2"):
        raise node.refuse("Keras 1 and 2 cannot mask its steps")
    start = given or [b.fill(shape=(n, *state), value=0.0, dtype=x.dtype) for _ in range(2)]
    turn = (len(size), len(size) - 1, *range(len(size) - 1))
    recurrent = g.variant(node, "recurrent_kernel", "*IO->OI*", lambda t: t.transpose(turn))

    scanned = [steps]
    if mask is not None:
        scanned.append(b.unsqueeze(mask, axes=tuple(range(2, len(size) + 2))))
        start = [*start, b.fill(shape=(n, *state), value=0.0, dtype=x.dtype)]
    region = step(
        kind, n, state, recurrent.shape or (), channel, gate, act, layout, node.origin, states=len(start),
        masked=mask is not None, zero_output=flags["zero_output"],
    )  # fmt: skip
    reverse = (int(flags["go_backwards"]),) * len(scanned)
    *ends, stacked = b.scan(
        *start, *scanned, recurrent, regions=[region], n_states=len(start), n_scanned=len(scanned),
        scan_axis=(1,) * len(scanned), reverse=reverse, out_axes=(1,),
    )  # fmt: skip
    if flags["return_sequences"]:
        y = stacked
        g.set_mask(y, g.previous_mask(node))
    else:
        y = ends[2] if mask is not None else ends[0]
    return [y, ends[0], ends[1]] if flags["return_state"] else [y]
