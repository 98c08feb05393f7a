"""What a row looks up for every node it loads or writes, worked out once per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..opset import Attr, Op
from ..records import dataclass
from .words import A, Given, I, Last, Rest, Size, W

__all__ = ["Wiring", "wire"]


@dataclass(frozen=True, slots=True)
class Wiring:
    """``named``: inputs of the op with their position among the foreign ones; ``needed``: those that must be there, with their
    foreign names; ``constants``: positions of inputs that are read as attributes; ``rest``: where the variadic ones begin;
    ``most``: how many inputs the row knows (None: any number).

    ``fixed`` are attributes that the row states, ``read`` what it reads, ``ignored`` foreign ones without meaning, ``restated``
    whether it checks what a file says twice; ``order`` are the op's inputs but the variadic one, ``outputs`` positions of the
    op's outputs (None: all; one that is None is a result nobody reads); ``used`` the inputs that the row speaks of, ``silent``
    the op's attributes that it does not.
    """

    named: tuple[tuple[str, int], ...]
    needed: tuple[tuple[str, str], ...]
    constants: Mapping[str, int]
    rest: int | None
    most: int | None
    fixed: Mapping[str, Any]
    read: tuple[tuple[str, Any], ...]
    ignored: tuple[str, ...]
    restated: bool
    order: tuple[str, ...]
    outputs: tuple[int | None, ...] | None
    used: frozenset[str]
    silent: tuple[tuple[str, Attr], ...]


def wire(
    decl: Op,
    inputs: Sequence[tuple[str, str]],
    outputs: Sequence[tuple[str, str]],
    mapping: Mapping[str, Any],
    ignored: tuple[str, ...] = (),
) -> Wiring:
    """The wiring of a row by its lists of inputs and outputs, its mapping and what it ignores."""
    rest = [i for i, (_, ours) in enumerate(inputs) if ours.endswith("*")]
    named = tuple((ours, i) for i, (_, ours) in enumerate(inputs) if i not in rest and ours != "_")
    theirs = {ours: t for t, ours in inputs}
    must = {a.name for a in decl.inputs if not (a.optional or a.variadic)}
    sized = {attr for src in mapping.values() if isinstance(src, W) for _, attr in src.sizes}
    fixed = {k: v for k, v in mapping.items() if not _is_read(v) and not isinstance(v, (Size, Given))}
    taken = None if decl.variadic_outputs else tuple(_place(decl, ours) for _, ours in outputs)
    return Wiring(
        named,
        tuple((ours, theirs[ours]) for ours, _ in named if ours in must),
        {t.rstrip("?"): i for i, (t, ours) in enumerate(inputs) if ours == "_"},
        rest[-1] if rest else None,
        None if rest else len(inputs),
        fixed,
        tuple((k, v) for k, v in mapping.items() if _is_read(v)),
        ignored,
        any(isinstance(v, (Size, Given)) for v in mapping.values()),
        tuple(a.name for a in decl.inputs if not a.variadic),
        taken,
        frozenset({ours.rstrip("*") for _, ours in inputs} | {k for k, v in mapping.items() if isinstance(v, W)}),
        tuple((k, a) for k, a in decl.attrs.items() if not (k in mapping or k in sized or a.training)),
    )


def _place(decl: Op, name: str) -> int | None:
    """The position of an output of the op; None for a result that it has not (``_``)."""
    return None if name == "_" else decl.outputs.index(name.rstrip("*"))


def _is_read(src: Any) -> bool:
    """Whether a word of a mapping is read from each node."""
    return isinstance(src, (W, A, I, Rest, Last)) or (isinstance(src, tuple) and any(isinstance(p, A) for p in src))
