"""Convert a Caffe net to ONNX, without Caffe. Usage: caffe_to_onnx.py [OUTPUT FOLDER]"""

import sys
from pathlib import Path

import numpy as np

import convcore

FOLDER = Path(__file__).parents[1] / "tests/data/zoo/caffe-ultraface-rfb-320"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
files = (FOLDER / "RFB-320.prototxt", FOLDER / "RFB-320.caffemodel")

# Faces in 320 x 240 images. The authors subtract 127 and divide by 128 before the net: make it part of the graph.
options = {"preprocessing": "apply", "mean_values": "127", "input_scale": 1 / 128}
done = convcore.convert(files, "onnx", out / "ultraface.onnx", **options)
print(done.report)

# The same net without it, against the output the real Caffe recorded
model = convcore.load(files)
inputs, recorded = np.load(FOLDER / "inputs_caffe.npz"), np.load(FOLDER / "ref_caffe.npz")
for name, result in model.run({k: inputs[k] for k in inputs.files}).items():
    error = np.abs(result - recorded[name]).max() / np.ptp(recorded[name])
    print(f"{name}: {error:.1e} of the range away from Caffe's output")
