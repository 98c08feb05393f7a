"""Damage to files, made again from a seed: bytes anywhere, and values where the format has them (JSON, text, members of archives,
fields of protobuf, opcodes of pickles, attributes and datasets of HDF5)."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.fuzz import hdf5, opcodes, wire

__all__ = ["mutant"]

_BYTES = (0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x22, 0x5C, 0x7B)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 10**6, 10**18, 1.5, -1e30, "", "x", "float32", "\ud800", [], [1], [[1]], {}, {"a": 1},
    {"class_name": "__tuple__", "items": [1]}, {"class_name": "__numpy__", "config": {"value": [1], "dtype": "float32"}},
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]+|-?\d+(?:\.\d+)?|[{}\[\]:,\"]")


def mutant(rng: random.Random, data: bytes, suffix: str) -> bytes:
    """The file with one to four places changed, three of four times in the terms of its format."""
    if rng.random() < 0.75 and (inside := _format(data, suffix)) is not None:
        changed = inside(rng, data)
        if changed is not None and changed != data:
            return changed
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        _bytes(rng, out)
    if out and out == data:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _format(data: bytes, suffix: str) -> Callable[[random.Random, bytes], bytes | None] | None:
    """What changes a file in the terms of its format."""
    if data.startswith(b"PK\x03\x04"):
        return _member
    if data.startswith(hdf5.MAGIC):
        return hdf5.mutant
    if _header(data):
        return _safetensors
    if suffix in (".onnx", ".caffemodel"):
        return wire.mutant
    if suffix == ".json":
        return _tree
    if suffix in (".py", ".prototxt"):
        return _words
    return opcodes.mutant if data[:1] == b"\x80" else None


def _member(rng: random.Random, data: bytes) -> bytes | None:
    """An archive whole around one damaged member; text, JSON and pickles before numbers."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            held = {i: old.read(i) for i in old.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return None
    names = [i for i in held if "data/" not in i.filename and "/weights/" not in i.filename] or list(held)
    chosen, out = rng.choice(names), io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for i, content in held.items():
            changed = mutant(rng, content, "." + i.filename.rpartition(".")[2]) if i is chosen else content
            new.writestr(i.filename, changed, zipfile.ZIP_STORED)
    return out.getvalue()


def _header(data: bytes) -> int:
    """The length of the header of a safetensors file; 0 where it is none."""
    size = struct.unpack("<Q", data[:8])[0] if len(data) > 9 and data[8:9] == b"{" else 0
    return size if size < len(data) - 8 else 0


def _safetensors(rng: random.Random, data: bytes) -> bytes:
    size = _header(data)
    head = mutant(rng, data[8 : 8 + size], ".json")
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


def _tree(rng: random.Random, data: bytes) -> bytes | None:
    """JSON with one to three values changed; texts that hold JSON or lines (a graph of a .ccir) also inside."""
    try:
        tree = json.loads(data)
    except ValueError:
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _json(rng, tree)
    return json.dumps(tree).encode()


def _json(rng: random.Random, tree: Any) -> None:
    at = tree
    while isinstance(at, (dict, list)) and at:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = rng.choice(keys)
        if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.85:
            at = at[key]
            continue
        kind, old = rng.randrange(6), at[key]
        if kind == 0:
            del at[key]
        elif kind == 1:
            at[key] = deepcopy(at[rng.choice(keys)])  # in itself, it would be without end
        elif isinstance(old, str) and len(old) > 40:
            at[key] = _change(rng, old)
        elif isinstance(old, int) and kind < 4:
            at[key] = not old if isinstance(old, bool) else old + rng.choice((-2, -1, 1, 2, 7))
        elif isinstance(old, float) and kind < 4:
            at[key] = old * rng.choice((0.5, 2.0, -1.0)) + rng.choice((0.0, 0.1))
        else:
            at[key] = deepcopy(rng.choice(_VALUES))
        return


def _words(rng: random.Random, data: bytes) -> bytes:
    return _change(rng, data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _change(rng: random.Random, text: str) -> str:
    """Text with one to three words, numbers or marks changed, or lines doubled, dropped or exchanged."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        lines = text.split("\n")
        if len(lines) > 3 and rng.random() < 0.2:
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i : i + 1] = rng.choice(([], [lines[i]] * 2, [lines[j]]))
            text = "\n".join(lines)
            continue
        words = list(_WORD.finditer(text))
        if not words:
            return text
        a, b = rng.choice(words), rng.choice(words)
        near = str(int(a[0]) + rng.choice((-1, 1, 2))) if a[0].lstrip("-").isdigit() and len(a[0]) < 20 else b[0]
        new = rng.choice((near, near, near, b[0], b[0], "", a[0] * 2, "0", "-1", "99999999999", "nan", '"'))
        text = text[: a.start()] + new + text[a.end() :]
    return text


def _bytes(rng: random.Random, out: bytearray) -> None:
    if not out:
        return
    i = rng.randrange(min(len(out), 2048) if rng.random() < 0.3 else len(out))
    kind = rng.randrange(8)
    if kind == 0:
        out[i] = rng.choice(_BYTES)
    elif kind <= 3:
        out[i] ^= 1 << rng.randrange(8)
    elif kind == 4:
        del out[i : i + rng.randint(1, 16)]
    elif kind == 5:
        out[i:i] = out[i : i + rng.randint(1, 16)]
    elif kind == 6:
        j, n = rng.randrange(len(out)), rng.choice((1, 2, 4, 8, 40))
        out[i : i + n] = out[j : j + n]
    else:
        del out[i:]
