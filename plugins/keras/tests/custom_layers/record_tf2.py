"""Write the models of ``tf2_table`` and what TensorFlow computes to ``../data/custom_tf2``.

``TF_USE_LEGACY_KERAS=1 python record_tf2.py`` with tensorflow-cpu and tf_keras (2.21 were used) installed.
"""

import importlib
import sys
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).resolve().parent
OUT = HERE.parent / "data" / "custom_tf2"
sys.path.insert(0, str(HERE))
warnings.simplefilter("ignore")


def made(shape, inputs):
    if isinstance(shape, list):
        return [made(s, inputs) for s in shape]
    inputs.append(tf.keras.Input(shape, name=f"x{len(inputs)}"))
    return inputs[-1]


def build(module, name, config, shape):
    cls = getattr(importlib.import_module(f"tf2.{module}"), name)
    inputs = []
    if shape in ("ids", "masked"):
        inputs = [tf.keras.Input((7,), dtype="int32", name="x0")]
        x = inputs[0] if shape == "ids" else tf.keras.layers.Embedding(9, 5, mask_zero=True)(inputs[0])
        args = [x]
    else:
        args = [made(s, inputs) for s in (shape if isinstance(shape, list) else [shape])]
    return tf.keras.Model(inputs, cls(**config)(*args))


def main():
    from tf2_table import TABLE

    OUT.mkdir(parents=True, exist_ok=True)
    seen = {}
    for module, name, config, shape in TABLE:
        n = seen[name] = seen.get(name, 0) + 1
        label = name if n == 1 else f"{name}_{n}"
        tf.keras.backend.clear_session()
        rng = np.random.default_rng(len(seen))
        model = build(module, name, config, shape)
        for v in model.weights:
            a = rng.normal(0, 0.4, v.shape)
            a = rng.uniform(0.5, 2.0, v.shape) if "var" in v.name else a
            v.assign(a.astype("float32"))
        feed = {}
        for x in model.inputs:
            size = (3, *x.shape[1:])
            feed[x.name] = (
                rng.integers(0, 5, size).astype("int32") if "int" in str(x.dtype) else rng.normal(size=size).astype("float32")
            )
        model.save(OUT / f"{label}.keras")
        model.save(OUT / f"{label}.h5")
        cls = getattr(importlib.import_module(f"tf2.{module}"), name)
        model = tf.keras.models.load_model(OUT / f"{label}.keras", custom_objects={name: cls}, compile=False)
        try:
            ys = model([feed[x.name] for x in model.inputs], training=False)
            ys = ys if isinstance(ys, (list, tuple)) else [ys]
            arrays = {f"y{i}": np.asarray(y) for i, y in enumerate(ys)}
        except Exception as e:
            print(label, type(e).__name__, str(e)[:200])
            arrays = {}
        np.savez_compressed(OUT / f"{label}.npz", **feed, **arrays)
        print(label, {k: v.shape for k, v in arrays.items()})


if __name__ == "__main__":
    main()
