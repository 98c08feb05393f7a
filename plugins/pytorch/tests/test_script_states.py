"""TorchScript files that keep attributes between calls, and loops: states as inputs and outputs, loops as regions."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.plugin import UnsupportedError, UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Memory(torch.nn.Module):
    """A running mean that is started over where the count says so; ``seen`` is written and never read."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(5, 5)
        self.mean = torch.zeros(1, 5)
        self.count = 0
        self.mode = "eval"
        self.seen = torch.zeros(1)

    def forward(self, x: torch.Tensor, gain: int) -> torch.Tensor:
        if self.count == 2:
            self.mean = torch.ones(1, 5)
        self.mean = self.mean * 0.5 + self.fc(x) * gain
        self.count += 1
        self.seen = x.sum().reshape(1)
        return self.mean * 2


class Growing(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache = torch.zeros(0, 3)
        self.name = "first"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.cache = torch.cat([self.cache, x])
        if self.name == "first":
            x = x + 1
        self.name = "later"
        return x


class Loops(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
        x = x.to(x.device)
        steps = 0
        big = x
        while bool(big.sum() < 50):
            big = big * 2 + 1
            steps += 1
        total = torch.zeros(3)
        half = 1.0
        for i in range(x.size(0)):
            if i % 2 == 0:
                total = total + x[i] * half
            half = half / 2 + i
            total += i
        return big / (steps + 1), total, steps


class Shrinking(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool(x.sum() > 1):
            x = x[1:]
        return x


class Seen(torch.nn.Module):
    """A tensor that is changed in a loop and read through another name after it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        z = y
        for i in range(x.size(0)):
            z += x[i]
        return y + z


def saved(model: Any, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(model.eval())
        made.save(str(path))
    return made


def test_states_are_inputs_and_outputs(tmp_path):
    model = Memory()
    saved(model, tmp_path / "a.pt")
    theirs = torch.jit.load(str(tmp_path / "a.pt"))
    mine = convcore.load(tmp_path / "a.pt", input_shapes={"x": (1, 5)}, fixed="gain=3")
    assert not mine.problems
    assert [v.name for v in mine.graph.inputs] == ["x", "count", "mean"]
    assert {v.name for v in mine.graph.outputs} == {"output", "mean_next", "count_next"}
    notes = " ".join(mine.graph.metadata["notes"])
    assert "'seen' for others to read" in notes and "input 'mean' and output 'mean_next'" in notes
    mean, count = np.zeros((1, 5), np.float32), np.asarray(0)
    for i in range(4):
        x = np.random.default_rng(i).normal(size=(1, 5)).astype("f4")
        with torch.no_grad():
            want = theirs(torch.from_numpy(x), 3).numpy()
        got, *states = mine(x, count, mean)
        by_name = dict(zip((v.name for v in mine.graph.outputs[1:]), states))
        mean, count = by_name["mean_next"], by_name["count_next"]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mean, theirs.mean.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert int(count) == theirs.count


def test_states_go_to_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    saved(Memory(), tmp_path / "a.pt")
    made = convcore.convert(tmp_path / "a.pt", to="onnx", out=tmp_path / "a.onnx", input_shapes={"x": (1, 5)}, fixed="gain=3")
    assert made.report.verdict == "ok", str(made.report)
    assert "keeps 'mean' between calls" in str(made.report)


def test_a_state_that_does_not_keep_its_form(tmp_path):
    """Every one is named, with what to give."""
    saved(Growing(), tmp_path / "a.pt")
    with pytest.raises(UnsupportedError, match=r"'name' .*a text that the model sets between calls - fix it: fixed='name="):
        convcore.load(tmp_path / "a.pt", input_shapes={"x": (2, 3)})
    with pytest.raises(UnsupportedError) as e:
        convcore.load(tmp_path / "a.pt", input_shapes={"x": (2, 3)}, fixed="name=first")
    assert [p.layer for p in e.value.problems] == ["cache", "name"]
    assert "is float32[0, 3] before a call and float32[2, 3] after it" in e.value.problems[0].why
    assert "is fixed to 'first', and the model sets it to 'later'" in e.value.problems[1].why
    for given, why in (("gone=1", "no argument and sets no attribute"), ("x", "is no name=value")):
        with pytest.raises(UsageError, match=why):
            convcore.load(tmp_path / "a.pt", input_shapes={"x": (2, 3)}, fixed=given)


def test_numbers_that_are_arguments_are_fixed(tmp_path):
    saved(Memory(), tmp_path / "a.pt")
    with pytest.raises(UnsupportedError, match=r"'gain' .*only tensors can be inputs - fix it: fixed='gain="):
        convcore.load(tmp_path / "a.pt", input_shapes={"x": (1, 5)})
    path = tmp_path / "b.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.ones(1, 3),)), path)
    with pytest.raises(UsageError, match="a pt2 file"):
        convcore.load(path, fixed="a=1")


@pytest.mark.parametrize("size", [2, 5])
def test_loops_are_regions(size, tmp_path):
    model = Loops()
    saved(model, tmp_path / "a.pt")
    mine = convcore.load(tmp_path / "a.pt", input_shapes={"x": ("steps", 3)})
    assert not mine.problems
    assert [n.op for n in mine.graph].count("loop") == 2
    for scale in (0.1, 3.0, 90.0):
        x = np.random.default_rng(size).random((size, 3)).astype("f4") * scale
        big, total, steps = mine(x)
        want = model(torch.from_numpy(x))
        np.testing.assert_allclose(big, want[0].numpy(), rtol=1e-5)
        np.testing.assert_allclose(total, want[1].numpy(), rtol=1e-5)
        assert int(steps) == want[2]


def test_a_loop_goes_to_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    saved(Loops(), tmp_path / "a.pt")
    made = convcore.convert(tmp_path / "a.pt", to="onnx", out=tmp_path / "a.onnx", input_shapes={"x": ("steps", 3)})
    assert made.report.verdict == "ok", str(made.report)


def test_loops_that_are_refused(tmp_path):
    for model, why in ((Shrinking(), "carries 'x0?' as float32.* into a step"), (Seen(), "writes into a tensor")):
        saved(model, tmp_path / "a.pt")
        with pytest.raises(UnsupportedError, match=why):
            convcore.load(tmp_path / "a.pt", input_shapes={"x": (70, 3)})
