"""The process of one model: ``python -m convcore.fleet.child`` with a job as JSON on its command line.

It sets its own memory limit, converts, and leaves a row in a file: where there is none, it died. It also dies with whoever
started it: its standard input is a pipe that nobody writes to, which ends when that process does, however it does.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..report import Report

__all__ = ["main"]

resource: Any = importlib.import_module("resource") if os.name == "posix" else None


def main(argv: list[str]) -> int:
    """Do the job ``argv[0]`` (JSON with source, weights, to, out, options, memory, flags, overwrite, fetched, row)."""
    job = json.loads(argv[0])
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if job["memory"] and resource is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (job["memory"], job["memory"]))
    from ..errors import by_flags
    from ..provenance import fetched

    for path, place in job["fetched"].items():
        fetched(path, place)
    told: dict[str, Any] = {}
    with by_flags(job["flags"]):
        row = _row(job, told)
        row["reports"] = _reports(job, told or {"ok": False, "status": row["status"], "message": row["message"]})
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        row["cpu"] = used.ru_utime + used.ru_stime
        row["peak"] = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    unfinished = Path(job["row"] + ".unfinished")
    unfinished.write_text(json.dumps(row, default=str), encoding="utf-8")
    unfinished.replace(job["row"])
    return 0


def _die_with_parent() -> None:
    """Wait for the end of standard input; what is half-written is removed by the next run that writes there."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # nothing handles it here: the process ends at once


def _reports(job: dict[str, Any], told: dict[str, Any]) -> list[str]:
    """Write the report of this model as JSON where that was asked for; the files of its own reports that there are."""
    from ..output import writing

    page, data = Path(job["out"] + ".html"), Path(job["out"] + ".report.json")
    if "json" in job["each"]:
        with writing(data) as (unfinished,):
            unfinished.write_text(json.dumps(told, indent=1, default=str) + "\n", encoding="utf-8")
    return [str(p) for kind, p in (("html", page), ("json", data)) if kind in job["each"] and p.is_file()]


def _row(job: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Convert; what came of it as fields of a Row, and in ``told`` the report as data where there is one."""
    from ..errors import BadFileError, ConvcoreError, MismatchError, PluginBugError, ShapeError, UnsupportedError, UsageError
    from ..host import host
    from ..pipeline import convert
    from .places import stamp

    try:
        if "format" not in job["options"] and not job["source"].endswith(".ccir"):
            host().identify(job["source"])
    except UsageError as e:
        return {"status": "bad file", "message": str(e)}
    page = {"page": job["out"] + ".html"} if "html" in job["each"] else {}
    try:
        done = convert(
            job["source"],
            job["to"],
            job["out"],
            weights=job["weights"] or None,
            overwrite=job["overwrite"],
            **page,
            **job["options"],
        )
    except UnsupportedError as e:
        problems = [p.to_dict() for p in e.problems]
        told.update(ok=False, problems=problems)
        return {"status": "unsupported", "problems": problems, "message": f"{len(problems)} problems"}
    except MismatchError as e:
        told.update(json.loads(e.report.to_json()))
        return {"status": "mismatch", "message": _differs(e.report), "max_rel": _number(e.report.max_rel)}
    except UsageError as e:
        return {"status": "usage", "message": str(e)}
    except (BadFileError, ShapeError) as e:
        return {"status": "bad file", "message": str(e)}
    except MemoryError:
        return {"status": "out of memory", "message": "there was not enough memory"}
    except PluginBugError as e:
        return {"status": "bug", "message": str(e)}
    except (ConvcoreError, OSError) as e:
        return {"status": "error", "message": str(e)}
    except Exception as e:  # noqa: BLE001 - the last resort: what nobody foresaw is a row, and said as a bug
        return {"status": "bug", "message": f"{type(e).__name__}: {e}"}
    report = done.report
    told.update(json.loads(report.to_json()))
    status = {"not verified": "unverified"}.get(report.verdict, report.verdict)
    return {
        "status": status, "message": report.reason or "; ".join(report.weak[:1]),
        "framework": str(report.source.get("framework", "")), "files": [str(p) for p in done.paths],
        "max_rel": _number(report.max_rel) if report.verified else None,
        "parameters": int(str(report.source.get("parameters") or "0").replace(",", "")),
        "read": {} if job["fetched"] else {str(p): stamp(str(p)) for p in done.read},
    }  # fmt: skip


def _differs(report: Report) -> str:
    """The first output that differs, and where the difference begins."""
    worst = next((str(d) for d in report.differences if not d.ok), "the outputs differ")
    return worst + (f"; first difference: {report.first_divergence}" if report.first_divergence else "")


def _number(value: Any) -> float | None:
    """A finite number; None for what JSON could not hold."""
    return float(value) if value is not None and abs(float(value)) < float("inf") else None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
