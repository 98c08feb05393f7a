"""Objects that matter for training or checking only: initialisers, regularisers, constraints, input specifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..values import CodeRefused, Invocable
from .state import Variable

__all__ = ["Initial", "Partial", "Specification", "Training"]


@dataclass(eq=False)
class Training(Invocable):
    """Something that no result depends on: it can be kept, handed on and asked for its parts, not computed with."""

    what: str
    always_true = True

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self.what.startswith("an initialiser"):
            shape = args[0] if args else kwargs.get("shape")
            if domain.host.g.era == "keras1" and isinstance(shape, (list, tuple)):  # gives a variable there
                return Variable(str(kwargs.get("name") or "variable"), tuple(shape))
            return Initial(shape)
        return Training(self.what)

    def attribute(self, domain: Any, name: str) -> Any:
        return Training(self.what)

    def assign_attribute(self, domain: Any, name: str, value: Any) -> None:
        pass


@dataclass(eq=False)
class Specification(Training):
    """``InputSpec``: what a layer expects of its input. Only what it was made with is read."""

    given: Mapping[str, Any]

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__("an input specification")
        self.given = given

    def attribute(self, domain: Any, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        raise CodeRefused(f"reads {name!r} of an input specification that does not state it")


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
