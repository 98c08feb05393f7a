"""Record what TensorFlow computes of ``names_table`` in ``../data/names_tf``: ``TF_USE_LEGACY_KERAS=1 python record_names.py``."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from names_table import EXPRESSIONS

K = tf.keras.backend
OUT = Path(__file__).resolve().parent.parent / "data" / "names_tf"


def main():
    rng = np.random.default_rng(11)
    f = lambda *s: rng.normal(size=s).astype("float32")  # noqa: E731
    values = {
        "x": f(2, 3, 5),
        "y": f(2, 3, 5),
        "p": np.abs(f(2, 3, 5)) + 1.1,
        "u": np.tanh(f(2, 3, 5)),
        "m": f(2, 3),
        "q": f(2, 5, 4),
        "i": rng.integers(0, 5, (2, 3, 5)).astype("int32"),
        "b": f(2, 3, 5) > 0,
        "c": f(2, 3, 5) > 0,
        "w": f(2, 4, 6, 4),
    }
    arrays, said = {f"in_{k}": v for k, v in values.items()}, {}
    names = {"tf": tf, "K": K, **{k: tf.constant(v) for k, v in values.items()}}
    for n, text in enumerate(EXPRESSIONS):
        try:
            y = eval(text, dict(names))
        except Exception as e:
            said[text] = f"{type(e).__name__}: {str(e)[:120]}"
            continue
        ys = list(y) if isinstance(y, (list, tuple)) else [y]
        for k, v in enumerate(ys):
            arrays[f"e{n}_{k}"] = np.asarray(v)
    inputs = [tf.keras.Input(batch_shape=(2, *v.shape[1:]), dtype=str(v.dtype), name=k) for k, v in values.items()]
    model = tf.keras.Model(inputs, tf.keras.layers.Lambda(lambda v: v[0], name="f")(inputs))
    np.savez_compressed(OUT / "names.npz", **arrays)
    (OUT / "model.json").write_text(model.to_json())
    print(len(EXPRESSIONS), "expressions;", json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
