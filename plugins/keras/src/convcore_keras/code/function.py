"""Functions of symbolic code: how arguments are bound to parameters, by Python's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .domain import CodeRefused

__all__ = ["Parameters"]


@dataclass(frozen=True)
class Parameters:
    """The parameters of a function: ``names`` may be given by position, the first ``posonly`` of them only so; ``keyword``
    only by name; ``rest`` and ``others`` are the names of ``*args`` and ``**kwargs``, "" if there are none."""

    names: tuple[str, ...]
    posonly: int = 0
    keyword: tuple[str, ...] = ()
    rest: str = ""
    others: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each parameter. Raises CodeRefused where Python raises TypeError."""
        bound = dict(zip(self.names, args, strict=False))
        extra = tuple(args[len(self.names) :])
        if extra and not self.rest:
            raise CodeRefused(f"calls a function of {len(self.names)} arguments with {len(args)}")
        others: dict[str, Any] = {}
        for name, value in kwargs.items():
            if name in self.names[self.posonly :] or name in self.keyword:
                if name in bound:
                    raise CodeRefused(f"gives the argument {name!r} twice")
                bound[name] = value
            elif self.others:
                others[name] = value
            else:
                raise CodeRefused(f"gives the unknown argument {name!r}")
        for name in (*self.names, *self.keyword):
            if name not in bound:
                if name not in self.defaults:
                    raise CodeRefused(f"calls a function without its argument {name!r}")
                bound[name] = self.defaults[name]
        if self.rest:
            bound[self.rest] = extra
        if self.others:
            bound[self.others] = others
        return bound
