"""A Caffe net from its files: parse, upgrade, keep the layers of one phase, check, attach weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convcore.plugin import BadFileError, UsageError, spend_nodes, watched

from .blobs import Blob, blob_of_message
from .checks import Refusals, check_fields, check_layers, wire
from .message import Message
from .net import ABOUT, Layer, Net, ParamSpec
from .sniff import sniff
from .text import MAX_BYTES, parse_text
from .upgrade import upgrade
from .weights import attach, find_owners, read_weights
from .wire import read_message_file

__all__ = ["layer_of_message", "read_net", "read_prototxt"]

_PHASES = ("TRAIN", "TEST")
_PLAIN = frozenset(
    ["name", "type", "bottom", "top", "phase", "loss_weight", "param", "blobs", "propagate_down", "include", "exclude"]
)


def read_prototxt(path: str | Path) -> Message:
    """A prototxt as a NetParameter message: as written, nothing upgraded or checked beyond the syntax."""
    try:
        with open(watched(path), "rb") as f:
            data = f.read(MAX_BYTES + 1)
    except OSError as e:
        raise BadFileError(f"{path}: cannot be read: {e.strerror or e}") from e
    return parse_text(data, name=str(path))


def _about(path: str) -> str:
    """What follows :data:`ABOUT` on the first line; "" where a prototxt begins otherwise."""
    with open(watched(path), "rb") as f:
        line = f.readline(MAX_BYTES)
    return line[len(ABOUT) :].decode("utf-8", "replace").strip() if line.startswith(ABOUT.encode()) else ""


def read_net(
    prototxt: str | Path,
    weights: str | Path | None = None,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
) -> Net:
    """The net of a prototxt for one state, with lazy weights.

    ``prototxt`` may be a caffemodel (its own definition and weights). ``weights``: caffemodel or HDF5. ``phase``,
    ``level`` and ``stages`` are the state that include and exclude rules are tested against; stages add to the file's
    own ``state``. Layers whose weights are not found are listed in ``Net.missing``. Raises BadFileError for files
    Caffe refuses.
    """
    if phase not in _PHASES:
        raise UsageError(f"phase must be TRAIN or TEST, not {phase!r}")
    path = str(prototxt)
    kind = sniff(prototxt)
    if kind in ("hdf5", "binaryproto"):
        raise BadFileError(f"{path}: is {'HDF5 weights' if kind == 'hdf5' else 'a mean file'}, not a net definition")
    binary = kind == "caffemodel"
    notes: list[str] = []
    written = read_message_file(prototxt, "NetParameter") if binary else read_prototxt(prototxt)
    message = upgrade(written, path, notes)
    shaped = written.get("input_shape") or written.get("input_dim")
    spend_nodes(len(message.get("layer")), f"{path}: its layers come")
    state = message.get("state")
    net = Net(message.get("name") or "", [], phase, level, (*state.get("stage"), *stages), notes=notes, path=path)
    net.about = "" if binary else _about(path)
    out = Refusals(path)
    check_fields(_top_level(message), "", "", out)
    for m in message.get("layer"):
        if m.has("include") and m.has("exclude"):
            out.add(m.line, m.get("name") or "", m.get("type") or "", "has both include and exclude rules")
        elif _included(m, net):
            check_fields(m, m.get("name") or "", m.get("type") or "", out)
            net.layers.append(layer_of_message(m, phase, path))
    out.done()  # wiring makes sense only for layers that were understood
    check_layers(net.layers, out)
    net.outputs = wire(net.layers, out, [] if shaped else written.get("input"))
    out.done()
    if not net.layers:
        raise BadFileError(f"{path}: no layers (for phase {phase})")
    find_owners(net.layers)
    if weights is None and binary:
        weights = prototxt
    source = read_weights(weights) if weights is not None else []
    attach(net, source, str(weights or path), hdf5=weights is not None and sniff(weights) == "hdf5")
    net.missing = [layer.name for layer in net.layers if layer.takes_weights and not layer.blobs]
    return net


def _top_level(message: Message) -> Message:
    top = message.copy()
    top.clear("layer")
    return top


# ---- include and exclude rules
def _included(layer: Message, net: Net) -> bool:
    if layer.has("include"):
        return any(_meets(net, rule) for rule in layer.get("include"))
    return not any(_meets(net, rule) for rule in layer.get("exclude"))


def _meets(net: Net, rule: Message) -> bool:
    """Net::StateMeetsRule: phase equal, level in range, all stages there, no not_stage there."""
    if rule.has("phase") and rule.get("phase") != net.phase:
        return False
    if rule.has("min_level") and net.level < rule.get("min_level"):
        return False
    if rule.has("max_level") and net.level > rule.get("max_level"):
        return False
    return set(rule.get("stage")) <= set(net.stages) and not set(rule.get("not_stage")) & set(net.stages)


# ---- layers
def layer_of_message(m: Message, phase: str = "TEST", path: str = "") -> Layer:
    """A current-format LayerParameter as a Layer; inline blobs are kept as its weights."""
    name, type_ = m.get("name") or "", m.get("type") or ""
    layer = Layer(
        name=name,
        type=type_,
        bottoms=list(m.get("bottom")),
        tops=list(m.get("top")),
        phase=m.get("phase") or phase,
        own_phase=m.get("phase"),
        include=m.get("include"),
        exclude=m.get("exclude"),
        loss_weight=m.get("loss_weight"),
        propagate_down=m.get("propagate_down"),
        line=m.line,
        param_specs=[
            ParamSpec(p.get("name") or "", p.get("share_mode") or "STRICT", p.get("lr_mult"), p.get("decay_mult"))
            for p in m.get("param")
        ],
    )
    layer.params = {name: value for name, value in m.fields() if name not in _PLAIN}
    for field, values in m.unknown.items():
        if len(values) == 1 and isinstance(values[0], Message):
            layer.params[field] = values[0]
        else:
            layer.unknown[field] = values
    where = f"{path}:{m.line}: layer {name!r} ({type_})"
    blobs: list[Any] = m.get("blobs")
    held = [b if isinstance(b, Blob) else blob_of_message(b, f"{where}: blob {i}") for i, b in enumerate(blobs)]
    if held:
        layer.blobs = [b.tensor for b in held]
        layer.legacy = [b.legacy for b in held]
        layer.weights = "inline"
    return layer
