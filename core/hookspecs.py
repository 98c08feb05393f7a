"""The contract with plugins: every hook, with what it returns and when it is called.

A plugin is a module named by an entry point of group ``convcore``; functions in it decorated with :data:`hookimpl` are its
hooks. The module may import only ``convcore`` and the standard library: everything heavy is named by a string
``"package.module:attribute"`` that the host imports on first use. Hooks describe; the objects they name do the work.

    from convcore.hookspecs import CONVCORE_API, Framework, hookimpl

    CONVCORE_API = (1, 0)

    @hookimpl
    def convcore_frameworks():
        return [Framework("keras", title="Keras", distribution="convcore-keras", load="convcore_keras.load:load", ...)]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pluggy

__all__ = [
    "CONVCORE_API", "EmitRequest", "Emitted", "Framework", "Identified", "LoadRequest", "Option", "PassSpec", "Runtime",
    "hookimpl", "hookspec",
]  # fmt: skip

CONVCORE_API = (1, 0)
"""(major, minor). A plugin declares the version it was written for as a module constant of the same name: the major number
must be equal, the minor number not larger."""

hookspec = pluggy.HookspecMarker("convcore")
hookimpl = pluggy.HookimplMarker("convcore")


@dataclass(frozen=True)
class Framework:
    """A framework a plugin brings. Strings ``"module:attribute"`` are imported when needed.

    ``load(request: LoadRequest) -> Graph`` reads any of the framework's sources (path, pair, live object);
    ``emit(request: EmitRequest) -> Emitted`` writes files and/or makes the live object;
    ``runtime(source, weights) -> Runtime`` runs a model natively for verification (None where there is none);
    ``rules`` is the framework's own RuleSet; ``convention`` a :class:`convcore.layout.Convention` for emission.
    """

    name: str
    title: str
    distribution: str
    suffixes: tuple[str, ...] = ()
    load: str = ""
    emit: str = ""
    runtime: str = ""
    rules: str = ""
    convention: str = ""
    default_suffix: str = ""
    requires: tuple[str, ...] = ()
    """Requirements of the native runtime and live objects, e.g. ``("torch>=2.4",)``; checked from metadata before import."""
    live: tuple[str, ...] = ()
    """Class paths (``"onnx.onnx_ml_pb2.ModelProto"``) of live objects ``load`` accepts; compared by name along the MRO."""


@dataclass(frozen=True)
class Identified:
    """One plugin's claim on a source: the framework, 0..100 how sure, and the reason in a few words."""

    framework: str
    score: int
    why: str = ""


@dataclass(frozen=True)
class Option:
    """A named option of a framework's loader or emitter, also a command-line flag ``--<name with dashes>``."""

    name: str
    framework: str
    stage: str  # "load" or "emit"
    type: type = str
    default: Any = None
    help: str = ""
    choices: tuple[Any, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PassSpec:
    """A graph pass of a plugin: ``run`` names a function ``(graph) -> None``; lower ``order`` runs earlier."""

    name: str
    run: str
    order: int = 100
    doc: str = ""


@dataclass
class LoadRequest:
    """What a loader gets. It builds a Graph and never refuses an unknown layer: it makes an opaque node (``Builder.opaque``
    with the reason), so that inspection and the list of all problems work; the pipeline refuses what is opaque later.

    The graph's ``metadata`` gets ``framework``, ``kind``, ``version`` (of the writer), ``notes`` (list of str), and where the
    format has them ``labels`` and ``preprocessing``; ``graph.layers`` lists the source's layers.
    """

    source: Any
    weights: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    rules: Any = None
    input_shapes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    progress: Any = None


@dataclass
class EmitRequest:
    """What an emitter gets: a graph of its own, laid out by the framework's convention, which it may change.

    ``out`` is the path to write (a temporary name beside the final one is the emitter's business through
    :func:`convcore.files.writing`), or None when only the live object is wanted.
    """

    graph: Any
    out: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    rules: Any = None
    progress: Any = None


@dataclass
class Runtime:
    """A model in its native runtime: ``run(arrays in input order) -> arrays in output order``.

    ``plain`` is a function that opens the same model without graph optimisations, for when a first comparison fails. The
    function that opens a runtime raises UnsupportedError when the runtime lacks something the model needs.
    """

    name: str
    run: Any
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    plain: Any = None


@dataclass(frozen=True)
class Emitted:
    """What an emitter made: the files it wrote, a function that makes the live object, notes for the report."""

    paths: tuple[str, ...] = ()
    model: Any = None
    """A function without arguments that returns the live target object, or None."""
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """Names of the result's outputs in the source's order, where the format orders or names them itself (Caffe)."""
    """Inputs and outputs that have another name in the target than in the graph."""
    weights: str | None = None
    """The one of ``paths`` that holds the weights, where reading the model back takes both files."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Symbolic sizes the target fixed, by name (``<input>.<axis>`` for one without a name)."""


@hookspec
def convcore_frameworks() -> Sequence[Framework]:  # type: ignore[empty-body]
    """Frameworks this plugin brings. Called once, at the first use of any framework."""


@hookspec
def convcore_ops() -> Sequence[str]:  # type: ignore[empty-body]
    """``"module:attribute"`` of each OpSet this plugin declares. Called before any rule is read."""


@hookspec
def convcore_rules(framework: str) -> Sequence[str]:  # type: ignore[empty-body]
    """``"module:attribute"`` of each RuleSet for ``framework`` (also of frameworks other plugins bring)."""


@hookspec
def convcore_passes(stage: str, target: str) -> Sequence[PassSpec]:  # type: ignore[empty-body]
    """Graph passes to run: ``stage`` is "loaded" (target "") or "laid_out" (before emission to ``target``)."""


@hookspec
def convcore_identify(source: Any) -> Identified | Sequence[Identified] | None:
    """Whether ``source`` (a path, or a live object) is this plugin's. Must be cheap and import no framework."""


@hookspec
def convcore_options(framework: str) -> Sequence[Option]:  # type: ignore[empty-body]
    """Options of a framework's loader and emitter."""


@hookspec
def convcore_report(report: Any) -> Sequence[str] | None:
    """Lines to add to a conversion's report."""
