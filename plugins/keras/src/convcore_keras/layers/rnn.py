"""SimpleRNN, LSTM, GRU, RNN and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import ForeignNode, Value

from ..layer_spec import Part, V, layer
from ..load_context import KerasContext
from ..recurrence import LAYERS, carry, initial_states, main_input, recurrence, run, sequence_mask, state_inputs
from ..ruleset import RULES

__all__: list[str] = []


# ---- what the layers are
def _weights(gates: int, folder: str = "") -> tuple[V, ...]:
    """Kernels of as many gates, and a bias: of GRU's (3 gates) two rows where each product has its own."""
    width, folders = f"{gates}*units", (folder,)
    shapes = {"use_bias&reset_after": (2, width), "use_bias&!reset_after": (width,)} if gates == 3 else {"use_bias": (width,)}
    return (
        V("kernel", (None, width), folders=folders), V("recurrent_kernel", ("units", width), folders=folders),
        *(V("bias", shape, when=when, folders=folders) for when, shape in shapes.items()),
    )  # fmt: skip


_FLAGS = {"return_sequences": False, "return_state": False, "go_backwards": False, "stateful": False, "unroll": False}
_OWN: dict[str, Any] = {"masks": "own", "takes_mask": True, "training": True}
_GATED = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
_DROPS = {"dropout": 0.0, "recurrent_dropout": 0.0}
_HARD = {"recurrent_activation": "hard_sigmoid"}
_RESETS = {"reset_after": False}

layer("AbstractRNNCell", variables=None, extinct=True)
layer("CuDNNGRU", variables=_weights(3), plain="GRU", defaults={**_GATED, "reset_after": True}, extinct=True)
layer("CuDNNLSTM", variables=_weights(4), plain="LSTM", defaults=_GATED, extinct=True)
layer(
    "GRU", call=("initial_state", "mask"), required=("units",), variables=_weights(3, "cell"), gates=(0, 1, 2),
    defaults={**_GATED, **_DROPS, **_FLAGS, "reset_after": True, "use_cudnn": "auto"}, aliases=("GRUV1", "GRUV2"),
    older={"keras1": {**_HARD, **_RESETS}, "keras2": {**_HARD, **_RESETS}, "keras2.3": _RESETS}, **_OWN,
)  # fmt: skip
layer(
    "GRUCell", defaults={**_GATED, **_DROPS, "reset_after": True}, required=("units",), variables=_weights(3),
    older={"keras2": {**_HARD, **_RESETS}, "keras2.3": _RESETS},
)  # fmt: skip
layer(
    "LSTM", call=("initial_state", "mask"), required=("units",), variables=_weights(4, "cell"), gates=(0, 2, 1, 3),
    defaults={**_GATED, "unit_forget_bias": True, **_DROPS, **_FLAGS, "use_cudnn": "auto"}, aliases=("LSTMV1", "LSTMV2"),
    older={"keras1": _HARD, "keras2": _HARD}, **_OWN,
)  # fmt: skip
layer(
    "LSTMCell", defaults={**_GATED, "unit_forget_bias": True, **_DROPS}, required=("units",), variables=_weights(4),
    older={"keras2": _HARD},
)  # fmt: skip
layer("RNN", defaults={**_FLAGS, "zero_output_for_mask": False}, required=("cell",), parts=(Part("cell", "cell"),), **_OWN)
layer(
    "SimpleRNN", call=("initial_state", "mask"), required=("units",), variables=_weights(1, "cell"),
    defaults={"activation": "tanh", "use_bias": True, **_DROPS, **_FLAGS}, **_OWN,
)  # fmt: skip
layer(
    "SimpleRNNCell", defaults={"activation": "tanh", "use_bias": True, **_DROPS}, required=("units",), variables=_weights(1),
)  # fmt: skip
layer("StackedRNNCells", required=("cells",), parts=(Part("cells", "cells"),))

# ---- rules


@RULES.load(*LAYERS, "RNN")
def recurrent(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """The output, then the states if ``return_state``. The output's mask is the input's, unreversed even if ``go_backwards``."""
    if g.custom is not None:
        from ..code.source.cells import run_cells, source_cells  # only for models with source beside them

        cells = source_cells(g, node.attrs.get("cell"))
        if cells:
            return run_cells(g, node, cells)
    stateful = g.explicit_states and bool(node.attr("stateful", False))
    r = recurrence(g, node, "", stateful)
    given = initial_states(g, node, r.n_states)
    if stateful and given:
        raise node.refuse("is stateful and called with an initial state, which sets what it carries", code="unsupported_stateful")
    mask = sequence_mask(g, node, bool(given))
    done = run(g, r, main_input(node), mask, state_inputs(g, r) if stateful else given)
    if stateful:
        carry(g, r, done.states)
    if r.return_sequences:
        y: Value = g.b.flip(done.y, axes=(r.time,)) if r.go_backwards else done.y
        g.set_mask(y, g.previous_mask(node))
    else:
        y = done.last
    return [y, *done.states] if r.return_state else [y]
