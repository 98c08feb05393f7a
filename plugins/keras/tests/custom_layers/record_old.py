"""Write the models of ``old_table`` and what Keras computes to ``../data/custom_keras1`` and ``custom_keras2``.

``python record_old.py keras1`` with keras 1.2.2 and tensorflow 1.4.1 (Python 3.6), ``keras2`` with keras 2.2.5 and tensorflow
1.15.5 (Python 3.7); h5py 2.10 in both.
"""

import importlib
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import keras  # noqa: E402
from old_table import TABLES  # noqa: E402


def build(cls, config, shape):
    if "layer" in config:
        config = dict(config, layer=getattr(keras.layers, config["layer"])(shape[-1], activation="relu"))
    if shape == "masked":
        x = keras.layers.Input((7,), dtype="int32", name="x0")
        return keras.models.Model(x, cls(**config)(keras.layers.Embedding(9, 5, mask_zero=True)(x)))
    xs = [keras.layers.Input(s, name="x%d" % i) for i, s in enumerate(shape if isinstance(shape, list) else [shape])]
    return keras.models.Model(xs, cls(**config)(xs if isinstance(shape, list) else xs[0]))


def main():
    era = sys.argv[1]
    out = os.path.join(HERE, "..", "data", "custom_" + era)
    if not os.path.isdir(out):
        os.makedirs(out)
    layers = importlib.import_module(era + ".layers")
    seen = {}
    for name, config, shape in TABLES[era]:
        n = seen[name] = seen.get(name, 0) + 1
        label = name if n == 1 else "%s_%d" % (name, n)
        rng = np.random.RandomState(len(seen))
        model = build(getattr(layers, name), config, shape)
        model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
        feed = {}
        for x in model.inputs:
            size = (3,) + keras.backend.int_shape(x)[1:]
            whole = "int" in keras.backend.dtype(x)
            feed[x.name.split(":")[0].split("_")[0]] = (
                rng.randint(0, 5, size).astype("int32") if whole else rng.normal(size=size).astype("float32")
            )
        model.save(os.path.join(out, label + ".h5"))
        ys = model.predict([feed[k] for k in sorted(feed)])
        ys = ys if isinstance(ys, list) else [ys]
        np.savez_compressed(os.path.join(out, label + ".npz"), **dict(feed, **{"y%d" % i: y for i, y in enumerate(ys)}))
        print(label, [y.shape for y in ys])


if __name__ == "__main__":
    main()
