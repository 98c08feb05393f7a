"""Convert a Caffe net to a Keras 3 file, without Caffe or Keras. Usage: caffe_to_keras.py [OUTPUT FOLDER]"""

import sys
from pathlib import Path

import convcore

FOLDER = Path(__file__).parents[1] / "tests/data/zoo/caffe-ultraface-rfb-320"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

done = convcore.convert((FOLDER / "RFB-320.prototxt", FOLDER / "RFB-320.caffemodel"), "keras", out / "ultraface.keras")
print(done.report)

# What Keras users expect: images with their channels last. keras.models.load_model(path) opens the file, no custom objects
# needed; where Keras is not installed, convcore reads it back.
model = convcore.load(done.paths[0])
print("inputs:", *model.inputs)
