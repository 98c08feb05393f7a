"""The contract with plugins: every hook, with what it returns and when it is called.

A plugin is a module named by an entry point of group ``convcore``; functions in it decorated with :data:`hookimpl` are its
hooks. The module may import only ``convcore.plugin`` and the standard library. What it *does* are hooks too, three lines each
with the import inside; what it only *describes* (ops, rules, passes, the layout convention) is named by strings
``"package.module:attribute"`` that the host imports on first use.

    from convcore.plugin import Framework, LoadRequest, hookimpl

    if TYPE_CHECKING:
        from convcore.plugin import Graph  # heavy, and only a type here

    CONVCORE_API = (2, 0)

    @hookimpl
    def convcore_frameworks() -> list[Framework]:
        return [Framework("mlp", title="MLP", distribution="convcore-mlp", suffixes=(".mlp",), rules="convcore_mlp.rules:RULES")]

    @hookimpl
    def convcore_load(framework: str, request: LoadRequest) -> Graph:
        from .load import load

        return load(request)

Of ``convcore_load``, ``convcore_emit`` and ``convcore_runtime`` only the one in the module that brings the framework is called.
Any plugin may put a *wrapper* around them (``@hookimpl(wrapper=True)``, a generator that yields once) for every framework: to
decrypt, to cache, to log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from .errors import UsageError
from .records import dataclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .ir.dims import Shape
    from .ir.graph import Graph
    from .ir.tensors import Tensor
    from .report import Report
    from .rules import RuleSet

__all__ = [
    "CONVCORE_API", "EmitRequest", "Emitted", "Framework", "HubFolder", "Identified", "LoadRequest", "Option", "PassSpec",
    "Runtime", "hookimpl", "hookspec",
]  # fmt: skip

CONVCORE_API = (2, 0)
"""(major, minor). A plugin declares the version it was written for as a module constant of the same name: the major number
must be equal, the minor number not larger. 2.0: loading, emitting and running are hooks; in 1.0 they were strings."""

hookspec = pluggy.HookspecMarker("convcore")
hookimpl = pluggy.HookimplMarker("convcore")


@dataclass(frozen=True)
class HubFolder:
    """How users of Hugging Face's hub find models of a framework in a folder (``convert(..., hub=True)``): ``file`` is the one
    that is written, others lie beside it; ``library`` the card's ``library_name``; ``usage`` Python that loads the model, run in
    the folder. ``config``: a ``config.json`` of ours says labels, inputs and outputs; False where the framework has its own of
    that name."""

    file: str
    library: str
    usage: str
    config: bool = True


@dataclass(frozen=True)
class Framework:
    """A framework a plugin brings. It can be read, written and run where the plugin's module has ``convcore_load``,
    ``convcore_emit`` and ``convcore_runtime``.

    The strings ``"module:attribute"`` are data, imported when needed: ``rules`` is the framework's own RuleSet,
    ``convention`` a :class:`convcore.layout.Convention`, the layout its ops want on emission, or a function that gives one for
    the options, ``dialect`` a function that makes the :class:`convcore.emit.dialect.Dialect` of an EmitRequest: with it
    ``check`` need not write anything.
    """

    name: str
    title: str
    distribution: str
    suffixes: tuple[str, ...] = ()
    rules: str = ""
    convention: str = ""
    dialect: str = ""
    default_suffix: str = ""
    """The suffix of what is written without a name of its own: the first of ``suffixes`` where it is not given."""
    requires: tuple[str, ...] = ()
    """Requirements of the native runtime and live objects, e.g. ``("torch>=2.4",)``; checked from metadata before import."""
    live: tuple[str, ...] = ()
    """Class paths (``"onnx.onnx_ml_pb2.ModelProto"``) of live objects ``convcore_load`` accepts; compared by name along the
    MRO."""
    unread: tuple[str, ...] = ()
    """Those of ``suffixes`` that are written and never read, such as code: what was written is read as a live object or in
    another format. ``check_plugin`` reads the live object back where there is one."""
    lacks: tuple[str, ...] = ()
    """Those of "load", "emit" and "runtime" that the module has for another of its frameworks, but not for this one."""
    catalogue: str = ""
    """A function ``(paths) -> [dict]``, by ``"module:name"``, that says what custom layers files of source define
    (``convcore custom``): each with ``name``, ``file`` and ``line``, or ``file`` and ``problem``."""
    checkpoints: str = ""
    """A function ``(path, entry) -> Checkpoint | None``, by ``"module:name"``, that reads files which hold weights alone
    (``convcore inspect``, ``convcore diff``); None for any other file. ``entry`` says which of several it is to be."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Suffixes of an architecture and of the weights that are taken with it where they stand beside it under the same name, as
    the framework's emitter writes them: ``((".prototxt", ".caffemodel"),)``."""
    runs_when_asked: bool = False
    """A file is opened in the framework's runtime only where that is asked for (``--check native``), not by ``verify``: to start
    it costs much, and it may import what files name."""
    hub: HubFolder | None = None
    """Names of files in a folder for the hub; None where there is no habit."""

    def __post_init__(self) -> None:
        if not self.default_suffix and self.suffixes:
            object.__setattr__(self, "default_suffix", self.suffixes[0])

    def weights_beside(self, source: str) -> list[str]:
        """The names that weights of the architecture ``source`` would have beside it; none where its suffix has no pair."""
        return [source[: -len(own)] + theirs for own, theirs in self.pairs if source.lower().endswith(own)]


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights alone holds: ``tensors`` by name, in the file's order. ``entry``: the keys under which the file has
    them (``state_dict``); ``prefix``: what was taken away from every name; ``beside``: plain values that are in the file, too;
    ``kind``: what file it is."""

    kind: str
    tensors: Mapping[str, Tensor]
    entry: str = ""
    prefix: str = ""
    beside: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Identified:
    """One plugin's claim on a source: the framework, 0..100 how sure, and the reason in a few words."""

    framework: str
    score: int
    why: str = ""


