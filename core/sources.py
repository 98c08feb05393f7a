"""From what the user gave to a graph: paths, options, input shapes, the framework's loader."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .beside import tell_beside
from .budget import spending
from .collector import without_collector
from .errors import BadFileError, ConvcoreError, UsageError, ask
from .files import Watch, absolute, watched, watching
from .hookspecs import LoadRequest, Option
from .host import host, resolve
from .ir.dims import Dim, DimLike
from .ir.graph import Graph
from .ir.parse_dims import parse_dim
from .nomodel import refuse_no_model

__all__ = [
    "Loaded",
    "Overrides",
    "load_graph",
    "parse_input_shapes",
    "refuse_unknown_options",
    "refuse_without_outputs",
    "split_source",
    "stage_options",
]

Progress = Callable[[str, float], None]


class Overrides(dict[str, Any]):
    """Functions by layer name or type that remembers which were used: one that fits nothing is a mistake to be told."""

    def __init__(self, given: Mapping[str, Any] | None = None, what: str = "overrides") -> None:
        super().__init__(given or {})
        self.what, self.used = what, set[str]()
        self.near: dict[str, str] = {}

    def __getitem__(self, key: str) -> Any:
        self.used.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        """Besides, note a registered type that a key gives without its package: Keras files call ``Square`` ``my>Square``."""
        package, _, name = str(key).rpartition(">")
        if package and super().__contains__(name):
            self.near[name] = str(key)
        return super().__contains__(key)

    def refuse_unused(self) -> None:
        """UsageError naming the keys that no layer had as its name or type."""
        left = sorted(self.keys() - self.used)
        if left:
            what = ask("--override", self.what)
            near = "".join(f"; the file calls it {self.near[k]!r}" for k in left if k in self.near)
            raise UsageError(f"{what} for {', '.join(map(repr, left))}: nothing in the model has that name or type{near}")


def split_source(source: Any, weights: Any) -> tuple[Any, Any]:
    """A path, a pair of paths or a live object as (source, weights)."""
    if isinstance(source, (tuple, list)):
        if len(source) != 2 or weights is not None:
            raise UsageError("a source is a path, a pair (architecture, weights) or a live object")
        source, weights = source
    if isinstance(source, (str, os.PathLike)):
        source = _existing(source)
    if isinstance(weights, (str, os.PathLike)):
        weights = _existing(weights)
    return source, weights


def _existing(path: str | os.PathLike[str]) -> Path:
    """The path of a regular file or folder; UsageError for what is not there or is neither (a pipe would be waited for)."""
    p = Path(path)
    try:
        mode = p.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{p}: no such file") from None
    except (OSError, ValueError) as e:
        raise UsageError(f"{p}: {e.strerror if isinstance(e, OSError) and e.strerror else e}") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UsageError(f"{p} is no regular file; copy what it gives into one")
    return p


def refuse_without_outputs(graph: Graph, source: Any) -> None:
    """BadFileError for what gives nothing: no target runs it, and nothing of it could be compared."""
    if not graph.outputs:
        what = source.name if isinstance(source, Path) else type(source).__name__
        raise BadFileError(f"{what}: the model has no outputs, so there is nothing to compute")


def stage_options(framework: str, stage: str, given: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """The options of one stage with defaults, checked; notes the given names it used."""
    out: dict[str, Any] = {}
    for o in host().options(framework):
        if o.stage != stage:
            continue
        names = [n for n in (o.name, *o.aliases) if n in given]
        if len(names) > 1:
            raise UsageError(f"{' and '.join(names)} are the same option")
        used.update(names)
        out[o.name] = _coerce(o, given[names[0]]) if names else o.default
    return out


def _coerce(o: Option, value: Any) -> Any:
    if o.type is list and isinstance(value, (str, os.PathLike)):
        value = [value]
    elif o.type is list and isinstance(value, (list, tuple)):
        value = list(value)
    elif o.type is list and isinstance(value, Mapping):
        value = [f"{k}={v}" for k, v in value.items()]
    elif value is None or (isinstance(value, o.type) and not (o.type is int and isinstance(value, bool))):
        pass
    elif o.type in (int, float, str) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            converted = o.type(value)
        except (ValueError, OverflowError):
            converted = None
        if converted is None or (o.type is int and isinstance(value, float) and converted != value):
            raise UsageError(f"option {o.name}={value!r} is not a {o.type.__name__}")
        value = converted
    else:
        raise UsageError(f"option {o.name}={value!r} is not a {o.type.__name__}")
    if o.choices and value is not None and value not in o.choices:
        raise UsageError(f"option {o.name}={value!r} is not one of {', '.join(map(str, o.choices))}")
    return value


def refuse_unknown_options(given: Mapping[str, Any], used: set[str], frameworks: Sequence[str]) -> None:
    left = sorted(given.keys() - used)
    if left:
        known = sorted({o.name for f in frameworks for o in host().options(f)})
        raise UsageError(
            f"unknown option{'s' if len(left) > 1 else ''} {', '.join(map(_named, left))} for {' to '.join(frameworks) or 'this'}"
            f"; options here: {', '.join(map(_named, known)) or 'none'}"
        )


def _named(option: str) -> str:
    return ask("--" + option.replace("_", "-"), option)


def parse_input_shapes(spec: Mapping[str, Any] | Sequence[str] | None) -> dict[str, tuple[Any, ...]]:
    """``{"x": ("batch", 3, 224, 224)}`` or ``["x:batch,3,224,224"]`` as shapes of integers and Dims; None, ``?`` or -1 is a size
    that is not known. UsageError for what is no shape."""
    out: dict[str, tuple[Any, ...]] = {}
    if spec is None:
        return out
    if isinstance(spec, Mapping):
        for name, shape in spec.items():
            if not isinstance(shape, (tuple, list)):
                raise UsageError(f"input_shapes of {name!r}: {shape!r} is no tuple of sizes")
            out[name] = tuple(_size(d, f"input_shapes of {name!r}") for d in shape)
        return out
    if isinstance(spec, str) or not isinstance(spec, Sequence) or not all(isinstance(text, str) for text in spec):
        raise UsageError(
            f"{ask('--input-shape', 'input_shapes')} {spec!r} is neither {{'name': (sizes)}} nor a list of texts ['name:sizes']"
        )
    for text in spec:
        name, sep, dims = text.rpartition(":")
        if not sep:
            raise UsageError(f"bad input shape {text!r}: write name:batch,3,224,224 (no colon)")
        out[name] = tuple(_size(d, f"bad input shape {text!r}: write name:batch,3,224,224") for d in dims.split(",") if d.strip())
    return out


def _size(d: Any, what: str) -> DimLike | None:
    """One size of a shape; UsageError, which ``what`` begins, for what is none."""
    try:
        n = parse_dim(d) if isinstance(d, str) and d.strip() != "?" else d
    except ConvcoreError as e:
        raise UsageError(f"{what} ({e})") from None
    if n is None or n == "?" or isinstance(n, Dim):
        return None if n == "?" else n
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < -1:
        raise UsageError(f"{what} ({d!r} is no size: a number, a name, or None)")
    return None if n == -1 else int(n)


class Loaded(NamedTuple):
    """A graph, the name of the framework it came from, the files it is read from, of which weights may be read later, and the
    weights it was read with: those given, or those found beside the source."""

    graph: Graph
    framework: str
    files: Watch
    weights: Any = None


def load_graph(
    source: Any, weights: Any, format: str | None, options: Mapping[str, Any], used: set[str], *,
    overrides: Mapping[str, Any] | None = None, input_shapes: Any = None, progress: Progress | None = None,
) -> Loaded:  # fmt: skip
    """Identify the source and let its framework's loader read it; every file read is watched from before it is opened.

    Paths are made absolute: weights are read later, when the working folder may be another.
    """
    source, weights = (Path(absolute(p)) if isinstance(p, Path) else p for p in (source, weights))
    with watching() as files, spending(), without_collector():
        for path in (source, weights):
            if isinstance(path, Path):
                watched(path)
        graph, framework, weights = _load(source, weights, format, options, used, overrides, input_shapes, progress)
        return Loaded(graph, framework, files, weights)


def _beside(source: Any, framework: str) -> Path | None:
    """The weights that stand beside an architecture under the name that its framework's emitter gives them, watched from here."""
    if not isinstance(source, Path):
        return None
    names = map(Path, host().framework(framework).weights_beside(str(source)))
    found = next((p for p in names if p.is_file()), None)
    if found is not None:
        watched(found)
    return found


