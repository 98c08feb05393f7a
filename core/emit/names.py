"""Names in the target: the source's where they are free, a number behind them where they are not."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from .journal import Journal

__all__ = ["Names", "identifier"]


class Names:
    """A name space: every name is given once.

    Names may be kept for values that come later (:meth:`reserve`): only :meth:`own` gives those out. Written through a
    journal, names of an attempt that failed are free again.
    """

    __slots__ = ("_journal", "_kept", "_taken")

    def __init__(self, journal: Journal | None = None, reserved: Iterable[str] = ()) -> None:
        self._journal = journal if journal is not None else Journal()
        self._taken: dict[str, int] = dict.fromkeys(reserved, 0)
        self._kept: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def reserve(self, name: str) -> None:
        """Keep a name for the value that has it in the graph."""
        self._kept[name] = True
        self._taken.setdefault(name, 0)

    def own(self, name: str) -> str:
        """The name itself where it was kept, once; else a fresh one."""
        if self._kept.get(name):
            self._journal.put(self._kept, name, False)
            return name
        return self.fresh(name)

    def fresh(self, *wanted: str) -> str:
        """The first wanted name that is free, else the last one with a number: ``conv``, ``conv_1``..."""
        put, taken = self._journal.put, self._taken
        for name in wanted:
            if name and name not in taken:
                put(taken, name, 0)
                return name
        base = (wanted[-1] if wanted else "") or "value"
        if base not in taken:
            put(taken, base, 0)
            return base
        n = taken[base]
        while True:
            n += 1
            name = f"{base}_{n}"
            if name not in taken:
                put(taken, base, n)
                put(taken, name, 0)
                return name


def identifier(text: str, default: str = "x") -> str:
    """A name as a Python identifier: other characters become ``_``, a digit in front or a keyword gets one."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") if not text.isidentifier() or not text.isascii() else text
    name = name or default
    return f"_{name}" if name[0].isdigit() else f"{name}_" if keyword.iskeyword(name) else name