@dataclass(frozen=True)
class Option:
    """A named option of a framework's loader or emitter, also a command-line flag ``--<name with dashes>`` (but not for ``type``
    object). A ``list`` is an option that may be repeated, one value or several. A loader's option ``example_inputs`` is given
    what :func:`convcore.convert` is, when the source is a live object."""

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
    """A path, or a live object."""
    weights: Any = None
    """A path, or what the loader takes beside a live object; None where the source holds its weights."""
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    rules: RuleSet[Any, Any] | None = None
    input_shapes: Mapping[str, Shape] = field(default_factory=dict)
    progress: Callable[[str, float], None] | None = None

    @property
    def ruleset(self) -> RuleSet[Any, Any]:
        """The rules, for a loader that cannot do without; the host always gives them."""
        if self.rules is None:
            raise UsageError("a LoadRequest made outside of the host needs rules=")
        return self.rules


@dataclass
class EmitRequest:
    """What an emitter gets: a graph of its own, laid out by the framework's convention, which it may change.

    ``out`` is the path to write (a temporary name beside the final one is the emitter's business through
    :func:`convcore.files.writing`), or None when only the live object is wanted. ``moved``: by name, the inputs and outputs whose
    order of axes is not the source's; axis i is axis ``moved[name][i]`` there.
    """

    graph: Graph
    out: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    rules: RuleSet[Any, Any] | None = None
    progress: Callable[[str, float], None] | None = None
    moved: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass
class Runtime:
    """A model in its native runtime: ``run(arrays in input order) -> arrays in output order``.

    ``watched`` runs it too, and tells what layers inside give: ``see(name, array)``, by the names of the graph's values, each
    once and in the order they are computed; for a result that convcore does not read back.

    ``plain`` is a function that opens the same model without graph optimisations, for when a first comparison fails. The
    function that opens a runtime raises UnsupportedError when the runtime lacks something the model needs.
    """

    name: str
    run: Callable[[list[NDArray[Any]]], list[NDArray[Any]]]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    plain: Callable[[], Runtime] | None = None
    watched: Callable[[list[NDArray[Any]], Callable[[str, NDArray[Any]], None]], list[NDArray[Any]]] | None = None


@dataclass(frozen=True)
class Emitted:
    """What an emitter made: the files it wrote, a function that makes the live object, notes for the report."""

    paths: tuple[str, ...] = ()
    model: Callable[[], Any] | None = None
    """A function without arguments that returns the live target object, or None."""
    notes: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    """Names of the result's outputs in the source's order, where the format orders or names them itself (Caffe)."""
    weights: str | None = None
    """The one of ``paths`` that holds the weights, where reading the model back takes both files."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Symbolic sizes the target fixed, by name (``<input>.<axis>`` for one without a name)."""
    runtime: Callable[[], Runtime | None] | None = None
    """Runs what was written, where the format's runtime does not open anybody's files (Keras imports what a file names); None
    where that is not installed."""
    architecture: str = ""
    """Name of the class that was written, where it has one."""
    reading: Mapping[str, Any] = field(default_factory=dict)
    """Options without which the loader does not read what was written (the source of layers that were kept)."""


@hookspec
def convcore_frameworks() -> Sequence[Framework]:  # type: ignore[empty-body]
    """Frameworks this plugin brings. Called once, at the first use of any framework."""


@hookspec(firstresult=True)
def convcore_load(framework: str, request: LoadRequest) -> Graph:  # type: ignore[empty-body]
    """Read a source of ``framework``. Called of the plugin that brings it only, inside everybody's wrappers.

    Raises BadFileError for a damaged file, UsageError for a wrong call; makes an opaque node of a layer it does not know.
    """


@hookspec(firstresult=True)
def convcore_emit(framework: str, request: EmitRequest) -> Emitted:  # type: ignore[empty-body]
    """Write a laid-out graph as ``framework``, to files and/or a live object. Called of the plugin that brings it only, inside
    everybody's wrappers. Raises UnsupportedError with all problems at once; leaves no file then.
    """


@hookspec(firstresult=True)
def convcore_runtime(framework: str, source: Any, weights: Any) -> Runtime | None:
    """Open a source in the framework's own runtime, for verification; None where it has none for it. Called of the plugin that
    brings the framework only, inside everybody's wrappers.

    Raises FrameworkMissingError where it is not installed, UnsupportedError where it lacks something the model needs.
    """


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
def convcore_report(report: Report) -> Sequence[str] | None:
    """Lines to add to a conversion's report."""
