"""Damage to HDF5 files in their own terms: texts and numbers of attributes, shapes, types and names of datasets."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import numpy as np

__all__ = ["MAGIC", "mutant"]

MAGIC = b"\x89HDF\r\n\x1a\n"


def mutant(rng: random.Random, data: bytes) -> bytes | None:
    """The file with one attribute, dataset or name changed; None where h5py cannot."""
    import h5py

    held = io.BytesIO(data)
    try:
        with h5py.File(held, "r+") as f:
            found: list[Any] = [f]
            f.visititems(lambda _, o: found.append(o))
            for _ in range(rng.choice((1, 1, 2))):
                _change(rng, f, found)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, UnicodeError):
        return None
    return held.getvalue()


def _change(rng: random.Random, file: Any, found: list[Any]) -> None:
    here = found[0] if rng.random() < 0.4 else rng.choice(found)
    if len(here.attrs) and (rng.random() < 0.6 or here is found[0]):
        name = rng.choice(list(here.attrs))
        here.attrs[name] = _attribute(rng, here.attrs[name])
    elif here.name == "/":
        here.attrs["extra"] = rng.choice((1, "x", [1.5, 2.0]))
    elif hasattr(here, "shape") and rng.random() < 0.7:
        name, value = here.name, np.asarray(here[()])
        del file[name]
        file[name] = _dataset(rng, value)
    else:
        other = rng.choice(found).name  # None: what an earlier change has replaced has no name any more
        if other and here.name and other != here.name:
            file.move(here.name, here.name + "_" if rng.random() < 0.5 else f"{here.parent.name}/{other.rpartition('/')[2]}x")


def _attribute(rng: random.Random, value: Any) -> Any:
    from tests.fuzz.mutate import mutant as any_mutant

    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(text, str):
        made = any_mutant(rng, text.encode("utf-8", "replace"), ".json" if _is_json(text) else ".py").replace(b"\0", b"")
        return made if isinstance(value, bytes) else made.decode("utf-8", "replace")
    a = np.asarray(value)
    if a.ndim == 1 and len(a):
        i = rng.randrange(len(a))
        return rng.choice((np.delete(a, i), np.concatenate([a, a[i : i + 1]]), a[::-1], a[i]))
    return rng.choice((0, -1, "x", [1, 2]))


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except ValueError:
        return False


def _dataset(rng: random.Random, a: Any) -> Any:
    kind = rng.randrange(6)
    if kind == 0:
        return a.T
    if kind == 1 and a.ndim:
        return a[:-1]
    if kind == 2:
        return a.astype(rng.choice(("f2", "f4", "f8", "i4", "i8", "u1"))) if a.dtype.kind in "fiu" else a
    if kind == 3:
        return a.reshape(-1)
    return a * 2 if kind == 4 and a.dtype.kind in "fiu" else a[None]
