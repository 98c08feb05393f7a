"""``keras.ops`` by name, as code uses it: every expression of ``ops.txt`` as the text of a layer, against Keras's own value."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras_helpers import load_graph, problems

from convcore.interpreter.execute import Interpreter

from .judge import Verdict, differs
from .ops_cases import EXPRESSIONS, LETTERS, TORCH_IS_WRONG, feed_of, inputs_of

__all__ = ["judged", "main"]

CONSTANTS = ("RANGE", "K1", "K2", "KT", "KD", "KP", "np.")


def judged(text: str, folder: Path) -> Verdict:
    """What becomes of one expression."""
    names = inputs_of(text)
    ins = [keras.Input(batch_shape=LETTERS[n][0], dtype=LETTERS[n][1], name=n) for n in names]
    path = folder / "m.keras"
    keras.Model(ins, keras.layers.Lambda(_first, output_shape=(1,), name="it")(ins)).save(path)
    arrays = feed_of(text)(np.random.default_rng(3), 3)
    try:
        value = eval(
            text, {"O": keras.ops, "np": np, **{n: keras.ops.convert_to_tensor(a) for n, a in zip(names, arrays, strict=True)}}
        )
    except Exception as e:  # noqa: BLE001 - whatever Keras raises
        return Verdict(text, "keras", str(e)[:100])
    want = [np.asarray(keras.ops.convert_to_numpy(v)) for v in keras.tree.flatten(value)]
    got: list[Any] = []
    for k in range(len(want)):
        part = text.replace("O.", "ops.") if len(want) == 1 else f"({text.replace('O.', 'ops.')})[{k}]"
        graph = load_graph(path, options={"lambdas": [f"it=lambda {', '.join(names)}: {part}"]})
        if problems(graph):
            return Verdict(text, "refused", problems(graph)[0].why)
        got += Interpreter(graph).run(arrays)
    why = differs(got, want)
    return Verdict(text, "wrong" if why else "agree", why)


@keras.saving.register_keras_serializable(package="names")
def _first(v: Any) -> Any:
    return v[0] if isinstance(v, list) else v


def main(argv: list[str]) -> int:
    """Judge all; the exit status is how many are wrong."""
    counts: dict[str, int] = {}
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        for text in EXPRESSIONS:
            if any(c in text for c in CONSTANTS) or text in TORCH_IS_WRONG or (argv and not any(a in text for a in argv)):
                continue
            v = judged(text, Path(folder))
            counts[v.what] = counts.get(v.what, 0) + 1
            if v.what != "agree":
                sys.stdout.write(f"{v.what}: {v.name}: {v.why}\n")
    sys.stdout.write(f"{sum(counts.values())} expressions: {counts}\n")
    return counts.get("wrong", 0)
