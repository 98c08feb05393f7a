"""Nets to prototxt and caffemodel, each written under a temporary name and renamed when it is complete."""

from __future__ import annotations

from pathlib import Path

from convcore.plugin import writing

from .blobs import Blob
from .message import Message
from .net import ABOUT, Layer, Net
from .printer import print_text
from .wire_write import encode, write_pieces

__all__ = ["message_of_layer", "message_of_net", "write_caffemodel", "write_prototxt"]


def message_of_layer(layer: Layer, *, blobs: bool) -> Message:
    """The LayerParameter of a layer, with its weights if ``blobs``."""
    m = Message("LayerParameter", name=layer.name, type=layer.type)
    for name, values in (("bottom", layer.bottoms), ("top", layer.tops), ("loss_weight", layer.loss_weight)):
        if values:
            m.set(name, values)
    if layer.own_phase:
        m.set("phase", layer.own_phase)
    if layer.param_specs:
        specs = []
        for spec in layer.param_specs:
            p = Message("ParamSpec")
            if spec.name:
                p.set("name", spec.name)
            if spec.share_mode != "STRICT":
                p.set("share_mode", spec.share_mode)
            p.set("lr_mult", spec.lr_mult)
            p.set("decay_mult", spec.decay_mult)
            specs.append(p)
        m.set("param", specs)
    for name, given in (
        ("propagate_down", layer.propagate_down),
        ("include", layer.include),
        ("exclude", layer.exclude),
    ):
        if given:
            m.set(name, given)
    if blobs and layer.blobs:
        m.put("blobs", [Blob(t) for t in layer.blobs])
    declared = m.schema.by_name
    for name, value in layer.params.items():
        if name in declared:
            m.put(name, value)
        else:
            m.unknown[name] = [value]
    for name, values in layer.unknown.items():
        m.unknown[name] = list(values)
    return m


def message_of_net(net: Net, *, blobs: bool) -> Message:
    """The NetParameter of a net in the current format."""
    m = Message("NetParameter")
    if net.name:
        m.set("name", net.name)
    m.put("layer", [message_of_layer(layer, blobs=blobs) for layer in net.layers])
    return m


def write_prototxt(net: Net, path: str | Path) -> None:
    """Write the net's definition (no weights), what it says about itself as a comment. Raises OutputError."""
    with writing(path) as (temporary,), temporary.open("wb") as f:
        if net.about:
            f.write(f"{ABOUT}{net.about}\n".encode())
        f.write(print_text(message_of_net(net, blobs=False)).encode("utf-8"))


def write_caffemodel(net: Net, path: str | Path) -> None:
    """Write the weights with BlobShape and packed float32 data, one tensor at a time (never the model in memory).

    Raises OutputError, and UnsupportedError above protobuf's 2 GB.
    """
    pieces, _ = encode(message_of_net(net, blobs=True))
    with writing(path) as (temporary,), temporary.open("wb") as f:
        write_pieces(pieces, f)
