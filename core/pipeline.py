"""The pipeline: identify, load, normalise, lay out, emit, verify."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .build.opaque import opaque_problems
from .collector import without_collector
from .discovery import KNOWN
from .errors import MismatchError, OutputError, Problem, UnsupportedError, UsageError
from .files import check_output
from .hookspecs import EmitRequest, Emitted
from .host import STAGES, host, resolve
from .ir.graph import Graph
from .model import Model
from .report import Report
from .report.compare import ATOL
from .sources import Overrides, Progress, load_graph, refuse_unknown_options, split_source, stage_options

__all__ = ["Conversion", "check", "convert", "formats", "load"]


def load(
    source: Any, weights: Any = None, *, format: str | None = None, input_shapes: Any = None,
    overrides: Mapping[str, Any] | None = None, **options: Any,
) -> Model:  # fmt: skip
    """Load a model of any installed framework.

    ``source`` is a path, a pair (architecture, weights) or a live object; ``format`` names the framework when the content does
    not tell. ``input_shapes`` fixes or names input sizes: ``{"x": ("batch", 3, 224, 224)}``. ``options`` are the framework's
    (``convcore plugins`` lists them). Layers convcore does not know load as opaque nodes (``model.problems``): the model can be
    inspected, and run up to them. Raises BadFileError for a broken file, UsageError for a wrong call.
    """
    if isinstance(source, Model):
        _only_for_sources(weights=weights, format=format, overrides=overrides, input_shapes=input_shapes, **options)
        return source
    source, weights = split_source(source, weights)
    used: set[str] = set()
    graph, framework, files = load_graph(source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes)
    refuse_unknown_options(options, used, [framework] if framework else [])
    return Model(graph, framework, source, weights, files)


def formats() -> dict[str, dict[str, Any]]:
    """Installed frameworks: title, distribution, suffixes, and whether they can be read, written and run natively."""
    h = host()
    return {
        f.name: {
            "title": f.title, "distribution": f.distribution, "suffixes": f.suffixes,
            **{stage: h.can(f.name, stage) for stage in STAGES},
        }
        for f in h.frameworks.values()
    }  # fmt: skip


# ---------------------------------------------------------------- conversion
@dataclass
class Conversion:
    """The result of :func:`convert`.

    ``paths`` are the files written, ``report`` says what was done and how well it agrees; ``model`` is the live target object
    (ModelProto, nn.Module, ...), built when it is first asked for.
    """

    paths: tuple[Path, ...]
    report: Report
    framework: str
    _build: Callable[[], Any] | None = field(default=None, repr=False)
    _model: Any = field(default=None, repr=False)

    @property
    def model(self) -> Any:
        """The live target object."""
        if self._model is None:
            if self._build is None:
                raise UsageError(f"{self.framework} has no live object; the files are in .paths")
            self._model = self._build()
        return self._model


def _target(to: str | None, out: Path | None) -> str:
    h = host()
    if to is not None:
        name = h.framework(to).name
    elif out is None:
        raise UsageError("name the target: to='onnx' or an output path with a known suffix")
    else:
        able = [f for f in h.frameworks.values() if h.can(f.name, "emit")]
        fits = [f for f in able if any(out.name.lower().endswith(s) for s in f.suffixes)]
        if not fits:
            h.refuse_broken(out.name)
        if len(fits) != 1:
            can = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in able) or "nothing"
            missing = sorted(set(KNOWN) - set(h.frameworks))
            hint = f"; plugins not installed: {', '.join(missing)}" if missing else ""
            raise UsageError(
                f"cannot tell the target format from {out.name!r}; installed plugins write {can}{hint}; name it with to=/--to"
            )
        name = fits[0].name
    h.refuse_unable(name, "emit")
    return name


def default_out(source: Path, framework: str) -> Path:
    """The source's name with the target's suffix; UsageError when that is the source itself."""
    out = source.with_suffix(host().framework(framework).default_suffix)
    if out == source:
        raise UsageError(f"the output would overwrite {source}: name another output file")
    return out


def convert(
    source: Any, to: str | None = None, out: str | os.PathLike[str] | None = None, *, weights: Any = None,
    format: str | None = None, example_inputs: Any = None, check: bool | str = True,
    rtol: float | None = None, atol: float = ATOL,
    io_layout: str | Mapping[str, Any] | None = None, overrides: Mapping[str, Any] | None = None, input_shapes: Any = None,
    keep: bool = False, progress: Progress | None = None, **options: Any,
) -> Conversion:  # fmt: skip
    """Convert a model.

    Parameters
    ----------
    source: a path, a pair (architecture, weights), a live object or a :class:`Model`.
    to, out: target framework and file; one of them may be left out (``out=None`` makes only the live object).
    check: run source and result on seeded inputs (two batch sizes where the batch is symbolic) and compare; ``"native"`` also
        runs the source in its own framework where that is installed; False skips it.
    rtol, atol: an output may differ by ``atol + rtol * range`` per element (default rtol 1e-4, more for half precision).
    example_inputs: arrays (list, tuple or dict) to check with instead of seeded ones.
    io_layout: "source" (default) keeps the order of the axes of inputs and outputs, "target" takes the target's; a dict gives
        it per tensor name.
    overrides: ``{layer name or type: function}`` to load, ``{"emit": {...}}`` to emit.
    keep: keep the files even when the check fails.

    Raises
    ------
    UnsupportedError listing every problem, MismatchError when the outputs differ; nothing is left behind then.
    """
    model = source if isinstance(source, Model) else None
    overrides = dict(overrides or {})
    emit_overrides = Overrides(overrides.pop("emit", {}), "emit overrides")
    used: set[str] = set()
    if model is not None:
        _only_for_sources(weights=weights, format=format, overrides=overrides, input_shapes=input_shapes)
    if model is None:
        source, weights = split_source(source, weights)
    else:
        source, weights = model.source, model.weights_source
    target = _target(to, None if out is None else Path(out))
    path = Path(out) if out is not None else None
    if path is not None:
        check_output(path)
    if io_layout is not None and not isinstance(io_layout, Mapping) and io_layout not in ("source", "target"):
        raise UsageError(f"io_layout={io_layout!r} is neither 'source' nor 'target'")
    tell = progress or (lambda what, part: None)
    emit_options = stage_options(target, "emit", options, used)
    if model is None:
        tell("loading", 0.0)
        graph, framework, files = load_graph(
            source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes, progress=progress
        )
    else:
        graph, framework, files = model.graph, model.framework, model.files
    if path is not None:
        files.protect(path)
    refuse_unknown_options(options, used, list(dict.fromkeys(f for f in (framework, target) if f)))
    problems = opaque_problems(graph) if framework != target else []
    if problems:
        problems += [p for p in _missing(graph, target, emit_options, emit_overrides) if p not in problems]
        raise UnsupportedError(problems, _cannot(source, target))
    reference = graph
    if check or model is not None:  # passes change the graph; the model that was given and the reference must stay
        with without_collector():
            graph = graph.clone()
    report = Report(_title(source, framework, target), _describe(graph, framework, source))
    report.notes += [str(n) for n in graph.metadata.get("notes", [])]
    tell("laying out", 0.3)
    with without_collector():
        layout = _lay_out(graph, target, io_layout, report)
    for spec in host().passes("laid_out", target):
        resolve(spec.run)(graph)
    graph.remove_unused()
    tell("writing", 0.4)
    h = host()
    staging: Path | None = None
    try:
        if path is not None:
            try:
                staging = Path(tempfile.mkdtemp(prefix=".convcore-", dir=path.parent))
            except OSError as e:
                raise OutputError(f"{path} cannot be written: {e.strerror or e}") from e
        request = EmitRequest(
            graph,
            None if path is None or staging is None else staging / path.name,
            emit_options,
            emit_overrides,
            h.rules(target),
            progress,
        )
        try:
            with without_collector():
                emitted = h.emit(target, request)
        except UnsupportedError as e:
            raise UnsupportedError(e.problems, _cannot(source, target)) from None
        emit_overrides.refuse_unused()
        if path is not None and staging is not None:
            for written in emitted.paths:
                final = path.parent / Path(written).relative_to(staging)
                files.protect(check_output(final))
        report.target = {"framework": target, **_target_facts(emitted, graph)}
        report.notes += list(emitted.notes)
        if check:
            from .verification import check_conversion

            tell("checking", 0.7)
            check_conversion(
                report, reference, framework, source, weights, target, emitted, graph, layout, example_inputs, rtol, atol, check
            )
        for line in h.report_lines(report):
            report.notes.append(line)
        if not report.ok and not keep:
            raise MismatchError(str(report), report)
        files.check()
        paths: tuple[Path, ...] = ()
        build = emitted.model
        if staging is not None and path is not None:
            paths = _publish(staging, path.parent, [Path(p) for p in emitted.paths], path)
            report.target["files"] = [str(p) for p in paths]
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    tell("done", 1.0)
    return Conversion(paths, report, target, build)


def _only_for_sources(**given: Any) -> None:
    """Refuse arguments that belong to loading when a loaded Model is given: they would have no effect."""
    names = [k for k, v in given.items() if v]
    if names:
        raise UsageError(f"{', '.join(names)}: the model is loaded already; give them to convcore.load")


def _publish(staging: Path, folder: Path, files: Sequence[Path], main: Path) -> tuple[Path, ...]:
    """Move finished files into place, the main one last."""
    done: list[Path] = []
    for f in sorted(files, key=lambda f: f.name == main.name):
        final = folder / f.relative_to(staging)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(f, final)
        except OSError as e:
            for d in done:
                with suppress(OSError):
                    d.unlink()
            raise OutputError(f"{final} cannot be written: {e.strerror or e}") from e
        done.append(final)
    return tuple(sorted(done, key=lambda f: f.name != main.name))


def _cannot(source: Any, target: str) -> str:
    what = str(source) if isinstance(source, Path) else "the model"
    return f"{what} cannot be converted exactly to {target}"


def _title(source: Any, framework: str, target: str) -> str:
    name = source.name if isinstance(source, Path) else type(source).__name__
    return f"{name}: {framework} -> {target}"


def _describe(graph: Graph, framework: str, source: Any) -> dict[str, Any]:
    meta = graph.metadata
    params = sum(v.tensor.size for v in graph.weights.values() if v.tensor is not None and v.source)
    return {
        "framework": framework, "kind": meta.get("kind", ""), "version": meta.get("version", ""), "layers": len(graph.layers),
        "parameters": f"{params:,}", "file": str(source) if isinstance(source, Path) else "",
    }  # fmt: skip


def _target_facts(emitted: Emitted, graph: Graph) -> dict[str, Any]:
    return {"nodes": len(graph), "bytes": sum(os.path.getsize(p) for p in emitted.paths)}


def _lay_out(graph: Graph, target: str, io_layout: Any, report: Report) -> Any:
    convention = host().convention(target)
    if convention is None:
        return None
    from .layout import assign

    io = "source" if io_layout is None or isinstance(io_layout, Mapping) else io_layout
    known = {v.name for v in (*graph.inputs, *graph.outputs)}
    per_tensor = dict(io_layout) if isinstance(io_layout, Mapping) else {}
    if per_tensor.keys() - known:
        raise UsageError(
            f"io_layout names {', '.join(sorted(per_tensor.keys() - known))}; inputs and outputs are {', '.join(sorted(known))}"
        )
    layout = assign(graph, convention, io=io, io_overrides=per_tensor)
    report.add("layout", layout.lines(), layout.to_dict())
    if os.environ.get("CONVCORE_DEBUG") == "1":
        from .build.verify import verify as verify_ir

        verify_ir(graph, "the layout pass")
    return layout


def _missing(graph: Graph, target: str, options: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[Problem]:
    """What else the target lacks: the known part of the graph is laid out and legalised (written into nowhere by a target
    without a dialect)."""
    work = graph.clone()
    rules = host().rules(target)
    request = EmitRequest(work, None, options, overrides, rules)
    try:
        convention = host().convention(target)
        if convention is not None:
            from .layout import assign

            assign(work, convention, io="source")
        dialect = host().dialect(target, request)
        if dialect is not None:
            from .emit.legalise import legalise

            return legalise(work, rules, dialect.version, dialect, overrides)
        host().emit(target, request)
    except UnsupportedError as e:
        return list(e.problems)
    return []


def check(
    source: Any, to: str, *, weights: Any = None, format: str | None = None, overrides: Mapping[str, Any] | None = None,
    input_shapes: Any = None, **options: Any,
) -> list[Problem]:  # fmt: skip
    """Everything that stands in the way of converting ``source`` to ``to``, without converting; empty: nothing."""
    overrides = dict(overrides or {})
    emit_overrides = overrides.pop("emit", {})
    target = _target(to, None)
    used: set[str] = set()
    emit_options = stage_options(target, "emit", options, used)
    if isinstance(source, Model):
        _only_for_sources(weights=weights, format=format, overrides=overrides, input_shapes=input_shapes)
        graph, framework = source.graph, source.framework
    else:
        source, weights = split_source(source, weights)
        graph, framework, _ = load_graph(source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes)
    refuse_unknown_options(options, used, [framework, target])
    problems = opaque_problems(graph) if framework != target else []  # a framework's own nodes may go back as they were
    return problems + [p for p in _missing(graph, target, emit_options, emit_overrides) if p not in problems]
