"""Which layer types a flavor of Caffe has, beyond those every Caffe has."""

from __future__ import annotations

from convcore.plugin import NotExpressible

__all__ = ["DEFAULT_FLAVOR", "FLAVORS", "check_type"]

FLAVORS = ("bvlc", "ssd")
DEFAULT_FLAVOR = "bvlc"

#: Types that not every flavor has, and those that have them. bvlc is BVLC's master of 2018 and later; ssd is weiliu89's branch,
#: which left BVLC before Clip and Swish, with the ReLU6 its MobileNet ports add.
_ONLY_IN: dict[str, tuple[str, ...]] = {
    "Clip": ("bvlc",),
    "Swish": ("bvlc",),
    "Permute": ("ssd",),
    "Normalize": ("ssd",),
    "PriorBox": ("ssd",),
    "DetectionOutput": ("ssd",),
    "ReLU6": ("ssd",),
}

#: Types every flavor has.
_COMMON = frozenset(
    [
        "AbsVal", "ArgMax", "BNLL", "BatchNorm", "BatchReindex", "Bias", "Concat", "Convolution", "Crop", "Deconvolution",
        "DummyData", "Dropout", "ELU",
        "Eltwise", "Embed", "Exp", "Flatten", "Im2col", "InnerProduct", "Input", "LRN", "LSTM", "Log", "MVN",
        "PReLU", "Parameter", "Pooling", "Power", "RNN", "ReLU", "Reduction", "Reshape", "SPP", "Scale", "Sigmoid", "Silence",
        "Slice", "Softmax", "Split", "TanH", "Threshold", "Tile",
    ]
)  # fmt: skip


def check_type(type_: str, flavor: str) -> None:
    """NotExpressible when the flavor has no such layer."""
    if type_ in _COMMON:
        return
    where = _ONLY_IN.get(type_, ())
    if flavor not in where:
        elsewhere = f" (--caffe-flavor {where[0]} has it)" if where else ""
        raise NotExpressible(f"the Caffe flavor {flavor} has no layer type {type_}{elsewhere}")
