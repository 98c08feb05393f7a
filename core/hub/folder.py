"""The folder: which files lie there under which names, and what is written beside the model."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from .. import __version__
from ..beside import license_beside
from ..errors import OutputError, UsageError
from ..host import host
from ..ir.about import about
from ..ir.graph import Value
from ..job import Job
from .card import MARK, card

__all__ = ["extra_files", "hub_target"]


def hub_target(target: str, out: Path | None, stack: ExitStack, force: bool) -> Path:
    """The file to write in the folder ``out``, which is made, and removed again where the stack ends with nothing in it.

    UsageError where no folder is named or the framework has no names for one, OutputError where it holds
    something else, unless ``force``.
    """
    hub = host().framework(target).hub
    if hub is None:
        able = ", ".join(sorted(f.name for f in host().frameworks.values() if f.hub is not None))
        raise UsageError(f"hub: {target} says no names for the files of such a folder; these do: {able or 'none'}")
    if out is None:
        raise UsageError("hub: name the folder to write")
    if out.is_dir() and not force:
        _refuse_others(out)
    try:
        out.mkdir(exist_ok=True)
    except OSError as e:
        raise OutputError(f"{out} cannot be made a folder: {e.strerror or e}") from None
    stack.callback(_remove_if_empty, out)
    return out / hub.file


def _refuse_others(folder: Path) -> None:
    """OutputError for a folder that holds something and no card of ours: its README.md and config.json would be lost."""
    held = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    readme = folder / "README.md"
    if held and not (readme.is_file() and MARK in readme.read_text(encoding="utf-8", errors="replace")[:4096]):
        raise OutputError(f"{folder} holds {', '.join(held[:3])}{' ...' if len(held) > 3 else ''}: name a folder of its own")


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def extra_files(job: Job) -> list[Path]:
    """Write into the staging folder what the hub's users look for beside a model, when it was checked; the paths."""
    assert job.staging is not None
    hub = host().framework(job.target).hub
    found = license_beside(job.source)
    paths = []
    if found is not None:
        paths.append(job.staging / "LICENSE")
        shutil.copyfile(found, paths[-1])
    if hub is not None and hub.config:
        paths.append(job.staging / "config.json")
        paths[-1].write_text(json.dumps(_config(job), indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    paths.append(job.staging / "README.md")
    paths[-1].write_text(card(job, "LICENSE" if found is not None else ""), encoding="utf-8")
    return paths


def _config(job: Job) -> dict[str, Any]:
    """``config.json``: labels as transformers names them, and what the model takes and gives."""
    said = about(job.graph.metadata)
    labels = said.get("labels", [])
    out: dict[str, Any] = {"architectures": [job.emitted.architecture or job.graph.name or "model"]}
    if labels:
        out["num_labels"] = len(labels)
        out["id2label"] = {str(i): x for i, x in enumerate(labels)}
        out["label2id"] = {x: i for i, x in enumerate(labels)}
    out["inputs"] = [_value(v) for v in job.graph.inputs]
    out["outputs"] = [_value(v) for v in job.graph.outputs]
    out.update({k: said[k] for k in ("preprocessing", "license") if k in said})
    source = {"framework": job.framework, "version": job.report.source.get("version", "")}
    return {**out, "source": source, "converted_by": f"convcore {__version__}"}


def _value(v: Value) -> dict[str, Any]:
    shape = None if v.shape is None else [d if isinstance(d, int) or d is None else str(d) for d in v.shape]
    return {"name": v.name, "dtype": str(v.dtype), "shape": shape}
