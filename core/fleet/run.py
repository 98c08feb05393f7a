"""A batch: its tasks go to processes here or to a dask cluster, its rows to the ledger and into reports."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from ..errors import FrameworkMissingError, UsageError, ask, ask_option, flags_asked
from . import places
from .ledger import opened
from .plan import plan
from .summary import Batch
from .task import STATUSES, Limits, Row, Task
from .work import convert_one, stop_all

__all__ = ["Batch", "batch"]

Tell = Callable[[Row, int, int], None]


def batch(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], to: str, out: str | os.PathLike[str], *,
    workers: int | None = None, timeout: float | None = 600.0, memory: int | None = None, scheduler: str | None = None,
    again: Sequence[str] = (), each: Sequence[str] = (), reports: str | os.PathLike[str] | None = None,
    progress: Tell | None = None, overwrite: bool | None = None, **options: Any,
) -> Batch:  # fmt: skip
    """Convert many models, each in a process of its own: a crash, a hang or a bad file is a row, and the rest goes on.

    Parameters
    ----------
    sources: paths, folders, patterns (``models/**/*.h5``) or fsspec URLs.
    to, out: the target framework, and the folder (or URL) for the results, named as the sources are.
    workers: processes at once on this machine (default: one for each core).
    timeout: seconds of wall time for each model; None: no limit.
    memory: bytes of memory of its own for each model (default: the machine's, shared by the workers; POSIX only).
    scheduler: address of a dask.distributed scheduler (``tcp://host:8786``), whose workers convert instead; they must reach
        sources and results by the same paths or URLs.
    again: statuses whose finished rows are done again (``"all"``: every one). What is finished is else not done twice, also
        after the run was killed, as long as source, options and target are the same.
    each: reports of each model, beside its result: ``"json"`` (``NAME.report.json``, what ``convert --report json`` prints) and
        ``"html"`` (``NAME.html``, the page of :func:`convcore.convert`), also of one that is refused or differs.
    reports: folder of ``report.html``, ``.json``, ``.csv`` and of the ledger (default: ``out``, or here where that is a URL).
    progress: called after each model with its row, how many are finished, and of how many.
    overwrite: as for :func:`convcore.convert`, of files that are there and are no earlier results of the same sources.
    options: those of :func:`convcore.convert` and of plugins, for every model.
    """
    listed = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    if workers is not None and workers < 1:
        raise UsageError(f"{ask_option('workers', workers)}: at least one")
    if options.get("hub"):
        raise UsageError("hub: a batch writes files of one folder; folders for the hub are written by convert, one by one")
    if timeout is not None and timeout <= 0:
        raise UsageError(f"{ask(f'--timeout {timeout:g}', f'timeout={timeout:g}')} is no time")
    if odd := sorted(set(each) - {"json", "html"}):
        wrong = ", ".join(odd)
        raise UsageError(f"{ask(f'--report-each {wrong}', f'each={wrong}')}: reports are json and html")
    unknown = sorted(set(again) - {*STATUSES, "all"})
    if unknown:
        raise UsageError(f"{ask_option('again', ', '.join(unknown))}: statuses are {', '.join(STATUSES)}, or all")
    workers = workers or os.cpu_count() or 1
    tasks = plan([os.fspath(s) for s in listed], to, os.fspath(out), options, sorted(set(each)))
    places.make_folder(os.fspath(out))
    folder = Path(reports if reports is not None else "." if places.is_url(os.fspath(out)) else out)
    places.make_folder(str(folder))
    limits = Limits(
        timeout,
        memory if memory is not None or scheduler else _share(workers),
        (None if (known := flags_asked()) is None else tuple(sorted(known))),
        overwrite,
    )
    with opened(folder / "convcore-batch.jsonl") as ledger:
        left = [t for t in tasks if not _finished(ledger.rows.get(t.key), again)]
        done = len(tasks) - len(left)
        rows = _on_cluster(left, limits, scheduler) if scheduler else _here(left, limits, workers)
        for row in rows:
            ledger.add(row)
            done += 1
            if progress is not None:
                progress(row, done, len(tasks))
        result = Batch([ledger.rows[t.key] for t in tasks], to, done - (len(tasks) - len(left)))
        result.write(folder)
    return result


def _finished(row: Row | None, again: Sequence[str]) -> bool:
    """Whether a model need not be done: it was, it is not asked for again, what it was read from is the same and what it gave
    still there."""
    if row is None or "all" in again or row.status in again:
        return False
    if any(not os.path.exists(f) or places.stamp(f) != was for f, was in row.read.items()):
        return False
    return all(places.is_url(f) or os.path.exists(f) for f in (*row.files, *row.reports))


def _share(workers: int) -> int | None:
    """Each worker's share of the machine's memory; None where the system does not say or cannot limit it."""
    if os.name != "posix":
        return None
    return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES")) // workers


def _here(tasks: Sequence[Task], limits: Limits, workers: int) -> Iterator[Row]:
    """Rows as models finish in processes of this machine; none of these outlives the loop."""
    if limits.memory and os.name != "posix":
        raise UsageError("memory: this system has no such limit")
    pool = ThreadPoolExecutor(workers, "convcore-batch")
    try:
        waiting = [pool.submit(convert_one, t, limits) for t in tasks]
        for future in as_completed(waiting):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        stop_all()
        pool.shutdown()


def _on_cluster(tasks: Sequence[Task], limits: Limits, address: str) -> Iterator[Row]:
    """Rows as models finish on a dask cluster that is there already."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise FrameworkMissingError("scheduler: needs dask.distributed: pip install 'convcore[dask]'") from None
    try:
        client = distributed.Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as e:
        raise UsageError(f"scheduler {address}: {e}") from None
    with client:
        by_key = {f"convcore-{t.key}-{n}": t for n, t in enumerate(tasks)}
        waiting = [client.submit(convert_one, t, limits, key=key, pure=False, retries=0) for key, t in by_key.items()]
        try:
            for future in distributed.as_completed(waiting, loop=client.loop):
                yield _outcome(future, by_key)
        finally:
            if any(not f.done() for f in waiting):
                client.cancel(waiting)
                client.run(stop_all)


def _outcome(future: Any, by_key: Mapping[str, Task]) -> Row:
    """The row of a future; that of a worker which died is one too."""
    error = future.exception() if future.status == "error" else None
    if error is None:
        row: Row = future.result()
        return row
    task = by_key[future.key]
    return Row(task.source, "crashed", task.out, task.key, message=f"the dask worker failed: {type(error).__name__}: {error}")
