"""The last stages of a conversion: the target's files are written into a hidden folder and moved into place."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from .errors import OutputError, PluginBugError, UnsupportedError
from .files import reading
from .hookspecs import EmitRequest
from .host import host
from .job import Job
from .output import check_output, publish, staging, when_full
from .provenance import guard, remember, sources_of

__all__ = ["emit", "publish_files"]


def emit(job: Job, stack: ExitStack) -> None:
    """Write the target's files to a staging folder; nothing that is read may be written over by any of them."""
    job.tell("writing", 0.4)
    out: Path | None = None
    if job.path is not None:
        try:
            job.staging = stack.enter_context(staging(job.path.parent))
        except OSError as e:
            raise OutputError(f"{job.path} cannot be written: {e.strerror or e}") from e
        out = job.staging / job.path.name
    h = host()
    request = EmitRequest(
        job.graph, out, job.emit_options, job.emit_overrides, h.rules(job.target), job.tell, moved_axes(job.layout)
    )
    try:
        with reading():
            job.emitted = h.emit(job.target, request)
    except UnsupportedError as e:
        raise UnsupportedError(e.problems, job.cannot) from None
    except OutputError as e:  # it names the unfinished file
        unfinished, beside = (str(f / "x")[:-1] for f in (job.staging or Path(), job.path.parent if job.path else Path()))
        raise OutputError(str(e).replace(unfinished, beside) if unfinished else str(e)) from e
    except (OSError, PluginBugError) as e:
        why = "" if job.staging is None else when_full(e, job.staging)
        if why:
            raise OutputError(f"{job.path} cannot be written: {why}") from e
        raise
    job.emit_overrides.refuse_unused()
    over: list[str] = []
    if job.path is not None and job.staging is not None:
        files = [(Path(f), job.path.parent / Path(f).relative_to(job.staging)) for f in job.emitted.paths]
        for _, final in files:
            job.files.protect(check_output(final))
        if job.overwrite is not None:
            over = guard(files, sources_of(job.source, job.weights), job.overwrite)
    size = sum(os.path.getsize(p) for p in job.emitted.paths)
    job.report.target = {"framework": job.target, "nodes": len(job.graph), "bytes": size}
    job.report.notes += [*job.emitted.notes, *over]


def moved_axes(layout: Any) -> dict[str, tuple[int, ...]]:
    """The inputs and outputs whose axes are in another order than in the source."""
    if layout is None:
        return {}
    return {n: tuple(p) for n, p in (*layout.inputs.items(), *layout.outputs.items()) if tuple(p) != tuple(range(len(p)))}


def publish_files(job: Job) -> tuple[Path, ...]:
    """Move the finished files into place, the main one last, if the source is still what was read."""
    job.files.check()
    if job.staging is None or job.path is None:
        return ()
    written = [*map(Path, job.emitted.paths), *(_beside(job) if job.hub else ())]
    done: list[Path] = []
    for f in sorted(written, key=lambda f: f.name == job.path.name):  # type: ignore[union-attr]
        final = job.path.parent / f.relative_to(job.staging)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            publish(f, final)
        except OSError as e:
            for d in done:
                with suppress(OSError):
                    d.unlink()
            raise OutputError(f"{final} cannot be written: {e.strerror or e}") from e
        done.append(final)
    paths = tuple(sorted(done, key=lambda f: f.name != job.path.name))  # type: ignore[union-attr]
    if job.overwrite is not None:
        remember(paths, sources_of(job.source, job.weights))
    job.report.target["files"] = [str(p) for p in paths]
    return paths


def _beside(job: Job) -> list[Path]:
    from .hub import extra_files

    return extra_files(job)
