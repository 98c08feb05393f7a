"""Budgets of the readers. A file that needs more is refused with the budget's name, never read half."""

from __future__ import annotations

MEMBERS = 300_000  # entries of one archive
DIRECTORY = 1 << 27  # bytes of a zip's directory
PICKLE = 1 << 28  # bytes of one pickle
OPCODES = 8_000_000  # opcodes of one pickle
MEMORY = 1 << 29  # bytes that the objects of one pickle may take, by estimate
TEXT_LINE = 1 << 14  # bytes of one line of a text opcode
INTEGER = 64  # bytes of one integer
NESTED_KEY = 4  # nesting of a tuple that is a key
DEPTH = 200  # nesting of modules, blocks, expressions, JSON
JSON = 1 << 28  # bytes of one JSON text
HEADER = 100_000_000  # bytes of a safetensors header (the reference implementation's limit)
SOURCE = 1 << 26  # bytes of TorchScript source of one archive
NODES = 2_000_000  # nodes of one program after inlining
DIMS = 64  # axes of a tensor (torch's own limit)
WIDEN = 1 << 28  # bytes that a tensor may have whose storage is smaller (an expanded one)
