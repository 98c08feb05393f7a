"""One record per Keras layer: what a configuration means, which variables the layer has, what masks, dtypes and training do.

The reader (``files/``), the rules (``layers/``) and the masks take every fact of a layer from here; a writer needs no more to say
``get_config`` (``config``), to name and order variables, and to build the layer (``required``). Records are declared with
:func:`layer` in ``layers/<family>.py``, beside the rules of the same layers: a new layer touches that file only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["LayerSpec", "Part", "V", "completed", "layer", "spec_of", "specs"]


@dataclass(frozen=True)
class V:
    """A variable. Order in the record is creation order, trainable before non-trainable, which is the order of ``vars/0..n`` in
    ``.keras`` and of ``weight_names`` in HDF5.

    ``shape``: ints, config keys, ``"4*units"``, ``"*kernel_size"`` (one per axis), None for what only the input shape tells;
    ``"~axis"`` is that for one axis, and nothing where the key is a list; None for a shape that is not known at all.
    ``when``: a config key that must be true, ``"!key"`` for false or None,
    ``"key=value"``, several joined with ``&``. ``folders``: alternative sub-folders of the layer's folder that hold its
    ``vars`` (Keras 3.15.1; ``_query_dense`` from 2.12-2.15).
    """

    name: str
    shape: tuple[int | str | None, ...] | None = None
    when: str = ""
    folders: tuple[str, ...] = ("",)
    trainable: bool = True


@dataclass(frozen=True)
class Part:
    """A layer inside a layer: its key in the configuration, the prefix of its variables and its folder in ``.keras`` files."""

    key: str
    prefix: str


@dataclass(frozen=True)
class LayerSpec:
    """What Keras says about one layer. Facts are those of Keras 3.15.1 unless said otherwise.

    Attributes:
        defaults: arguments of the constructor with their defaults, without initialisers, regularisers, constraints and what only
            training uses; ``data_format`` (None there) is ``channels_last``, Keras's own default. ``required``: those without.
        older: what earlier versions assume instead, by ``"keras1"``, ``"keras2"`` (up to 2.2), ``"keras2.3"``, ``"tf.keras"``.
        variables: in creation order; None where the class has no table (quantised lookups, code of the user).
        parts: layers inside. ``aliases``: other names of the class through the eras. ``plain``: the class a cuDNN layer stands
            for.
        masks: what becomes of the mask of the input: ``"stop"``, ``"pass"`` (``supports_masking`` with the default
            ``compute_mask``), ``"merge"`` and ``"concat"`` (``Merge.compute_mask``), ``"own"`` (the rule sets it).
        masks_since: the first era that does so, older ones stop masks. ``takes_mask``: ``call`` computes otherwise with a mask.
        float32: keeps float32 variables and computes in float32 under a mixed policy (``autocast=False``).
        casts_integers: casts integer inputs to the compute dtype too. ``floats_only``: on integers the result differs between
            backends and versions. ``any_dtype``: leaves the dtype of its input alone whatever the policy is.
        training: behaves otherwise when it is called with ``training=True``.
        augments: its ``call`` has ``training=True`` as default, so that a file may state it; ``predict`` and ``evaluate`` give
            training=False to every layer nevertheless (``operation_fn`` in ``models/functional.py``).
        stepwise: treats every step of a sequence alike as it is (elementwise, or over the last axis only).
        spatial: number of spatial axes the class is for (0: any). ``flipped``: Theano convolved with its kernel reversed.
        gates: order in which Keras 1 stored one array per gate, as order of the concatenated ones.
        keras1_kernel: how Keras 1 laid the kernel out (``files/convert.py``).
        call: the names of what ``call`` takes after its first argument, which is then given by name.
        activation: may be named by its class where other layers take an activation.
        extinct: left Keras before version 3.
        choices: the values of arguments that take only these; those of :data:`CHOICES` need no mention.
        function: is called with the arguments of a function, in any order and place, not with tensors first.
        whole: goes back to Keras as it was: what it becomes is told by other operations than one.
    """

    name: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    older: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variables: tuple[V, ...] | None = ()
    parts: tuple[Part, ...] = ()
    aliases: tuple[str, ...] = ()
    plain: str = ""
    masks: str = "stop"
    masks_since: str = ""
    takes_mask: bool = False
    float32: bool = False
    casts_integers: bool = False
    floats_only: bool = False
    any_dtype: bool = False
    training: bool = False
    augments: bool = False
    stepwise: bool = False
    spatial: int = 0
    flipped: bool = False
    gates: tuple[int, ...] = ()
    keras1_kernel: str = ""
    call: tuple[str, ...] = ()
    activation: bool = False
    extinct: bool = False
    choices: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    function: bool = False
    whole: bool = False

    def config(self, era: str, version: tuple[int, ...] = ()) -> dict[str, Any]:
        """The arguments a configuration of an era means where it does not say."""
        older = self.older.get("keras2.3" if era == "keras2" and version >= (2, 3) else era, {})
        return {**self.defaults, **older}

    def invalid(self, config: Mapping[str, Any]) -> list[str]:
        """What a configuration gives arguments of few values that is none of them, one sentence each."""
        words = {k: [", ".join(map(str, v[:-1])), str(v[-1])] for k, v in self.choices.items()}
        return [
            f"{key}={str(config[key])[:60]!r} is not {' or '.join(filter(None, words[key]))}"
            for key, values in self.choices.items()
            if key in config and not any(type(config[key]) is type(v) and config[key] == v for v in values)
        ]


CHOICES: dict[str, tuple[object, ...]] = {
    "data_format": ("channels_last", "channels_first"),
    "fill_mode": ("constant", "nearest", "reflect", "wrap"),
    "interpolation": ("bilinear", "nearest"),
    "oov_method": ("floormod", "farmhash"),
    "output_mode": ("int", "one_hot", "multi_hot", "count"),
    "padding": ("valid", "same"),
    "score_mode": ("dot", "concat"),
    "use_cudnn": ("auto", True, False),
}
"""The values of an argument by its name, where a layer's default for it is a text (constructors, Keras 3.15.1)."""
RESIZED = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area", "gaussian", "mitchellcubic")
"""How images are resized; the last three are tf.keras's."""
OPEN = ("activation", "encoding", "oov_token", "recurrent_activation", "split", "standardize", "vocabulary_dtype", "window")
"""Arguments that are texts, but not only few of them."""

