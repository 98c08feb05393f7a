"""The check of a module compares what its layers give, not its outputs alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.model import Model

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(11)


def dense(b: Builder, name: str, x: Any, out: int, w: Any = None) -> Any:
    with b.at(Origin("test", name, "Dense"), b.graph.scope(name, "Dense")):
        weight = RNG.standard_normal((out, x.shape[-1])).astype(np.float32) if w is None else w
        if not hasattr(weight, "tensor"):
            weight = b.weight(weight, f"{name}/w", trainable=True, role="parameter")
        return b.linear(x, weight)


def saturated() -> Graph:
    """Three layers behind which a softmax says the same whatever they compute."""
    g = Graph("net")
    b = Builder(g)
    x = b.relu(dense(b, "first", b.input("x", DType.FLOAT32, (Dim("N"), 5)), 7))
    x = b.relu(dense(b, "second", x, 11))
    sides = np.asarray([[-1], [1], [-1]], np.float32) * RNG.uniform(100, 200, (3, 11)).astype(np.float32)
    g.outputs = [b.softmax(dense(b, "last", x, 3, sides), axis=1)]
    return g


@pytest.mark.parametrize("file", ["m.py", "m.safetensors", "m.pth", None])
def test_layers_before_a_saturated_end_are_compared(tmp_path: Path, file: str | None) -> None:
    report = convcore.convert(Model(saturated()), "pytorch", file and tmp_path / file).report
    assert report.layers["compared"] >= 4 and report.layers["covered"] >= 2
    assert not any("first" in w or "second" in w for w in report.weak)


@pytest.mark.parametrize("file", ["m.py", None])
def test_a_layer_that_is_wrong_inside_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str | None) -> None:
    """The outputs are the same to the last bit: only the values between show that a weight is not what it was."""
    from convcore_pytorch import runtime, weights

    if file is None:
        made = runtime.live

        def live(code: Any) -> Any:
            model = made(code)
            with torch.no_grad():
                model.second.weight.mul_(1.5)
            return model

        monkeypatch.setattr(runtime, "live", live)
    else:
        written = weights.write_safetensors

        def write(path: Any, states: Any, metadata: Any) -> None:
            for k, s in states.items():
                if k.startswith("second"):
                    s.tensor = s.tensor.map(lambda a: a * np.float32(1.5))
            written(path, states, metadata)

        monkeypatch.setattr("convcore_pytorch.emit.write_safetensors", write)
    with pytest.raises(convcore.MismatchError, match="second"):
        convcore.convert(Model(saturated()), "pytorch", file and tmp_path / file)


def test_shared_layers_and_blocks_recurrences_and_regions() -> None:
    """One module called twice, a recurrence with three results, a layer that a loop calls, too: no false alarm."""
    g = Graph("net")
    b = Builder(g)
    x = b.input("x", DType.FLOAT32, (Dim("N"), 5, 7))
    shared = b.weight(RNG.standard_normal((7, 7)).astype(np.float32), "shared/w", trainable=True, role="parameter")
    y = b.tanh(dense(b, "shared", x, 7, shared))
    y = b.tanh(dense(b, "shared", y, 7, shared))
    with b.at(Origin("test", "rec", "LSTM"), g.scope("rec", "LSTM")):
        w, r = (b.weight(RNG.standard_normal((1, 12, n)).astype(np.float32) * 0.3, f"rec/{n}") for n in (7, 3))
        y, h, c = b.lstm(y, w, r, b.weight(np.zeros((1, 12), np.float32), "rec/b"), hidden=3)
    inner = Graph("step")
    i = Builder(inner)
    _, go, state = i.input("t", DType.INT64, ()), i.input("go", DType.BOOL, ()), i.input("s", DType.FLOAT32, (Dim("N"), 5, 3))
    loop_w = RNG.standard_normal((3, 3)).astype(np.float32)
    inner.outputs = [go, i.tanh(dense(i, "inner", state, 3, loop_w))]
    trips = b.input("trips", DType.INT64, ())
    (y,) = b.loop(trips, None, y, regions=[inner], n_states=1)
    g.outputs = [y, h, c]
    report = convcore.convert(
        Model(g), "pytorch", example_inputs={"x": RNG.standard_normal((2, 5, 7)).astype("f4"), "trips": 3}
    ).report
    assert report.ok and report.verified and report.layers["compared"] >= 5, str(report)


def test_hooks_go_when_the_run_is_over() -> None:
    made = convcore.convert(Model(saturated()), "pytorch")
    assert not any(m._forward_hooks for m in made.model.modules())
