"""What Caffe's fillers put into a blob, for nets without weights (``--init-weights``); seeded by the parameter's name.

The distributions are Caffe's (include/caffe/filler.hpp, BVLC master); the random numbers are numpy's.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from convcore.plugin import DType, LazyTensor, Tensor

__all__ = ["KNOWN", "fill"]

KNOWN = ("constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear")


def fill(message: Any, shape: Sequence[int], constant: float, name: str, node: Any) -> Tensor:
    """A lazy tensor filled as the FillerParameter says; without one, with ``constant``. UnsupportedError: an unknown type."""
    want = tuple(shape)
    if message is None:
        return LazyTensor(lambda: np.full(want, constant, np.float32), DType.FLOAT32, want)
    kind = message.get("type")
    if kind not in KNOWN:
        raise node.refuse(f"filler type {kind!r} is unknown; known: {', '.join(KNOWN)}", code="unsupported_filler")
    if kind == "bilinear" and (len(want) != 4 or want[2] != want[3]):
        raise node.invalid(f"a bilinear filler needs a square kernel, the blob is {list(want)}")
    return LazyTensor(lambda: _values(message, want, name), DType.FLOAT32, want)


def _values(m: Any, shape: tuple[int, ...], name: str) -> Any:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    kind = m.get("type")
    count = math.prod(shape)
    num = shape[0] if shape else 1
    fan_in = count / num if num else 0
    fan_out = count / shape[1] if len(shape) > 1 and shape[1] else count
    mode = m.get("variance_norm")
    n = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[mode] or 1
    if kind == "constant":
        out = np.full(shape, m.get("value"))
    elif kind == "uniform":
        out = rng.uniform(m.get("min"), m.get("max"), shape)
    elif kind == "gaussian":
        out = rng.normal(m.get("mean"), m.get("std"), shape)
        if m.get("sparse") >= 0:
            out = out * (rng.random(shape) < min(1.0, m.get("sparse") / num))
    elif kind == "positive_unitball":
        out = rng.random((num, -1 if count == 0 else count // num))
        out = (out / out.sum(1, keepdims=True)).reshape(shape)
    elif kind == "xavier":
        out = rng.uniform(-math.sqrt(3 / n), math.sqrt(3 / n), shape)
    elif kind == "msra":
        out = rng.normal(0, math.sqrt(2 / n), shape)
    else:
        k = shape[3]
        f = math.ceil(k / 2)
        c = (2 * f - 1 - f % 2) / (2 * f)
        line = 1 - np.abs(np.arange(k) / f - c)
        out = np.broadcast_to(np.outer(line, line), shape)
    return np.asarray(out, np.float32)
