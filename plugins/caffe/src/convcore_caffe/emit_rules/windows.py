"""Windows that Caffe can only place symmetrically: a larger padding, and what is too much cropped off the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convcore.plugin import Node, Ref, Value

from ..dialect import CaffeScribe
from .base import crop

__all__ = ["crop_all", "pairs", "spatial_param"]


def pairs(node: Node) -> tuple[tuple[int, int], ...]:
    """The (begin, end) padding, of which every size is known: ``explicit_pads`` has written it out."""
    return tuple((int(b), int(e)) for b, e in node.attrs["pads"])


def spatial_param(
    kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int] = ()
) -> dict[str, Any]:
    """The fields of a window, one number per spatial axis."""
    param = {"pad": pads, "kernel_size": kernel, "stride": strides, "dilation": dilations}
    return {k: list(v) for k, v in param.items() if v}


def crop_all(
    e: CaffeScribe, top: Ref, begins: Sequence[int], sizes: Sequence[int], name: str, outputs: Sequence[Value | None]
) -> Ref:
    """The spatial axes (from 2 on), of which one has others, cut to ``sizes`` elements from ``begins`` on."""
    axes = [i for i, n in enumerate(sizes) if top.dims[i + 2] != n]
    for i in axes:
        top = crop(e, top, i + 2, begins[i], sizes[i], name, outputs if i == axes[-1] else ())
    return top
