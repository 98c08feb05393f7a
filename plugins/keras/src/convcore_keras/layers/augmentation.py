"""Augmentation, the input itself at inference, and preprocessing that always does something (Keras 3.15.1)."""

from __future__ import annotations

from typing import Any

from convcore.plugin import ForeignNode, Value, known_shape

from ..layer_spec import layer
from ..load_context import KerasContext
from ..ops.image import resized_images
from ..ops.shape import cut
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are

layer(
    "AugMix",
    defaults={
        "value_range": (0, 255),
        "num_chains": 3,
        "chain_depth": 3,
        "factor": 0.3,
        "alpha": 1.0,
        "all_ops": True,
        "interpolation": "bilinear",
        "data_format": "channels_last",
    },
    required=(),
    training=True,
    augments=True,
)
layer("CutMix", defaults={"factor": 1.0, "data_format": "channels_last"}, required=(), training=True, augments=True)
layer("MixUp", defaults={"alpha": 0.2, "data_format": "channels_last"}, required=(), training=True, augments=True)
layer(
    "RandAugment",
    defaults={"value_range": (0, 255), "num_ops": 2, "factor": 0.5, "interpolation": "bilinear", "data_format": "channels_last"},
    required=(),
    training=True,
    augments=True,
)
layer("RandomBrightness", defaults={"value_range": (0, 255)}, required=("factor",), training=True, augments=True)
layer(
    "RandomColorDegeneration",
    defaults={"value_range": (0, 255), "data_format": "channels_last"},
    required=("factor",),
    training=True,
    augments=True,
)
layer(
    "RandomColorJitter",
    defaults={
        "value_range": (0, 255),
        "brightness_factor": None,
        "contrast_factor": None,
        "saturation_factor": None,
        "hue_factor": None,
        "data_format": "channels_last",
    },
    required=(),
    training=True,
    augments=True,
)
layer("RandomContrast", defaults={"value_range": (0, 255)}, required=("factor",), training=True, augments=True)
layer("RandomCrop", defaults={"data_format": "channels_last"}, required=("height", "width"), training=True, augments=True)
layer(
    "RandomElasticTransform",
    defaults={
        "factor": 1.0,
        "scale": 1.0,
        "interpolation": "bilinear",
        "fill_mode": "reflect",
        "fill_value": 0.0,
        "value_range": (0, 255),
        "data_format": "channels_last",
    },
    required=(),
    training=True,
    augments=True,
)
layer(
    "RandomErasing",
    defaults={"factor": 1.0, "scale": (0.02, 0.33), "fill_value": None, "value_range": (0, 255), "data_format": "channels_last"},
    required=(),
    training=True,
    augments=True,
)
layer(
    "RandomFlip",
    defaults={"mode": "horizontal_and_vertical", "data_format": "channels_last"},
    required=(),
    training=True,
    augments=True,
)
layer(
    "RandomGaussianBlur",
    defaults={"factor": 1.0, "kernel_size": 3, "sigma": 1.0, "value_range": (0, 255), "data_format": "channels_last"},
    required=(),
    training=True,
    augments=True,
)
layer("RandomGrayscale", defaults={"factor": 0.5, "data_format": "channels_last"}, required=(), training=True, augments=True)
layer("RandomHeight", required=("factor",), training=True, augments=True, extinct=True)
layer(
    "RandomHue",
    defaults={"value_range": (0, 255), "data_format": "channels_last"},
    required=("factor",),
    training=True,
    augments=True,
)
layer(
    "RandomInvert",
    defaults={"factor": 1.0, "value_range": (0, 255), "data_format": "channels_last"},
    required=(),
    training=True,
    augments=True,
)
layer(
    "RandomPerspective",
    defaults={"factor": 1.0, "scale": 1.0, "interpolation": "bilinear", "fill_value": 0.0, "data_format": "channels_last"},
    required=(),
    training=True,
    augments=True,
)
layer(
    "RandomPosterization",
    defaults={"value_range": (0, 255), "data_format": "channels_last"},
    required=("factor",),
    training=True,
    augments=True,
)
layer(
    "RandomRotation",
    defaults={"fill_mode": "reflect", "interpolation": "bilinear", "fill_value": 0.0, "data_format": "channels_last"},
    required=("factor",),
    training=True,
    augments=True,
)
layer(
    "RandomSaturation",
    defaults={"value_range": (0, 255), "data_format": "channels_last"},
    required=("factor",),
    training=True,
    augments=True,
)
layer(
    "RandomSharpness",
    defaults={"value_range": (0, 255), "data_format": "channels_last"},
    required=("factor",),
    training=True,
    augments=True,
)
layer(
    "RandomShear",
    defaults={
        "x_factor": 0.0,
        "y_factor": 0.0,
        "interpolation": "bilinear",
        "fill_mode": "reflect",
        "fill_value": 0.0,
        "data_format": "channels_last",
    },
    required=(),
    training=True,
    augments=True,
)
layer(
    "RandomTranslation",
    defaults={"fill_mode": "reflect", "interpolation": "bilinear", "fill_value": 0.0, "data_format": "channels_last"},
    required=("height_factor", "width_factor"),
    training=True,
    augments=True,
)
layer("RandomWidth", required=("factor",), training=True, augments=True, extinct=True)
layer(
    "RandomZoom",
    defaults={
        "width_factor": None,
        "fill_mode": "reflect",
        "interpolation": "bilinear",
        "fill_value": 0.0,
        "data_format": "channels_last",
    },
    required=("height_factor",),
    training=True,
    augments=True,
)
layer("AutoContrast", defaults={"value_range": (0, 255)})
layer("CenterCrop", defaults={"data_format": "channels_last"}, required=("height", "width"))
layer(
    "ContrastLimitedAdaptiveHistogramEqualization",
    defaults={"value_range": (0, 255), "clip_limit": 4.0, "tile_grid_size": (8, 8), "data_format": "channels_last"},
)
layer("Equalization", defaults={"value_range": (0, 255), "bins": 256, "data_format": "channels_last"})
layer(
    "MelSpectrogram",
    defaults={
        "fft_length": 2048,
        "sequence_stride": 512,
        "sequence_length": None,
        "window": "hann",
        "sampling_rate": 16000,
        "num_mel_bins": 128,
        "min_freq": 20.0,
        "max_freq": None,
        "power_to_db": True,
        "top_db": 80.0,
        "mag_exp": 2.0,
        "min_power": 1e-10,
        "ref_power": 1.0,
    },
    variables=None,
)
layer("Pipeline", required=("layers",), variables=None)
layer(
    "STFTSpectrogram",
    defaults={
        "mode": "log",
        "frame_length": 256,
        "frame_step": None,
        "fft_length": None,
        "window": "hann",
        "periodic": False,
        "scaling": "density",
        "padding": "valid",
        "expand_dims": False,
        "data_format": "channels_last",
    },
    variables=None,
)
layer("Solarization", defaults={"addition_factor": 0.0, "threshold_factor": 0.0, "value_range": (0, 255)})
layer("MaxNumBoundingBoxes", defaults={"fill_value": -1}, required=("max_number",))

