"""What a pickle holds that has no plain Python counterpart: names, and objects of classes that are data here, never code."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Global", "Instance"]


class Global(NamedTuple):
    """The name of a class or function in the file. Nothing of that name is ever imported."""

    module: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"

    def __str__(self) -> str:
        return self.path


class Instance:
    """An object of a class that is not in our table: its class's name and what the file says of it.

    ``args`` are the constructor's, ``state`` what ``__setstate__`` or ``__dict__`` would be given, ``items`` and ``pairs``
    what would be appended or set.
    """

    __slots__ = ("args", "cls", "items", "pairs", "state")

    def __init__(self, cls: Global, args: tuple[Any, ...] = ()) -> None:
        self.cls, self.args = cls, args
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []

    def __repr__(self) -> str:
        return f"<{self.cls.path}>"


class Array:
    """A numpy array in the making: ``values`` when its state has come."""

    __slots__ = ("values",)

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        self.values = np.zeros(0, np.float32) if values is None else values
