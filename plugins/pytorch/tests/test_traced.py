"""What tracing and scripting make of torch's own layers: one operator for a layer, sizes as tensors, loops over sizes."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convcore
from convcore.errors import UnsupportedError

CAUSAL = torch.ones(5, 5).triu(1).bool()
BATCH = torch.tensor([[False] * 5, [False, True, False, True, True], [True] * 5])  # the last one attends to nothing
HEADS = torch.rand(3, 2, 5, 5) > 0.8


class Called(torch.nn.Module):
    """A layer called with keywords that are fixed."""

    def __init__(self, layer: torch.nn.Module, **named: Any) -> None:
        super().__init__()
        self.layer, self.named = layer, named

    def forward(self, x):
        args = (x,) if isinstance(self.layer, torch.nn.TransformerEncoderLayer) else (x, x, x)
        out = self.layer(*args, **self.named)
        return out if isinstance(out, torch.Tensor) else tuple(o for o in out if o is not None)


class Softmax(torch.nn.Module):
    def __init__(self, mask: torch.Tensor, dim: int | None, kind: int | None) -> None:
        super().__init__()
        self.mask, self.dim, self.kind = mask, dim, kind

    def forward(self, x):
        return torch._masked_softmax(x, self.mask, self.dim, self.kind)


def loaded(module: torch.nn.Module, example: torch.Tensor, path: Path, **shape: Any) -> tuple[Any, list[Any], str]:
    """The traced file as it is read, what torch gives, and the code in the file."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module.eval(), example, check_trace=False)
        traced.save(str(path))
        want = module(example)
    outs = list(want) if isinstance(want, tuple) else [want]
    return convcore.load(path, input_shapes=shape or {"x": tuple(example.shape)}), outs, str(traced.inlined_graph)


LAYERS: list[tuple[str, Any]] = [
    (f"mha {sorted(named)}", (torch.nn.MultiheadAttention(6, 2, batch_first=True), named, "_native_multi_head_attention"))
    for named in (
        {}, {"need_weights": False}, {"average_attn_weights": False}, {"key_padding_mask": BATCH},
        {"attn_mask": CAUSAL, "key_padding_mask": BATCH[:, :1].expand(3, 5)}, {"key_padding_mask": BATCH, "need_weights": False},
    )
] + [
    (f"layer {first} {act} {sorted(named)}",
     (torch.nn.TransformerEncoderLayer(6, 2, 7, batch_first=True, norm_first=first, activation=act), named,
      "_transformer_encoder_layer_fwd"))
    for first, act, named in (
        (False, "relu", {}), (True, "gelu", {"src_mask": CAUSAL}), (False, "gelu", {"src_key_padding_mask": BATCH}),
    )
]  # fmt: skip


@pytest.mark.parametrize("layer, named, operator", [c for _, c in LAYERS], ids=[k for k, _ in LAYERS])
def test_layers_of_one_operator(layer: Any, named: Any, operator: str, tmp_path: Path) -> None:
    x = torch.randn(3, 5, 6)
    model, want, code = loaded(Called(layer, **named), x, tmp_path / "a.pt")
    assert f"aten::{operator}" in code and not model.problems
    got = model(x.numpy())
    got = got if isinstance(got, (list, tuple)) else [got]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask, dim, kind", [(HEADS, 3, 2), (CAUSAL, None, 0), (BATCH, -1, 1)])
def test_masked_softmax(mask: Any, dim: Any, kind: Any, tmp_path: Path) -> None:
    """True is what is masked; a row of nothing else gives nan."""
    x = torch.randn(3, 2, 5, 5)
    model, (want,), _ = loaded(Softmax(mask, dim, kind), x, tmp_path / "a.pt")
    np.testing.assert_allclose(model(x.numpy()), want.numpy(), rtol=1e-5, atol=1e-6)
    assert bool(want.isnan().any()) is (kind == 1)


class Crossed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        q = torch.nn.MultiheadAttention(6, 2, batch_first=True)
        more = (q.in_proj_weight, q.in_proj_bias, q.out_proj.weight, q.out_proj.bias)
        self.more = (6, 2, *(t.detach() for t in more))

    def forward(self, x):
        return torch._native_multi_head_attention(x, x + 1, x + 1, *self.more)[0]


