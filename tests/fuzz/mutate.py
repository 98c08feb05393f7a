"""Damage to files, made again from a seed: bytes anywhere, values of JSON, pieces of text, members of archives."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from typing import Any

__all__ = ["mutant"]

_BYTES = (0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x5C, 0x7B)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 10**6, 10**18, 1.5, -1e30, "", "x", "float32", "\ud800", [], [1], [[1]], {}, {"a": 1},
    {"class_name": "__tuple__", "items": [1]}, {"class_name": "__numpy__", "config": {"value": [1], "dtype": "float32"}},
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]+|-?\d+(?:\.\d+)?|[{}\[\]:,\"]")


def mutant(rng: random.Random, data: bytes, text: bool) -> bytes:
    """The file with one to four places changed, of four archives three inside one member, of four safetensors three in the
    header."""
    if zipfile.is_zipfile(io.BytesIO(data)) and rng.random() < 0.75:
        return _member(rng, data)
    if (size := _header(data)) and rng.random() < 0.75:
        head = mutant(rng, data[8 : 8 + size], True)
        return struct.pack("<Q", len(head)) + head + data[8 + size :]
    try:
        tree = json.loads(data) if text and rng.random() < 0.8 else None
    except ValueError:
        tree = None
    if tree is not None:
        for _ in range(rng.randint(1, 3)):
            _json(rng, tree)
        return json.dumps(tree).encode()
    if text and rng.random() < 0.8:
        return _text(rng, data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        _bytes(rng, out)
    return bytes(out)


def _member(rng: random.Random, data: bytes) -> bytes:
    """An archive whole around one damaged member; text, JSON and pickles before numbers."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        held = {i: old.read(i) for i in old.infolist()}
    names = [i for i in held if "data/" not in i.filename and "/weights/" not in i.filename] or list(held)
    chosen, out = rng.choice(names), io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for i, content in held.items():
            changed = mutant(rng, content, i.filename.endswith((".json", ".py"))) if i is chosen else content
            new.writestr(i.filename, changed, zipfile.ZIP_STORED)
    return out.getvalue()


def _header(data: bytes) -> int:
    """The length of the header of a safetensors file; 0 where it is none."""
    size = struct.unpack("<Q", data[:8])[0] if len(data) > 9 and data[8:9] == b"{" else 0
    return size if size < len(data) - 8 else 0


def _json(rng: random.Random, tree: Any) -> None:
    at = tree
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.85:
            at = at[key]
            continue
        if rng.random() < 0.2:
            del at[key]
        else:
            at[key] = rng.choice(_VALUES)
        return


def _text(rng: random.Random, text: str) -> str:
    words = list(_WORD.finditer(text))
    for _ in range(rng.randint(1, 3)):
        if not words:
            return text
        a, b = rng.choice(words), rng.choice(words)
        new = rng.choice((b[0], "", a[0] * 2, "0", "-1", "99999999999", "nan", '"'))
        text = text[: a.start()] + new + text[a.end() :]
        words = list(_WORD.finditer(text))
    return text


def _bytes(rng: random.Random, out: bytearray) -> None:
    if not out:
        return
    i = rng.randrange(len(out))
    kind = rng.randrange(5)
    if kind == 0:
        out[i] = rng.choice(_BYTES)
    elif kind == 1:
        out[i] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del out[i : i + rng.randint(1, 16)]
    elif kind == 3:
        out[i:i] = out[i : i + rng.randint(1, 16)]
    else:
        del out[i:]
