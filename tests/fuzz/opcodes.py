"""Damage to pickles: opcodes dropped, doubled, exchanged, and their arguments changed, with the rest of the stream whole."""

from __future__ import annotations

import pickletools
import random

__all__ = ["mutant"]


def mutant(rng: random.Random, data: bytes) -> bytes | None:
    """The stream with one or two opcodes of one of its pickles changed, the rest as it is; None where there is none."""
    pickles = _pickles(data)
    if not pickles:
        return None
    starts, end = rng.choices(pickles, [len(p[0]) for p in pickles])[0]
    parts = [bytearray(data[a:b]) for a, b in zip(starts, [*starts[1:], end])]
    for _ in range(rng.choice((1, 1, 2))):
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind, part = rng.randrange(8), parts[i]
        if kind == 0:
            parts[i] = bytearray()
        elif kind == 1:
            parts[i] = part * 2
        elif kind == 2:
            parts[i] = parts[j]
        elif kind == 3:
            parts[i], parts[j] = parts[j], part
        elif len(part) > 1:
            part[rng.randrange(1, len(part))] ^= 1 << rng.randrange(8)
        elif part:
            part[0] = data[starts[j]]
    return data[: starts[0]] + b"".join(parts) + data[end:]


def _pickles(data: bytes) -> list[tuple[list[int], int]]:
    """Where the opcodes of each pickle at the front of the file begin, and where it ends."""
    out: list[tuple[list[int], int]] = []
    at = 0
    while data[at : at + 1] == b"\x80":
        try:
            starts = [at + i for _, _, i in pickletools.genops(data[at:]) if i is not None]
        except (ValueError, UnicodeError, IndexError, OverflowError, AttributeError):
            break
        at = starts[-1] + 1
        out.append((starts, at))
    return out
