"""Objects that matter for training or checking only: initialisers, regularisers, constraints, input specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..values import CodeRefused, Invocable

__all__ = ["Initial", "Partial", "Training"]


@dataclass(eq=False)
class Training(Invocable):
    """Something that no result depends on: it can be kept, handed on and asked for its parts, not computed with."""

    what: str
    always_true = True

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.what.startswith("an initialiser"):
            return Initial(args[0] if args else kwargs.get("shape"))
        return Training(self.what)

    def attribute(self, domain: Any, name: str) -> Any:
        return Training(self.what)

    def assign_attribute(self, domain: Any, name: str, value: Any) -> None:
        pass


@dataclass(eq=False)
class Initial(Invocable):
    """The values an initialiser draws, for a weight to start with."""

    shape: Any

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused("calls the initial values of a weight")


@dataclass(eq=False)
class Partial(Invocable):
    """``functools.partial``."""

    function: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    always_true = True

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return domain.call(self.function, [*self.args, *args], {**self.kwargs, **kwargs})