# ---- rules
AUGMENTATION = (
    "AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHeight", "RandomHue",
    "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness",
    "RandomShear", "RandomTranslation", "RandomWidth", "RandomZoom",
)  # fmt: skip
"""Layers that are their input unless they train (``BaseImagePreprocessingLayer``)."""


@RULES.load(*AUGMENTATION)
def augmentation(g: KerasContext, node: ForeignNode) -> Value:
    """The input itself; what the layer does in training stays in its configuration."""
    node.ignore(*(k for k in node.attrs if not k.startswith("call.")))
    return node.need(0)


@RULES.load("RandomCrop", "CenterCrop")
def crop(g: KerasContext, node: ForeignNode) -> Value:
    """CenterCrop: the middle of an image as large as asked for, rounded down; of one that is smaller the resized crop of its
    aspect ratio. RandomCrop: the image itself."""
    x, height, width = node.need(0), node.whole("height"), node.whole("width")
    first = node.attr("data_format", "channels_last") == "channels_first"
    rank = len(known_shape(x))
    axes = (rank - 2, rank - 1) if first else (rank - 3, rank - 2)
    sizes = [known_shape(x)[a] for a in axes]
    if any(not isinstance(n, int) for n in sizes):
        raise node.refuse("needs the height and width of its images, which are not known before it runs", code="unknown_shape")
    if node.type == "RandomCrop":
        if sizes != [height, width] and (g.era != "keras3" or g.version < (3, 15)):
            why = "is of images of another size, which Keras before 3.15 resizes at inference and later ones do not"
            raise node.refuse(why, "give it images of its size, or save the model again", "ambiguous_version")
        return x
    if sizes[0] < height or sizes[1] < width:
        node.attrs["crop_to_aspect_ratio"] = True
        return resized_images(g, node, x, (height, width))
    for axis, n, want in zip(axes, sizes, (height, width), strict=True):
        start = int((n - want) / 2)
        x = cut(g, x, axis, start, start + want)
    return x


@RULES.load("Solarization")
def solarization(g: KerasContext, node: ForeignNode) -> Any:
    """x plus an addition, within the range; turned round from the threshold on. Only where both factors are fixed numbers."""
    raise node.refuse("inverts at random thresholds, at inference too")


@RULES.load(
    "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "Equalization", "MaxNumBoundingBoxes", "MelSpectrogram",
    "Pipeline", "STFTSpectrogram",
)  # fmt: skip
def preprocessing(g: KerasContext, node: ForeignNode) -> Any:
    """Refused by name."""
    raise node.refuse("is preprocessing that convcore does not map", "do it before the model, or map the layer with overrides")
