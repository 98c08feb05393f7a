"""SimpleRNN, LSTM, GRU and RNN over their cells, stacked cells included.

Semantics are those of ``keras.src.backend.common`` rnn of Keras 3.15.1, ``K.rnn`` of tf.keras 2.15 and Keras 2.3.1: a masked step
keeps the states and repeats the previous output of the processing order, zeros before the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convcore.plugin import DType, ForeignNode, Tensor, Value, ask_option

from .activations import ACTIVATIONS
from .files.model import LayerConfig, OpaqueObject
from .load_context import KerasContext, LayerCall

__all__ = [
    "CELLS", "IGNORED", "LAYERS", "Cell", "Recurrence", "Sequences", "activation_name", "apply_cells",
    "carry", "initial_states", "main_input", "outputs_of", "recurrence", "run", "sequence_mask", "state_inputs", "to_flags",
]  # fmt: skip

LAYERS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
CELLS = {f"{k}Cell": v for k, v in LAYERS.items()}
IGNORED = ("units", "dropout", "recurrent_dropout", "implementation", "use_cudnn", "unit_forget_bias", "use_bias")
"""Names of sizes, of what acts in training only, and of how Keras computes the same thing."""


@dataclass(frozen=True)
class Cell:
    """A cell; its variables are those of the layer's node under ``prefix``. ``op`` is lstm, gru or rnn."""

    op: str
    prefix: str
    attrs: tuple[tuple[str, Any], ...]
    bias: bool

    @property
    def n_states(self) -> int:
        return 2 if self.op == "lstm" else 1


@dataclass(frozen=True)
class Recurrence:
    """A recurrent layer as its configuration says; ``node`` owns the variables."""

    node: ForeignNode
    cells: tuple[Cell, ...]
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    zero_output: bool
    unroll: bool
    time_major: bool
    reverse_states: bool = False

    @property
    def time(self) -> int:
        return 0 if self.time_major else 1

    @property
    def n_states(self) -> int:
        return sum(c.n_states for c in self.cells)

    @property
    def layout(self) -> str:
        return "time_major" if self.time_major else "batch_major"


@dataclass
class Sequences:
    """What one run gives: ``y`` in time order, ``last`` the output of the last step processed, ``states`` in Keras's order."""

    y: Value
    last: Value
    states: list[Value]


# ---- configuration
def to_flags(node: ForeignNode, carried: bool) -> dict[str, Any]:
    """The configuration every recurrent layer shares; refuses constants, and ``stateful`` unless its states are ``carried`` by
    the caller."""
    if node.attr("num_constants", None):
        raise node.refuse("its cell takes constants beside the steps", code="unsupported_call")
    if node.attr("stateful", False) and not carried:
        raise node.refuse(
            "is stateful: Keras carries its state from one call to the next, the converted model could only start each call anew",
            f"{ask_option('explicit_states', True)} makes the states of LSTM, GRU, SimpleRNN and RNN inputs and outputs; else "
            "build the model with stateful=False and the same weights",
            "unsupported_stateful",
        )  # fmt: skip
    return {
        "return_sequences": bool(node.attr("return_sequences", False)), "return_state": bool(node.attr("return_state", False)),
        "go_backwards": bool(node.attr("go_backwards", False)), "zero_output": bool(node.attr("zero_output_for_mask", False)),
        "unroll": bool(node.attr("unroll", False)), "time_major": bool(node.attr("time_major", False)),
    }  # fmt: skip


def recurrence(g: KerasContext, node: ForeignNode, prefix: str, carried: bool) -> Recurrence:
    """Read a node of a recurrent layer; ``prefix`` of its variables when a wrapper owns them."""
    flags = to_flags(node, carried)
    if node.type in LAYERS:
        return Recurrence(node, (_cell(g, node, LAYERS[node.type], prefix, node),), **flags)
    cell = node.attr("cell")
    if not isinstance(cell, LayerConfig):
        raise node.refuse("its cell is missing or unknown", code="unsupported_cell")
    stacked = cell.class_name == "StackedRNNCells"
    found = cell.config.get("cells") if stacked else [cell]
    cells, reverse = [], bool(stacked and cell.config.get("reverse_state_order"))
    for i, c in enumerate(found or ()):
        if not isinstance(c, LayerConfig) or c.custom or c.class_name not in CELLS:
            name = c.class_name if isinstance(c, LayerConfig) else type(c).__name__
            raise node.refuse(f"its cell {name!r} is not LSTMCell, GRUCell or SimpleRNNCell", code="unsupported_cell")
        place = f"{prefix}cell/cells/{i}/" if stacked else f"{prefix}cell/"
        inner = g.node(c, [], f"{node.name}/{c.name}", weights=node.weights)
        cells.append(_cell(g, node, CELLS[c.class_name], place, inner))
        _no_unread(g, inner)
    if not cells:
        raise node.refuse("it has no cells", code="unsupported_cell")
    if stacked and len(cells) > 1 and _old_order(g) and flags["return_state"]:
        raise node.refuse("the order of the states of stacked cells is not known for files of Keras before 2.3")
    return Recurrence(node, tuple(cells), reverse_states=reverse, **flags)


