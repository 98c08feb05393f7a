"""Attributes of sliding windows, as convolutions and poolings share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import DimLike, ForeignNode, Node, NotExpressible, Value, known_shape, window_pads

from .base import int_list

__all__ = ["auto_pad", "channels_first", "emit_pads", "spatial_rank", "spelled_out", "window_attrs"]

_SAME = {"SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower"}


def spatial_rank(node: ForeignNode, x: Value | None, kernel: Sequence[int] | None = None) -> int:
    """The number of spatial axes, from the kernel or the input."""
    if kernel is not None:
        return len(kernel)
    if x is None or x.rank is None:
        raise NotExpressible("the number of axes of its input is not known", "unknown_shape")
    return x.rank - 2


def auto_pad(node: ForeignNode, d: int) -> Any:
    """``pads`` of a node: pairs, or "same_upper"/"same_lower"."""
    mode = node.attr("auto_pad", "NOTSET")
    given = node.attr("pads", None)
    if mode in _SAME:
        if given is not None and any(given):
            raise node.refuse(f"both auto_pad={mode} and pads={list(given)} are set")
        return _SAME[mode]
    if mode == "VALID":
        if given is not None and any(given):
            raise node.refuse(f"both auto_pad=VALID and pads={list(given)} are set")
        return ((0, 0),) * d
    if mode not in ("NOTSET", ""):
        raise node.refuse(f"auto_pad={mode!r} is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    if given is None:
        return ((0, 0),) * d
    if len(given) != 2 * d:
        raise node.refuse(f"pads={list(given)} must have a begin and an end for each of {d} spatial axes")
    return tuple((given[i], given[d + i]) for i in range(d))


def window_attrs(node: ForeignNode, d: int) -> dict[str, Any]:
    """``strides``, ``dilations`` and ``pads`` of a node with ``d`` spatial axes."""
    out: dict[str, Any] = {}
    for name in ("strides", "dilations"):
        v = node.attr(name, None)
        if v is not None and len(v) != d:
            raise node.refuse(f"{name}={list(v)} must have one entry for each of {d} spatial axes")
        out[name] = (1,) * d if v is None else tuple(v)
    out["pads"] = auto_pad(node, d)
    return out


def channels_first(node: Node) -> None:
    """ONNX has no other order of axes."""
    if node.attrs.get("layout", "channels_first") != "channels_first":
        raise NotExpressible("ONNX images are channels_first")


def spelled_out(node: Node) -> None:
    """Strides and the like are spelled out where the number of axes was known; NotExpressible where it was not."""
    if any(node.attrs.get(name, ()) is None for name in ("strides", "dilations", "pads", "output_padding")):
        known_shape(node.need("x"))


def emit_pads(
    node: Node, x: Value, kernel: Sequence[DimLike], *, sizes: Sequence[DimLike | None] | None = None
) -> dict[str, Any]:
    """The padding attributes: explicit where they do not depend on unknown sizes, else ``auto_pad``.

    ``auto_pad`` is ``(ceil(n / stride) - 1) * stride + reach - n``, below 0 for some n where the stride exceeds the reach of a
    window: Keras pads nothing then, onnxruntime fails.
    """
    pads = node.attrs["pads"]
    if not isinstance(pads, str):
        flat = [b for b, _ in pads] + [e for _, e in pads]
        return {"pads": int_list(flat, "pads")}
    space = known_shape(x)[2:] if sizes is None else sizes
    full: list[tuple[DimLike, DimLike]] = []
    unknown = negative = False
    for n, k, s, dil in zip(space, kernel, node.attrs["strides"], node.attrs["dilations"]):
        reach = dil * (k - 1) + 1
        total = reach - 1  # what is missing does not depend on n where the stride is 1, or the window sees one element
        if isinstance(n, int):
            full.append(window_pads(n, k, s, dil, pads))
            negative = negative or -(-n // s) * s - s + reach < n
        elif s == 1 or reach == 1:
            full.append((total // 2, total - total // 2) if pads == "same_upper" else (total - total // 2, total // 2))
            negative = negative or s > reach
        elif s > reach == 2 and pads == "same_upper":
            full.append((0, 1))  # needed by every s-th n; for the others no window reaches it
            negative = True
        else:
            unknown = True
            negative = negative or s > reach
    if unknown and negative:
        raise NotExpressible(
            f"pads={pads} with strides {list(node.attrs['strides'])} over windows of {list(kernel)} needs known sizes"
        )
    if unknown:
        return {"auto_pad": pads.upper()}
    return {"pads": int_list([b for b, _ in full] + [e for _, e in full], "pads")}
