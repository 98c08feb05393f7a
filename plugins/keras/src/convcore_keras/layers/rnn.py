"""SimpleRNN, LSTM, GRU, RNN and their cells."""

from __future__ import annotations

from collections.abc import Sequence

from convcore.plugin import ForeignNode, Value

from ..files.model import LayerConfig
from ..layer_spec import Part, V, layer
from ..load_context import KerasContext
from ..recurrence import LAYERS, initial_states, main_input, recurrence, run, sequence_mask
from ..ruleset import RULES

__all__: list[str] = []

layer("AbstractRNNCell", variables=None, extinct=True)
layer(
    "CuDNNGRU",
    variables=(
        V("kernel", (None, "3*units")),
        V("recurrent_kernel", ("units", "3*units")),
        V("bias", (2, "3*units"), when="use_bias&reset_after"),
        V("bias", ("3*units",), when="use_bias&!reset_after"),
    ),
    plain="GRU",
    defaults={"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True, "reset_after": True},
    extinct=True,
)
layer(
    "CuDNNLSTM",
    variables=(
        V("kernel", (None, "4*units")),
        V("recurrent_kernel", ("units", "4*units")),
        V("bias", ("4*units",), when="use_bias"),
    ),
    plain="LSTM",
    defaults={"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True},
    extinct=True,
)
layer(
    "GRU",
    call=("initial_state", "mask"),
    defaults={
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "return_sequences": False,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "reset_after": True,
        "use_cudnn": "auto",
    },
    required=("units",),
    older={
        "keras1": {"recurrent_activation": "hard_sigmoid", "reset_after": False},
        "keras2": {"recurrent_activation": "hard_sigmoid", "reset_after": False},
        "keras2.3": {"reset_after": False},
    },
    variables=(
        V("kernel", (None, "3*units"), folders=("cell",)),
        V("recurrent_kernel", ("units", "3*units"), folders=("cell",)),
        V("bias", (2, "3*units"), when="use_bias&reset_after", folders=("cell",)),
        V("bias", ("3*units",), when="use_bias&!reset_after", folders=("cell",)),
    ),
    masks="own",
    takes_mask=True,
    training=True,
    gates=(0, 1, 2),
    aliases=("GRUV1", "GRUV2"),
)
layer(
    "GRUCell",
    defaults={
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "reset_after": True,
    },
    required=("units",),
    older={"keras2": {"recurrent_activation": "hard_sigmoid", "reset_after": False}, "keras2.3": {"reset_after": False}},
    variables=(
        V("kernel", (None, "3*units")),
        V("recurrent_kernel", ("units", "3*units")),
        V("bias", (2, "3*units"), when="use_bias&reset_after"),
        V("bias", ("3*units",), when="use_bias&!reset_after"),
    ),
)
layer(
    "LSTM",
    call=("initial_state", "mask"),
    defaults={
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
        "unroll": False,
        "use_cudnn": "auto",
    },
    required=("units",),
    older={"keras1": {"recurrent_activation": "hard_sigmoid"}, "keras2": {"recurrent_activation": "hard_sigmoid"}},
    variables=(
        V("kernel", (None, "4*units"), folders=("cell",)),
        V("recurrent_kernel", ("units", "4*units"), folders=("cell",)),
        V("bias", ("4*units",), when="use_bias", folders=("cell",)),
    ),
    masks="own",
    takes_mask=True,
    training=True,
    gates=(0, 2, 1, 3),
    aliases=("LSTMV1", "LSTMV2"),
)
layer(
    "LSTMCell",
    defaults={
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "unit_forget_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
    },
    required=("units",),
    older={"keras2": {"recurrent_activation": "hard_sigmoid"}},
    variables=(
        V("kernel", (None, "4*units")),
        V("recurrent_kernel", ("units", "4*units")),
        V("bias", ("4*units",), when="use_bias"),
    ),
)
layer(
    "RNN",
    defaults={
        "return_sequences": False,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "zero_output_for_mask": False,
    },
    required=("cell",),
    parts=(Part("cell", "cell"),),
    masks="own",
    takes_mask=True,
    training=True,
)
layer(
    "SimpleRNN",
    call=("initial_state", "mask"),
    defaults={
        "activation": "tanh",
        "use_bias": True,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "return_sequences": False,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
    },
    required=("units",),
    variables=(
        V("kernel", (None, "1*units"), folders=("cell",)),
        V("recurrent_kernel", ("units", "1*units"), folders=("cell",)),
        V("bias", ("1*units",), when="use_bias", folders=("cell",)),
    ),
    masks="own",
    takes_mask=True,
    training=True,
)
layer(
    "SimpleRNNCell",
    defaults={"activation": "tanh", "use_bias": True, "dropout": 0.0, "recurrent_dropout": 0.0},
    required=("units",),
    variables=(
        V("kernel", (None, "1*units")),
        V("recurrent_kernel", ("units", "1*units")),
        V("bias", ("1*units",), when="use_bias"),
    ),
)
layer("StackedRNNCells", required=("cells",), parts=(Part("cells", "cells"),))


@RULES.load(*LAYERS, "RNN")
def recurrent(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """The output, then the states if ``return_state``. The output's mask is the input's, unreversed even if ``go_backwards``."""
    cell = node.attrs.get("cell")
    code = g.source_of(cell) if isinstance(cell, LayerConfig) else None
    if code is not None and isinstance(cell, LayerConfig):
        from ..code.source.cells import run_cell  # only for models with source beside them

        return run_cell(g, node, cell, code)
    r = recurrence(g, node)
    given = initial_states(g, node, r.n_states)
    mask = sequence_mask(g, node, bool(given))
    done = run(g, r, main_input(node), mask, given)
    if r.return_sequences:
        y: Value = g.b.flip(done.y, axes=(r.time,)) if r.go_backwards else done.y
        g.set_mask(y, g.previous_mask(node))
    else:
        y = done.last
    return [y, *done.states] if r.return_state else [y]
