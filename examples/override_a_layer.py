"""Give a layer that only code defines its meaning for one call. Usage: override_a_layer.py [OUTPUT FOLDER]

textgenrnn's network holds a custom layer, of which a file has the weights but not the computation. convcore refuses it by name
(a Lambda likewise: its bytecode is never run) until the caller says what it computes.
"""

import sys
from pathlib import Path

import numpy as np

import convcore

FOLDER = Path(__file__).parents[1] / "tests/data/zoo/keras2-textgenrnn"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
files = (FOLDER / "architecture.json", FOLDER / "textgenrnn_weights.hdf5")

try:
    convcore.convert(files, out=out / "textgenrnn.onnx")
except convcore.UnsupportedError as e:
    print(f"refused: {e.problems[0]}\n")


def attention(g, node):
    """AttentionWeightedAverage: the mean over time, weighted by softmax(x . w)."""
    x = node.input(0)  # (batch, time, channels)
    w = g.weight(node, "w", node.weights["0"])  # (channels, 1)
    return g.b.sum(g.b.mul(x, g.b.softmax(g.b.matmul(x, w), axis=1)), axes=(1,), keepdims=False)


inputs = np.load(FOLDER / "inputs.npz")["in0"]
done = convcore.convert(
    files, out=out / "textgenrnn.onnx", overrides={"attention": attention}, example_inputs=[inputs.astype(np.float32)]
)
print(done.report)

# What Keras computed with the authors' layer
model = convcore.load(files, overrides={"attention": attention})
recorded = np.load(FOLDER / "ref.npz")["out0"]
print(f"\nlargest difference to Keras's own output: {np.abs(model(inputs) - recorded).max():.1e}")