def test_what_is_refused(tmp_path: Path) -> None:
    x = torch.randn(3, 2, 5, 5)
    model, _, _ = loaded(Softmax(HEADS, 2, 2), x, tmp_path / "a.pt")
    assert "along another axis than the last" in str(model.problems[0])
    model, _, _ = loaded(Crossed(), x[:, 0, :, :1].expand(3, 5, 6), tmp_path / "a.pt")
    assert "of queries that are not the keys and values" in str(model.problems[0])
    layer = torch.nn.MultiheadAttention(6, 2, batch_first=True)
    model, _, _ = loaded(Called(layer, need_weights=False), torch.randn(3, 5, 6), tmp_path / "a.pt", x=(3, 5, "wide"))
    assert "its last axis is symbolic" in str(model.problems[0])
    loaded(Softmax(HEADS, 3, 2), x, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as z, zipfile.ZipFile(tmp_path / "b.pt", "w") as w:
        for name in z.namelist():
            w.writestr(name, z.read(name).replace(b"CONSTANTS.c0, 3, 2)", b"CONSTANTS.c0, 3, 7)"))
    model = convcore.load(tmp_path / "b.pt", input_shapes={"x": (3, 2, 5, 5)})
    assert "mask_type=7 is not known" in str(model.problems[0])


class Sized(torch.nn.Module):
    """Sizes times and over constants, which tracing makes tensors of."""

    def forward(self, x):
        n, width = x.shape[0], x.shape[2]
        return x.reshape(n * 2, 3, -1), x.reshape(n, -1, width // 2), x[:, : width - 1].reshape(n + 0, -1)


def test_sizes_as_tensors(tmp_path: Path) -> None:
    x = torch.randn(3, 6, 4)
    model, _, code = loaded(Sized(), x, tmp_path / "a.pt", x=("n", 6, 4))
    assert "aten::mul" in code and "NumToTensor" in code and not model.problems
    for n in (1, 5):
        x = torch.randn(n, 6, 4)
        for a, b in zip(model(x.numpy()), Sized()(x), strict=True):
            assert np.array_equal(a, b.numpy())


class Padded(torch.nn.Module):
    """Filled up to a multiple of a size; minus a size."""

    def forward(self, x):
        high, wide = x.shape[-2:]
        whole = torch.nn.functional.pad(x, [0, (4 - wide % 4) % 4, 0, (4 - high % 4) % 4])
        return whole, x.reshape(-1, wide)[:, -(wide // 2) :] * (1 / high)


def test_what_is_missing_to_a_multiple(tmp_path: Path) -> None:
    for shape in ((3, 5, 6), (3, 8, 7)):
        x = torch.randn(*shape)
        model, want, code = loaded(Padded(), x, tmp_path / "a.pt")
        assert "aten::remainder" in code and "aten::rsub" in code and "aten::neg" in code and not model.problems
        for a, b in zip(model(x.numpy()), want, strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-6)


class Viewed(torch.nn.Module):
    """A write through a view of what a call without a rule is written into."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[torch.tensor([0, 2])] = 1
        y.view(2, 2, 6)[:, 1].zero_()
        return y


def test_a_write_through_a_view_whose_shape_is_lost(tmp_path: Path) -> None:
    torch.jit.script(Viewed().eval()).save(str(tmp_path / "a.pt"))
    with pytest.raises(UnsupportedError, match=r"the shape of .* is not known - what comes before has no rule: aten\.tensor"):
        convcore.load(tmp_path / "a.pt", input_shapes={"x": (4, 6)})


class Listed(torch.nn.Module):
    """A loop over sizes whose number follows from the number of axes; what it carries is a size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = [x.size(0) * 2, 3] + list(x.size()[1:])
        count = sizes[0]
        for i in range(len(sizes) - 2):
            count = count * sizes[i + 2]
        return torch.cat([x, x], 0).reshape(count)


def test_loops_over_sizes(tmp_path: Path) -> None:
    torch.jit.freeze(torch.jit.script(Listed().eval())).save(str(tmp_path / "a.pt"))
    model = convcore.load(tmp_path / "a.pt", input_shapes={"x": ("n", 5, 7)})
    assert "loop" not in {node.op for node in model.graph}
    for n in (1, 4):
        x = torch.randn(n, 5, 7)
        assert np.array_equal(model(x.numpy()), Listed()(x).numpy())


class Whole(torch.nn.Module):
    """A loop that carries a whole number which becomes a size, and takes the size of each axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = 1
        for i in range(x.dim() - 1):
            count = count * x.size(i + 1)
        return x.reshape(-1, count)


def test_loops_from_a_whole_number_to_a_size(tmp_path: Path) -> None:
    torch.jit.script(Whole().eval()).save(str(tmp_path / "a.pt"))
    for shape in (("n", 5, 7), (4, 5, 7)):
        model = convcore.load(tmp_path / "a.pt", input_shapes={"x": shape})
        x = torch.randn(4, 5, 7)
        assert np.array_equal(model(x.numpy()), Whole()(x).numpy())


class Axes(torch.nn.Module):
    """A loop that carries a tensor, and asks for the size of an axis by its step."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for i in range(x.dim()):
            y = y * x.size(i)
        return y


def test_the_size_of_an_axis_by_the_step_of_a_loop_is_refused(tmp_path: Path) -> None:
    torch.jit.script(Axes().eval()).save(str(tmp_path / "a.pt"))
    with pytest.raises(UnsupportedError, match="carries 'y' as float32"):
        convcore.load(tmp_path / "a.pt", input_shapes={"x": (4, 5)})


class Long(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = x.size(0)
        for _ in range(len(x.size()) * 40):
            count = count * 1
        return x.reshape(count, -1)


def test_long_loops_over_sizes_stay_loops(tmp_path: Path) -> None:
    """More steps than are written one after the other: what such a loop gives is no size, and the reshape is refused."""
    torch.jit.script(Long().eval()).save(str(tmp_path / "a.pt"))
    model = convcore.load(tmp_path / "a.pt", input_shapes={"x": ("n", 5, 7)})
    assert "depends on the data" in str(model.problems[0]) and len(model.graph) < 60
