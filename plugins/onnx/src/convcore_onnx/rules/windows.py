"""Attributes of sliding windows, as convolutions and poolings share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import MISSING, A, DimLike, Node, NotExpressible, Value, isomorphism, known_shape, window_pads

from .base import int_list

__all__ = ["EXPLICIT", "PADDINGS", "channels_first", "emit_pads", "spelled_out"]


def _no_pads(v: Sequence[int], means: str | None) -> str | None:
    if any(v):
        raise NotExpressible(f"both auto_pad and pads={list(v)} are set")
    return means


def _only(v: Any, means: str | None) -> tuple[int, ...]:
    if v != means and (means is not None or isinstance(v, str) or any(n for pair in v for n in pair)):
        raise NotExpressible(f"padding {v} is not {means or 'none'}")
    return ()


isomorphism("onnx_auto_pad", _no_pads, _only, "no pads but zeros, since auto_pad gives them")

EXPLICIT = A("pads", None, "window_pads")
PADDINGS: tuple[tuple[dict[str, Any], Any], ...] = (
    ({"auto_pad": frozenset({"NOTSET", "", MISSING})}, EXPLICIT),
    ({"auto_pad": frozenset({"SAME_UPPER"})}, A("pads", (), ("onnx_auto_pad", "same_upper"))),
    ({"auto_pad": frozenset({"SAME_LOWER"})}, A("pads", (), ("onnx_auto_pad", "same_lower"))),
    ({"auto_pad": frozenset({"VALID"})}, A("pads", (), ("onnx_auto_pad", None))),
)
"""The conditions of a row and what ``pads`` is under them: given, or as ``auto_pad`` says; both at once are refused."""


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