_SPECS: dict[str, LayerSpec] = {}
_ALIASES: dict[str, str] = {}
_UNKNOWN = LayerSpec("", variables=None)
_MASKS = ("stop", "pass", "merge", "concat", "own")


def layer(*names: str, **facts: Any) -> None:
    """Declare layers with the same record.

    Raises ValueError for a name that is taken, an unknown word in ``masks``, or a text for an argument of which nothing tells
    whether other texts are as good."""
    if facts.get("masks", "stop") not in _MASKS:
        raise ValueError(f"masks={facts['masks']!r} is not one of {', '.join(_MASKS)}")
    texts = [k for k, v in facts.get("defaults", {}).items() if isinstance(v, str) and k not in OPEN]
    choices = {**{k: CHOICES[k] for k in texts if k in CHOICES}, **facts.pop("choices", {})}
    if untold := [k for k in texts if k not in choices]:
        raise ValueError(f"{', '.join(names)}: choices= must tell the values of {', '.join(untold)}")
    for name in names:
        found = LayerSpec(name, choices=choices, **facts)
        for taken in (name, *found.aliases):
            if taken in _SPECS or taken in _ALIASES:
                raise ValueError(f"layer {taken!r} is declared twice")
        _SPECS[name] = found
        _ALIASES.update(dict.fromkeys(found.aliases, name))


@cache
def _loaded() -> dict[str, LayerSpec]:
    import_module(".layers", __package__)
    return _SPECS


def specs() -> Iterator[LayerSpec]:
    """Every record."""
    yield from _loaded().values()


def spec_of(name: str) -> LayerSpec:
    """The record of a class by its canonical name; one without facts and without variables' table for a class that has none."""
    return _loaded().get(name, _UNKNOWN)


def completed(name: str, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """A configuration with what the shapes of the variables say: sizes (``units``, ``kernel_size``) and which variables there
    are (``use_bias``). ValueError where a required argument is still missing."""
    spec, out = spec_of(name), dict(config)
    for v in spec.variables or ():
        if isinstance(spec.defaults.get(v.when), bool) and (v.name in shapes or spec.defaults[v.when]):
            out[v.when] = v.name in shapes
        if v.name in shapes and v.shape is not None:
            out |= {k: n for k, n in _sizes(v.shape, shapes[v.name]).items() if k not in out}
    missing = [k for k in spec.required if k not in out]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")
    return out


def _sizes(words: tuple[int | str | None, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """What a variable's shape says of the configuration's keys; nothing where it is another variable of the same name."""
    found: dict[str, Any] = {}
    if len(words) != len(shape) and not any(isinstance(w, str) and w.startswith("*") for w in words):
        return found
    many = len(shape) - len(words) + 1
    at = 0
    for word in words:
        if isinstance(word, str) and word.startswith("*"):
            found[word[1:]] = list(shape[at : at + many])
            at += many
            continue
        if isinstance(word, str) and not word.startswith("~"):  # the size of an axis says nothing of the configuration
            factor, _, key = word.rpartition("*")
            found[key] = shape[at] // int(factor or 1)
        at += 1
    return found


def canonical(name: str) -> str:
    """The Keras 3 name of a class that has another one in some era; the name itself for any other."""
    _loaded()
    return _ALIASES.get(name, name)


def is_known(name: str) -> bool:
    """Whether it is a class of Keras, of any era."""
    return name in _loaded()