def _old_order(g: KerasContext) -> bool:
    """Keras 2.0 to 2.2 kept the states of stacked cells from the last cell to the first, later ones do only when told so."""
    return (g.era == "keras2" and g.version < (2, 3)) or (g.era == "tf.keras" and g.version < (2, 2))


def _cell(g: KerasContext, owner: ForeignNode, op: str, prefix: str, node: ForeignNode) -> Cell:
    node.ignore(*IGNORED)
    attrs: dict[str, Any] = {"activation": activation_name(owner, node.attr("activation", "tanh"))}
    if op != "rnn":
        attrs["recurrent_activation"] = activation_name(owner, node.attr("recurrent_activation", "sigmoid"))
    if op == "gru":
        attrs["reset_after"] = bool(node.attr("reset_after"))
    attrs["hidden"] = g.array(owner, f"{prefix}recurrent_kernel").shape[0]
    return Cell(op, prefix, tuple(attrs.items()), f"{prefix}bias" in owner.weights)


def _no_unread(g: KerasContext, node: ForeignNode) -> None:
    """A cell's configuration is checked as a layer's is."""
    node.ignore(*g.rules.ignored)
    left = node.unread()
    if left:
        shown = ", ".join(f"{k}={node.attrs[k]!r}" for k in left)
        raise node.refuse(f"attribute of the cell with unknown meaning: {shown}", code="unknown_attribute")


def activation_name(node: ForeignNode, activation: Any) -> str:
    """The name in ``rnn_activations`` of an activation, which Keras gives as a name or as a layer."""
    inside = ACTIVATIONS[activation].inside if isinstance(activation, str) and activation in ACTIVATIONS else None
    if inside is not None:
        return inside
    if isinstance(activation, dict) and activation.get("class_name") == "LeakyReLU":
        slope = activation["config"]["negative_slope"]  # as every configuration is when it has been read, whole
        if isinstance(slope, (int, float)):
            return f"leaky_relu({float(slope)!r})"
    shown = activation.description if isinstance(activation, OpaqueObject) else repr(activation)[:80]
    raise node.refuse(f"its activation {shown} has no counterpart inside a recurrent layer", code="unsupported_activation")


# ---- variables
def _turned(t: Tensor) -> Tensor:
    """(inputs, gates) as (1, gates, inputs)."""
    return t.transpose((1, 0)).reshape((1, t.shape[1], t.shape[0]))


def _one(row: int | None) -> Any:
    """A bias (n,) as (1, n), or one row of a bias (2, n) as (1, n)."""
    if row is None:
        return lambda t: t.reshape((1, t.shape[0]))
    return lambda t: t.map(lambda a: a[row : row + 1], (1, t.shape[1]))


def cell_weights(g: KerasContext, node: ForeignNode, cells: Sequence[Cell]) -> list[Value | None]:
    """w, r, b (and rb) of the op for one cell per direction, each (directions, ...)."""
    first = cells[0]
    wanted: list[tuple[str, str, Any]] = [("kernel", "kernel", _turned), ("recurrent_kernel", "recurrent_kernel", _turned)]
    if not first.bias:
        return [_joined(g, node, cells, *w) for w in wanted]
    split = first.op == "gru" and dict(first.attrs)["reset_after"]
    for c in cells:
        shape = g.array(node, f"{c.prefix}bias").shape
        if shape[:-1] != ((2,) if split else ()):
            raise node.refuse(f"its bias has the shape {tuple(shape)}, with reset_after={split}", code="weight_shape")
    wanted.append(("bias", "bias", _one(0 if split else None)))
    if split:
        wanted.append(("bias", "recurrent_bias", _one(1)))
    return [_joined(g, node, cells, *w) for w in wanted]


