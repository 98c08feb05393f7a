"""What source is refused for, word for word, and what stands just inside the limit, in files of several versions of Keras."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import keras
import pytest
from test_code_python import by_source

from convcore.errors import UnsupportedError
from convcore_keras.code.domain import CodeRefused

TABLE = json.loads((Path(__file__).parent / "data" / "code_told.json").read_text("utf-8"))
"""Bodies by what they are refused with, or give; in front of some the era and version of the file, or "made": not while the layer
is called."""


def found(text: str) -> tuple[str, str]:
    """ "told" and why, or "taken" and the result as text."""
    given = re.match(r"(?:(keras1|keras2|tf\.keras) ([\d.]+) |(made) )?", text)
    assert given is not None
    body = "".join(f"    {line}\n" for line in text[given.end() :].split("\n"))
    file = (given[1] or "keras3", given[2] or "3.15.0", given[3] is None)
    try:
        made = by_source(f"def f(x, v, i, m):\n{body}", "x, v, i, m", *file)
    except CodeRefused as e:
        return "told", re.sub(r"(fails|not there|no order|do not fit): .*", r"\1", e.why)  # Python's and numpy's own words
    except UnsupportedError as e:
        return "told", "; ".join(p.why for p in e.problems)
    return "taken", re.sub(r" object at 0x\w+", "", str(made))


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("what", ["told", "taken"])
@pytest.mark.parametrize("part", range(8))
def test_what_source_is_refused_for(what: str, part: int) -> None:
    assert len(TABLE[what]) > 100
    for text, want in list(TABLE[what].items())[part::8]:
        assert found(text) == (what, want), text


ATTRIBUTES = [
    "ZeroPadding2D(1).padding", "ZeroPadding1D(2).padding", "ZeroPadding2D((1, 2)).padding", "Cropping1D(1).cropping",
    "ZeroPadding3D(((1, 2), (0, 3), (1, 1))).padding", "Cropping2D(2).cropping", "UpSampling1D(3).size", "UpSampling2D(3).size",
    "MaxPooling1D(2).pool_size", "MaxPooling2D(2).strides", "AveragePooling3D(2, strides=3).strides", "Conv1D(3, 2).kernel_size",
    "Conv2D(3, (2, 5), padding='SAME').padding", "Conv2D(3, (2, 5)).kernel_size", "Conv3D(3, 2).dilation_rate",
    "Conv2DTranspose(3, 2, strides=2, output_padding=1).output_padding", "SeparableConv1D(3, 2, strides=2).strides",
    "Dense(3).units", "Dense(3, name='q').name", "Dense(3, trainable=False).trainable", "Dense(3).trainable",
    "Dropout(0.25).rate", "Reshape((3, -1)).target_shape", "Permute((2, 1)).dims", "Embedding(7, 3).output_dim",
    "LayerNormalization(epsilon=0.5).epsilon", "ReLU(max_value=3.0).max_value",
]  # fmt: skip


@pytest.mark.parametrize("text", ATTRIBUTES)
def test_attributes_of_layers_are_keras_s(text: str) -> None:
    """Of a layer that the source makes, as ``keras.layers`` has them."""
    got: Any = by_source(f"def f(x, v, i, m):\n    return keras.layers.{text}\n", "x, v, i, m", settling=False)
    assert got == eval(f"keras.layers.{text}", {"keras": keras})
