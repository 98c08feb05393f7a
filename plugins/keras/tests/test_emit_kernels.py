"""Convolutions whose kernel is data, against the interpreter, in a file that Keras loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin

keras = pytest.importorskip("keras")


def check(op: str, shapes: list[tuple[Any, ...]], folder: Path, **attrs: Any) -> None:
    """With a batch of any size."""
    g = Graph("kernels")
    b = Builder(g, origin=Origin("test", "there", op))
    shapes = [(("batch", *s[1:]) if i == 0 else s) for i, s in enumerate(shapes)]
    values = [b.input(f"i{i}", "float32", tuple(Dim(n) if isinstance(n, str) else n for n in s)) for i, s in enumerate(shapes)]
    g.outputs = [getattr(b, op)(*values, **attrs)]
    rng = np.random.default_rng(5)
    made = convcore.convert(convcore.Model(g), "keras", folder / "m.keras", check=False, io_layout="source")
    net = keras.models.load_model(made.paths[0])
    for batch in (1, 3):
        feeds = [rng.normal(size=[batch if isinstance(n, str) else n for n in s]).astype(np.float32) for s in shapes]
        (want,) = Interpreter(g).run(feeds)
        got = keras.ops.convert_to_numpy(net(feeds))
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pads", ["same_upper", "same_lower", ((1, 2), (3, 0))])
@pytest.mark.parametrize("groups, each", [(1, 4), (2, 2), (4, 1)])
@pytest.mark.parametrize("strides, dilations", [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (3, 2)), ((2, 3), (3, 2))])
def test_computed_kernels(pads: Any, groups: int, each: int, strides: Any, dilations: Any, tmp_path: Path) -> None:
    """Of groups of one channel, of two, of all; strides with dilations, which no Keras layer has."""
    shapes = [(2, 4, 17, 19), (8 if groups == 2 else 4, each, 3, 2), (8 if groups == 2 else 4,)]
    check("conv", shapes, tmp_path, pads=pads, strides=strides, dilations=dilations, groups=groups)


def test_computed_kernels_of_one_axis(tmp_path: Path) -> None:
    check("conv", [(2, 5, 11), (5, 1, 3)], tmp_path, pads=((2, 0),), groups=5)
    check("conv", [(2, 6, 11), (3, 6, 3)], tmp_path, pads=((2, 0),))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "strides, dilations, extra", [((1, 1), (1, 1), (0, 0)), ((2, 3), (1, 1), (1, 2)), ((2, 3), (3, 2), (0, 0))]
)
def test_computed_kernels_transposed(groups: int, strides: Any, dilations: Any, extra: Any, tmp_path: Path) -> None:
    shapes = [(2, 4, 5, 7), (4, 3, 3, 2), (3 * groups,)]
    check("conv_transpose", shapes, tmp_path, pads=((1, 0), (0, 2)), strides=strides, dilations=dilations, groups=groups,
          output_padding=extra)  # fmt: skip
