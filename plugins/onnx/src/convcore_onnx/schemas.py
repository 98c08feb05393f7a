"""Whether a node is well formed by the standard: number of inputs, required ones, types of attributes.

Rules rely on it, so that a damaged node is a refusal with a reason, not a failure inside a rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from convcore.plugin import Value

from .contrib import DOMAIN, NAMELESS, ContribForm
from .contrib import form as contrib_form
from .library import schemas

__all__ = ["CHOICES", "FLAGS", "malformed", "odd_choice", "odd_flag"]


class _Form:
    """What the standard asks of a node: by the schema of an opset; attributes it does not have there are of the type they have
    in other opsets (exporters mix them)."""

    __slots__ = ("attributes", "least", "most", "needed", "needed_attributes", "outputs")

    def __init__(self, schema: Any, others: Sequence[Any]) -> None:
        self.least, self.most = schema.min_input, schema.max_input
        self.outputs = schema.max_output
        single = schema.FormalParameterOption.Single
        self.needed = tuple((i, p.name) for i, p in enumerate(schema.inputs) if p.option == single and i < schema.min_input)
        self.attributes: dict[str, frozenset[int]] = {}
        for other in others:
            for k, a in other.attributes.items():
                self.attributes[k] = self.attributes.get(k, frozenset()) | {int(a.type.value)}
        self.attributes.update({k: frozenset({int(a.type.value)}) for k, a in schema.attributes.items()})
        self.needed_attributes = tuple(k for k, a in schema.attributes.items() if a.required)


def _history(type: str, domain: str) -> list[Any]:
    """Every schema of one of the standard's operators, oldest first. (All of all operators are 12 MB.)"""
    defs = schemas()
    found: list[Any] = []
    version = (1 << 31) - 1
    while version > 0:
        try:
            schema = defs.get_schema(type, version, domain)
        except defs.SchemaError:
            break
        found.insert(0, schema)
        version = schema.since_version - 1
    return found


@lru_cache(maxsize=4096)
def _form(type: str, domain: str, version: int) -> _Form | ContribForm | None:
    """The form in an opset; where the opset is older than the operator, that of its first version."""
    if domain == DOMAIN or (not domain and type in NAMELESS):
        return contrib_form(type)
    every = _history(type, domain)
    if not every:
        return None
    return _Form(next((s for s in reversed(every) if s.since_version <= version), every[0]), every)


FLAGS = frozenset({
    "align_corners", "allowzero", "antialias", "batch_axis", "broadcast", "ceil_mode", "center_point_box", "channels_last",
    "count_include_pad", "detect_negative", "detect_positive", "do_rotary", "exclude_outside", "exclusive", "fmod",
    "input_forget", "interleaved", "inverse", "is_case_sensitive", "is_causal", "is_test", "keepdims", "largest", "layout",
    "linear_before_reset", "new_axis", "noop_with_empty_axes", "onesided", "output_sequence", "periodic", "reverse",
    "saturate", "select_last_index", "sorted",
    "spatial", "storage_order", "time_axis", "training_mode", "transA", "transB", "unidirectional", "upper",
})  # fmt: skip
"""Integer attributes of the standard's operators, in any opset, that are 0 or 1. Runtimes differ in what they make of another
number (onnxruntime reads ``keepdims=2`` as false), so it is refused."""


def odd_flag(attrs: Mapping[str, Any]) -> str:
    """Why a 0/1 attribute of a node is neither; "" when all are."""
    for name in FLAGS.intersection(attrs):
        if attrs[name] not in (0, 1):
            return f"its attribute {name} is {attrs[name]!r}, neither 0 nor 1: runtimes differ in what they make of it"
    return ""


