"""Layers that only act in training: at inference each is the identity, and says so as an op that keeps what training needs."""

from __future__ import annotations

from typing import Any, Literal

from convcore.plugin import A, ForeignNode, NotExpressible, Value, isomorphism

from ..layer_spec import layer
from ..load_context import KerasContext
from ..ruleset import RULES

__all__: list[str] = []

# ---- what the layers are
layer("ActivityRegularization", defaults={"l1": 0.0, "l2": 0.0}, masks="pass", stepwise=True)
layer("AlphaDropout", defaults={"noise_shape": None}, required=("rate",), masks="pass", training=True, stepwise=True)
layer("Dropout", defaults={"noise_shape": None}, required=("rate",), masks="pass", any_dtype=True, training=True, stepwise=True)
layer("GaussianDropout", required=("rate",), masks="pass", training=True, stepwise=True)
layer("GaussianNoise", required=("stddev",), masks="pass", training=True, stepwise=True)
layer("Identity", masks="pass", masks_since="keras3", any_dtype=True, stepwise=True)
layer("SpatialDropout1D", required=("rate",), masks="pass", training=True)
layer(
    "SpatialDropout2D",
    "SpatialDropout3D",
    defaults={"data_format": "channels_last"},
    required=("rate",),
    masks="pass",
    training=True,
)

# ---- rules
RULES.op("Identity", "identity", "inputs=x", direction="load")
RULES.op("ActivityRegularization", "identity", "inputs=x", ignore=("l1", "l2"), direction="load")
"""Only a term of the loss: its numbers are in the layer's configuration."""

_KINDS: dict[str, Literal["bernoulli", "alpha"]] = {"AlphaDropout": "alpha"}


def _number(x: Any) -> float | None:
    return float(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else None


def _stddev(v: float) -> float:
    if not 0 <= v <= 1:
        raise NotExpressible(f"Keras takes deviations from 0 to 1, it is {v}")
    return v


def _whole(seed: Any) -> int | None:
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def _seed(node: ForeignNode) -> int | None:
    return _whole(node.attr("seed", None))


isomorphism("keras_amount", _number, lambda v: v, "how much a layer does in training; what is no number is not known")
isomorphism("keras_stddev", lambda v: v, _stddev, "a deviation as Keras 3.15.1 takes it, from 0 to 1")
isomorphism("keras_seed", _whole, lambda v: v, "a seed; a generator of seeds is none")


def _shared(noise_shape: Any, rank: int | None) -> tuple[int, ...]:
    """The axes of size 1 in ``noise_shape``, right-aligned as ``keras.random.dropout`` broadcasts it."""
    if not isinstance(noise_shape, (list, tuple)):
        return ()
    n = len(noise_shape)
    missing = range(-(rank or n), -n)
    return (*missing, *(i - n for i, d in enumerate(noise_shape) if d == 1 and not isinstance(d, bool)))


@RULES.load("Dropout", "AlphaDropout")
def dropout(g: KerasContext, node: ForeignNode) -> Value:
    """``rate``, ``noise_shape`` and ``seed`` of ``Dropout`` and ``AlphaDropout`` (Keras 3.15)."""
    x = node.need(0)
    shared = _shared(node.attr("noise_shape", None), None if x is None else x.rank)
    kind = _KINDS.get(node.type, "bernoulli")
    return g.b.dropout(x, rate=_number(node.attr("rate", None)), kind=kind, shared=shared, seed=_seed(node))


@RULES.load("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")
def spatial_dropout(g: KerasContext, node: ForeignNode) -> Value:
    """One draw for a whole channel (``BaseSpatialDropout``, Keras 3.15): the noise has size 1 along the axes of space."""
    x, n = node.need(0), int(node.type[-2])
    first = node.attr("data_format", "channels_last") == "channels_first"
    shared = tuple(range(2, 2 + n) if first else range(1, 1 + n))
    return g.b.dropout(x, rate=_number(node.attr("rate", None)), shared=shared, seed=_seed(node))


_NOISE: dict[str, Any] = {"seed": A("seed", None, "keras_seed"), "direction": "load"}  # written where its amount is known
RULES.op("GaussianNoise", "gaussian_noise", "inputs=x", stddev=A("stddev", None, "keras_amount"), **_NOISE)
RULES.op(
    "GaussianNoise", "gaussian_noise", "inputs=x", stddev=A("stddev", iso="keras_stddev"), seed=A("seed", None),
    unless={"stddev": None}, priority=2, direction="emit",
)  # fmt: skip
RULES.op("GaussianDropout", "dropout", "inputs=x", kind="gaussian", rate=A("rate", None, "keras_amount"), **_NOISE)