def _in_folder(source: Any) -> Path | None:
    """The model in a folder as the hub has them, by the name that a framework's models have there; None where there is no one
    such file that is read."""
    if not isinstance(source, Path) or not source.is_dir():
        return None
    read = [f for f in host().frameworks.values() if f.hub is not None and host().can(f.name, "load")]
    named = [source / f.hub.file for f in read if f.hub is not None and not f.hub.file.endswith(f.unread or ("/",))]
    found = [p for p in named if p.is_file() and p.name != "config.json"]
    return found[0] if len(found) == 1 else None


def _load(
    source: Any, weights: Any, format: str | None, options: Mapping[str, Any], used: set[str],
    overrides: Mapping[str, Any] | None, input_shapes: Any, progress: Progress | None,
) -> tuple[Graph, str, Any]:  # fmt: skip
    h = host()
    if isinstance(source, Path) and source.suffix == ".ccir" and format in (None, "ccir"):
        from .build.stored import complete_attributes
        from .ir.serialize import load as load_ir

        if weights is not None or overrides or input_shapes:
            raise UsageError(f"{source} is loaded as it is: weights, overrides and input shapes are for other formats")
        graph = load_ir(source)
        complete_attributes(graph, str(source))
        return graph, str(graph.metadata.get("framework", "")), None
    for path in (source, weights):
        if isinstance(path, Path):
            refuse_no_model(path, known=True)
    try:
        framework = h.framework(format).name if format else h.identify(source)
    except UsageError:
        inside = _in_folder(source)
        if inside is None:
            if isinstance(source, Path):
                refuse_no_model(source, known=False)
            raise
        source, framework = inside, h.identify(inside)
    beside = _beside(source, framework) if weights is None else None
    weights = beside if weights is None else weights
    replaced = Overrides(overrides)
    request = LoadRequest(
        source, weights, stage_options(framework, "load", options, used), replaced, h.rules(framework),
        parse_input_shapes(input_shapes), progress,
    )  # fmt: skip
    graph = h.load(framework, request)
    replaced.refuse_unused()
    if replaced:
        own = [layer.name for layer in graph.layers if layer.name in replaced or layer.type in replaced]
        graph.metadata["user_meaning"] = own or sorted(replaced)
    graph.metadata.setdefault("framework", framework)
    tell_beside(graph, source, weights, request.options.get("labels"))
    if beside is not None:
        notes = [*graph.metadata.get("notes", ()), f"the weights were found beside it: {beside.name}"]
        graph.metadata["notes"] = notes
    for spec in h.passes("loaded"):
        resolve(spec.run)(graph)
    if os.environ.get("CONVCORE_DEBUG") == "1":
        from .build.verify import verify as verify_ir

        verify_ir(graph, f"loading {framework}")
    return graph, framework, weights
