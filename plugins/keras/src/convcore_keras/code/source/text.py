"""What a user says a layer computes, as text: ``x / 127.5 - 1``, worked through as a line of source is.

``x`` is the input; ``x0``, ``x1``, ... are several inputs; or the text is a ``lambda``, or ``tf.abs``. ``tf``,
``K``, ``keras``, ``ops`` and ``np`` are what they are in nearly all published code.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convcore.plugin import ForeignNode, UsageError, Value, ask

from ...load_context import KerasContext, LayerCall
from ..domain import Options
from ..names import MODULES, ROOTS
from ..values import CodeRefused, Invocable, Name
from .custom import refusal, results_of
from .domain import SourceDomain
from .layers import Host
from .library import Library, SourceFile
from .module import Env, SourceModule

__all__ = ["parsed_texts", "run_text"]


def parsed_texts(given: Any) -> dict[str, ast.Expression]:
    """From the option: ``["name=text", ...]`` or a dict. Raises UsageError for what is no expression."""
    pairs = given.items() if isinstance(given, Mapping) else [_pair(t) for t in given]
    found: dict[str, ast.Expression] = {}
    for name, text in pairs:
        if name in found:
            raise UsageError(f"{ask('--lambda', 'lambdas=')} {name} is given twice")
        try:
            found[str(name)] = ast.parse(str(text).strip(), f"lambda {name}", "eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise UsageError(
                f"{ask('--lambda', 'lambdas=')} {name}: {str(text)[:80]!r} is no expression of Python: {e}"
            ) from None
    return found


def _pair(text: Any) -> tuple[str, str]:
    name, sep, rest = str(text).partition("=")
    if not sep or not name.strip():
        raise UsageError(f"{ask('--lambda', 'lambdas=')} {str(text)[:80]!r}: say NAME=EXPRESSION")
    return name.strip(), rest


def run_text(g: KerasContext, node: ForeignNode, text: ast.Expression) -> Sequence[Value]:
    """The results of a layer by what the user says it computes. Raises UnsupportedError."""
    call: LayerCall = node.extra
    h = Host(g, node, call.layer, True, {})
    d = SourceDomain(h.ops, Library(), h)
    d.options, d.settling = Options(ROOTS, MODULES), True
    file = SourceFile(Path(f"lambda {node.name}"), Path())
    file.__dict__["tree"] = ast.Module([], [])
    inputs: list[Any] = list(node.needed())
    env = Env(SourceModule(file, d), values={"x": inputs[0], **{f"x{i}": v for i, v in enumerate(inputs)}})
    node.ignore(*node.attrs)
    try:
        with g.b.attempt():
            y = d.evaluate(text.body, env)
            if isinstance(y, (Invocable, Name)):  # a lambda, or the function itself: tf.abs
                y = d.call(y, inputs, {})
            return results_of(y)
    except CodeRefused as e:
        raise refusal(node, e) from e
