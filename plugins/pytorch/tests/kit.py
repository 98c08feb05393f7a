"""What the tests of the file readers share: containers made by torch, mutants, a run in a process without torch."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[3] / "tests" / "data" / "pytorch"


def bits(tensor: Any) -> Any:
    """Values of a torch tensor as numpy: float8 as float32, complex32 as complex64, bfloat16 through its bits."""
    import ml_dtypes
    import torch

    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    if "float8" in str(tensor.dtype):
        return tensor.to(torch.float32).numpy()
    return (tensor.to(torch.complex64) if tensor.dtype == torch.complex32 else tensor).numpy()


def same(mine: Any, theirs: Any) -> None:
    """Equal element types, shapes and bits."""
    expected = bits(theirs)
    got = mine.numpy()
    assert got.shape == expected.shape and got.dtype == expected.dtype, (got.shape, got.dtype, expected.shape, expected.dtype)
    if "float8" in str(theirs.dtype):  # nan in any form
        np.testing.assert_array_equal(got, expected)
        return
    assert np.ascontiguousarray(got).tobytes() == np.ascontiguousarray(expected).tobytes()


def mutants(raw: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Seeded damage: flipped bytes, cuts, doubled and exchanged runs, numbers made huge."""
    chance = random.Random(seed)
    for _ in range(count):
        out = bytearray(raw)
        for _ in range(chance.choice((1, 1, 2, 5))):
            if len(out) < 2:
                break
            at, n = chance.randrange(len(out)), chance.choice((1, 2, 4, 8, 40))
            kind = chance.randrange(6)
            if kind == 0:
                out[at] = chance.randrange(256)
            elif kind == 1:
                del out[at : at + n]
            elif kind == 2:
                out[at:at] = out[at : at + n]
            elif kind == 3:
                out[at : at + n] = b"\xff" * len(out[at : at + n])
            elif kind == 4:
                other = chance.randrange(len(out))
                out[at : at + n] = out[other : other + n]
            else:
                del out[at:]
        yield bytes(out)


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors", "onnx"):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocked())
import marshal, pickle  # numpy imports pickle: it may be there, but not be used
def never(*args, **kwargs):
    raise RuntimeError("unpickled")
pickle.load = pickle.loads = pickle.Unpickler = pickle._Unpickler = never
"""


def without_torch(code: str, *args: str, onnx: bool = False) -> str:
    """What the code prints in a process where importing torch, safetensors and (but with ``onnx``) onnx fails, and unpickling."""
    script = (BLOCK.replace(', "onnx"', "") if onnx else BLOCK) + textwrap.dedent(code)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script, *args], capture_output=True, text=True, env=env, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
