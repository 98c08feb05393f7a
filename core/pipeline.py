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

import numpy as np
from numpy.typing import NDArray

from .errors import (
    ConvcoreError,
    FrameworkMissingError,
    InputError,
    MismatchError,
    OutputError,
    PluginNotInstalledError,
    Problem,
    UnsupportedError,
    UsageError,
)
from .hookspecs import Emitted, EmitRequest, LoadRequest, Option, Runtime
from .host import host, resolve
from .interpreter import Interpreter
from .ir.dims import parse_dim, shape_text
from .ir.graph import Graph
from .model import Model
from .passes.lower import opaque_problems
from .report import OutputDifference, Report, compare_outputs
from .samples import working_inputs

__all__ = ["ATOL", "RTOL", "Conversion", "check", "convert", "formats", "load", "verify"]

Array = NDArray[Any]
Progress = Callable[[str, float], None]

RTOL = 1e-4
"""Default tolerance relative to an output's range."""
ATOL = 1e-6
"""Default absolute tolerance, added to the relative one."""


# ---------------------------------------------------------------- sources
def _split(source: Any, weights: Any) -> tuple[Any, Any]:
    """A path, a pair of paths or a live object as (source, weights)."""
    if isinstance(source, (tuple, list)):
        if len(source) != 2 or weights is not None:
            raise UsageError("a source is a path, a pair (architecture, weights) or a live object")
        source, weights = source
    if isinstance(source, (str, os.PathLike)):
        source = Path(source)
        if not source.exists():
            raise UsageError(f"{source}: no such file")
    if isinstance(weights, (str, os.PathLike)):
        weights = Path(weights)
        if not weights.exists():
            raise UsageError(f"{weights}: no such file")
    return source, weights


