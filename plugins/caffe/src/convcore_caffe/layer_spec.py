"""One record per Caffe layer: the messages that hold its parameters, its bottoms, tops and weights, and who can read it.

The file layer (``files/``: schema, checks, old generations), the rules, the emitter and the second opinion by OpenCV take every
fact of a layer type from here. Records are declared with :func:`layer` in ``rules/<family>.py``, beside the rows and rules of the
same layers: a new layer touches that file only. Facts are those of BVLC's Caffe, master 9b891540, unless a fork is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import CaffeNode
    from .files import Layer

__all__ = [
    "BIAS",
    "EVERY",
    "FLAVORS",
    "ONE",
    "WINDOW",
    "Blob",
    "LayerSpec",
    "Parameters",
    "layer",
    "params_of",
    "spec_of",
    "specs",
    "types_with",
]

FLAVORS = ("bvlc", "ssd", "opencv")
"""What is written for: bvlc is BVLC's master of 2018 and later; ssd is weiliu89's branch, which left BVLC before Clip, Swish and
Pooling's round_mode; opencv is no Caffe but the importer of OpenCV's dnn (4.14), which has layers of both, and ReLU6, and reads
some otherwise (``opencv.py``)."""
EVERY = ("bvlc", "ssd")
ONE = (1, 1, 1, 1)
"""Counts of a layer with one bottom and one top."""

_MEMORY = ("", "own", "in place", "never in place")


@dataclass(frozen=True)
class Parameters:
    """A field of LayerParameter with its message: ``elu_param 140 ELUParameter: alpha 1 float=1``, fields as in ``files/schema``
    (number 0: in the text form only). Without a colon the message is declared elsewhere."""

    field: str
    number: int
    message: str
    fields: str | None

    @classmethod
    def parse(cls, text: str) -> Parameters:
        """ValueError for a text that is none."""
        head, colon, fields = text.partition(":")
        words = head.split()
        if len(words) != 3 or not words[1].isdigit():
            raise ValueError(f"{text!r} is not 'field number Message: fields'")
        return cls(words[0], int(words[1]), words[2], fields.strip() if colon else None)


WINDOW: Mapping[str, int | None] = {"pad": 0, "kernel_size": None, "stride": 1, "dilation": 1}
"""The fields of a convolution that hold a number per spatial axis, with Caffe's defaults."""


@dataclass(frozen=True)
class Blob:
    """A weight of a layer. ``shape`` tells what the layer makes of it (None: the rule knows), ``when`` a field that must be true
    for there to be one, ``filler`` the field that holds its FillerParameter, ``constant`` what it is filled with without one."""

    name: str
    shape: Callable[[CaffeNode], tuple[int, ...]] | None = None
    when: str = ""
    filler: str = ""
    constant: float = 0.0


BIAS = Blob("bias", lambda node: (int(node.attr("num_output")),), "bias_term", "bias_filler")


