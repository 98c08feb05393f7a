"""Whole sweeps over what the real Keras makes: ``python -m sweeps ops|layers|networks`` in ``plugins/keras/tests``.

Every case is built by Keras (torch backend), saved as ``.keras``, read, run by the interpreter, converted to ONNX and run by
onnxruntime, with two batch sizes; each is compared with what Keras itself computes. The tables in ``docs/support`` are theirs.
"""
