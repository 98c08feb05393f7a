"""Special functions of statistics and physics, element by element; targets without them refuse a model that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..opset.axes import Broadcast
from ..opset.declare import Attr, OpSet, Sample
from ..opset.shapes import broadcast
from ..opset.traits import Trait
from . import special_values as values

SPECIAL = OpSet("special")

Array = NDArray[Any]

_POSITIVE = [Sample(("float32", (2, 3, 5), 0.2, 9.0))]
_BOTH = [Sample((2, 3, 5)), Sample(("float32", (3, 5), -30.0, 30.0))]


def _double(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Computed in float64."""
    return lambda x, **kw: fn(np.asarray(x, np.float64), **kw)


_UNARY: list[tuple[str, Callable[..., Any], str, list[Sample]]] = [
    ("lgamma", values.lgamma, "log |gamma(x)|.", _BOTH),
    ("digamma", values.digamma, "The derivative of log gamma.", _POSITIVE),
    (
        "erfinv",
        values.erfinv,
        "The x whose erf is given; infinite at 1 and -1, NaN beyond.",
        [Sample(("float32", (3, 5), -1.0, 1.0))],
    ),
    ("erfcx", values.erfcx, "exp(x^2) erfc(x).", [Sample((2, 3, 5)), Sample(("float32", (3, 5), -3.0, 30.0))]),
    ("log_ndtr", values.log_ndtr, "The logarithm of the normal distribution function.", _BOTH),
]
for _name, _fn, _doc, _samples in _UNARY:
    SPECIAL.unary(_name, _double(_fn), _doc, samples=_samples)

_BESSEL: dict[str, Callable[[int, Array, bool], Array]] = {
    "i": values.bessel_i,
    "j": lambda order, x, scaled: values.bessel_j(order, x),
    "k": values.bessel_k,
    "y": lambda order, x, scaled: values.bessel_y(order, x),
}
SPECIAL.unary(
    "bessel", _double(lambda x, kind, order, scaled: _BESSEL[kind](order, x, scaled)),
    "Bessel functions J, Y, I, K of order 0 or 1; with ``scaled`` I times exp(-|x|) and K times exp(x).",
    attrs={
        "kind": Attr("str", choices=tuple(_BESSEL)), "order": Attr("int", choices=(0, 1)),
        "scaled": Attr("bool", False, doc="of I and K only"),
    },
    samples=[Sample(("float32", (3, 5), 0.1, 30.0), kind=k, order=o, scaled=s)
             for k in _BESSEL for o in (0, 1) for s in ((False, True) if k in "ik" else (False,))],
)  # fmt: skip


def _binary(fn: Callable[..., Array]) -> Callable[..., Array]:
    def reference(x: Array, y: Array, **kw: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(fn(np.asarray(x, np.float64), np.asarray(y, np.float64), **kw), x.dtype)

    return reference


SPECIAL.op(
    "zeta", "s:float, q:float", "Hurwitz's zeta function: the sum of (q + k)^-s over k = 0, 1, ...", outputs="z",
    infer=broadcast("s", "q"), reference=_binary(values.zeta), axes=Broadcast(),
    samples=[Sample(("float32", (2, 3, 5), 1.5, 9.0), ("float32", (3, 1), 0.3, 5.0))], traits=Trait.POINTWISE,
)  # fmt: skip
SPECIAL.op(
    "orthogonal_polynomial", "x:float, n:float",
    "The polynomial of degree n (cut to a whole number; below 0: 0) of a family at x: Chebyshev's of four kinds, Hermite's "
    "(physicists' h, probabilists' he), Laguerre's, Legendre's.",
    outputs="z", attrs={"kind": Attr("str", choices=tuple(values.FAMILIES))}, infer=broadcast("x", "n"),
    reference=_binary(lambda x, n, kind: values.polynomial(kind, x, n)), axes=Broadcast(),
    samples=[Sample(("float32", (2, 3, 5), -1.0, 1.0), np.asarray([[0.0], [3.0], [5.5]], np.float32), kind=k)
             for k in values.FAMILIES],
    traits=Trait.POINTWISE,
)  # fmt: skip