def _options(framework: str, stage: str, given: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
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
    if value is None or (isinstance(value, o.type) and not (o.type is int and isinstance(value, bool))):
        pass
    elif o.type in (int, float, str) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            value = o.type(value)
        except ValueError:
            raise UsageError(f"option {o.name}={value!r} is not a {o.type.__name__}") from None
    else:
        raise UsageError(f"option {o.name}={value!r} is not a {o.type.__name__}")
    if o.choices and value is not None and value not in o.choices:
        raise UsageError(f"option {o.name}={value!r} is not one of {', '.join(map(str, o.choices))}")
    return value


def _unknown_options(given: Mapping[str, Any], used: set[str], frameworks: Sequence[str]) -> None:
    left = sorted(given.keys() - used)
    if left:
        known = sorted({o.name for f in frameworks for o in host().options(f)})
        raise UsageError(
            f"unknown option{'s' if len(left) > 1 else ''} {', '.join(left)}; options here: {', '.join(known) or 'none'}"
        )


def parse_input_shapes(spec: Mapping[str, Any] | Sequence[str] | None) -> dict[str, tuple[Any, ...]]:
    """``{"x": ("batch", 3, 224, 224)}`` or ``["x:batch,3,224,224"]`` as shapes of integers and Dims."""
    out: dict[str, tuple[Any, ...]] = {}
    if spec is None:
        return out
    if isinstance(spec, Mapping):
        for name, shape in spec.items():
            out[name] = tuple(None if d is None else parse_dim(d) if isinstance(d, str) else d for d in shape)
        return out
    for text in spec:
        name, sep, dims = text.rpartition(":")
        try:
            if not sep:
                raise ValueError("no colon")
            out[name] = tuple(None if d.strip() in ("?", "-1") else parse_dim(d) for d in dims.split(",") if d.strip())
        except (ValueError, ConvcoreError) as e:
            raise UsageError(f"bad input shape {text!r}: write name:batch,3,224,224 ({e})") from None
        if any(isinstance(d, int) and d < 0 for d in out[name]):
            raise UsageError(f"bad input shape {text!r}: sizes are positive or names")
    return out


def _load_graph(
    source: Any, weights: Any, format: str | None, options: Mapping[str, Any], used: set[str], *,
    overrides: Mapping[str, Any] | None = None, input_shapes: Any = None, progress: Progress | None = None,
) -> tuple[Graph, str]:  # fmt: skip
    h = host()
    if isinstance(source, Path) and source.suffix == ".ccir" and format in (None, "ccir"):
        from .ir.serialize import load as load_ir

        graph = load_ir(source)
        return graph, str(graph.metadata.get("framework", ""))
    framework = h.framework(format).name if format else h.identify(source)
    request = LoadRequest(
        source, weights, _options(framework, "load", options, used), dict(overrides or {}), h.rules(framework),
        parse_input_shapes(input_shapes), progress,
    )  # fmt: skip
    graph = h.part(framework, "load")(request)
    graph.metadata.setdefault("framework", framework)
    for spec in h.passes("loaded"):
        resolve(spec.run)(graph)
    if os.environ.get("CONVCORE_DEBUG") == "1":
        from .ir.verify import verify as verify_ir

        verify_ir(graph, f"loading {framework}")
    return graph, framework


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
        return source
    source, weights = _split(source, weights)
    used: set[str] = set()
    graph, framework = _load_graph(source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes)
    _unknown_options(options, used, [framework] if framework else [])
    return Model(graph, framework, source, weights)


def formats() -> dict[str, dict[str, Any]]:
    """Installed frameworks: title, distribution, suffixes, and whether they can be read, written and run natively."""
    return {
        f.name: {
            "title": f.title, "distribution": f.distribution, "suffixes": f.suffixes,
            "load": bool(f.load), "emit": bool(f.emit), "runtime": bool(f.runtime),
        }
        for f in host().frameworks.values()
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
        fits = [f for f in h.frameworks.values() if f.emit and any(out.name.lower().endswith(s) for s in f.suffixes)]
        if len(fits) != 1:
            from .host import KNOWN

            can = ", ".join(f"{f.name} ({' '.join(f.suffixes)})" for f in h.frameworks.values() if f.emit) or "nothing"
            missing = sorted(set(KNOWN) - set(h.frameworks))
            hint = f"; plugins not installed: {', '.join(missing)}" if missing else ""
            raise UsageError(f"cannot tell the target format from {out.name!r}; installed plugins write {can}{hint}; name it with to=/--to")
        name = fits[0].name
    if not h.framework(name).emit:
        raise UsageError(f"{h.framework(name).distribution} cannot write {h.framework(name).title} models yet")
    return name


def _default_out(source: Any, framework: str) -> Path:
    suffix = host().framework(framework).default_suffix
    if not isinstance(source, Path):
        raise UsageError("name the output file")
    out = source.with_suffix(suffix)
    if out == source:
        raise UsageError(f"the output would overwrite the source {source}; name another output file")
    return out


def check_output(out: Path, source: Any = None) -> None:
    """Refuse an output path that is a folder, lies in a missing or unwritable one, or is the source itself."""
    if out.is_dir():
        raise OutputError(f"{out} is a folder, name a file in it")
    parent = out.parent if str(out.parent) else Path(".")
    if not parent.is_dir():
        raise OutputError(f"the folder {parent} does not exist")
    if not os.access(parent, os.W_OK | os.X_OK) or (out.exists() and not os.access(out, os.W_OK)):
        raise OutputError(f"{out} cannot be written: permission denied")
    if isinstance(source, Path) and out.exists() and source.exists() and os.path.samefile(out, source):
        raise OutputError(f"{out} is the source itself")


def convert(
    source: Any, to: str | None = None, out: str | os.PathLike[str] | None = None, *, weights: Any = None,
    format: str | None = None, example_inputs: Any = None, check: bool | str = True, rtol: float = RTOL, atol: float = ATOL,
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
    rtol, atol: an output may differ by ``atol + rtol * range`` per element.
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
    emit_overrides = overrides.pop("emit", {})
    used: set[str] = set()
    if model is None:
        source, weights = _split(source, weights)
    else:
        source, weights = model.source, model.weights_source
    target = _target(to, None if out is None else Path(out))
    path = Path(out) if out is not None else None
    if path is not None:
        check_output(path, source)
    if io_layout is not None and not isinstance(io_layout, Mapping) and io_layout not in ("source", "target"):
        raise UsageError(f"io_layout={io_layout!r} is neither 'source' nor 'target'")
    tell = progress or (lambda what, part: None)
    emit_options = _options(target, "emit", options, used)
    if model is None:
        tell("loading", 0.0)
        graph, framework = _load_graph(
            source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes, progress=progress
        )
    else:
        graph, framework = model.graph, model.framework
    _unknown_options(options, used, list(dict.fromkeys(f for f in (framework, target) if f)))
    problems = [p for p in opaque_problems(graph)] if framework != target else []
    if problems:
        problems += [p for p in _missing(graph, target, emit_options, emit_overrides) if p not in problems]
        raise UnsupportedError(problems, _cannot(source, target))
    reference = graph if not check else graph.clone()
    if model is not None and not check:
        graph = graph.clone()
    report = Report(_title(source, framework, target), _describe(graph, framework, source))
    report.notes += [str(n) for n in graph.metadata.get("notes", [])]
    tell("laying out", 0.3)
    layout = _lay_out(graph, target, io_layout, report)
    for spec in host().passes("laid_out", target):
        resolve(spec.run)(graph)
    graph.remove_unused()
    tell("writing", 0.4)
    h = host()
    staging: Path | None = None
    try:
        if path is not None:
            staging = Path(tempfile.mkdtemp(prefix=".convcore-", dir=path.parent))
        request = EmitRequest(
            graph, None if path is None or staging is None else staging / path.name, emit_options, emit_overrides, h.rules(target), progress
        )
        try:
            emitted: Emitted = h.part(target, "emit")(request)
        except UnsupportedError as e:
            raise UnsupportedError(e.problems, _cannot(source, target)) from None
        report.target = {"framework": target, **_target_facts(emitted, graph)}
        report.notes += list(emitted.notes)
        if check:
            tell("checking", 0.7)
            _check(report, reference, framework, source, weights, target, emitted, graph, layout, example_inputs, rtol, atol, check)
        for line in h.report_lines(report):
            report.notes.append(line)
        if not report.ok and not keep:
            raise MismatchError(str(report), report)
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


def _publish(staging: Path, folder: Path, files: Sequence[Path], main: Path) -> tuple[Path, ...]:
    """Move finished files into place, the main one last."""
    done = []
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
    h = host()
    if not h.framework(target).convention:
        return None
    from .layout import assign

    convention = h.part(target, "convention")
    io = "source" if io_layout is None or isinstance(io_layout, Mapping) else io_layout
    known = {v.name for v in (*graph.inputs, *graph.outputs)}
    per_tensor = dict(io_layout) if isinstance(io_layout, Mapping) else {}
    if per_tensor.keys() - known:
        raise UsageError(f"io_layout names {', '.join(sorted(per_tensor.keys() - known))}; inputs and outputs are {', '.join(sorted(known))}")
    layout = assign(graph, convention, io=io, io_overrides=per_tensor)
    report.add("layout", layout.lines(), layout.to_dict())
    if os.environ.get("CONVCORE_DEBUG") == "1":
        from .ir.verify import verify as verify_ir

        verify_ir(graph, "the layout pass")
    return layout


def _missing(graph: Graph, target: str, options: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[Problem]:
    """What else the target lacks, found by emitting the known part of the graph into nowhere."""
    work = graph.clone()
    request = EmitRequest(work, None, options, overrides, host().rules(target))
    try:
        if host().framework(target).convention:
            from .layout import assign

            assign(work, host().part(target, "convention"), io="source")
        host().part(target, "emit")(request)
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
    emit_options = _options(target, "emit", options, used)
    if isinstance(source, Model):
        graph, framework = source.graph, source.framework
    else:
        source, weights = _split(source, weights)
        graph, framework = _load_graph(source, weights, format, options, used, overrides=overrides, input_shapes=input_shapes)
    _unknown_options(options, used, [framework, target])
    problems = opaque_problems(graph)
    return problems + [p for p in _missing(graph, target, emit_options, emit_overrides) if p not in problems]


# ---------------------------------------------------------------- verification
def _native(framework: str, source: Any, weights: Any) -> Runtime | None:
    """The framework's own runtime for a source, or None where it is not installed or cannot run it."""
    h = host()
    if not framework or not h.framework(framework).runtime:
        return None
    try:
        runtime: Runtime | None = h.part(framework, "runtime")(source, weights)
    except (FrameworkMissingError, PluginNotInstalledError):
        return None
    return runtime


def _given_inputs(graph: Graph, example: Any) -> list[Array]:
    names = [v.name for v in graph.inputs]
    if isinstance(example, Mapping):
        if set(example) != set(names):
            raise InputError(f"example_inputs must name the inputs {', '.join(names)}")
        return [np.asarray(example[n]) for n in names]
    arrays = list(example) if isinstance(example, (list, tuple)) else [example]
    if len(arrays) != len(names):
        raise InputError(f"example_inputs must hold {len(names)} arrays, got {len(arrays)}")
    return [np.asarray(a) for a in arrays]


def _check(
    report: Report, reference: Graph, framework: str, source: Any, weights: Any, target: str, emitted: Emitted, laid: Graph,
    layout: Any, example: Any, rtol: float, atol: float, mode: bool | str,
) -> None:  # fmt: skip
    interpreter = Interpreter(reference)
    run: Callable[[list[Array]], list[Array]] = interpreter.run
    ours = "convcore interpreter"
    if mode == "native":
        native = _native(framework, source, weights)
        if native is None:
            report.notes.append(f"{framework} is not installed or cannot run the source: its side was run by the interpreter")
        else:
            run, ours = native.run, native.name
    if example is not None:
        inputs = [_given_inputs(reference, example)]
        expected = [run(inputs[0])]
    else:
        inputs, expected = working_inputs(reference, run)
    where = emitted.paths[0] if emitted.paths else None
    runtime = _native(target, Path(where) if where else (emitted.model() if emitted.model else None), None)
    theirs = runtime.name if runtime is not None else "convcore interpreter (read back)"
    if runtime is not None:
        result_run = runtime.run
    else:
        back, _ = _load_graph(Path(where) if where else emitted.model(), None, target, {}, set())
        result_run = Interpreter(back).run
    report.runtimes, report.tolerance = (ours, theirs), (rtol, atol)
    names = [v.name for v in reference.outputs]
    for i, (xs, ys) in enumerate(zip(inputs, expected)):
        moved = [_permute(x, layout, v.name, True) for v, x in zip(reference.inputs, xs)]
        got = [np.asarray(y) for y in result_run(moved)]
        back_in_order = [_permute(y, layout, n, False, inverse=True) for n, y in zip(names, got)]
        found = compare_outputs(names, ys, back_in_order, rtol, atol)
        if i:
            found = [OutputDifference(f"{d.name} (batch 2)", d.shape, d.max_abs, d.max_rel, d.ok, d.note) for d in found]
        report.differences += found
        if len(got) != len(names):
            report.differences.append(OutputDifference("outputs", (), float("inf"), float("inf"), False, f"{len(got)} instead of {len(names)}"))
        if not report.ok and not report.first_divergence:
            report.first_divergence = _first_divergence(reference, laid, layout, xs, moved, rtol, atol) or (
                f"not in convcore's graph: {theirs} computes something else from the same operations"
            )


def _permute(x: Array, layout: Any, name: str, is_input: bool, inverse: bool = False) -> Array:
    perm = None if layout is None else (layout.inputs if is_input else layout.outputs).get(name)
    if perm is None:
        return x
    if inverse:
        perm = tuple(perm.index(i) for i in range(len(perm)))
    return np.ascontiguousarray(x.transpose(perm))


def _first_divergence(
    reference: Graph, laid: Graph, layout: Any, xs: list[Array], moved: list[Array], rtol: float, atol: float
) -> str:
    """The first value, in order, on which the graph before and after the passes differ; "" if none does."""
    seen: dict[str, Array] = {}

    def keep(node: Any, results: Sequence[Array]) -> None:
        for v, a in zip(node.outputs, results):
            seen[v.name] = a

    Interpreter(reference).run(xs, watch=keep)
    found: list[str] = []

    def compare(node: Any, results: Sequence[Array]) -> None:
        if found:
            return
        for v, a in zip(node.outputs, results):
            want = seen.get(v.name)
            if want is None or sorted(want.shape) != sorted(a.shape):
                continue
            b = np.sort(want, None), np.sort(a, None)  # the order of axes may have changed
            d = compare_outputs([v.name], [b[0]], [b[1]], rtol, atol)[0]
            if not d.ok:
                found.append(f"layer {node.origin}, tensor {v.name!r}: relative error {d.max_rel:.3g}")

    Interpreter(laid).run(moved, watch=compare)
    return found[0] if found else ""


@dataclass
class _Side:
    name: str
    graph: Graph
    run: Callable[[list[Array]], list[Array]]


def _side(source: Any, weights: Any, format: str | None, options: Mapping[str, Any], native: bool) -> _Side:
    if isinstance(source, Model):
        return _Side("convcore interpreter", source.graph, Interpreter(source.graph).run)
    source, weights = _split(source, weights)
    graph, framework = _load_graph(source, weights, format, options, set())
    runtime = _native(framework, source, weights) if native else None
    if runtime is not None:
        return _Side(runtime.name, graph, runtime.run)
    problems = opaque_problems(graph)
    if problems:
        raise UnsupportedError(problems, f"{source} cannot be run")
    return _Side("convcore interpreter", graph, Interpreter(graph).run)


def verify(
    a: Any, b: Any, *, inputs: Any = None, weights_a: Any = None, weights_b: Any = None, format_a: str | None = None,
    format_b: str | None = None, rtol: float = RTOL, atol: float = ATOL, native: bool = True, **options: Any,
) -> Report:  # fmt: skip
    """Run two models of any formats on the same inputs and compare their outputs.

    Inputs and outputs are matched by name when the names agree, else by position; an input or output whose shape in ``b`` is
    the channels-first (or -last) form of that in ``a`` is permuted, and the report says so. ``report.ok`` tells the result.
    """
    left = _side(a, weights_a, format_a, options, native)
    right = _side(b, weights_b, format_b, options, native)
    report = Report(f"{_name(a)} against {_name(b)}")
    report.runtimes, report.tolerance = (left.name, right.name), (rtol, atol)
    ga, gb = left.graph, right.graph
    order_in = _match("input", ga.inputs, gb.inputs, report)
    order_out = _match("output", ga.outputs, gb.outputs, report)
    if inputs is not None:
        sets = [_given_inputs(ga, inputs)]
        expected = [left.run(sets[0])]
    else:
        sets, expected = working_inputs(ga, left.run)
    names = [v.name for v in ga.outputs]
    for i, (xs, ys) in enumerate(zip(sets, expected)):
        if i and any(not _accepts(gb.inputs[j].shape, p, x.shape) for (j, p), x in zip(order_in, xs)):
            report.notes.append("the second model takes one batch size only")
            break
        fed: list[Array] = [np.zeros(0)] * len(gb.inputs)
        for (j, p), x, v in zip(order_in, xs, ga.inputs):
            y = x if p is None else np.ascontiguousarray(x.transpose(p))
            want = gb.inputs[j].dtype
            fed[j] = y if want is None or y.dtype == want.numpy or v.dtype == want else y.astype(want.numpy)
        got = right.run(fed)
        back = []
        for (j, p), _ in zip(order_out, names):
            y = np.asarray(got[j])
            back.append(y if p is None else y.transpose(tuple(p.index(k) for k in range(len(p)))))
        found = compare_outputs(names, ys, back, rtol, atol)
        report.differences += [
            OutputDifference(f"{d.name} (batch 2)", d.shape, d.max_abs, d.max_rel, d.ok, d.note) if i else d for d in found
        ]
    return report


def _name(x: Any) -> str:
    if isinstance(x, (tuple, list)) and x:
        return _name(x[0])
    return Path(x).name if isinstance(x, (str, os.PathLike)) else repr(x)


_PERMS = {3: [(0, 2, 1)], 4: [(0, 3, 1, 2), (0, 2, 3, 1)], 5: [(0, 4, 1, 2, 3), (0, 2, 3, 4, 1)]}


def _fits(a: Any, b: Any) -> bool:
    return a is None or b is None or (
        len(a) == len(b) and all(not (isinstance(x, int) and isinstance(y, int)) or x == y for x, y in zip(a, b))
    )  # fmt: skip


def _accepts(shape: Any, perm: Any, got: tuple[int, ...]) -> bool:
    g = got if perm is None else tuple(got[i] for i in perm)
    return _fits(shape, g)


def _match(what: str, left: Sequence[Any], right: Sequence[Any], report: Report) -> list[tuple[int, tuple[int, ...] | None]]:
    """For each value of ``left`` the index in ``right`` and the permutation that its arrays need."""
    if len(left) != len(right):
        raise UsageError(f"the models have {len(left)} and {len(right)} {what}s")
    by_name = {v.name: i for i, v in enumerate(right)}
    named = all(v.name in by_name for v in left)
    out: list[tuple[int, tuple[int, ...] | None]] = []
    taken: set[int] = set()
    for i, v in enumerate(left):
        order = [by_name[v.name]] if named else [i, *(j for j in range(len(right)) if j != i)]
        choice: tuple[int, tuple[int, ...] | None] | None = None
        for j in order:
            if j in taken:
                continue
            w = right[j]
            if _fits(v.shape, w.shape):
                choice = (j, None)
                break
            if v.shape is not None and w.shape is not None and len(v.shape) == len(w.shape):
                perm = next((p for p in _PERMS.get(len(v.shape), []) if _fits(tuple(v.shape[k] for k in p), w.shape)), None)
                if perm is not None:
                    choice = (j, perm)
                    break
        if choice is None:
            raise UsageError(f"{what} {v.name!r} {shape_text(v.shape)} fits no {what} of the second model")
        j, perm = choice
        taken.add(j)
        out.append(choice)
        if perm is not None:
            report.notes.append(f"{what} {v.name!r} {shape_text(v.shape)} is {shape_text(right[j].shape)} in the second model: permuted by {perm}")
        elif not named and j != i:
            report.notes.append(f"{what} {v.name!r} is compared with {right[j].name!r}")
    return out


