"""The shapes a caller gives for inputs, merged with what the file states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UsageError, ask
from ..ir.dims import DimLike, Shape, other_order, shape_text
from ..ir.parse_dims import parse_dim

__all__ = ["InputShapes"]


class InputShapes:
    """``input_shapes`` of a request: each is taken once, and one that fits no input is an error."""

    def __init__(self, given: Mapping[str, Iterable[Any]]) -> None:
        self.freed: dict[str, dict[int, tuple[int, DimLike]]] = {}
        """Sizes that the file fixes and the caller changed: by input and axis, the old and the new one."""
        self._left = {name: tuple(parse_dim(d) if isinstance(d, str) else d for d in shape) for name, shape in given.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, stated: Shape | None, *, only: bool = False) -> Shape | None:
        """The shape of the input ``name``: the caller's, whose None sizes are as the file ``stated`` them; else the stated one.

        ``only`` says that it is the only input, which may also be named "". UsageError where the numbers of axes differ, or where
        the shape given is the stated one in the other order of axes. :attr:`freed` says which numbers of the file are changed.
        """
        given = self._left.pop("", None) if only and name not in self._left else self._left.pop(name, None)
        if given is None:
            return stated
        if stated is None:
            return given
        if len(stated) != len(given):
            raise UsageError(
                f"input {name!r} has {len(stated)} axes {shape_text(stated)}, "
                f"the shape given has {len(given)}: {shape_text(given)}"
            )
        turned = other_order(stated, given)
        if turned:
            right = (given[0], *given[2:], given[1]) if turned == "channels-first" else (given[0], given[-1], *given[1:-1])
            said = ",".join("?" if d is None else str(d) for d in right)
            shape = ask(f"--input-shape {name}:{said}", f"input_shapes={{{name!r}: {shape_tuple(right)}}}")
            raise UsageError(
                f"input {name!r} is {shape_text(stated)}; the shape given, {shape_text(given)}, looks {turned}: write {shape}"
            )
        for i, (old, new) in enumerate(zip(stated, given)):
            if isinstance(old, int) and new is not None and new != old:
                self.freed.setdefault(name, {})[i] = (old, new)
        merged: list[DimLike | None] = [old if new is None else new for old, new in zip(stated, given)]
        return tuple(merged)

    def refuse_unused(self, names: Iterable[str]) -> None:
        """UsageError where a shape is left: ``names`` are the inputs there are."""
        if self._left:
            wrong = ", ".join(map(repr, self._left))
            raise UsageError(f"no input is named {wrong}; the model's inputs are: {', '.join(names) or 'none'}")


def shape_tuple(shape: Iterable[DimLike | None]) -> str:
    """A shape as a person writes it in Python: names of sizes in quotes."""
    return "(" + ", ".join(repr(d if isinstance(d, int) or d is None else str(d)) for d in shape) + ")"
