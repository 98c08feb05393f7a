"""Bidirectional and TimeDistributed."""

from __future__ import annotations

from collections.abc import Sequence

from convcore.plugin import DimLike, ForeignNode, Value, known_shape

from .. import masks
from ..files.model import LayerConfig
from ..layer_spec import Part, V, layer, spec_of
from ..load_context import KerasContext, foreign_type
from ..recurrence import (
    LAYERS,
    Recurrence,
    Sequences,
    apply_cells,
    initial_states,
    main_input,
    outputs_of,
    recurrence,
    run,
    sequence_mask,
)
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer(
    "Bidirectional",
    call=("initial_state", "mask"),
    defaults={"merge_mode": "concat", "backward_layer": None},
    choices={"merge_mode": ("concat", "sum", "mul", "ave", None)},
    required=("layer",),
    parts=(Part("layer", "forward_layer"), Part("backward_layer", "backward_layer")),
    masks="own",
    takes_mask=True,
    training=True,
    aliases=("BidirectionalV1",),
)
layer(
    "SpectralNormalization",
    defaults={"power_iterations": 1},
    required=("layer",),
    variables=(V("kernel"), V("vector_u", trainable=False)),
    parts=(Part("layer", "layer"),),
)
layer(
    "TimeDistributed",
    required=("layer",),
    parts=(Part("layer", "layer"),),
    masks="own",
    takes_mask=True,
    training=True,
    whole=True,
)

# ---- rules

# ---- Bidirectional
_MERGES = {"sum": "add", "mul": "mul", "ave": "add"}


