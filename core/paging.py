"""HTML pages: of a model, and of a conversion besides what is converted, also where that is refused or differs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import BadFileError, MismatchError, OutputError, Problem, UnsupportedError, UsageError
from .host import host
from .ir.graph import Graph
from .job import Job
from .output import check_output, writing
from .provenance import claim, remember, sources_of
from .sources import load_graph, split_source
from .viewing import conversion_page, model_page, origins

__all__ = ["check_page", "told_on_page", "view", "write_page"]


def view(
    source: Any, out: str | os.PathLike[str] | None = None, *, weights: Any = None, format: str | None = None,
    input_shapes: Any = None, fuse: bool = True, overwrite: bool | None = None, **options: Any,
) -> Path:  # fmt: skip
    """Write a page with a picture of a model, and return its path.

    ``source`` and the other parameters are those of :func:`convcore.load`, or a loaded Model. ``out`` ends in ``.html``; by
    default it is the source's name with ``.html`` after it, in the current folder. ``overwrite=False`` keeps a file that is there
    and is no earlier page of this source (OutputError). The page needs no network.
    """
    from .pipeline import load

    name = Path(source).name if isinstance(source, (str, os.PathLike)) else type(source).__name__
    page = check_page(f"{name}.html" if out is None else out)
    asked = sources_of(*split_source(source, weights)) if overwrite is not None else []
    claim(page, asked, overwrite)
    model = load(source, weights, format=format, input_shapes=input_shapes, fuse=fuse, **options)
    model.files.protect(page)
    _put(page, model_page(model.graph, name if isinstance(source, (str, os.PathLike)) else model.name, model.problems))
    if overwrite is not None:
        remember([page], asked)
    return page


def check_page(out: str | os.PathLike[str]) -> Path:
    """The path of a page, if it may be written there; OutputError says why not."""
    page = check_output(out)
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{page}: a page ends in .html")
    return page


def _put(page: Path, text: str) -> None:
    with writing(page) as (unfinished,):
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def told_on_page(job: Job) -> Iterator[None]:
    """Where the block refuses or finds a difference, that is told on the page too, if one was asked for."""
    try:
        yield
    except UnsupportedError as e:
        write_page(job, e.problems)
        raise
    except MismatchError:
        write_page(job)
        raise


def write_page(job: Job, problems: Sequence[Problem] = (), paths: Sequence[Path] = ()) -> None:
    """Write the page that was asked for. ``paths`` are the finished files; before they are that, the unfinished ones are read."""
    if job.page is None or job.reference is None:
        return
    result, came_from = None, {}
    if job.emitted is not None:
        result, came_from = _result(job, paths), origins(job.graph)
    text = conversion_page(job.report, job.reference, result, came_from, problems)
    _put(job.page, text)
    if job.overwrite is not None:
        remember([job.page], sources_of(job.source, job.weights))


def _result(job: Job, paths: Sequence[Path]) -> Graph:
    """What was written as its own loader reads it; the graph that was written where it has none, or reads weights alone."""
    e = job.emitted
    files = list(paths) or [Path(p) for p in e.paths]
    result: Any = files[0] if files else (e.model() if e.model else None)
    if result is None or not host().can(job.target, "load"):
        return job.graph
    weights = None if e.weights is None else next((f for f in files if f.name == Path(e.weights).name), None)
    try:
        return load_graph(result, weights, job.target, {}, set()).graph
    except (BadFileError, UsageError):
        return job.graph
