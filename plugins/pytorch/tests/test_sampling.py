"""Reading images where the data say: regions and moved kernels, beside the interpreter, differentiable and exportable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import InputError
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph

from .torch_kit import emit_model

torch = pytest.importorskip("torch")
from convcore_pytorch.runtime import open_runtime


def both(op: str, *inputs: Any, **attrs: Any) -> tuple[Any, Any, Any]:
    """The module, what it gives and what the interpreter gives."""
    g = Graph(op)
    b = Builder(g)
    node = b.node(op, [None if a is None else b.input(f"x{i}", str(a.dtype), a.shape) for i, a in enumerate(inputs)], attrs)
    g.outputs = list(node.outputs)
    feeds = [a for a in inputs if a is not None]
    module = emit_model(g).model()
    runtime = open_runtime(module)
    assert runtime is not None
    return module, runtime.run(feeds)[0], Interpreter(g).run(feeds)[0]


ROIS = np.array([[0, 1, 7, 9], [-5, 2, 20, 5], [3, 3, 3.2, 3.4], [30, 30, 40, 40], [9, 9, 2, 2]], np.float32)


@pytest.mark.parametrize("mode", ["mean", "max"])
@pytest.mark.parametrize("half_pixel", [True, False])
@pytest.mark.parametrize("samples", [0, 3])
def test_regions(mode: str, half_pixel: bool, samples: int) -> None:
    """Outside, turned round, smaller than an element."""
    x = np.random.default_rng(0).normal(size=(2, 3, 11, 13)).astype(np.float32)
    images = np.array([1, 0, 1, 0, 1])
    attrs = {"output_size": (3, 2), "scale": 0.7, "mode": mode, "half_pixel": half_pixel, "samples": samples}
    module, got, want = both("roi_align", x, ROIS, images, **attrs)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    t = torch.from_numpy(x).requires_grad_()
    module(t, torch.from_numpy(ROIS), torch.from_numpy(images)).sum().backward()
    assert t.grad is not None and bool((t.grad != 0).any())
    for images in (np.array([2, 0, 1, 0, 1]), np.array([-1, 0, 1, 0, 1])):
        with pytest.raises(InputError, match="a region of image"):
            open_runtime(module).run([x, ROIS, images])


@pytest.mark.parametrize("half_pixel", [True, False])
def test_regions_that_end_on_elements(half_pixel: bool) -> None:
    """How many points a bin has is what float32 says, as in onnxruntime: 60 * 0.1 is 6, of the double of float32's 0.1 more."""
    x = np.random.default_rng(3).normal(size=(2, 3, 17, 19)).astype(np.float32)
    starts, sizes = np.arange(0, 60, 7, dtype=np.float32), np.arange(10, 100, 10, dtype=np.float32)
    rois = np.stack([starts, starts, starts + sizes, starts + sizes], 1)
    images = np.arange(len(rois)) % 2
    scale = float(np.float32(0.1))
    _, got, want = both("roi_align", x, rois, images, output_size=(3, 2), scale=scale, half_pixel=half_pixel)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    helper = pytest.importorskip("onnx.helper")
    made = helper.make_node(
        "RoiAlign", ["x", "rois", "images"], ["y"], output_height=3, output_width=2, sampling_ratio=0, spatial_scale=scale,
        coordinate_transformation_mode="half_pixel" if half_pixel else "output_half_pixel",
    )  # fmt: skip
    values = [
        helper.make_tensor_value_info(n, t, s) for n, t, s in (("x", 1, x.shape), ("rois", 1, rois.shape), ("images", 7, [9]))
    ]
    graph = helper.make_graph([made], "g", values, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    session = pytest.importorskip("onnxruntime").InferenceSession(model.SerializeToString())
    (judge,) = session.run(None, {"x": x, "rois": rois, "images": images})
    np.testing.assert_allclose(got, judge, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_moved_kernels_of_half_precision(dtype: str) -> None:
    """An image with more elements than half precision counts; offsets of 0 make it torch's own convolution."""
    rng = np.random.default_rng(4)
    x, weight = (rng.normal(size=s).astype(DType(dtype).numpy) for s in ((1, 4, 61, 67), (5, 4, 3, 3)))
    offset = np.zeros((1, 18, 61, 67), x.dtype)
    _, got, _ = both("deform_conv", x, weight, offset, None, None, pads=((1, 1), (1, 1)))
    wide = [torch.from_numpy(a.astype(np.float64)) for a in (x, weight)]
    want = torch.nn.functional.conv2d(*wide, padding=1).numpy()
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=0.02, atol=0.1 if dtype == "bfloat16" else 0.02)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 2), (3, 0))])
def test_moved_kernels(masked: bool, pads: Any) -> None:
    """Two groups, two groups of offsets, everything of another size, offsets that lead outside."""
    rng = np.random.default_rng(1)
    (h, w), k, strides, dilations = (11, 13), (3, 2), (2, 1), (1, 3)
    oh, ow = ((n + sum(p) - (m - 1) * d - 1) // s + 1 for n, p, m, d, s in zip((h, w), pads, k, dilations, strides))
    x, weight = (rng.normal(size=s).astype(np.float32) for s in ((2, 4, h, w), (6, 2, *k)))
    offset = rng.normal(size=(2, 2 * 6 * 2, oh, ow)).astype(np.float32) * 3
    offset[0, :, 0] = np.round(offset[0, :, 0])  # exactly on elements
    bias, mask = rng.normal(size=6).astype(np.float32), rng.random((2, 2 * 6, oh, ow)).astype(np.float32)
    given = [x, weight, offset, bias if masked else None, mask if masked else None]
    attrs = {"strides": strides, "dilations": dilations, "pads": pads, "groups": 2, "offset_groups": 2}
    module, got, want = both("deform_conv", *given, **attrs)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    tensors = [torch.from_numpy(a).requires_grad_() for a in given if a is not None]
    module(*tensors).square().sum().backward()
    assert all(t.grad is not None and bool((t.grad != 0).any()) for t in tensors)
    program = torch.export.export(module, tuple(t.detach() for t in tensors))
    np.testing.assert_allclose(program.module()(*tensors).detach().numpy(), want, rtol=1e-4, atol=1e-4)
