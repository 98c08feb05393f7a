"""Augmentation, lookups and other preprocessing that no rule maps."""

from __future__ import annotations

from ..layer_spec import layer

__all__: list[str] = []

layer("AugMix", "CutMix", "MixUp", "RandAugment", variables=None, training=True)
layer("AutoContrast", defaults={"value_range": (0, 255)})
layer("CategoryEncoding", defaults={"num_tokens": None, "output_mode": "multi_hot", "sparse": False})
layer("CenterCrop", defaults={"data_format": "channels_last"}, required=("height", "width"))
layer(
    "ContrastLimitedAdaptiveHistogramEqualization",
    defaults={"value_range": (0, 255), "clip_limit": 4.0, "tile_grid_size": (8, 8), "data_format": "channels_last"},
)
layer(
    "Discretization", defaults={"bin_boundaries": None, "num_bins": None, "epsilon": 0.01, "output_mode": "int", "sparse": False}
)
layer("Equalization", defaults={"value_range": (0, 255), "bins": 256, "data_format": "channels_last"})
layer("HashedCrossing", defaults={"output_mode": "int", "sparse": False}, required=("num_bins",))
layer("Hashing", defaults={"mask_value": None, "salt": None, "output_mode": "int", "sparse": False}, required=("num_bins",))
layer(
    "IntegerLookup",
    defaults={
        "max_tokens": None,
        "num_oov_indices": 1,
        "mask_token": None,
        "oov_token": -1,
        "vocabulary": None,
        "vocabulary_dtype": "int64",
        "idf_weights": None,
        "invert": False,
        "output_mode": "int",
        "sparse": False,
        "pad_to_max_tokens": False,
        "oov_method": "floormod",
        "salt": None,
    },
    variables=None,
)
layer("MaxNumBoundingBoxes", defaults={"fill_value": -1}, required=("max_number",))
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
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomContrast",
    "RandomHue",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    required=("factor",),
    training=True,
)
layer(
    "RandomColorJitter",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHeight",
    "RandomInvert",
    "RandomPerspective",
    "RandomShear",
    "RandomWidth",
    training=True,
)
layer("RandomCrop", required=("height", "width"), training=True)
layer("RandomTranslation", required=("height_factor", "width_factor"), training=True)
layer("RandomZoom", required=("height_factor",), training=True)
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
layer(
    "StringLookup",
    defaults={
        "max_tokens": None,
        "num_oov_indices": 1,
        "mask_token": None,
        "oov_token": "[UNK]",
        "vocabulary": None,
        "idf_weights": None,
        "invert": False,
        "output_mode": "int",
        "pad_to_max_tokens": False,
        "sparse": False,
        "encoding": "utf-8",
        "salt": None,
    },
    variables=None,
)
layer(
    "TextVectorization",
    defaults={
        "max_tokens": None,
        "standardize": "lower_and_strip_punctuation",
        "split": "whitespace",
        "ngrams": None,
        "output_mode": "int",
        "output_sequence_length": None,
        "pad_to_max_tokens": False,
        "vocabulary": None,
        "idf_weights": None,
        "sparse": False,
        "ragged": False,
        "encoding": "utf-8",
    },
    variables=None,
)
