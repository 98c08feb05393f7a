"""Augmentation, the input itself at inference, and preprocessing that always does something (Keras 3.15.1)."""

from __future__ import annotations

from typing import Any

from convcore.plugin import ForeignNode, Value, ask_override, known_shape

from ..layer_spec import CHOICES, layer
from ..load_context import KerasContext
from ..ops.image import resized_images
from ..ops.shape import cut
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are

_SHARED: dict[str, Any] = {
    "value_range": (0, 255), "interpolation": "bilinear", "fill_mode": "reflect", "fill_value": 0.0,
    "data_format": "channels_last",
}  # fmt: skip
_RANDOM: dict[str, tuple[str, str, dict[str, Any]]] = {
    "AugMix": ("", "value_range interpolation data_format", {"num_chains": 3, "chain_depth": 3, "factor": 0.3, "alpha": 1.0,
        "all_ops": True}),
    "CutMix": ("", "data_format", {"factor": 1.0}),
    "MixUp": ("", "data_format", {"alpha": 0.2}),
    "RandAugment": ("", "value_range interpolation data_format", {"num_ops": 2, "factor": 0.5}),
    "RandomBrightness": ("factor", "value_range", {}),
    "RandomColorDegeneration": ("factor", "value_range data_format", {}),
    "RandomColorJitter": ("", "value_range data_format", {"brightness_factor": None, "contrast_factor": None,
        "saturation_factor": None, "hue_factor": None}),
    "RandomContrast": ("factor", "value_range", {}),
    "RandomCrop": ("height width", "data_format", {}),
    "RandomElasticTransform": ("", "interpolation fill_mode fill_value value_range data_format", {"factor": 1.0, "scale": 1.0}),
    "RandomErasing": ("", "value_range data_format", {"factor": 1.0, "scale": (0.02, 0.33), "fill_value": None}),
    "RandomFlip": ("", "data_format", {"mode": "horizontal_and_vertical"}),
    "RandomGaussianBlur": ("", "value_range data_format", {"factor": 1.0, "kernel_size": 3, "sigma": 1.0}),
    "RandomGrayscale": ("", "data_format", {"factor": 0.5}),
    "RandomHue": ("factor", "value_range data_format", {}),
    "RandomInvert": ("", "value_range data_format", {"factor": 1.0}),
    "RandomPerspective": ("", "interpolation fill_value data_format", {"factor": 1.0, "scale": 1.0}),
    "RandomPosterization": ("factor", "value_range data_format", {}),
    "RandomRotation": ("factor", "fill_mode interpolation fill_value data_format", {}),
    "RandomSaturation": ("factor", "value_range data_format", {}),
    "RandomSharpness": ("factor", "value_range data_format", {}),
    "RandomShear": ("", "interpolation fill_mode fill_value data_format", {"x_factor": 0.0, "y_factor": 0.0}),
    "RandomTranslation": ("height_factor width_factor", "fill_mode interpolation fill_value data_format", {}),
    "RandomZoom": ("height_factor", "fill_mode interpolation fill_value data_format", {"width_factor": None}),
}  # fmt: skip
"""Layers that are their input unless they train: what must be given, defaults that several share, and their own."""
_CHOICES: dict[str, dict[str, tuple[object, ...]]] = {
    "RandomElasticTransform": {"fill_mode": (*CHOICES["fill_mode"], "mirror")},
    "RandomFlip": {"mode": ("horizontal", "vertical", "horizontal_and_vertical")},
}
for _name, (_required, _shared, _own) in _RANDOM.items():
    _defaults = {**_own, **{k: _SHARED[k] for k in _shared.split()}}
    _choices = _CHOICES.get(_name, {})
    layer(_name, defaults=_defaults, required=tuple(_required.split()), choices=_choices, training=True, augments=True)
layer("RandomHeight", "RandomWidth", required=("factor",), training=True, augments=True, extinct=True)
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
    choices={
        "mode": ("log", "magnitude", "psd", "real", "imag", "angle", "stft"),
        "scaling": ("density", "spectrum", None),
    },
    variables=None,
)
layer("Solarization", defaults={"addition_factor": 0.0, "threshold_factor": 0.0, "value_range": (0, 255)})
layer("MaxNumBoundingBoxes", defaults={"fill_value": -1}, required=("max_number",))


# ---- rules
@RULES.load(*(n for n in _RANDOM if n != "RandomCrop"), "RandomHeight", "RandomWidth")
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
    raise node.refuse(
        "is preprocessing that convcore does not map", f"do it before the model, or map the layer: {ask_override(node.name)}"
    )
