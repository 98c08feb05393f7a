"""Ops whose axes, sizes and amounts are inputs (``dynamic_*``): the code of the ops without it, with numbers read from the tensor
where that has an attribute. What torch's functions do not take so is written into the code (``written_late.py``). All of it runs;
whether torch.export can trace it depends on what is read."""

from __future__ import annotations

import math
from typing import Any

from convcore.plugin import DType, Node, NotExpressible, Value

from ..rules.base import RULES
from .base import E, items, scalar, shape_of
from .constants import placed
from .reduce import FUNCTIONS
from .sorting import ordered, running


def whole(e: E, v: Value) -> Any:
    """The one integer of a tensor."""
    n = scalar(e, v)
    if isinstance(n, (int, float)):
        if int(n) != n:
            raise NotExpressible(f"{n} where a whole number must stand")
        return int(n)
    return n if v.dtype is not None and v.dtype.is_int else e.call("whole", [n])[0]


def steps(e: E, h: Any, calls: list[tuple[str, list[Any], dict[str, Any]]], node: Node) -> None:
    """One call after the other, the last of which is the node."""
    for i, (name, args, config) in enumerate(calls):
        (h,) = e.call(name, [h, *args], config, outputs=node.outputs if i == len(calls) - 1 else ())


PARTS: dict[str, tuple[str, str, str]] = {
    **{name: ("", f, "") for name, f in FUNCTIONS.items()}, "prod": ("", "torch.prod", ""),
    "sum_square": ("torch.square", "torch.sum", ""), "l1_norm": ("torch.abs", "torch.sum", ""),
    "l2_norm": ("torch.square", "torch.sum", "torch.sqrt"), "log_sum": ("", "torch.sum", "torch.log"),
}  # fmt: skip
"""What is done to the elements, what reduces them, and what is done to that."""


@RULES.emit(*(f"dynamic_{name}" for name in PARTS))
def reduce(e: E, node: Node) -> None:
    """The axes made one, the last, which is reduced: see ``lined``."""
    x, op, a = node.need("x"), node.op.removeprefix("dynamic_"), node.attrs
    if x.dtype is None or (op in ("mean", "logsumexp") and not x.dtype.is_float):
        raise NotExpressible(f"{op} of {x.dtype}")
    inner, function, outer = PARTS[op]
    h, axes = e.value(x), items(e, node.need("axes"))
    every = {} if a["none_is_all"] else {"every": False}
    whole_type = x.dtype if function in ("torch.sum", "torch.prod") and not x.dtype.is_float else None
    calls: list[tuple[str, list[Any], dict[str, Any]]] = [("lined", [axes], every)]
    if op in ("max", "min") and x.dtype.is_float and not all(isinstance(d, int) and d > 0 for d in shape_of(x)):
        calls.append(("F.pad", [(0, 1)], {"value": -math.inf if op == "max" else math.inf}))  # of no elements torch has none
    if inner:
        calls.append((inner, [], {}))
    calls.append((function, [], {"dim": -1, "dtype": whole_type}))
    if outer:
        calls.append((outer, [], {}))
    if a["keepdims"]:
        calls.append(("kept", [h, axes], every))
    steps(e, h, calls, node)


@RULES.emit("dynamic_cumsum", "dynamic_cumprod")
def cumulative(e: E, node: Node) -> None:
    """The axis is made the last one, and goes back."""
    axis = whole(e, node.need("axis"))
    (h,) = e.call("torch.movedim", [e.value(node.need("x")), axis, -1])
    h = running(e, node, node.op.removeprefix("dynamic_"), h, -1, 0, ())
    e.call("torch.movedim", [h, -1, axis], outputs=node.outputs)


@RULES.emit("dynamic_trilu")
def trilu(e: E, node: Node) -> None:
    """A diagonal that is computed."""
    name = "torch.triu" if node.attrs["upper"] else "torch.tril"
    e.call(name, [e.value(node.need("x")), whole(e, node.need("k"))], outputs=node.outputs)


@RULES.emit("dynamic_topk")
def topk(e: E, node: Node) -> None:
    """How many is computed."""
    ordered(e, node, whole(e, node.need("k")))


@RULES.emit("dynamic_one_hot")
def one_hot(e: E, node: Node) -> None:
    """A depth that is computed."""
    placed(e, node, whole(e, node.need("depth")))


@RULES.emit("dynamic_squeeze", "dynamic_unsqueeze")
def squeeze(e: E, node: Node) -> None:
    """``squeezed``, ``unsqueezed``."""
    name = f"{node.op.removeprefix('dynamic_')}d"
    e.call(name, [e.value(node.need("x"), carry=True), items(e, node.need("axes"))], outputs=node.outputs, carry=True)


