"""Shapes."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Dim, Node, NotExpressible

from ..rules.base import RULES
from .base import E, given, pad_list, shape_of, sizes, static


@RULES.emit("reshape")
def reshape(e: E, node: Node) -> None:
    """One symbolic size is -1 where the others leave no doubt; torch.flatten where it is that."""
    x = given(node.inputs[0])
    target = tuple(node.attrs["shape"])
    own = x.shape
    h = e.value(x, carry=True)
    if own is not None and len(target) == 2 and len(own) > 2 and target[0] == own[0] and isinstance(target[1], int):
        e.call("torch.flatten", [h, 1], outputs=node.outputs, carry=True)
        return
    free = [i for i, d in enumerate(target) if isinstance(d, Dim)]
    if len(free) == 1 and all(d != 0 for i, d in enumerate(target) if i != free[0]):
        target = tuple(-1 if i == free[0] else d for i, d in enumerate(target))
    e.call(".reshape", [h, *(sizes(e, target, x) or [()])], outputs=node.outputs, carry=True)


@RULES.emit("transpose")
def transpose(e: E, node: Node) -> None:
    """Axes in another order."""
    e.call(".permute", [e.value(given(node.inputs[0]), carry=True), *node.attrs["perm"]], outputs=node.outputs, carry=True)


@RULES.emit("squeeze")
def squeeze(e: E, node: Node) -> None:
    """Axes of size 1, all of which must be known to be that."""
    x = given(node.inputs[0])
    shape = shape_of(x)
    axes = tuple(sorted(a % len(shape) for a in node.attrs["axes"]))
    if any(shape[a] != 1 for a in axes):
        raise NotExpressible(f"the sizes of axes {axes} are not known to be 1")
    if not axes:
        e.alias(node.output, e.value(x, carry=True))
        return
    e.call(".squeeze", [e.value(x, carry=True), axes[0] if len(axes) == 1 else axes], outputs=node.outputs, carry=True)


@RULES.emit("unsqueeze")
def unsqueeze(e: E, node: Node) -> None:
    """New axes, one after the other."""
    x = given(node.inputs[0])
    rank = len(shape_of(x)) + len(node.attrs["axes"])
    axes = sorted(a % rank for a in node.attrs["axes"])
    h = e.value(x, carry=True)
    if not axes:
        e.alias(node.output, h)
    for a in axes:
        (h,) = e.call(".unsqueeze", [h, a], outputs=node.outputs if a == axes[-1] else (), carry=True)


@RULES.emit("concat")
def concat(e: E, node: Node) -> None:
    """Of one type."""
    if len({v.dtype for v in node.inputs if v is not None}) != 1:
        raise NotExpressible("operands of several types")
    parts = tuple(e.value(given(v), carry=True) for v in node.inputs)
    e.call("torch.cat", [parts], {"dim": node.attrs["axis"]}, outputs=node.outputs, carry=True)


@RULES.emit("stack")
def stack(e: E, node: Node) -> None:
    """Of one type."""
    if len({v.dtype for v in node.inputs if v is not None}) != 1:
        raise NotExpressible("operands of several types")
    parts = tuple(e.value(given(v), carry=True) for v in node.inputs)
    e.call("torch.stack", [parts], {"dim": node.attrs["axis"]}, outputs=node.outputs, carry=True)


@RULES.emit("split")
def split(e: E, node: Node) -> None:
    """Into given sizes."""
    x = given(node.inputs[0])
    parts = static(node.attrs["sizes"] or (None,), "sizes")
    e.call("torch.split", [e.value(x, carry=True), parts], {"dim": node.attrs["axis"]}, outputs=node.outputs, carry=True)


@RULES.emit("expand")
def expand(e: E, node: Node) -> None:
    """Broadcast to a shape. Sizes of the other side may be larger, as in numpy."""
    x = given(node.inputs[0])
    out = shape_of(node.output)
    e.call(".expand", [e.value(x, carry=True), *sizes(e, out, x)], outputs=node.outputs, carry=True)


@RULES.emit("tile")
def tile(e: E, node: Node) -> None:
    """Repeats per axis."""
    x = given(node.inputs[0])
    repeats = node.attrs["repeats"]
    if len(repeats) != len(shape_of(x)) or not repeats:
        raise NotExpressible("not one repeat per axis")
    e.call(".repeat", [e.value(x, carry=True), *sizes(e, repeats, x)], outputs=node.outputs, carry=True)


@RULES.emit("flip")
def flip(e: E, node: Node) -> None:
    """Axes backwards."""
    e.call(
        "torch.flip", [e.value(given(node.inputs[0]), carry=True), tuple(node.attrs["axes"])], outputs=node.outputs, carry=True
    )


@RULES.emit("roll")
def roll(e: E, node: Node) -> None:
    """Elements shifted around."""
    shifts, axes = tuple(node.attrs["shifts"]), tuple(node.attrs["axes"])
    static(shifts, "shifts")
    e.call("torch.roll", [e.value(given(node.inputs[0]), carry=True), shifts, axes], outputs=node.outputs, carry=True)


MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@RULES.emit("pad")
def pad(e: E, node: Node) -> None:
    """Constants everywhere; other modes on the last one to three axes of inputs with batch and channels."""
    x = given(node.inputs[0])
    pads, mode = node.attrs["pads"], node.attrs["mode"]
    if mode not in MODES:
        raise NotExpressible(f"mode {mode!r}")
    rank = len(shape_of(x))
    flat: tuple[Any, ...] = pad_list(pads)
    if mode != "constant":
        static(flat, "pads")
        d = max(len(flat) // 2, rank - 2)
        if d > 3 or rank not in (d + 1, d + 2) or any(n < 0 for n in flat) or x.dtype is None or not x.dtype.is_float:
            raise NotExpressible(f"mode {mode!r} on these axes")
        flat = tuple(n for pair in reversed(pads[rank - d :]) for n in pair)
    value = node.attrs["value"] if mode == "constant" else 0
    at = sizes(e, flat, x)
    config = {"mode": MODES[mode] if mode != "constant" else None, "value": value if value else None}
    e.call("F.pad", [e.value(x, carry=True), tuple(at)], config, outputs=node.outputs, carry=True)
