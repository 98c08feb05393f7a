"""Custom layers of tf.keras (``custom_layers/tf2``) against what TensorFlow computed (``data/custom_tf2``, ``record_tf2.py``)."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from keras_helpers import load_graph, problems

import convcore
from convcore.interpreter.execute import Interpreter

from .judge import Verdict, differs

__all__ = ["labels", "recorded"]

HERE = Path(__file__).resolve().parents[1]
DATA = HERE / "data" / "custom_tf2"
SOURCE = HERE / "custom_layers" / "tf2"


def labels() -> list[str]:
    """Every recorded layer."""
    return sorted(p.stem for p in DATA.glob("*.npz"))


def recorded(label: str, targets: Sequence[str] = ()) -> Verdict:
    """What becomes of a recorded model, in both of its forms, and in targets."""
    arrays = np.load(DATA / f"{label}.npz")
    feed = [arrays[k] for k in sorted(arrays.files) if k.startswith("x")]
    want = [arrays[k] for k in sorted(arrays.files) if k.startswith("y")]
    for form in (".keras", ".h5"):
        path = DATA / f"{label}{form}"
        try:
            graph = load_graph(path, options={"custom": [str(SOURCE)]})
        except convcore.UnsupportedError as e:
            return Verdict(label, "refused", f"{form}: " + "; ".join(p.why for p in e.problems))
        found = problems(graph)
        if found:
            return Verdict(label, "refused", f"{form}: " + "; ".join(dict.fromkeys(p.why for p in found)))
        why = differs(Interpreter(graph).run(feed), want)
        if why:
            return Verdict(label, "wrong", f"{form}: {why}")
    for target in targets:
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = convcore.convert(
                    str(DATA / f"{label}.keras"), target, f"{folder}/m{_SUFFIX[target]}", custom=[str(SOURCE)]
                )
            except convcore.UnsupportedError as e:
                return Verdict(label, target, "; ".join(p.why for p in e.problems))
            except convcore.MismatchError as e:
                return Verdict(label, "wrong", f"{target}: {e}")
            if not done.report.ok:
                return Verdict(label, "wrong", f"{target}: {done.report}")
    return Verdict(label, "agree")


_SUFFIX = {"onnx": ".onnx", "pytorch": ".py", "keras": ".keras"}


def main(argv: list[str]) -> int:
    """Judge all recorded layers; the exit status is how many are wrong."""
    wrong, counts = 0, dict[str, int]()
    for label in labels():
        if argv and not any(a in label for a in argv if not a.startswith("-")) and any(not a.startswith("-") for a in argv):
            continue
        v = recorded(label, [a[2:] for a in argv if a.startswith("--")])
        counts[v.what] = counts.get(v.what, 0) + 1
        wrong += v.what == "wrong"
        if v.what != "agree":
            sys.stdout.write(f"{v.what}: {v.name}: {v.why}\n")
    sys.stdout.write(f"{sum(counts.values())} layers: {counts}\n")
    return wrong
