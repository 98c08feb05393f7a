"""The activations recurrent layers name: ``"tanh"``, ``"leaky_relu(0.01)"``; each a few steps of declared ops."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..records import dataclass
from .windows import Array

__all__ = ["Activation", "activation", "name_of"]

# name: (op, its fixed attributes, {parameter of the name: default}); a parameter becomes the attribute of that name
_OPS: dict[str, tuple[str, dict[str, Any], dict[str, float | None]]] = {
    "linear": ("identity", {}, {}),
    "tanh": ("tanh", {}, {}),
    "sigmoid": ("sigmoid", {}, {}),
    "relu": ("relu", {}, {}),
    "relu6": ("clip", {"min": 0.0, "max": 6.0}, {}),
    "softsign": ("softsign", {}, {}),
    "softplus": ("softplus", {}, {}),
    "silu": ("silu", {}, {}),
    "exponential": ("exp", {}, {}),
    "mish": ("mish", {}, {}),
    "log_sigmoid": ("log_sigmoid", {}, {}),
    "softmax": ("softmax", {"axis": -1}, {}),
    "log_softmax": ("log_softmax", {"axis": -1}, {}),
    "gelu": ("gelu", {"approximate": "none"}, {}),
    "gelu_tanh": ("gelu", {"approximate": "tanh"}, {}),
    "hard_tanh": ("clip", {"min": -1.0, "max": 1.0}, {}),
    "elu": ("elu", {}, {"alpha": 1.0}),
    "celu": ("celu", {}, {"alpha": 1.0}),
    "selu": ("selu", {}, {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "leaky_relu": ("leaky_relu", {}, {"alpha": None}),
    "thresholded_relu": ("thresholded_relu", {}, {"alpha": None}),
    "hard_sigmoid": ("hard_sigmoid", {}, {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("hard_swish", {}, {}),
    "hard_shrink": ("hard_shrink", {}, {"lambd": 0.5}),
    "soft_shrink": ("soft_shrink", {}, {"lambd": 0.5}),
    "tanh_shrink": ("tanh_shrink", {}, {}),
    "squareplus": ("squareplus", {}, {"b": 4.0}),
    "sparse_plus": ("sparse_plus", {}, {}),
    "sparse_sigmoid": ("sparse_sigmoid", {}, {}),
    "hard_sigmoid_legacy": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}, {}),
}
# activations of two parameters that take several steps: (op, parameter multiplied or added) in order
_STEPS: dict[str, tuple[tuple[str, int | None], ...]] = {
    "affine": (("mul", 0), ("add", 1)),  # a x + b
    "scaled_tanh": (("mul", 1), ("tanh", None), ("mul", 0)),  # a tanh(b x)
}
_NAME = re.compile(r"^(\w+)(?:\(([^()]*)\))?$")


@dataclass(frozen=True)
class Activation:
    """``steps`` are (op, attributes, second operand or None)."""

    name: str
    steps: tuple[tuple[str, tuple[tuple[str, Any], ...], float | None], ...]

    def numpy(self, x: Array) -> Array:
        from ..opset import op

        for name, attrs, operand in self.steps:
            decl = op(name)
            run: Callable[..., Any] | None = decl.reference
            assert run is not None  # those of the table have references
            full = {k: a.default for k, a in decl.attrs.items()} | dict(attrs)
            x = run(x, **full) if operand is None else run(x, np.asarray(operand, x.dtype), **full)
        return x

    def body(self, b: Any, x: Any) -> Any:
        for name, attrs, operand in self.steps:
            x = b.op(name, x, **dict(attrs)) if operand is None else b.op(name, x, b.like(x, operand))
        return x


@lru_cache(maxsize=256)
def activation(text: str) -> Activation:
    """Parse ``name`` or ``name(number, ...)``; ShapeError lists the known names."""
    m = _NAME.match(text.strip())
    name = m[1] if m else ""
    if m is None or (name not in _OPS and name not in _STEPS):
        raise ShapeError(f"unknown activation {text!r}; known: {', '.join(sorted((*_OPS, *_STEPS)))}")
    try:
        given = [float(t) for t in m[2].split(",")] if m[2] and m[2].strip() else []
    except ValueError:
        raise ShapeError(f"activation {text!r}: parameters must be numbers") from None
    if name in _STEPS:
        if len(given) != 2:
            raise ShapeError(f"activation {text!r} needs two parameters")
        return Activation(text, tuple((op, (), None if i is None else given[i]) for op, i in _STEPS[name]))
    op_name, fixed, params = _OPS[name]
    if len(given) > len(params):
        raise ShapeError(f"activation {text!r} takes {len(params)} parameters")
    attrs = dict(fixed)
    for i, (key, default) in enumerate(params.items()):
        value = given[i] if i < len(given) else default
        if value is None:
            raise ShapeError(f"activation {text!r} needs its parameter {key}")
        attrs[key] = value
    return Activation(text, ((op_name, tuple(attrs.items()), None),))


def name_of(op: str, attrs: Mapping[str, Any]) -> str | None:
    """The name of an activation that is an op with these attributes; None where it has none."""
    for name, (own, fixed, params) in _OPS.items():
        if own == op and set(attrs) == {*fixed, *params} and all(attrs[k] == v for k, v in fixed.items()):
            given = ", ".join(str(attrs[k]) for k in params)
            return name if all(attrs[k] == d for k, d in params.items()) else f"{name}({given})"
    return None
