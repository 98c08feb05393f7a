"""What Viya's layers are: rows, and what they cannot hold.

The layers and their options are those that DLPy 1.3.0 makes of ONNX models (``sas_onnx_parse.py``): input, convolution, pooling,
batchnorm, fullconnect, output, residual, concat. Images are (C, H, W); a fully connected layer takes them flat in that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convcore.plugin import A, Convention, Dialect, DType, EmitRequest, Given, Node, NotExpressible, RuleSet, Size, Value, W

CONVENTION = Convention({"channels": "channels_first"}, axis_at={"batch_norm": 1, "concat": 1, "softmax": 1}, io="target")
RULES: RuleSet = RuleSet("dlpy", "convcore-dlpy")
ACTIVATIONS = {
    "relu": "RELU", "tanh": "TANH", "sigmoid": "SIGMOID", "softmax": "SOFTMAX", "softplus": "SOFTPLUS", "exp": "EXP",
    "sin": "SIN", "cos": "COS",
}  # fmt: skip

_WINDOW: dict[str, Any] = {"strides": A("strides"), "pads": A("pads"), "layout": "channels_first"}
_BIAS: dict[str, Any] = {"b": W("bias", optional=True), "bias": Given("b", True)}
RULES.op("convolution", "conv", "x", w=W("kernel"), **_BIAS, **_WINDOW, groups=1, n=Size("w", 0), size=Size("w", "2:"),
         dilations=A("dilations"))  # fmt: skip
RULES.op("fullconnect", "linear", "x", w=W("kernel"), **_BIAS, n=Size("w", 0))
RULES.op("batchnorm", "batch_norm", "x", scale=W("gamma", optional=True), bias=W("beta", optional=True), mean=W("mean"),
         var=W("variance"), epsilon=A("epsilon"), axis=1)  # fmt: skip
RULES.op("pooling", "max_pool", "x", when={"pool": "MAX"}, kernel=A("kernel"), **_WINDOW, ceil_mode=A("ceil_mode", "floor"),
         dilations=A("dilations"))  # fmt: skip
RULES.op("pooling", "avg_pool", "x", when={"pool": "AVERAGE"}, kernel=A("kernel"), **_WINDOW, ceil_mode=A("ceil_mode", "floor"),
         dilations=A("dilations"), count_include_pad=A("count_include_pad"))  # fmt: skip
RULES.op("residual", "add", "x, y")
for _op, _act in ACTIVATIONS.items():
    if _op != "softmax":
        RULES.op(_act, _op, "x")
RULES.op("SOFTMAX", "softmax", "x", axis=1)


@RULES.emit("concat")
def concat(e: Any, node: Node) -> None:
    """Along the channels."""
    if node.attrs["axis"] != 1:
        raise NotExpressible("Viya joins images along their channels only")
    e.call("concat", [e.value(v) for v in node.inputs if v is not None], {}, outputs=node.outputs, name=node.name)


@RULES.emit("mean")
def over_the_image(e: Any, node: Node) -> None:
    """A mean over H and W is a window as large as the image."""
    x = node.need("x")
    axes = sorted(a % 4 for a in node.attrs["axes"] or ())
    if x.rank != 4 or axes != [2, 3] or not all(isinstance(n, int) for n in x.shape or ()[2:]):
        raise NotExpressible("Viya has means over a whole image only")
    size = tuple((x.shape or ())[2:])
    config = {"pool": "AVERAGE", "kernel": size, "strides": (1, 1), "pads": ((0, 0), (0, 0))}
    e.call("pooling", [e.value(x)], config, outputs=node.outputs, name=node.name)


@RULES.emit("reshape")
def flat(e: Any, node: Node) -> None:
    """Images in one line each, which a fully connected layer does by itself."""
    x, y = node.need("x"), node.output
    if y.rank != 2 or not x.rank or x.shape is None or y.shape is None or x.shape[0] != y.shape[0]:
        raise NotExpressible("Viya has no layer that reshapes, other than images before a fully connected layer")
    e.call("flatten", [e.value(x)], {}, outputs=node.outputs, name=node.name)


@RULES.emit("dropout")
def dropout(e: Any, node: Node) -> None:
    """Nothing: it acts while training only, and is an option of the layer before it there."""
    e.pass_on(node, "dropout")


def pads_of(config: Mapping[str, Any], shape: Sequence[Any]) -> list[tuple[int, int]]:
    """Zeros before and behind each of H and W, for an image of a shape (N, C, H, W)."""
    pads = config.get("pads") or ((0, 0), (0, 0))
    if not isinstance(pads, str):
        return [(int(a), int(b)) for a, b in pads]
    size, strides = config.get("kernel") or config.get("size") or (), config.get("strides") or (1, 1)
    found = []
    for n, k, s in zip(shape[2:], size, strides):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        found.append((total // 2, total - total // 2) if pads == "same_upper" else (total - total // 2, total // 2))
    return found


def _overhangs(config: Mapping[str, Any], shape: Sequence[Any], pads: Sequence[tuple[int, int]]) -> bool:
    strides = config.get("strides") or (1, 1)
    return any((n + a + b - k) % s for n, (a, b), k, s in zip(shape[2:], pads, config["kernel"], strides))


class ViyaDialect(Dialect):
    """Fixed sizes but for the batch, float32, windows padded alike on both sides."""

    title = "SAS Viya"
    dtypes = frozenset({DType.FLOAT32})

    def shape_of(self, v: Value) -> tuple[Any, ...] | None:
        if v.shape is None or not all(isinstance(n, int) for n in v.shape[1:]):
            raise NotExpressible(f"Viya's layers have fixed sizes, {v.name!r} has not: give --input-shape")
        return v.shape

    def check(self, s: Any, type: str, args: Sequence[Any], config: Mapping[str, Any]) -> tuple[DType, ...]:
        if type in ("convolution", "pooling"):
            if len(config.get("kernel") or config.get("size") or ()) != 2:
                raise NotExpressible("Viya has convolutions and windows of images (two axes) only")
            if any(n != 1 for n in config.get("dilations") or ()):
                raise NotExpressible("Viya's windows have no gaps (dilation)")
            pads = pads_of(config, args[0].shape)
            if any(a != b for a, b in pads):
                raise NotExpressible("Viya pads both sides of an image alike")
            if config.get("ceil_mode", "floor") != "floor" and _overhangs(config, args[0].shape, pads):
                raise NotExpressible("Viya's last window does not hang over the edge (ceil_mode)")
            if config.get("pool") == "AVERAGE" and any(a for a, _ in pads):
                raise NotExpressible("whether Viya counts padding in a mean is not published: it is refused")
        if type == "residual" and args[0].shape != args[1].shape:
            raise NotExpressible("Viya adds images of one shape")
        if type == "SOFTMAX" and len(args[0].shape or ()) != 2:
            raise NotExpressible("Viya has softmax in the output layer only")
        return ()


def dialect(request: EmitRequest) -> ViyaDialect:
    return ViyaDialect()