@dataclass(frozen=True)
class LayerSpec:
    """What Caffe says about one layer type.

    Attributes:
        param: its own field of LayerParameter and the message in it (:class:`Parameters`); ``also`` is another name of the field.
        reads: further fields of LayerParameter it reads, by name.
        enums, messages: what only its own message names, declared as in ``files/schema``.
        counts: least and most bottoms, least and most tops (None: any number) that upstream CHECKs; None for a fork's layer.
        v1: name and number of the type in the second generation of files (-1 and below: text only), and the number of its field
            there if it has one: ``"RELU 18 30"``. ``v0``: name in the first.
        blobs: its weights in Caffe's order, by name where only its rule knows more. ``or_bottom``: a second bottom stands for
            them.
        spatial: the fields that hold a number per spatial axis, with their defaults. Rules see and write one for each axis; in
            a file they are given once for all, once each, or as ``*_h`` and ``*_w``.
        source: its tops come from outside the net. ``loss``: its one top may be left out, and has loss weight 1 by default.
        memory: ``"own"``: its tops have memory of their own (Split, Reshape and others share their bottom's); ``"in place"``: and
            Caffe's users write it over its bottom; ``"never in place"``: its Reshape CHECKs top[0] != bottom[0].
        overwritten: a layer in place may write over its top, as its backward does not read it. (ReLU, ELU, LRN, Power read it:
            gradients would be wrong without a word. Measured with BVLC's Caffe against torch's autograd.)
        writes: the Caffes that have it, for targets ("opencv" alone: only OpenCV); ``flavors`` adds OpenCV to them.
        opencv: whether OpenCV's dnn (4.14) has it and reads it.
        check: reasons why Caffe refuses the layer whatever its bottoms' shapes are.
        why: why it has no rule, where that is known.
    """

    name: str
    param: Parameters | None = None
    also: Parameters | None = None
    reads: tuple[str, ...] = ()
    enums: Mapping[str, str] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    counts: tuple[int, int | None, int, int | None] | None = None
    v1: str = ""
    v0: str = ""
    blobs: tuple[Blob, ...] = ()
    spatial: Mapping[str, int | None] = field(default_factory=dict)
    or_bottom: bool = False
    source: bool = False
    loss: bool = False
    memory: str = ""
    overwritten: bool = False
    writes: tuple[str, ...] = ()
    opencv: bool = True
    check: Callable[[Layer], Iterator[str]] | None = None
    why: str = ""

    @property
    def upstream(self) -> bool:
        """Whether BVLC's Caffe has it."""
        return self.counts is not None

    @property
    def flavors(self) -> tuple[str, ...]:
        """The flavors it is written for."""
        return (*self.writes, "opencv") if self.writes and self.opencv and "opencv" not in self.writes else self.writes

    def params(self) -> tuple[str, ...]:
        """The fields of LayerParameter it reads, its own first."""
        own = [p.field for p in (self.param, self.also) if p is not None]
        return (*own, *self.reads)

    def shortest(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields as a person writes them: numbers per spatial axis once where they agree, and not at all where they are
        Caffe's defaults; as ``*_h`` and ``*_w`` for two axes."""
        out = dict(fields)
        for name, default in self.spatial.items():
            if not isinstance(out.get(name), (list, tuple)):  # one number for all axes, or none
                continue
            values = list(out.pop(name))
            short = name.removesuffix("_size")
            if not values or all(v == default for v in values):
                continue
            if len(set(values)) == 1:
                out[name] = values[0]
            elif len(values) == 2 and name != "dilation":
                out[f"{short}_h"], out[f"{short}_w"] = values
            else:
                out[name] = values
        return out


_SPECS: dict[str, LayerSpec] = {}
_UNKNOWN = LayerSpec("")


def layer(*names: str, param: str = "", also: str = "", **facts: Any) -> None:
    """Declare layers with the same record. ValueError for a name that is taken or an unknown word in ``memory``."""
    if facts.get("memory", "") not in _MEMORY:
        raise ValueError(f"memory={facts['memory']!r} is not one of {', '.join(map(repr, _MEMORY))}")
    own, other = (Parameters.parse(t) if t else None for t in (param, also))
    blobs = tuple(Blob(b) if isinstance(b, str) else b for b in facts.pop("blobs", ()))
    for name in names:
        if name in _SPECS:
            raise ValueError(f"layer {name!r} is declared twice")
        _SPECS[name] = LayerSpec(name, own, other, blobs=blobs, **facts)


@cache
def _loaded() -> dict[str, LayerSpec]:
    import_module(".rules", __package__)
    return _SPECS


def specs() -> Iterator[LayerSpec]:
    """Every record."""
    yield from _loaded().values()


def spec_of(type_: str) -> LayerSpec:
    """The record of a layer type; one without facts for a type that has none."""
    return _loaded().get(type_, _UNKNOWN)


@cache
def types_with(fact: str) -> frozenset[str]:
    """The types for which a fact is true: ``types_with("source")``."""
    return frozenset(s.name for s in specs() if getattr(s, fact))


@cache
def params_of(type_: str) -> tuple[str, ...]:
    """Fields of LayerParameter a layer of this type reads: those of its record, else its name in snake case with ``_param``."""
    found = spec_of(type_).params()
    if found:
        return found
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type_).lower()
    plain = type_.lower()
    return (f"{snake}_param",) if snake == plain else (f"{snake}_param", f"{plain}_param")
