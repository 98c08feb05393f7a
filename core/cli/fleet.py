"""``convcore batch``: arguments, progress and what is printed."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..fleet import Row
from ..fleet import batch as convert_all
from .console import complain, printable, say

__all__ = ["batch"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)


def batch(args: Namespace, options: Mapping[str, Any]) -> int:
    """Convert, print the summary; 0 when every model was written, else 1."""
    done = convert_all(
        args.sources, args.to, args.out, workers=args.workers, timeout=args.timeout or None,
        memory=None if args.memory is None else size(args.memory), scheduler=args.scheduler, again=args.again, each=args.each,
        reports=args.reports, progress=partial(_tell, args), overwrite=args.force, check=not args.no_check,
        simplify=args.simplify, io_layout=args.io_layout, fuse=args.fuse, **options,
    )  # fmt: skip
    if args.report == "json":
        say(json.dumps(done.to_dict(), indent=1))
    elif (args.report or ("none" if args.quiet else "text")) == "text":
        say(str(done))
        folder = args.reports or ("." if "://" in args.out else args.out)
        say(f"report: {Path(folder) / 'report.html'}, .json and .csv beside it")
    return 0 if done.ok else 1


def size(text: str) -> int:
    """Bytes of ``512M``, ``4G`` or ``2GiB``; UsageError for what is no size."""
    found = _SIZE.fullmatch(text.strip())
    if not found or float(found[1]) <= 0:
        raise UsageError(f"--memory {text}: write a size such as 512M or 4G")
    unit = _UNITS[found[2].upper()]
    return int(float(found[1]) * (1024 ** (len(str(unit)) // 3) if found[3] else unit))


def _tell(args: Namespace, row: Row, done: int, of: int) -> None:
    """A line for each model: rewritten on a terminal where it is well, kept where it is not, where nobody looks or with -v; with
    -q only what is not well has one."""
    if args.quiet and row.ok:
        return
    line = f"[{done}/{of}] {row.status}: {row.source}" + (f": {row.message}" if row.message else "") + f" ({row.seconds:.1f} s)"
    if args.quiet or args.verbose or not sys.stderr.isatty():
        complain(line)
        return
    sys.stderr.write("\r\x1b[K" + printable(line) + ("" if row.ok and done < of else "\n"))
    sys.stderr.flush()
