"""The pipeline: a :class:`Job` passes through stages (read, lay out, emit, verify, publish), each a function of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any

from . import arranging
from .build.opaque import opaque_problems
from .collector import without_collector
from .discovery import KNOWN
from .errors import MismatchError, Problem, UnsupportedError, UsageError, ask_option, meant
from .files import reading
from .host import STAGES, host
from .ir.graph import Graph
from .job import Job
from .model import Model
from .output import check_output
from .provenance import claim, sources_of
from .records import dataclass
from .report import Report
from .report.compare import ATOL
from .rewrite import find_composites
from .sources import Overrides, Progress, load_graph, refuse_unknown_options, refuse_without_outputs, split_source, stage_options
from .writing import emit, publish_files

__all__ = ["Conversion", "Job", "check", "convert", "formats", "load", "load_into"]


def load(
    source: Any, weights: Any = None, *, format: str | None = None, input_shapes: Any = None,
    overrides: Mapping[str, Any] | None = None, fuse: bool = True, **options: Any,
) -> Model:  # fmt: skip
    """Load a model of any installed framework.

    ``source`` is a path, a pair (architecture, weights) or a live object; ``format`` names the framework when the content does
    not tell. ``input_shapes`` fixes or names input sizes: ``{"x": ("batch", 3, 224, 224)}``. ``options`` are the framework's
    (``convcore plugins`` lists them). ``fuse`` finds composites (gelu, layer_norm, attention...) in primitives; False leaves the
    graph as the file has it. Layers convcore does not know load as opaque nodes (``model.problems``): the model can be
    inspected, and run up to them. Raises BadFileError for a broken file, UsageError for a wrong call.
    """
    if isinstance(source, Model):
        _only_for_sources(weights=weights, format=format, overrides=overrides, input_shapes=input_shapes, **options)
        return source
    source, weights = split_source(source, weights)
    used: set[str] = set()
    loaded = load_graph(source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes)
    graph, framework, files, weights = loaded
    refuse_unknown_options(options, used, [framework] if framework else [])
    if fuse and not _as_it_is(source):
        with without_collector():
            find_composites(graph)
    return Model(graph, framework, source, weights, files)


def _as_it_is(source: Any) -> bool:
    return isinstance(source, Path) and source.suffix == ".ccir"


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

    ``paths`` are the files written, ``weights`` the one of them that loading takes beside the first, ``read`` the files that the
    source was read from; ``report`` says what was done and how well it agrees; ``model`` is the live target object (ModelProto,
    nn.Module, ...), built when it is first asked for.
    """

    paths: tuple[Path, ...]
    report: Report
    framework: str
    weights: Path | None = None
    read: tuple[Path, ...] = ()
    _build: Callable[[], Any] | None = field(default=None, repr=False)
    _model: Any = field(default=None, repr=False)

    def __repr__(self) -> str:
        files = ", ".join(map(str, self.paths))
        return f"<convcore.Conversion to {self.framework}, {self.report.verdict}" + (f": {files}>" if files else ">")

    def _repr_html_(self) -> str:
        """What a notebook shows: that of the report, with the picture of what was converted."""
        return self.report._repr_html_()

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
        raise UsageError(f"name the target: {ask_option('to', 'onnx')}, or an output path with a known suffix")
    else:
        able = [f for f in h.frameworks.values() if h.can(f.name, "emit")]
        fits = [f for f in able if any(out.name.lower().endswith(s) for s in f.suffixes)]
        if not fits:
            h.refuse_broken(out.name)
        if len(fits) != 1:
            can = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in able) or "nothing"
            missing = sorted(set(KNOWN) - set(h.frameworks))
            hint = f"; plugins not installed: {', '.join(missing)}" if missing else ""
            near = meant(out.suffix, (s for f in able for s in f.suffixes))
            raise UsageError(
                f"cannot tell the target format from {out.name!r}{near}; installed plugins write {can}{hint}; "
                f"name it with {ask_option('to')}"
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
    keep: bool = False, overwrite: bool | None = None, progress: Progress | None = None, fuse: bool = True,
    simplify: bool | None = None, page: str | os.PathLike[str] | None = None, hub: bool = False, **options: Any,
) -> Conversion:  # fmt: skip
    """Convert a model.

    Parameters
    ----------
    source: a path, a pair (architecture, weights), a live object or a :class:`Model`.
    to, out: target framework and file; one of them may be left out (``out=None`` makes only the live object).
    check: run source and result on seeded inputs (two batch sizes where the batch is symbolic) and compare; ``"native"`` also
        runs the source in its own framework where that is installed; False skips it.
    rtol, atol: an output may differ by ``atol + rtol * range`` per element (default rtol 1e-4, more for half precision).
    example_inputs: arrays (list, tuple or dict) to check with instead of seeded ones; for a live object that is traced (PyTorch),
        what it is called with while that is done.
    io_layout: "source" keeps the order of the axes of inputs and outputs, "target" takes the target's (the default for Keras,
        else "source"); a dict gives it per tensor name.
    overrides: ``{layer name or type: function}`` to load, ``{"emit": {...}}`` to emit.
    keep: keep the files even when the check fails.
    overwrite: None writes over whatever has the name. False, as the command line does, keeps files that are not an earlier result
        of the same source (OutputError before the check); True writes over them and, as False, notes for the next time what was
        written from what (docs/reports-and-errors.md says where).
    progress: called with what is being done and how much of the whole is, from 0 to 1.
    fuse: find composites in primitives (see :func:`load`); the check compares with the source as it was.
    simplify: also compute what is constant, leave out what has no effect, compute once what is computed twice, and put batch
        normalisation into the convolution before it. By default where a graph of operators is written as one again (ONNX to
        ONNX): operators are nobody's layers.
    page: an HTML file to write besides: verdict, errors by layer, both graphs and what stands for what, or what is in the way.
    hub: ``out`` is a folder to write as Hugging Face's hub has models: the files under the names that are usual there,
        ``config.json`` and a model card ``README.md`` with where it comes from, licence, labels and the verification.

    Raises
    ------
    UnsupportedError listing every problem, MismatchError when the outputs differ; nothing is left behind then.
    """
    with ExitStack() as stack, ExitStack() as building:
        building.enter_context(without_collector())  # nearly all that is made lives to the end
        job, load_given = _prepare(
            source, to, out, weights, format, overrides, input_shapes, progress, options, check=check,
            example_inputs=example_inputs, rtol=rtol, atol=atol, io_layout=io_layout, keep=keep, overwrite=overwrite,
            fuse=fuse, simplify=simplify, page=page, hub=hub, stack=stack,
        )  # fmt: skip
        _read(job, source, load_given)
        with _page_of(job):
            _describe_job(job)
            _refuse_opaque(job)
            arranging.fuse(job)
            arranging.arrange(job)
            emit(job, stack)
            building.close()
            _verify(job)
        paths = publish_files(job)
        job.clock()
        if job.page is not None:
            from .paging import write_page

            write_page(job, paths=paths)
    job.tell("done", 1.0)
    held = None if job.emitted.weights is None else Path(job.emitted.weights).name
    weights = next((p for p in paths if p.name == held), None)
    read = tuple(Path(f.path) for f in job.files.files)
    return Conversion(paths, job.report, job.target, weights, read, job.emitted.model)


