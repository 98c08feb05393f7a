"""What torch raises while a program is exported, saved or run comes out as one of our errors, which names the module."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.plugin import Builder, Dim, DType, Graph, UnsupportedError

torch = pytest.importorskip("torch")

from convcore_pytorch.program import write_program
from convcore_pytorch.runtime import open_runtime, program_runtime


class Longer(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return x[2:] if x.shape[0] > 4 else x


def narrow() -> Any:
    return torch.export.export(Longer(), (torch.randn(5, 3),), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)


def test_a_guard_that_fails() -> None:
    """torch raises AssertionError("Guard failed")."""
    runtime = program_runtime(narrow(), SimpleNamespace(inputs=("x",), results=()))  # type: ignore[arg-type]
    assert runtime.run([np.zeros((7, 3), "f4")])[0].shape == (5, 3)
    with pytest.raises(UnsupportedError, match=r"\(module\): torch [\d.+a-z]* cannot run it: AssertionError: Guard failed") as e:
        runtime.run([np.zeros((3, 3), "f4")])
    assert "sizes that need not be free" in str(e.value) and [p.code for p in e.value.problems] == ["not_exportable"]


def test_a_conversion_whose_guard_fails_writes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    """The module's code is one that torch takes for sizes above 4 only."""
    from convcore_pytorch import program

    monkeypatch.setattr(program, "exported", lambda model, graph: narrow())
    g = Graph("m")
    g.outputs.append(Builder(g).relu(g.add_input("x", DType.FLOAT32, (Dim("n"), 3))))
    with pytest.raises(UnsupportedError, match="Guard failed"):
        convcore.convert(convcore.Model(g), "pytorch", tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


def test_other_exceptions(tmp_path: Path, monkeypatch: Any) -> None:
    """While saving, while a module is made of the program, and while a module runs."""

    def raises(*_: Any, **__: Any) -> Any:
        raise AssertionError("torch's own")

    monkeypatch.setattr(torch.export, "save", raises)
    with pytest.raises(UnsupportedError, match=r"cannot save the exported program: AssertionError: torch's own"):
        write_program(tmp_path / "a.pt2", narrow())
    with pytest.raises(UnsupportedError, match="cannot make a module of its program: AssertionError"):
        program_runtime(SimpleNamespace(module=raises), SimpleNamespace(inputs=("x",), results=()))  # type: ignore[arg-type]

    class Lacking(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.to(torch.float3_e1m1)

    runtime = open_runtime(Lacking())
    assert runtime is not None
    with pytest.raises(UnsupportedError, match=r"'Lacking' \(module\): torch .* cannot run it: AttributeError: .*float3_e1m1"):
        runtime.run([np.zeros(3, "f4")])


def test_a_full_disk_is_told_as_it_is(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_program(tmp_path / "a.pt2", narrow())
