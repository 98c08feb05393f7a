"""A Keras file run by whatever backend ``KERAS_BACKEND`` names: ``python backend_run.py FILE INPUTS.npz OUTPUTS.npz``.

Compiled, as Keras's ``predict`` and a served model are: TensorFlow in a graph whose inputs have the model's own sizes (unknown
ones unknown), JAX in ``jax.jit``; before that eagerly, and the two must agree.
"""

import sys
from typing import Any

import numpy as np


def main(path: str, inputs: str, outputs: str) -> None:
    import keras

    model = keras.models.load_model(path)
    with np.load(inputs) as z:
        arrays = [z[k] for k in z.files]

    def run(*given: Any) -> list[Any]:
        return keras.tree.flatten(model(list(given) if len(given) > 1 else given[0], training=False))

    eager = [keras.ops.convert_to_numpy(t) for t in run(*arrays)]
    got = [keras.ops.convert_to_numpy(t) for t in compiled(run, model)(*arrays)]
    for a, b in zip(eager, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4 * float(np.abs(a).max(initial=1e-6)))
    np.savez(outputs, *got)


def compiled(run: Any, model: Any) -> Any:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(run, input_signature=[tf.TensorSpec(x.shape, x.dtype) for x in model.inputs])
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(run)
    return run


if __name__ == "__main__":
    main(*sys.argv[1:])
