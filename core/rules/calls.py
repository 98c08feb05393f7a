"""Calls of functions with a declared signature: ``aten.linear``, ``keras.ops.add``, ``tf.math.add``, ``numpy.add``.

Exported programs, operations of functional models and decoded Lambdas name functions by dotted names and pass arguments by
position or by name. A signature says in which order they come, which may be left out and what they are then::

    Call("aten.linear", "input, weight, bias?")
    Call("tf.math.add", "x:x1, y:x2, name?")      # x is what the row calls x1
    Call("numpy.sum", "a:x, axis=None, *, keepdims=False")

A rule set's table of foreign types holds these names like any other, so that one look-up serves them all.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DeclarationError
from ..ir.graph import Value
from ..records import dataclass
from .foreign import MISSING, ForeignNode
from .isomorphisms import NotExpressible
from .values import jsonable

__all__ = ["Call", "Parameter", "bind"]


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name there, its name in the row, what it is when left out (MISSING: it must be given)."""

    name: str
    ours: str
    default: Any = MISSING
    by_name_only: bool = False


@dataclass(frozen=True)
class Call:
    """A function by its dotted name and its signature (see the module's docstring).

    ``before`` names steps of the rule set (:meth:`RuleSet.before`) that ready the operands: a promotion of types, say.
    ``direction`` is that of a row for it: a function that is only ever read ("load") is not written.
    """

    name: str
    signature: str
    before: tuple[str, ...] = ()
    direction: str = "both"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The signature taken apart; DeclarationError for one that is malformed."""
        out: list[Parameter] = []
        by_name = False
        for part in _split(self.signature):
            if part == "*":
                by_name = True
                continue
            head, eq, default = part.partition("=")
            head = head.strip()
            optional = head.endswith("?")
            name, _, ours = head.rstrip("?").partition(":")
            if not name.isidentifier() or (ours and not ours.isidentifier()) or (eq and optional):
                raise DeclarationError(f"{self.name}: malformed parameter {part!r}")
            try:
                value = ast.literal_eval(default.strip()) if eq else None if optional else MISSING
            except (ValueError, SyntaxError):
                raise DeclarationError(f"{self.name}: the default in {part!r} is not a plain value") from None
            out.append(Parameter(name, ours or name, value, by_name))
        if len({p.name for p in out}) != len(out):
            raise DeclarationError(f"{self.name}: a parameter occurs twice in {self.signature!r}")
        return tuple(out)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by the row's names, defaults filled in; NotExpressible for a call that the signature does not allow."""
        params = self.parameters
        positional = [p for p in params if not p.by_name_only]
        if len(args) > len(positional):
            raise NotExpressible(f"takes {len(positional)} arguments by position, {len(args)} are given", "unsupported_call")
        given = {p.name: a for p, a in zip(positional, args)}
        names = {p.name for p in params}
        for name, value in kwargs.items():
            if name in given:
                raise NotExpressible(f"its argument {name!r} is given twice", "unsupported_call")
            if name not in names:
                raise NotExpressible(
                    f"has an argument {name!r}, known are {', '.join(p.name for p in params)}", "unsupported_call"
                )
            given[name] = value
        out = {}
        for p in params:
            value = given.get(p.name, p.default)
            if value is MISSING:
                raise NotExpressible(f"its argument {p.name!r} is missing", "unsupported_call")
            out[p.ours] = value
        return out

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        out: dict[str, Any] = {
            "name": self.name,
            "signature": [[p.name, p.ours, jsonable(p.default)] for p in self.parameters],
        }
        return {**out, "before": list(self.before)} if self.before else out


def _split(text: str) -> list[str]:
    """At the commas that are not inside brackets."""
    out, depth, last = [], 0, 0
    for i, ch in enumerate(text):
        depth += (ch in "([{") - (ch in ")]}")
        if ch == "," and not depth:
            out.append(text[last:i])
            last = i + 1
    return [p.strip() for p in (*out, text[last:]) if p.strip()]


def bind(call: Call, node: ForeignNode, tensors: Sequence[str]) -> ForeignNode:
    """A node whose arguments (its attributes ``args`` and ``kwargs``) are bound: the tensors named are its inputs, in that order,
    everything else are attributes beside those it has. A node without arguments is bound already.

    NotExpressible: the call does not fit the signature, or something else than a tensor stands where one must be.
    """
    if not node.has("args"):
        return node
    bound = call.bind(node.attr("args"), node.attr("kwargs", {}))
    inputs: list[Value | None] = []
    for name in tensors:
        v = bound.pop(name, None)
        many = v if isinstance(v, (list, tuple)) and name == tensors[-1] else [v]
        for x in many:
            if x is not None and not isinstance(x, Value):
                raise NotExpressible(f"its argument {name!r} is not a tensor", "unsupported_call")
            inputs.append(x)
    own = {k: v for k, v in node.attrs.items() if k not in ("args", "kwargs")}
    return node.called(inputs, {**bound, **own})
