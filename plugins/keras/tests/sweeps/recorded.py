"""Custom layers against what their own Keras computed: tf.keras (``custom_layers/tf2``, ``data/custom_tf2``, ``record_tf2.py``),
Keras 2.2.5 and Keras 1.2.2 (``custom_layers/keras2`` and ``keras1``, ``record_old.py``)."""

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
ERAS = ("tf2", "keras2", "keras1")
DATA = HERE / "data" / "custom_tf2"
SOURCE = HERE / "custom_layers" / "tf2"


def labels() -> list[str]:
    """Every recorded layer, as ``era/Name``; those of tf.keras by their name alone."""
    found = [f"{era}/{p.stem}" for era in ERAS for p in sorted((HERE / "data" / f"custom_{era}").glob("*.npz"))]
    return [x.removeprefix("tf2/") for x in found]


def recorded(label: str, targets: Sequence[str] = ()) -> Verdict:
    """What becomes of a recorded model, in the forms that its Keras writes, and in targets."""
    era, _, name = label.rpartition("/")
    source = [str(HERE / "custom_layers" / (era or "tf2"))]
    data = HERE / "data" / f"custom_{era or 'tf2'}"
    forms = [f for f in (".keras", ".h5") if (data / f"{name}{f}").exists()]
    arrays = np.load(data / f"{name}.npz")
    feed = [arrays[k] for k in sorted(arrays.files) if k.startswith("x")]
    want = [arrays[k] for k in sorted(arrays.files) if k.startswith("y")]
    for form in forms:
        path = data / f"{name}{form}"
        try:
            graph = load_graph(path, options={"custom": source})
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
                done = convcore.convert(str(data / f"{name}{forms[0]}"), target, f"{folder}/m{_SUFFIX[target]}", custom=source)
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
