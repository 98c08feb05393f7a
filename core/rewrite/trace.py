"""The body of an op as a form: what a pattern is made of."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ..ir.dtypes import DType
from ..opset import op
from .forms import Form
from .view import RULES, View

__all__ = ["trace"]


class _Traced:
    """A value of a body: its form and the number of its axes."""

    __slots__ = ("dtype", "form", "rank", "shape", "tensor")

    def __init__(self, form: Form, rank: int | None = None) -> None:
        self.form, self.rank, self.dtype, self.shape, self.tensor = form, rank, DType.FLOAT32, None, None


class _Tracer:
    """Stands for the builder that a body is given."""

    def __init__(self, view: View) -> None:
        self.view = view

    def like(self, x: Any, value: float) -> _Traced:
        return _Traced(self.view.number(value))

    def __getattr__(self, name: str) -> Callable[..., _Traced]:
        if name.startswith("__"):
            raise AttributeError(name)

        def apply(*inputs: _Traced, **attrs: Any) -> _Traced:
            full = op(name).complete(attrs, ())
            forms = [x.form for x in inputs]
            result = SimpleNamespace(dtype=DType.FLOAT32, shape=None)
            node: Any = SimpleNamespace(op=name, attrs=full, inputs=inputs, outputs=[result])
            rule = RULES.get(name)
            f = None if rule is None else rule(self.view, node, forms)
            return _Traced(f or self.view.plain(node, forms), max((x.rank for x in inputs if x.rank is not None), default=None))

        return apply


def trace(view: View, name: str, x: Form, rank: int | None = None, /, **attrs: Any) -> Form:
    """What the body of an op of one input computes, of ``x``."""
    body = op(name).body
    assert body is not None, name
    result: _Traced = body(_Tracer(view), _Traced(x, rank), **attrs)
    return result.form
