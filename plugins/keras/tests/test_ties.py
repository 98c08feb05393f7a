"""Weights that layers share stay shared, and what is frozen stays frozen, in what Keras trains of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.errors import UnsupportedError

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
pytest.importorskip("convcore_pytorch")
from torch import nn


def written(module: Any, x: Any, out: Path, **options: Any) -> Any:
    """The module as Keras loads it from the file; both give the same."""
    torch.manual_seed(5)
    for p in module.parameters():
        p.data += 0.1 * torch.randn(p.shape)
    made = convcore.convert(module.eval(), "keras", out / "n.keras", example_inputs=(x,), io_layout="source", **options)
    assert made.report.ok and not [n for n in made.report.notes if "copy" in n or "frozen" in n]
    model = keras.models.load_model(out / "n.keras")
    want = module(x).detach().numpy()
    got = keras.ops.convert_to_numpy(model(x.numpy(), training=False))
    assert np.abs(got - want).max() < 1e-5 * np.ptp(want)
    return model


def trained(model: Any) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def numbers(module: Any) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def kinds(model: Any) -> list[str]:
    return sorted(type(x).__name__ for x in model.layers if x.weights)


class Twice(nn.Module):
    """Two modules of one weight and bias."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
        self.b.weight = self.a.weight
        if both:
            self.b.bias = self.a.bias

    def forward(self, x: Any) -> Any:
        return self.b(torch.tanh(self.a(x)))


def test_modules_of_the_same_weights_are_one_layer(tmp_path: Path) -> None:
    module = Twice(True)
    model = written(module, torch.randn(2, 5), tmp_path)
    assert kinds(model) == ["Dense"] and trained(model) == numbers(module) == 30


def test_a_part_that_is_shared_is_a_copy_and_said(tmp_path: Path) -> None:
    made = convcore.convert(Twice(False).eval(), "keras", tmp_path / "n.keras", example_inputs=(torch.randn(2, 5),))
    assert [n for n in made.report.notes if "a.weight is shared by a and b: each has a copy of its own" in n]


class Language(nn.Module):
    """A language model whose output is its table, in a module of its own, with or without an offset."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Embedding(13, 7), nn.Linear(7, 7), nn.Tanh())
        self.head = nn.Linear(7, 13, bias=bias)
        self.head.weight = self.body[0].weight

    def forward(self, ids: Any) -> Any:
        return self.head(self.body(ids))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_table_that_is_the_output_too(tmp_path: Path, bias: bool, flat: bool) -> None:
    module = Language(bias)
    ids = torch.randint(0, 13, (2, 5), generator=torch.Generator().manual_seed(1))
    model = written(module, ids, tmp_path, flat=flat)
    (table,) = [x for x in model._flatten_layers() if type(x).__name__ == "ReversibleEmbedding"]
    assert len(table._inbound_nodes) == 2 and trained(model) == numbers(module)
    again = convcore.convert(tmp_path / "n.keras", "pytorch", tmp_path / "n.py")
    assert again.report.ok and numbers(again.model) == numbers(module)


def test_a_table_that_is_computed_with_otherwise_is_no_reversible_one(tmp_path: Path) -> None:
    class Also(Language):
        def forward(self, ids: Any) -> Any:
            h = self.body(ids)
            return self.head(h) + (h.unsqueeze(-2) * self.head.weight).sum(-1)

    module = Also(False).eval()
    made = convcore.convert(module, "keras", tmp_path / "n.keras", example_inputs=(torch.zeros(2, 5, dtype=torch.int64),))
    assert made.report.ok and any("is shared by" in n for n in made.report.notes)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: nn.Linear(5, 7), (2, 5)),
        (lambda: nn.Conv2d(5, 7, 3, padding=1), (2, 5, 6, 4)),
        (lambda: nn.Conv1d(5, 10, 3, groups=5), (2, 5, 6)),
        (lambda: nn.ConvTranspose2d(5, 7, 2, 2), (2, 5, 6, 4)),
        (lambda: nn.BatchNorm2d(5), (2, 5, 6, 4)),
        (lambda: nn.LayerNorm(5), (2, 3, 5)),
        (lambda: nn.GroupNorm(5, 5), (2, 5, 6, 4)),
    ],
)
def test_what_is_frozen_in_part(tmp_path: Path, layer: Any, shape: tuple[int, ...], frozen: str) -> None:
    module = nn.Sequential(layer())
    getattr(module[0], frozen).requires_grad_(False)
    model = written(module, torch.randn(shape, generator=torch.Generator().manual_seed(2)), tmp_path)
    assert trained(model) == numbers(module) > 0
    if isinstance(module[0], nn.BatchNorm2d):
        assert "BatchNormalization" in kinds(model)


def test_what_cannot_be_frozen_in_part_is_refused(tmp_path: Path) -> None:
    """Steps of a known number are written out, which any freezing survives; of any number they would be a loop."""
    module = nn.LSTM(5, 7, batch_first=True).eval()
    module.weight_hh_l0.requires_grad_(False)
    any_length = {"example_inputs": (torch.randn(2, 3, 5),), "input_shapes": {"input": ("N", "T", 5)}}
    with pytest.raises(UnsupportedError, match="a part of its weights is frozen, and Keras freezes whole layers") as e:
        convcore.convert(module, "keras", tmp_path / "n.keras", **any_length)
    assert len(e.value.problems) == 1 and not list(tmp_path.iterdir())
    module.weight_hh_l0.requires_grad_(True)
    convcore.convert(module, "keras", tmp_path / "n.keras", **any_length)
    assert kinds(keras.models.load_model(tmp_path / "n.keras")) == ["LSTM"]


class Block(nn.Module):
    """One activation used twice, and sums that no module is."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.act = nn.Linear(5, 5), nn.Linear(5, 5), nn.ReLU()

    def forward(self, x: Any) -> Any:
        y = self.act(self.a(x) + x)
        return self.act(self.b(y) + y) + x


