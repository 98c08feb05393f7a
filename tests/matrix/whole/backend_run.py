"""A Keras file run by whatever backend ``KERAS_BACKEND`` names: ``python backend_run.py FILE INPUTS.npz OUTPUTS.npz``."""

import sys

import numpy as np


def main(path: str, inputs: str, outputs: str) -> None:
    import keras

    model = keras.models.load_model(path)
    with np.load(inputs) as z:
        arrays = [z[k] for k in z.files]
    got = model(arrays if len(arrays) > 1 else arrays[0], training=False)
    np.savez(outputs, *(keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(got)))


if __name__ == "__main__":
    main(*sys.argv[1:])
