"""Facts about ops that passes, layouts and targets ask for: flags on declarations, instead of lists of op names.

``Trait.VIEW in op("reshape").traits``. The set is closed. What a trait claims is checked on the samples of every op that has it
(:mod:`convcore.testing.traits`), where that can be computed.
"""

from __future__ import annotations

from enum import Enum, Flag, auto
from functools import cache

__all__ = ["Role", "Trait"]


class Trait(Flag):
    """What is true of every use of an op, whatever its attributes."""

    NONE = 0
    VIEW = auto()
    """The elements of its one data input, all of them, once each, in C order or with axes permuted: no arithmetic, no copy. The
    axis rule tells which (Perm permutes). Implies MOVES."""
    MOVES = auto()
    """Every element of the results is an element of a data input (a scatter may join several by its reduction); the reference
    works on arrays of objects too. Implies KEEPS_SIGN."""
    SAME = auto()
    """The result is its one input, every element at its place. Implies VIEW and POINTWISE."""
    POINTWISE = auto()
    """Every element of the result is made of the elements at its place in the inputs, broadcast as numpy does it, and of no
    others."""
    BROADCASTS = auto()
    """The result is its one data input, broadcast to a shape as numpy does it. Implies MOVES."""
    OF_SHAPES = auto()
    """What the results are depends on attributes and on shapes of inputs, on no element of any."""
    SCALED = auto()
    """The parameter ``scale``, where it is given, multiplies the result, and the parameter ``bias``, if the op has one, is added
    to that; both lie along the axis or axes that the attribute ``axis`` or ``axes`` names."""
    COMMUTES = auto()
    """The two inputs may be exchanged."""
    NONNEGATIVE = auto()
    """No element of the results is below zero (NaN aside)."""
    KEEPS_SIGN = auto()
    """No element of the results is below zero when none of the inputs is, index inputs aside (NaN and integer overflow aside)."""
    NO_FOLD = auto()
    """Stays a node where all of its inputs are constants: what it says is worth keeping (quantisation), or it is not worth
    running while converting (recurrences, loops)."""
    HEAVY = auto()
    """Reads many elements for each element it writes: products, convolutions, recurrences. They make the time of a model."""
    WINDOW = auto()
    """A window slides over the spatial axes of the first input: attributes strides, pads, dilations and layout, and a kernel,
    which is an attribute or the trailing axes of the first parameter."""
    AFFINE = auto()
    """A product of the first input with the first parameter, linear in it, to which the parameter ``b`` is added. The first axis
    of both parameters is the axis of channels of the result: the last one, or that of the attribute ``layout``."""
    RECURRENT = auto()
    """Goes over a sequence with states. The first ones are the optional inputs h0 and, if the op has it, c0, zeros where they are
    left out; the results behind the first are the last ones."""

    @property
    def complete(self) -> Trait:
        """With what it implies."""
        return _complete(self)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of declaration."""
        return tuple(n for n, t in Trait.__members__.items() if t and t in self)


@cache
def _complete(out: Trait) -> Trait:
    if Trait.SAME in out:
        out |= Trait.VIEW | Trait.POINTWISE
    if Trait.VIEW in out or Trait.BROADCASTS in out:
        out |= Trait.MOVES
    if Trait.MOVES in out:
        out |= Trait.KEEPS_SIGN
    return out


class Role(str, Enum):
    """What an input is to its op, and so what a constant given there is."""

    DATA = "data"
    """What the op works on; a constant there is a constant."""
    PARAMETER = "parameter"
    """A constant there was trained."""
    STATISTIC = "statistic"
    """A constant there was measured while training, not trained: running mean and variance."""
    INDEX = "index"
    """Whole numbers that say where, how long, how many: indices, lengths, sizes."""

    def __str__(self) -> str:
        return self.value