def load_into(
    module: Any, source: Any, *, weights: Any = None, format: str | None = None, example_inputs: Any = None,
    check: bool | str = True, rtol: float | None = None, io_layout: str | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None, input_shapes: Any = None, fuse: bool = True, **options: Any,
) -> Conversion:  # fmt: skip
    """Fill a live module (nn.Module) of an architecture of yours with the weights of a source of any framework.

    Layers are paired by what they are and where they stand, by names where that is not enough; the report's notes say the pairs,
    and its check that source and module compute the same. UnsupportedError lists every layer without a partner or with several,
    with the candidates: the module then is as it was. Parameters as for :func:`convert`.
    """
    target = host().identify(module)
    if not any(o.name == "into_module" for o in host().options(target)):
        raise UsageError(f"{host().framework(target).distribution} cannot fill a module that is there already")
    return convert(
        source, target, weights=weights, format=format, example_inputs=example_inputs, check=check, rtol=rtol,
        io_layout=io_layout, overrides=overrides, input_shapes=input_shapes, fuse=fuse, into_module=module, **options,
    )  # fmt: skip


# ---------------------------------------------------------------- the stages of a conversion
def _prepare(
    source: Any, to: str | None, out: str | os.PathLike[str] | None, weights: Any, format: str | None,
    overrides: Mapping[str, Any] | None, input_shapes: Any, progress: Progress | None, options: Mapping[str, Any], *,
    stack: ExitStack, **asked: Any,
) -> tuple[Job, dict[str, Any]]:  # fmt: skip
    """The job, and what its loader is given: everything that can be refused before anything is read is refused here."""
    loading = dict(overrides or {})
    emit_overrides = Overrides(loading.pop("emit", {}), "emit overrides")
    if isinstance(source, Model):
        _only_for_sources(weights=weights, format=format, overrides=loading, input_shapes=input_shapes)
        source, weights = source.source, source.weights_source
    else:
        source, weights = split_source(source, weights)
    path = None if out is None else Path(out)
    target = _target(to, None if asked["hub"] else path)
    if asked["hub"]:
        from .hub import hub_target

        path = hub_target(target, path, stack, force=asked["overwrite"] is True)
    if path is not None:
        check_output(path)
    if asked["page"] is not None:
        from .paging import check_page

        asked["page"] = check_page(asked["page"])
        claim(asked["page"], sources_of(source, weights), asked["overwrite"])
    if asked["check"] not in (True, False, "native"):
        raise UsageError(f"check={asked['check']!r} is neither True, False nor 'native'")
    for name in ("rtol", "atol"):
        if asked[name] is not None and not asked[name] >= 0:
            raise UsageError(f"{ask_option(name, asked[name])} is no tolerance: a number of 0 or more")
    io_layout = asked["io_layout"]
    if io_layout is not None and not isinstance(io_layout, Mapping) and io_layout not in ("source", "target"):
        raise UsageError(f"io_layout={io_layout!r} is neither 'source' nor 'target'")
    used: set[str] = set()
    job = Job(
        source=source, weights=weights, target=target, path=path, tell=progress or (lambda what, part: None),
        emit_options=stage_options(target, "emit", options, used), emit_overrides=emit_overrides, **asked,
    )  # fmt: skip
    given = {"format": format, "options": options, "used": used, "overrides": loading, "input_shapes": input_shapes}
    return job, {**given, "progress": progress}


