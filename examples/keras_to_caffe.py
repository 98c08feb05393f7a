"""Write a Keras network as deploy.prototxt + caffemodel. Usage: keras_to_caffe.py [OUTPUT FOLDER]"""

import sys
from pathlib import Path

import convcore

FOLDER = Path(__file__).parents[1] / "tests/data/zoo/keras2-meso4_df"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
files = (FOLDER / "architecture.json", FOLDER / "Meso4_DF.h5")

# Caffe has no layer that moves axes: inputs in the source's order (N, H, W, C) are refused
try:
    convcore.convert(files, out=out / "meso4.prototxt")
except convcore.UnsupportedError as e:
    print(f"refused: {e}\n")

# io_layout="target" takes them as Caffe users do, N, C, H, W; the kernels are moved once, no layer is added
done = convcore.convert(files, out=out / "meso4.prototxt", io_layout="target")
print(done.report)

# A prototxt is for people as well
text = done.paths[0].read_text()
print("\n" + text[text.index('layer {\n  name: "conv2d_1"') :].partition("\nlayer")[0])