@RULES.emit("dynamic_tile")
def tile(e: E, node: Node) -> None:
    """As many counts as axes."""
    x, repeats = node.need("x"), node.need("repeats")
    if x.shape is None or repeats.shape != (len(x.shape),):
        raise NotExpressible("how many axes it repeats is not known")
    e.call(".repeat", [e.value(x, carry=True), items(e, repeats)], outputs=node.outputs, carry=True)


@RULES.emit("dynamic_split")
def split(e: E, node: Node) -> None:
    """Sizes that are computed; torch fails where there are others than parts, or of another sum."""
    operands = [e.value(node.need("x"), carry=True), items(e, node.need("sizes"))]
    outputs = node.outputs
    if len(outputs) == 1:
        raise NotExpressible("a single part")
    e.call("torch.split", operands, {"dim": node.attrs["axis"] or None}, outputs=outputs, carry=True)


@RULES.emit("dynamic_pad")
def pad(e: E, node: Node) -> None:
    """``padded``."""
    value, axes, mode = node.arg("value"), node.arg("axes"), node.attrs["mode"]
    config = {"value": None if value is None or mode != "constant" else scalar(e, value),
              "axes": None if axes is None else items(e, axes), "mode": None if mode == "constant" else mode}  # fmt: skip
    operands = [e.value(node.need("x")), items(e, node.need("pads"))]
    e.call("padded", operands, config, outputs=node.outputs)


@RULES.emit("dynamic_nms")
def nms(e: E, node: Node) -> None:
    """``nms``."""
    limit, iou, score = (node.arg(name) for name in ("max_per_class", "iou_threshold", "score_threshold"))
    config = {"score": None if score is None else scalar(e, score), "centred": True if node.attrs["centre_form"] else None}
    operands = [e.value(node.need("boxes")), e.value(node.need("scores")), 0 if limit is None else whole(e, limit),
                0.0 if iou is None else scalar(e, iou)]  # fmt: skip
    e.call("nms", operands, config, outputs=node.outputs)


@RULES.emit("dynamic_affine_grid")
def affine_grid(e: E, node: Node) -> None:
    """The size of the whole target, as F.affine_grid takes it."""
    config = {"align_corners": node.attrs["align_corners"]}
    e.call("F.affine_grid", [e.value(node.need("theta")), items(e, node.need("size"))], config, outputs=node.outputs)


@RULES.emit("dynamic_resize")
def resize(e: E, node: Node) -> None:
    """``resize_axes``."""
    x, a = node.need("x"), node.attrs
    late = [None if v is None else items(e, v) for v in (node.arg(name) for name in ("sizes", "scales", "roi"))]
    axes = None if a["axes"] is None else tuple(i % len(shape_of(x)) for i in a["axes"])
    config = {"axes": axes, "sizes": late[0], "scales": late[1],
              "roi": late[2] if a["coordinates"] == "tf_crop_and_resize" else None}  # fmt: skip
    for name in ("coordinates", "policy", "outside", "mode", "nearest", "cubic_a", "exclude_outside", "antialias"):
        config[name] = a[name]
    e.call("resize_axes", [e.value(x)], config, outputs=node.outputs)


@RULES.emit("dynamic_dft_pairs", "dynamic_stft")
def transform(e: E, node: Node) -> None:
    """``dft``, ``stft``."""
    x, a = node.need("x"), node.attrs
    if x.dtype not in (DType.FLOAT32, DType.FLOAT64):
        raise NotExpressible(f"a Fourier transform of {x.dtype}")
    late = ("step", "size") if node.op == "dynamic_stft" else ("length", "axis")
    named = {n: whole(e, v) for n in late if (v := node.arg(n)) is not None}
    if node.op == "dynamic_stft":
        window = node.arg("window")
        named["window"] = None if window is None else e.value(window)
        e.call("stft", [e.value(x)], {**named, "onesided": True if a["onesided"] else None}, outputs=node.outputs)
        return
    config = {**named, "inverse": a["inverse"] or None, "onesided": a["onesided"] or None}
    e.call("dft", [e.value(x)], config, outputs=node.outputs)


@RULES.emit("col2im", "dynamic_col2im")
def col2im(e: E, node: Node) -> None:
    """``col2im``."""
    x, a = node.need("x"), node.attrs
    late = [items(e, node.need(n)) if node.op.startswith("dynamic_") else tuple(a[n]) for n in ("image", "kernel")]
    one: dict[str, Any] = {"strides": 1, "dilations": 1, "pads": (0, 0)}
    kernel = shape_of(node.need("kernel")) if node.op.startswith("dynamic_") else (len(late[1]),)
    if any(a[n] is None for n in one) and not all(isinstance(n, int) for n in kernel):
        raise NotExpressible("how many axes its kernel has is not known")
    rest = [tuple(a[n]) if a[n] is not None else (v,) * kernel[0] for n, v in one.items()]
    e.call("col2im", [e.value(x), *late, *rest], outputs=node.outputs)
