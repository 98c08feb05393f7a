"""Axis rules: how an op behaves when the axes of its inputs are permuted. Pure data; :mod:`convcore.layout` applies them.

With ``y = x.transpose(p)`` (axis i of y is axis ``p[i]`` of x): an axis ``a`` becomes ``p.index(a)``, a per-axis vector ``v``
becomes ``[v[i] for i in p]``. A rule names the attributes it has to rewrite; every other attribute must not depend on the
order of axes. "The main inputs" are those not named in ``fixed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..records import dataclass

__all__ = [
    "CHANNELS",
    "TIME",
    "Append",
    "Axes",
    "Axis",
    "AxisRule",
    "Broadcast",
    "Elementwise",
    "Insert",
    "LastAxes",
    "Layout",
    "Letters",
    "Opaque",
    "PerAxis",
    "Perm",
    "Pick",
    "Remove",
    "Reshape",
]


@dataclass(frozen=True)
class AxisRule:
    """Base. ``fixed`` names inputs that are never permuted (1-D parameters, scalars).

    ``stay`` lists axes of the main inputs that a permutation must leave where they are (the batch axis 0 of group_norm).
    """

    fixed: tuple[str, ...] = field(default=(), kw_only=True)
    stay: tuple[int, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Elementwise(AxisRule):
    """Output axes are the input's axes. Several inputs must have equal shapes.

    ``axes`` names an attribute that lists axes, to be rewritten; a permutation inside one of them changes nothing.
    """

    axes: str = ""


@dataclass(frozen=True)
class Broadcast(AxisRule):
    """Inputs broadcast against each other as numpy does (right-aligned); missing leading axes count as size 1."""


@dataclass(frozen=True)
class Axis(AxisRule):
    """One axis, in attribute ``attr``, is special; output axes are the input's (softmax, concat, batch_norm, split...).

    ``along`` names those of ``fixed`` that are 1-D arrays along the axis with one entry per element, each element being
    treated alike (batch_norm): the elements of the axis may then be permuted together with them. ``joins`` says that the
    main inputs follow one another along the axis (concat), ``or_none`` that None means no axis is special (quantize).
    """

    attr: str = "axis"
    along: tuple[str, ...] = ()
    joins: bool = False
    or_none: bool = False


@dataclass(frozen=True)
class Axes(AxisRule):
    """Several axes are special. ``keepdims`` is the name of a bool attribute, or True when axes always stay."""

    attr: str = "axes"
    keepdims: str | bool = "keepdims"


@dataclass(frozen=True)
class PerAxis(AxisRule):
    """Attributes hold one entry per axis (pad, slice, tile...)."""

    attrs: tuple[str, ...] = ("pads",)


@dataclass(frozen=True)
class Perm(AxisRule):
    """The op is itself a permutation: it absorbs one on either side."""

    attr: str = "perm"


@dataclass(frozen=True)
class Insert(AxisRule):
    """Inserts axes at the given output positions: of size 1 (unsqueeze), or one for several inputs (stack)."""

    attr: str = "axes"


@dataclass(frozen=True)
class Append(AxisRule):
    """The output has the main input's axes, in its order, followed by new ones (embedding)."""


@dataclass(frozen=True)
class Remove(AxisRule):
    """Removes axes: of size 1 (squeeze), or one that becomes several outputs (unstack)."""

    attr: str = "axes"


@dataclass(frozen=True)
class Pick(AxisRule):
    """Elements of one axis by an index (``index`` names it, it is fixed): one element without the axis, or a row of them."""

    attr: str = "axis"
    index: str = "indices"


@dataclass(frozen=True)
class Letters(AxisRule):
    """An equation with a letter for every axis (einsum): it takes any order of any input and output."""

    attr: str = "equation"


@dataclass(frozen=True)
class LastAxes(AxisRule):
    """Works on the last ``k`` axes of every main input, the leading ones are batch (linear: 1, matmul: 2).

    ``absorbs_in`` maps fixed inputs to the axis of theirs that meets the last axis of the only main input (linear:
    ``{"w": 1}``), ``absorbs_out`` to the axis that becomes the last axis of the output (``{"w": 0, "b": 0}``): elements of
    the last axis may be permuted when those inputs are constants and are permuted with them. ``rows``: the last axis but one of
    the first main input, and the last of the second, are the output's, each element by itself (matmul).
    """

    k: int = 1
    absorbs_in: Mapping[str, int] = field(default_factory=dict, hash=False)
    absorbs_out: Mapping[str, int] = field(default_factory=dict, hash=False)
    rows: bool = False


@dataclass(frozen=True)
class Layout(AxisRule):
    """The op names its own order in attribute ``attr``.

    ``forms`` maps each value of the attribute to the order of every permuted input and output: letters are single axes,
    ``*`` stands for all spatial axes. Inputs and outputs that are not named keep their order.
    """

    attr: str = "layout"
    family: str = "channels"
    forms: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)


def CHANNELS(*names: str) -> Layout:
    """channels_first / channels_last for the named inputs and outputs."""
    return Layout(
        "layout",
        "channels",
        {"channels_first": dict.fromkeys(names, "NC*"), "channels_last": dict.fromkeys(names, "N*C")},
    )


def TIME(**names: str) -> Layout:
    """batch_major / time_major; each name with its batch-major order, e.g. ``x="NTC", mask="NT"``."""
    swap = {k: v.replace("N", "#").replace("T", "N").replace("#", "T") for k, v in names.items()}
    return Layout("layout", "time", {"batch_major": names, "time_major": swap})


@dataclass(frozen=True)
class Reshape(AxisRule):
    """A reshape: a permutation passes iff groups of axes that merge or split move as whole blocks."""

    attr: str = "shape"


@dataclass(frozen=True)
class Opaque(AxisRule):
    """Nothing is known: inputs and outputs keep their order. The safe default."""