_PADDING = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "")
_REDUCED = ("none", "add", "mul", "max", "min")
_WAYS = ("forward", "reverse", "bidirectional")
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    **{(t, "auto_pad"): _PADDING for t in ("AveragePool", "LpPool", "MaxPool")},
    **{(t, "auto_pad"): _PADDING for t in ("Conv", "ConvInteger", "ConvTranspose", "QLinearConv")},
    **{(t, "direction"): _WAYS for t in ("GRU", "LSTM", "RNN")},
    **{(t, "reduction"): ("none", "sum", "mean") for t in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")},
    **{(t, "reduction"): _REDUCED for t in ("ScatterElements", "ScatterND")},
    **{(t, "mode"): ("DCR", "CRD") for t in ("DepthToSpace", "SpaceToDepth")},
    **{(t, "round_mode"): ("up", "down", "nearest") for t in ("Cast", "CastLike")},
    ("RoiAlign", "coordinate_transformation_mode"): ("half_pixel", "output_half_pixel"),
    ("BitShift", "direction"): ("LEFT", "RIGHT"),
    ("CausalConvWithState", "activation"): ("silu", "swish", "none"),
    ("Gelu", "approximate"): ("none", "tanh"),
    ("GridSample", "mode"): ("bilinear", "nearest", "bicubic", "linear", "cubic"),
    ("GridSample", "padding_mode"): ("zeros", "border", "reflection"),
    ("LinearAttention", "update_rule"): ("linear", "gated", "delta", "gated_delta"),
    ("Pad", "mode"): ("constant", "reflect", "edge", "wrap"),
    ("Resize", "coordinate_transformation_mode"): (
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
        "tf_crop_and_resize",
    ),
    ("Resize", "keep_aspect_ratio_policy"): ("stretch", "not_larger", "not_smaller"),
    ("Resize", "mode"): ("nearest", "linear", "cubic"),
    ("Resize", "nearest_mode"): ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    ("RoiAlign", "mode"): ("avg", "max"),
    ("StringNormalizer", "case_change_action"): ("LOWER", "UPPER", "NONE"),
    ("TensorScatter", "mode"): ("linear", "circular"),
    ("TfIdfVectorizer", "mode"): ("TF", "IDF", "TFIDF"),
    ("Upsample", "mode"): ("nearest", "linear", "bilinear"),
}  # fmt: skip
"""What string attributes of the standard's operators may be, in any opset (their descriptions, onnx 1.23). Where a node has no
use of one, or its definition takes the last case for any other (losses), nobody would notice. Upsample's first version says
bilinear; auto_pad is empty in files of old exporters."""


def odd_choice(type: str, attrs: Mapping[str, Any]) -> str:
    """Why a string attribute of one of the standard's operators is none of those it may be; "" when all are."""
    for name, given in attrs.items():
        if isinstance(given, str) and given not in CHOICES.get((type, name), (given,)):
            return f"{name}={given!r} is not one of {', '.join(v for v in CHOICES[type, name] if v)}"
    return ""


def odd_labels(type: str, inputs: Sequence[Value | None]) -> str:
    """Why the labels or weights of a loss do not fit its input, (N, C, ...), (N, ...), (C); its definition would take others."""
    if type not in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"):
        return ""
    shapes = [None if v is None else v.shape for v in inputs]
    x = shapes[0] if shapes else None  # of an operator set that is not imported nothing is known
    if x is None:
        return ""
    if len(x) < 2:
        return f"its input has {len(x)} axes, of at least 2"
    for what, have, want in zip(("labels", "weights"), shapes[1:], ((x[0], *x[2:]), (x[1],))):
        if have is not None and (
            len(have) != len(want) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(have, want))
        ):
            return f"{what} of shape [{', '.join(map(str, have))}] for an input of shape [{', '.join(map(str, x))}]"
    return ""


_KINDS = {1: "a float", 2: "an integer", 3: "a string", 4: "a tensor", 5: "a graph", 6: "floats", 7: "integers", 8: "strings"}


def malformed(node: Any, attributes: Sequence[tuple[str, int, str, Any]], version: int, domain: str = "") -> str:
    """Why a node of the standard's operators is malformed in this opset; "" when it is not, or is none of them."""
    form = _form(node.op_type, domain, version)
    if form is None:
        return ""
    inputs = list(node.input)
    n = len(inputs)
    if not form.least <= n <= form.most:
        return f"has {n} inputs, {node.op_type} takes {form.least}" + (f" to {form.most}" if form.most > form.least else "")
    for i, name in form.needed:
        if not inputs[i]:
            return f"its input {name!r} is missing"
    if len(node.output) > form.outputs:
        return f"has {len(node.output)} outputs, {node.op_type} gives {form.outputs}"
    for name, kind, reference, _ in attributes:
        want = form.attributes.get(name)
        if want is not None and not reference and kind not in want:
            return f"its attribute {name!r} must be " + " or ".join(_KINDS.get(k, f"of type {k}") for k in sorted(want))
    if form.needed_attributes:
        given = {name for name, *_ in attributes}
        for name in form.needed_attributes:
            if name not in given:
                return f"its attribute {name!r} is missing"
    return ""