def test_sums_of_one_block_are_layers_of_their_own(tmp_path: Path) -> None:
    """So that ``get_layer(name).output`` is one tensor; a module that is called twice stays one layer."""
    model = written(Block(), torch.randn(2, 5, generator=torch.Generator().manual_seed(2)), tmp_path)
    calls = {x.name: (type(x).__name__, len(x._inbound_nodes)) for x in model.layers}
    assert sorted(calls.values()) == [("Add", 1)] * 3 + [("Dense", 1)] * 2 + [("InputLayer", 1), ("ReLU", 2)]


def test_a_layer_without_weights_that_is_called_twice_stays_one(tmp_path: Path) -> None:
    x, add = keras.Input((5,)), keras.layers.Add(name="sum")
    y = add([x, keras.layers.ReLU()(x)])
    keras.Model(x, add([y, keras.layers.Activation("tanh")(y)])).save(tmp_path / "m.keras")
    assert convcore.convert(tmp_path / "m.keras", "keras", tmp_path / "n.keras").report.ok
    model = keras.models.load_model(tmp_path / "n.keras")
    assert {len(x._inbound_nodes) for x in model.layers if isinstance(x, keras.layers.Add)} == {2}


class Ends(nn.Module):
    """The last states of both directions as one vector: forward first, backward first, or each once more."""

    def __init__(self, kind: Any, how: str) -> None:
        super().__init__()
        self.rnn, self.how = kind(3, 5, batch_first=True, bidirectional=True), how

    def forward(self, x: Any) -> Any:
        h = self.rnn(x)[1]
        h = h[0] if isinstance(h, tuple) else h
        forward = {"turned": lambda: h.transpose(0, 1).reshape(-1, 10), "joined": lambda: torch.cat([h[0], h[1]], 1),
                   "swapped": lambda: torch.cat([h[1], h[0]], 1),
                   "read twice": lambda: torch.cat([h[0], h[1]], 1) + h[0].sum()}  # fmt: skip
        return forward[self.how]()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("how", ["turned", "joined", "swapped", "read twice"])
def test_last_states_of_both_directions(tmp_path: Path, kind: Any, how: str) -> None:
    """Forward first they are what Bidirectional gives; else they are made of the states."""
    model = written(Ends(kind, how), torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(3)), tmp_path)
    (layer,) = [x for x in model.layers if isinstance(x, keras.layers.Bidirectional)]
    assert layer.return_state == (how not in ("turned", "joined"))
    assert how not in ("turned", "joined") or len(model.operations) == 2


class Widened(nn.Module):
    """One row beside a batch, then what asks Keras for the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 5, 5))

    def forward(self, x: Any) -> Any:
        y = x + self.bias
        return y.view(-1, 15)


def test_a_row_beside_a_batch_is_no_layer(tmp_path: Path) -> None:
    """``Add`` would say that the result's batch is 1."""
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    model = written(Widened(), x, tmp_path)
    assert model.output_shape == (None, 15) and "Add" not in {type(x).__name__ for x in model.layers}
