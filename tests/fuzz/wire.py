"""Damage to protobuf messages: fields changed, dropped, doubled and exchanged at any depth, with the lengths around them right.

No schema is used: what parses as a message is taken for one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["mutant"]

_NUMBERS = (0, 1, 2, 3, 5, 7, 8, 11, 16, 127, 255, 1 << 20, (1 << 31) - 1, 1 << 31, 1 << 62, (1 << 63) - 1)
_SINGLES = (b"\0\0\0\0", b"\0\0\x80?", b"\0\0\x80\xbf", b"\0\0\0?", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f")
_DEEPEST = 12


@dataclass
class _Field:
    number: int
    kind: int
    value: int | bytes | list[_Field]


def mutant(rng: random.Random, data: bytes) -> bytes | None:
    """The message with one to three fields changed; None where it is none."""
    fields = _parse(data, 0)
    if not fields:
        return None
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, fields)
    return _bytes(fields)


def _change(rng: random.Random, fields: list[_Field]) -> None:
    while True:
        if not fields:
            return
        i = rng.randrange(len(fields))
        inner = fields[i].value
        if not isinstance(inner, list) or not inner or rng.random() < 0.1:
            break
        fields = inner
    f, kind = fields[i], rng.randrange(10)
    if kind == 0:
        del fields[i]
    elif kind == 1:
        fields.insert(i, f)
    elif kind == 2:
        j = rng.randrange(len(fields))
        fields[i], fields[j] = fields[j], f
    elif kind == 3:
        f.number = max(1, f.number + rng.choice((-1, 1)))
    elif isinstance(f.value, int):
        near = (f.value + rng.choice((-2, -1, 1, 2))) % (1 << 64)
        f.value = near if kind < 8 else rng.choice((*_NUMBERS, *((1 << 64) - n for n in _NUMBERS if n)))
    elif isinstance(f.value, bytes):
        f.value = _text(rng, f, fields)


def _text(rng: random.Random, f: _Field, fields: list[_Field]) -> bytes:
    """Other bytes: those of a sibling of the same number or kind, a number, or some changed."""
    value = f.value
    assert isinstance(value, bytes)
    if f.kind == 5:
        return rng.choice(_SINGLES)
    others = [o.value for o in fields if o.kind == f.kind and isinstance(o.value, bytes) and o is not f]
    if others and rng.random() < 0.5:
        return rng.choice(others)
    out = bytearray(value)
    if out and rng.random() < 0.7:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    elif rng.random() < 0.5:
        out = out[: rng.randrange(len(out) + 1)]
    else:
        out += out[:8] or b"x"
    return bytes(out) if f.kind == 2 else bytes(out[:8].ljust(8, b"\0"))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number too long")


def _parse(data: bytes, depth: int) -> list[_Field] | None:
    """The fields; None where the bytes are no message."""
    out: list[_Field] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            value: int | bytes | list[_Field]
            if not 0 < number < 20000 or kind in (3, 4, 6, 7):
                return None
            if kind == 0:
                value, at = _varint(data, at)
            else:
                size, at = _varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)
                if at + size > len(data):
                    return None
                value, at = data[at : at + size], at + size
                if kind == 2 and depth < _DEEPEST and 1 < size < 1 << 16 and not value.isalnum():
                    value = _parse(value, depth + 1) or value
            out.append(_Field(number, kind, value))
    except (IndexError, ValueError):
        return None
    return out


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _bytes(fields: list[_Field]) -> bytes:
    out = bytearray()
    for f in fields:
        out += _number(f.number << 3 | f.kind)
        if isinstance(f.value, int):
            out += _number(f.value)
        else:
            value = _bytes(f.value) if isinstance(f.value, list) else f.value
            out += (_number(len(value)) if f.kind == 2 else b"") + value
    return bytes(out)
