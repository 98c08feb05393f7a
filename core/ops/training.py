"""Ops that act in training only. At inference each gives its input, and passes look through it as through a view.

Every attribute is marked ``training``: it is kept for targets that have a place for it and never stands in the way of one that
has not.
"""

from __future__ import annotations

from typing import Any

from ..opset.axes import Elementwise
from ..opset.declare import Attr, OpSet, Sample
from ..opset.traits import Trait

__all__ = ["TRAINING"]

TRAINING = OpSet("training")

SEED = Attr("int", None, doc="seed of the random numbers; None: none is given", training=True)


def _itself(x: Any, **_: Any) -> Any:
    return x


def _same(b: Any, x: Any, **_: Any) -> Any:
    return b.identity(x)


TRAINING.op(
    "dropout", "x",
    "The input itself; while training, elements dropped at random: ``bernoulli`` sets the fraction ``rate`` to 0 and divides the "
    "rest by 1 - rate, ``alpha`` sets it to the negative saturation of selu and keeps mean and variance, ``gaussian`` multiplies "
    "by noise of mean 1 and deviation sqrt(rate / (1 - rate)). Along the axes ``shared`` one draw counts for all elements.",
    attrs={
        "rate": Attr(
            "float", None, doc="the fraction dropped (Keras rate, ONNX ratio, torch p, Caffe dropout_ratio); None: not known",
            training=True,
        ),
        "kind": Attr("str", "bernoulli", ("bernoulli", "alpha", "gaussian"), "what is done to it", training=True),
        "shared": Attr("axes", (), doc="axes along which one draw counts for all (spatial dropout)", training=True),
        "seed": SEED,
    },
    reference=_itself, body=_same, traits=Trait.SAME, axes=Elementwise(axes="shared"),
    samples=[
        Sample((2, 3, 5), rate=0.5), Sample((7,)), Sample((2, 3, 5, 7), rate=0.25, shared=(1, 2), seed=3),
        Sample((3, 5), rate=0.0, kind="alpha"),
        Sample(("int32", (2, 3)), rate=0.3, kind="gaussian", shared=(-1,)),
    ],
)  # fmt: skip

TRAINING.op(
    "gaussian_noise", "x",
    "The input itself; while training, noise of mean 0 and deviation ``stddev`` is added.",
    attrs={"stddev": Attr("float", None, doc="its deviation; None: not known", training=True), "seed": SEED},
    reference=_itself, body=_same, traits=Trait.SAME, axes=Elementwise(),
    samples=[Sample((2, 3, 5), stddev=0.5), Sample((3, 5), stddev=0.1, seed=7)],
)  # fmt: skip
