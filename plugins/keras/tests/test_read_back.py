"""What the Keras writer makes of every op's samples is read by the Keras reader, and computes the same in the interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from keras_helpers import load_graph, problems

from convcore.errors import UnsupportedError
from convcore.hookspecs import EmitRequest
from convcore.host import host
from convcore.interpreter import Interpreter
from convcore.layout import assign
from convcore.opset import all_ops
from convcore.testing.samples import sample_graph
from convcore_keras.emit import emit
from convcore_keras.layout import CHANNELS_LAST as CONVENTION


@pytest.mark.parametrize("family", sorted({d.family for d in all_ops().values() if d.samples and not d.regions}))
def test_written_samples_are_read(family: str, tmp_path: Path) -> None:
    wrong: list[str] = []
    for name, decl in all_ops().items():
        if decl.family != family or decl.regions:
            continue
        for i, sample in enumerate(decl.samples):
            g, feeds = sample_graph(decl, sample, i % 2 == 1)
            if not feeds:
                continue
            want = Interpreter(g).run(feeds)
            assign(g, CONVENTION, io="source")
            try:
                emit(EmitRequest(g, tmp_path / "s.keras", {}, {}, host().rules("keras")))
            except UnsupportedError:
                continue
            back = load_graph(tmp_path / "s.keras")
            found = problems(back)
            if found:
                wrong.append(f"{name}[{i}]: {found[0]}")
                continue
            for a, b in zip(Interpreter(back).run(feeds), want, strict=True):
                same = a.shape == b.shape and a.dtype == b.dtype
                if not same or not np.allclose(a.astype(float), b.astype(float), rtol=1e-4, atol=1e-4, equal_nan=True):
                    wrong.append(f"{name}[{i}]: {a.dtype}{a.shape} instead of {b.dtype}{b.shape}, or other numbers")
    assert not wrong, "\n".join(wrong)