@RULES.load("Bidirectional")
def bidirectional(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """Both layers on the same input, the second one's outputs reversed in time; merged, then the states of both.

    tf.keras and Keras 3 zero masked steps of returned sequences (``force_zero_output_for_mask``), Keras 1 and 2 repeat outputs.
    """
    if node.attr("num_constants", None):
        raise node.refuse("its layers take constants beside the steps", code="unsupported_call")
    merge = node.attr("merge_mode", "concat")
    inner = node.attr("layer")
    if isinstance(inner, LayerConfig) and (spec_of(foreign_type(inner)).spatial or _own_cells(g, inner)):
        return _both_ways(g, node, merge)
    parts = [_part(g, node, "layer", "forward_layer"), _part(g, node, "backward_layer", "backward_layer")]
    first, second = parts
    if first.go_backwards == second.go_backwards:
        raise node.refuse(f"both of its layers have go_backwards={first.go_backwards}")
    for name in ("return_sequences", "return_state", "time_major"):
        if getattr(first, name) != getattr(second, name):
            raise node.refuse(f"its layers differ in {name}")
    given = initial_states(g, node, first.n_states + second.n_states)
    mask = sequence_mask(g, node, bool(given))
    x = main_input(node)
    if _same(first, second):
        whole, done = _at_once(g, parts, x, mask, given, merge)
    else:
        whole, done = None, [run(g, p, x, mask, s) for p, s in zip(parts, _halves(parts, given), strict=True)]
    if whole is not None:
        merged = [whole]
    elif first.return_sequences:
        outs = [d.y for d in done]
        if first.go_backwards:  # the first layer's outputs stay reversed and the second one's become so
            outs = [g.b.flip(y, axes=(first.time,)) for y in outs]
        merged = _merge(g, merge, outs)
    else:
        merged = _merge(g, merge, [d.last for d in done])
    if first.return_sequences:
        for y in merged:
            g.set_mask(y, g.previous_mask(node))
    return [*merged, *(s for d in done for s in d.states)] if first.return_state else merged


def _both_ways(g: KerasContext, node: ForeignNode, merge: str | None) -> Sequence[Value]:
    """Layers that are no recurrence of vectors (ConvLSTM) or whose cells are the source's: each by its own rule, the second's
    sequence turned round."""
    layers = [node.attr("layer"), node.attr("backward_layer", None)]
    if not all(isinstance(x, LayerConfig) and not x.custom for x in layers) or len(node.inputs) != 1:
        raise node.refuse("wraps a layer that is not known, or gives it initial states", code="unsupported_layer")
    mask = g.input_mask(node)
    if mask is not None and spec_of(foreign_type(layers[0])).spatial:
        raise node.refuse(f"wraps {layers[0].class_name}, and its input has a mask")
    flags = [{k: bool(x.config.get(k)) for k in ("return_sequences", "return_state", "go_backwards")} for x in layers]
    first, second = flags
    if first["go_backwards"] or not second["go_backwards"] or first["return_sequences"] != second["return_sequences"]:
        raise node.refuse("its layers do not run forwards and backwards alike")
    said = {} if mask is None else {"mask": mask, "zero_output_for_mask": _zeroes(g, first["return_sequences"])}
    done = [g.sublayer(node, x, p, node.inputs, **said) for x, p in zip(layers, _PREFIXES, strict=True)]
    outs = [d[0] for d in done]
    if first["return_sequences"]:
        outs[1] = g.b.flip(outs[1], axes=(1,))
    merged = _merge(g, merge, outs)
    if mask is not None and first["return_sequences"]:
        for y in merged:
            g.set_mask(y, g.previous_mask(node))
    return [*merged, *(s for d in done for s in d[1:])] if first["return_state"] else merged


_PREFIXES = ("forward_layer", "backward_layer")


def _zeroes(g: KerasContext, sequences: bool) -> bool:
    """Whether Bidirectional has its layers give zeros at masked steps."""
    return sequences and (g.era == "keras3" or (g.era == "tf.keras" and g.version >= (2, 2)))


def _own_cells(g: KerasContext, layer: LayerConfig) -> bool:
    """Whether a layer is an RNN over cells of the user's source."""
    if g.custom is None or layer.class_name != "RNN":
        return False
    from ..code.source.cells import source_cells

    return bool(source_cells(g, layer.config.get("cell")))


def _part(g: KerasContext, node: ForeignNode, key: str, prefix: str) -> Recurrence:
    """One of the two layers; its variables are the wrapper's under ``prefix``."""
    layer = node.attr(key, None)
    if not isinstance(layer, LayerConfig) or layer.custom or (layer.class_name not in LAYERS and layer.class_name != "RNN"):
        name = layer.class_name if isinstance(layer, LayerConfig) else type(layer).__name__
        raise node.refuse(f"wraps {name!r}, which is not LSTM, GRU, SimpleRNN or RNN", code="unsupported_layer")
    inner = g.node(layer, [], f"{node.name}/{layer.name}", weights=node.weights)
    inner.extra = node.extra
    r = recurrence(g, inner, f"{prefix}/", False)
    inner.ignore(*g.rules.ignored)
    if inner.unread():
        shown = ", ".join(f"{k}={inner.attrs[k]!r}" for k in inner.unread())
        raise node.refuse(f"attributes of its layer {layer.name!r} with unknown meaning: {shown}", code="unknown_attribute")
    zero = _zeroes(g, r.return_sequences)
    return Recurrence(
        node, r.cells, r.return_sequences, r.return_state, r.go_backwards, zero, r.unroll, r.time_major, r.reverse_states
    )


def _same(a: Recurrence, b: Recurrence) -> bool:
    """Whether one op can run both: forwards then backwards, one cell each, alike but for the values of their variables."""
    if a.go_backwards or len(a.cells) != 1 or len(b.cells) != 1:
        return False
    (c,), (d,) = a.cells, b.cells
    return (c.op, c.attrs, c.bias, a.unroll) == (d.op, d.attrs, d.bias, b.unroll)


def _halves(parts: Sequence[Recurrence], given: Sequence[Value]) -> list[list[Value]]:
    n = parts[0].n_states
    return [list(given[:n]), list(given[n:])]


def _at_once(
    g: KerasContext, parts: Sequence[Recurrence], x: Value, mask: Value | None, given: Sequence[Value], merge: str | None
) -> tuple[Value | None, list[Sequences]]:
    """Both directions as one op. The first result is y where that is the merged output as it is."""
    b, first = g.b, parts[0]
    cells = [p.cells[0] for p in parts]
    halves = _halves(parts, given)
    start = [b.concat(*(b.unsqueeze(s, axes=(0,)) for s in pair), axis=0) for pair in zip(*halves)] if given else []
    y, *ends = apply_cells(g, first, cells, x, mask, start, first.zero_output, "bidirectional")
    as_it_is = first.return_sequences and merge == "concat" and (mask is None or not given)
    ys = [y, y]
    if not as_it_is and (first.return_sequences or (mask is not None and given)):
        ys = [*b.split(y, axis=2, sizes=(dict(cells[0].attrs)["hidden"],) * 2)]
    states: list[list[Value]] = [[], []]
    if first.return_state or not first.return_sequences:
        for end in ends if first.return_state else ends[:1]:
            for mine, e in zip(states, b.split(end, axis=0, sizes=(1, 1))):
                mine.append(b.squeeze(e, axes=(0,)))
    done = []
    for d, (p, own, mine) in enumerate(zip(parts, ys, states)):
        last = mine[0] if mine else own
        if not as_it_is:
            own, last = outputs_of(g, p, own, last, mask, halves[d][0] if given else None, p.zero_output)
        done.append(Sequences(own, last, mine))
    return (y if as_it_is else None), done


def _merge(g: KerasContext, merge: str | None, outs: list[Value]) -> list[Value]:
    b = g.b
    if merge is None:
        return outs
    if merge == "concat":
        return [b.concat(*outs, axis=-1)]
    y = b.op(_MERGES[merge], *outs)
    return [b.div(y, b.like(y, 2)) if merge == "ave" else y]


# ---- TimeDistributed
@RULES.load("TimeDistributed")
def time_distributed(g: KerasContext, node: ForeignNode) -> Sequence[Value]:
    """The wrapped layer or model on every step: on (N*T, ...), reshaped back to (N, T, ...)."""
    layer = node.attr("layer")
    if not isinstance(layer, LayerConfig):
        raise node.refuse("its layer is missing or unknown", code="unsupported_layer")
    mask = g.input_mask(node)
    if spec_of(foreign_type(layer)).stepwise and layer.model is None and not layer.custom:
        (y,) = g.sublayer(node, layer, "layer", node.inputs)
        g.set_mask(y, mask)
        return [y]
    shapes = [known_shape(x, sizes=True) for x in node.inputs]
    if any(len(s) < 2 for s in shapes):
        raise node.refuse("its input has no time axis")
    n, t = shapes[0][:2]
    b = g.b
    flat = [b.reshape(x, shape=(n * t, *s[2:])) for x, s in zip(node.needed(), shapes, strict=True)]
    inner_mask = _inner_mask(g, node, layer, mask, n, t)
    if inner_mask is not None:
        g.set_mask(flat[0], inner_mask)
    outs = _applied(g, node, layer, flat)
    result = []
    for y in outs:
        if y.shape is None:  # a layer inside is not mapped; it tells why
            return b.opaque("keras", "TimeDistributed", outs, len(outs), {}, why="wraps a layer that is not mapped", follows=True)
        inner_out = g.mask(y)
        whole = b.reshape(y, shape=(n, t, *known_shape(y, sizes=True)[1:]))
        g.set_mask(whole, _output_mask(g, node, mask, inner_out, n, t))
        result.append(whole)
    return result


def _applied(g: KerasContext, node: ForeignNode, layer: LayerConfig, flat: list[Value]) -> Sequence[Value]:
    path = f"{node.name}/{layer.name}"
    if layer.model is not None:
        if g.inline is None:
            raise node.refuse("wraps a model, which this loader does not build", code="unsupported_layer")
        if len(layer.model.input_refs()) != len(flat):
            raise node.refuse(f"has {len(flat)} inputs, the model it wraps {len(layer.model.input_refs())}")
        return g.inline(layer, path, flat)
    outs = g.sublayer(node, layer, "layer", list(flat))
    inner = g.node(layer, list(flat), path)
    masks.propagate(g, inner, outs)
    return outs


def _inner_mask(
    g: KerasContext, node: ForeignNode, layer: LayerConfig, mask: Value | None, n: DimLike, t: DimLike
) -> Value | None:
    """The mask the wrapped layer sees, (N*T, ...). Keras 1 passes none; Keras 3 one if the layer's ``call`` takes it; those
    between also ask the layer for the mask of its output."""
    if mask is None or g.era == "keras1":
        return None
    inside = layer.model is not None
    takes = spec_of(layer.class_name).takes_mask  # models have no record
    if not takes and not inside and g.era == "keras3":
        return None
    if mask.shape is None:
        raise node.refuse("the number of axes of its mask is not known", code="unknown_shape")
    if takes and len(mask.shape) == 2:
        raise node.refuse(f"passes {layer.class_name!r} one mask value per sample, which Keras cannot use")
    if (takes or inside) and _unsettled(g, n):
        raise node.refuse("whether it passes its mask on depends on the version of Keras, before 2.3 or with a fixed batch size")
    return g.b.reshape(mask, shape=(n * t, *known_shape(mask, sizes=True)[2:]))


def _unsettled(g: KerasContext, n: DimLike) -> bool:
    """Before 2.2 Keras had no masks inside; until tf.keras 2.3 none inside batches of fixed size (``K.rnn`` over the steps)."""
    if g.era == "keras2":
        return g.version < (2, 3) or isinstance(n, int)
    return g.era == "tf.keras" and g.version < (2, 4) and isinstance(n, int)


def _output_mask(
    g: KerasContext, node: ForeignNode, mask: Value | None, inner: Value | None, n: DimLike, t: DimLike
) -> Value | None:
    """Keras 3 and Keras 1 hand on the input's mask. tf.keras and Keras 2.3 ask the wrapped layer; where it gives none, a mask is
    reduced to (N, T) by ANY."""
    if g.era in ("keras1", "keras3"):
        return mask
    rank = 0 if mask is None else mask.rank or 0
    many = rank > 2
    if (many or (mask is None and inner is not None)) and _unsettled(g, n):
        raise node.refuse("what mask it gives out depends on the version of Keras, before 2.3 or with a fixed batch size")
    if inner is not None and inner.shape is not None:
        return g.b.reshape(inner, shape=(n, t, *known_shape(inner, sizes=True)[1:]))
    if mask is not None and many:
        return g.b.any(mask, axes=tuple(range(2, rank)), keepdims=False)
    return mask


@RULES.load("SpectralNormalization")
def spectral_normalization(g: KerasContext, node: ForeignNode) -> Value:
    """Its layer: the kernel is normalised while training, and stored so."""
    node.ignore("power_iterations")
    inner = node.attr("layer")
    if not isinstance(inner, LayerConfig):
        raise node.refuse("its layer is not in the file")
    (y,) = g.sublayer(node, inner, "layer", node.inputs)
    return y
