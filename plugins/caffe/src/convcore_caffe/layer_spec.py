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
    from .files import Layer

__all__ = ["EVERY", "FLAVORS", "ONE", "LayerSpec", "Parameters", "layer", "params_of", "spec_of", "specs", "types_with"]

FLAVORS = ("bvlc", "ssd")
"""The Caffes that are written for: BVLC's master of 2018 and later; ssd is weiliu89's branch, which left BVLC before Clip and
Swish, with the ReLU6 its MobileNet ports add."""
EVERY = FLAVORS
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
        blobs: its weights by name, in Caffe's order; the last may be absent (``bias_term``). ``or_bottom``: a second bottom
            stands for them.
        source: its tops come from outside the net. ``loss``: its one top may be left out, and has loss weight 1 by default.
        memory: ``"own"``: its tops have memory of their own (Split, Reshape and others share their bottom's); ``"in place"``: and
            Caffe's users write it over its bottom; ``"never in place"``: its Reshape CHECKs top[0] != bottom[0].
        writes: the flavors that have it, for targets.
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
    blobs: tuple[str, ...] = ()
    or_bottom: bool = False
    source: bool = False
    loss: bool = False
    memory: str = ""
    writes: tuple[str, ...] = ()
    opencv: bool = True
    check: Callable[[Layer], Iterator[str]] | None = None
    why: str = ""

    @property
    def upstream(self) -> bool:
        """Whether BVLC's Caffe has it."""
        return self.counts is not None

    def params(self) -> tuple[str, ...]:
        """The fields of LayerParameter it reads, its own first."""
        own = [p.field for p in (self.param, self.also) if p is not None]
        return (*own, *self.reads)


_SPECS: dict[str, LayerSpec] = {}
_UNKNOWN = LayerSpec("")


def layer(*names: str, param: str = "", also: str = "", **facts: Any) -> None:
    """Declare layers with the same record. ValueError for a name that is taken or an unknown word in ``memory``."""
    if facts.get("memory", "") not in _MEMORY:
        raise ValueError(f"memory={facts['memory']!r} is not one of {', '.join(map(repr, _MEMORY))}")
    for name in names:
        if name in _SPECS:
            raise ValueError(f"layer {name!r} is declared twice")
        own, other = (Parameters.parse(t) if t else None for t in (param, also))
        _SPECS[name] = LayerSpec(name, own, other, **facts)


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
