"""Objects of Python's and numpy's libraries that layers keep: loggers, which say nothing here, and seeded random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..values import CodeRefused, Invocable

__all__ = ["Random", "Silent"]

_MOST = 1 << 22
_DRAWS = {"uniform": 2, "normal": 2, "standard_normal": 0, "random_sample": 0, "randint": 2, "rand": -1, "randn": -1}
"""Methods that draw, with how many arguments stand before the size; -1: the sizes are the arguments."""


class Silent(Invocable):
    """``logging.getLogger()``: nothing depends on what it is told."""

    always_true = True

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return None

    def attribute(self, domain: Any, name: str) -> Any:
        return self


class Random(Invocable):
    """``numpy.random.RandomState(seed)``, whose numbers numpy keeps the same for ever (its compatibility policy, NEP 19)."""

    always_true = True

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        given = {**dict(zip(("seed",), args)), **kwargs}
        if {*given} != {"seed"} or not isinstance(given["seed"], int) or not 0 <= given["seed"] < 1 << 32 or len(args) > 1:
            raise CodeRefused("draws random numbers without a seed, so that its result is another one at each run")
        self.state = np.random.RandomState(given["seed"])

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused("calls a random state")

    def attribute(self, domain: Any, name: str) -> Any:
        if name not in _DRAWS:
            raise CodeRefused(f"calls the method {name!r} of a random state")
        return _Draw(self.state, name)


class _Draw(Invocable):
    def __init__(self, state: np.random.RandomState, name: str) -> None:
        self.state, self.name = state, name

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        before = _DRAWS[self.name]
        size = args if before < 0 else kwargs.get("size", args[before] if len(args) > before else ())
        sizes = size if isinstance(size, (list, tuple)) else (size,)
        plain = all(
            isinstance(v, (int, float)) for v in (*(args[: max(before, 0)]), *(v for k, v in kwargs.items() if k != "size"))
        )
        if not plain or not all(isinstance(n, int) and n >= 0 for n in sizes) or np.prod(sizes, dtype=float) > _MOST:
            raise CodeRefused(f"draws random numbers of a size that is not known, or more than {_MOST}")
        try:
            made = getattr(self.state, self.name)(*args, **kwargs)
        except (TypeError, ValueError) as e:
            raise CodeRefused(f"draws random numbers, which fails: {e}") from e
        return made if isinstance(made, np.ndarray) else made.item() if hasattr(made, "item") else made