def _joined(g: KerasContext, node: ForeignNode, cells: Sequence[Cell], name: str, label: str, make: Any) -> Value:
    """A variable of every direction, stacked in the order of the cells when the values are asked for."""
    first = f"{cells[0].prefix}{name}"
    if len(cells) == 1:
        return g.variant(node, first, label, make, label=f"{cells[0].prefix}{label}")
    others = [make(g.array(node, f"{c.prefix}{name}")) for c in cells[1:]]
    one = make(g.array(node, first)).shape
    if any(o.shape != one for o in others):
        raise node.refuse(f"{name!r} has another shape in the other direction", code="invalid_shape")
    shape = (len(cells), *one[1:])

    def stacked(t: Tensor) -> Tensor:
        import numpy as np

        first: Tensor = make(t)
        return first.map(lambda a: np.concatenate([a, *(o.numpy() for o in others)]), shape)

    return g.variant(node, first, f"{label} of {len(cells)} directions", stacked, label=label)


# ---- masks and states of a call
def main_input(node: ForeignNode) -> Value:
    """The first input, which every layer here needs."""
    x = node.input(0)
    if x is None:
        raise node.refuse("it is called without an input", code="unsupported_call")
    return x


def sequence_mask(g: KerasContext, node: ForeignNode, given: bool) -> Value | None:
    """The mask the recurrence obeys, as bool (N, T).

    ``given``: initial states are tensors of the call. Keras 3 then only passes on a mask that was given as ``mask=``
    (``Layer.__call__`` fills ``mask`` in for calls with a single tensor argument).
    """
    explicit = isinstance(node.extra, LayerCall) and node.extra.mask is not None
    if given and g.era == "keras3" and not explicit:
        return None
    mask = g.input_mask(node)
    if mask is None:
        return None
    if mask.rank != 2:
        raise node.refuse(f"it is given a mask of {mask.rank} axes, Keras's recurrent layers take (samples, steps)")
    return mask if mask.dtype is DType.BOOL else g.b.cast(mask, to="bool")


def initial_states(g: KerasContext, node: ForeignNode, count: int) -> list[Value]:
    """The tensors passed as ``initial_state`` (or after the input), in the dtype of x; [] when there are none."""
    x = main_input(node)
    flat: list[Any] = list(node.inputs[1:])
    stack = [node.attr("call.initial_state", None)]
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack += reversed(item)
        elif item is not None:
            flat.append(item)
    if not flat:
        return []
    if len(flat) != count or not all(isinstance(v, Value) for v in flat):
        raise node.refuse(f"it is called with {len(flat)} initial states, it has {count}", code="unsupported_call")
    for v in flat:
        if v.dtype is DType.BOOL:
            raise node.refuse("an initial state is a boolean tensor", code="unsupported_call")
    return [v if v.dtype is x.dtype else g.b.cast(v, to=x.dtype) for v in flat]


def state_inputs(g: KerasContext, r: Recurrence) -> list[Value]:
    """The states of a stateful layer as inputs of the model, in Keras's order: ``<layer>_state_0``, ... (N, H)."""
    x = main_input(r.node)
    batch = (x.shape or (None,))[1 if r.time_major else 0]
    order = r.cells[::-1] if r.reverse_states else r.cells
    sizes = [dict(c.attrs)["hidden"] for c in order for _ in range(c.n_states)]
    return [g.b.input(f"{r.node.name}_state_{i}", x.dtype, (batch, n)) for i, n in enumerate(sizes)]


def carry(g: KerasContext, r: Recurrence, states: Sequence[Value]) -> None:
    """Let the last states be outputs of the model, behind its own: ``<layer>_state_0_out``, ... A second call would begin with
    them: refused."""
    if any(layer == r.node.name for layer, _ in g.carried):
        raise r.node.refuse("is stateful and called several times: each call begins with the states of the one before it",
                            code="unsupported_stateful")  # fmt: skip
    made = [(r.node.name, v) for v in states]
    g.carried.extend(made)
    g.b.graph.on_undo(lambda: g.carried.__delitem__(slice(-len(made), None)))


def cell_states(r: Recurrence, states: Sequence[Value]) -> list[list[Value]]:
    """States in Keras's order, per cell."""
    order = r.cells[::-1] if r.reverse_states else r.cells
    out, i = [], 0
    for c in order:
        out.append(list(states[i : i + c.n_states]))
        i += c.n_states
    return out[::-1] if r.reverse_states else out