def _page_of(job: Job) -> AbstractContextManager[None]:
    """What tells on the page that was asked for why nothing was written."""
    if job.page is None:
        return nullcontext()
    from .paging import told_on_page

    return told_on_page(job)


def _read(job: Job, source: Any, given: dict[str, Any]) -> None:
    """Load the source, or take the model that was given; what is read is watched and may not be written over."""
    if isinstance(source, Model):
        job.reference, job.framework, job.files = source.graph, source.framework, source.files
    else:
        job.tell("loading", 0.0)
        if job.example_inputs is not None and not isinstance(job.source, Path):
            framework = given["format"] or host().identify(job.source)
            if any(o.name == "example_inputs" and o.stage == "load" for o in host().options(framework)):  # traced with them
                given["options"] = {**given["options"], "example_inputs": job.example_inputs}
                job.example_inputs = None
        job.reference, job.framework, job.files, job.weights = load_graph(job.source, job.weights, **given)
    for path in (job.path, job.page):
        if path is not None:
            job.files.protect(path)
    refuse_unknown_options(given["options"], given["used"], list(dict.fromkeys(f for f in (job.framework, job.target) if f)))
    refuse_without_outputs(job.reference, job.source)
    job.graph = job.reference
    if job.check or isinstance(source, Model):  # passes change the graph; a given model and the reference must stay
        job.graph = job.reference.clone()


def _refuse_opaque(job: Job) -> None:
    """Refuse layers that convcore only hands on, with all else that the target lacks; a framework takes its own ones back."""
    problems = opaque_problems(job.reference) if job.framework != job.target else []
    if problems:
        more = arranging.missing(job.reference, job.target, job.emit_options, job.emit_overrides, job.fuse)
        problems += [p for p in more if p not in problems]
        raise UnsupportedError(problems, job.cannot)


def _describe_job(job: Job) -> None:
    name = job.source.name if isinstance(job.source, Path) else type(job.source).__name__
    report = job.report = Report(f"{name}: {job.framework} -> {job.target}", _describe(job.graph, job.framework, job.source))
    report.picture = partial(_picture, job.reference)
    report.notes += [str(n) for n in job.graph.metadata.get("notes", [])]
    for layer in job.graph.metadata.get("user_meaning", ()):
        report.notes.append(
            f"layer {layer!r} computes what its override says: both sides of the check share that meaning, which it cannot prove"
        )


def _picture(graph: Graph) -> str:
    from .viewing.notebook import picture

    return picture(graph)


def _verify(job: Job) -> None:
    """Compare the result with the source; MismatchError where they differ, unless the files are to be kept all the same."""
    if job.check:
        from .verification.conversion import CHECKING, check_conversion

        job.tell("checking", CHECKING)
        with reading():
            check_conversion(job)
    else:
        job.report.skipped = True
    job.report.notes += list(host().report_lines(job.report))
    job.clock()
    if not job.report.ok and not job.keep:
        raise MismatchError(str(job.report), job.report)


def _only_for_sources(**given: Any) -> None:
    """Refuse arguments that belong to loading when a loaded Model is given: they would have no effect."""
    names = [k for k, v in given.items() if v]
    if names:
        raise UsageError(f"{', '.join(names)}: the model is loaded already; give them to convcore.load")


def _describe(graph: Graph, framework: str, source: Any) -> dict[str, Any]:
    meta = graph.metadata
    return {
        "framework": framework, "kind": meta.get("kind", ""), "version": meta.get("version", ""), "layers": graph.layer_count,
        "parameters": f"{graph.num_params:,}", "file": str(source) if isinstance(source, Path) else "",
    }  # fmt: skip


def check(
    source: Any, to: str, *, weights: Any = None, format: str | None = None, overrides: Mapping[str, Any] | None = None,
    input_shapes: Any = None, fuse: bool = True, **options: Any,
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
        loaded = load_graph(source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes)
        graph, framework = loaded.graph, loaded.framework
    refuse_unknown_options(options, used, [framework, target])
    refuse_without_outputs(graph, source)
    problems = opaque_problems(graph) if framework != target else []  # a framework's own nodes may go back as they were
    return problems + [p for p in arranging.missing(graph, target, emit_options, emit_overrides, fuse) if p not in problems]
