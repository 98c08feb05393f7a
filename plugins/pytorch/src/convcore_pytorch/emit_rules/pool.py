"""Pooling. torch pads at most half a window; more, or unequal, padding is done in front."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node, NotExpressible

from ..rules.base import RULES, one_if_equal
from .base import E, given, pad_list, pads_of, shape_of


def _window(e: E, node: Node, value: Any) -> tuple[Any, dict[str, Any], int]:
    """(input, configuration, spatial axes) of a pool; padding that torch does not take is put in front."""
    if node.attrs["layout"] != "channels_first":
        raise NotExpressible("channels are last")
    x = given(node.inputs[0])
    kernel, strides = node.attrs["kernel"], node.attrs["strides"]
    d = len(kernel)
    if not 1 <= d <= 3 or len(shape_of(x)) != d + 2:
        raise NotExpressible(f"{d} spatial axes")
    if node.attrs["ceil_mode"] == "ceil_full":
        raise NotExpressible("windows that lie wholly in the padding are kept (ceil_full)")
    pads, handle = pads_of(x, node, kernel), e.value(x)
    config: dict[str, Any] = {"kernel_size": one_if_equal(kernel)}
    if tuple(strides) != tuple(kernel):
        config["stride"] = one_if_equal(strides)
    ceil = node.attrs["ceil_mode"] == "ceil"
    if all(isinstance(a, int) and a == b and 0 <= a <= k // 2 for (a, b), k in zip(pads, kernel)):
        if any(a for a, _ in pads):
            config["padding"] = one_if_equal(a for a, _ in pads)
    else:
        if value is None or ceil:
            raise NotExpressible(f"padding {pads}")
        (handle,) = e.call("F.pad", [handle, pad_list(pads)], {} if value == 0 else {"value": value})
    if ceil:
        config["ceil_mode"] = True
    return handle, config, d


@RULES.emit("max_pool")
def max_pool(e: E, node: Node) -> None:
    """Of floats; the padding never wins."""
    if given(node.inputs[0]).dtype is None or not node.inputs[0].dtype.is_float:  # type: ignore[union-attr]
        raise NotExpressible("a maximum of integers")
    handle, config, d = _window(e, node, float("-inf"))
    if any(n != 1 for n in node.attrs["dilations"]):
        config["dilation"] = one_if_equal(node.attrs["dilations"])
    e.unit(f"torch.nn.MaxPool{d}d", [handle], config, outputs=node.outputs)


@RULES.emit("max_pool_with_indices")
def max_pool_with_indices(e: E, node: Node) -> None:
    """Positions in one plane; ties give the first."""
    x = given(node.inputs[0])
    if node.attrs["index_order"] != "plane" or x.dtype is None or not x.dtype.is_float:
        raise NotExpressible("positions over the whole input")
    handle, config, d = _window(e, node, None)
    if any(n != 1 for n in node.attrs["dilations"]):
        config["dilation"] = one_if_equal(node.attrs["dilations"])
    e.call(f"F.max_pool{d}d", [handle], {**config, "return_indices": True}, outputs=node.outputs)


@RULES.emit("avg_pool")
def avg_pool(e: E, node: Node) -> None:
    """Padding counted or not; without dilation."""
    if any(n != 1 for n in node.attrs["dilations"]):
        raise NotExpressible("a dilated average")
    counted = node.attrs["count_include_pad"]
    handle, config, d = _window(e, node, 0 if counted else None)
    if "padding" in config and not counted:
        config["count_include_pad"] = False
    e.unit(f"torch.nn.AvgPool{d}d", [handle], config, outputs=node.outputs)