# ---- running
def at_end(g: KerasContext, y: Value, axis: int, first: bool) -> Value:
    """The first or last slice along an axis."""
    rank = y.rank or 3
    starts = [0] * rank
    stops: list[int | None] = [None] * rank
    starts[axis], stops[axis] = (0, 1) if first else (-1, None)
    part = g.b.slice(y, starts=tuple(starts), stops=tuple(stops), steps=(1,) * rank)
    out: Value = g.b.squeeze(part, axes=(axis,))
    return out


def run(g: KerasContext, r: Recurrence, x: Value, mask: Value | None, given: Sequence[Value]) -> Sequences:
    """One direction, every cell of a stack as an op of its own: a masked step holds all of them alike."""
    per_cell = cell_states(r, given) if given else [[] for _ in r.cells]
    if mask is not None and len(r.cells) > 1 and g.era == "keras2" and not r.unroll:
        raise r.node.refuse("Keras 2 puts out the first cell's state for the masked steps of stacked cells")
    if given and len(r.cells) > 1 and _old_order(g):
        raise r.node.refuse("the order of the states of stacked cells is not known for files of Keras before 2.3")
    y, last, finals = x, x, []
    for i, (cell, start) in enumerate(zip(r.cells, per_cell, strict=True)):
        zero = r.zero_output and i == len(r.cells) - 1
        h0 = [g.b.unsqueeze(s, axes=(0,)) for s in start]
        y, *ends = apply_cells(g, r, [cell], y, mask, h0, zero, "reverse" if r.go_backwards else "forward")
        states = [g.b.squeeze(e, axes=(0,)) for e in ends]
        y, last = outputs_of(g, r, y, states[0], mask, start[0] if start else None, zero)
        finals.append(states)
    flat = [s for group in (finals[::-1] if r.reverse_states else finals) for s in group]
    return Sequences(y, last, flat)


def apply_cells(
    g: KerasContext, r: Recurrence, cells: Sequence[Cell], x: Value, mask: Value | None, start: Sequence[Value], zero: bool,
    direction: str,
) -> tuple[Value, ...]:  # fmt: skip
    """The op of a cell (of one per direction): y and the final states (directions, N, H)."""
    cell = cells[0]
    w = cell_weights(g, r.node, cells)
    w += [None] * ((4 if cell.op == "gru" else 3) - len(w))
    states = [*start] if start else [None] * cell.n_states
    made: tuple[Value, ...] = g.b.op(
        cell.op, x, *w, *states, mask, direction=direction, layout=r.layout, zero_output_for_mask=zero and mask is not None,
        **dict(cell.attrs),
    )  # fmt: skip
    return made


def outputs_of(
    g: KerasContext, r: Recurrence, y: Value, h: Value, mask: Value | None, h0: Value | None, zero: bool
) -> tuple[Value, Value]:
    """y and the last output. The last output is the final h, but not where a mask meets an initial state or zeroed outputs."""
    if mask is None:
        return y, h
    if zero:
        return y, at_end(g, y, r.time, r.go_backwards)
    if h0 is None:
        return y, h
    if _repeats_state(g, r):
        if r.return_sequences or len(r.cells) > 1:
            y = _from_first_step(g, r, y, mask, h0)
        return y, h
    return y, at_end(g, y, r.time, r.go_backwards)


def _repeats_state(g: KerasContext, r: Recurrence) -> bool:
    """``K.rnn`` of Keras 2 with TensorFlow, not unrolled: a masked step puts out the state h, so h0 before the first step."""
    if g.era == "tf.keras":
        return g.version < (2, 2)
    if g.era != "keras2" or r.unroll:
        return False
    if g.backend not in ("tensorflow", "theano"):
        raise r.node.refuse(f"what its masked steps put out at first is not known for backend {g.backend or 'unknown'!r}")
    return g.backend == "tensorflow"


def _from_first_step(g: KerasContext, r: Recurrence, y: Value, mask: Value, h0: Value) -> Value:
    b = g.b
    steps = b.cumsum(b.cast(mask, to="int32"), axis=r.time, reverse=r.go_backwards)
    seen = b.unsqueeze(b.greater(steps, b.like(steps, 0)), axes=(2,))
    out: Value = b.where(seen, y, b.unsqueeze(h0, axes=(r.time,)))
    return out
