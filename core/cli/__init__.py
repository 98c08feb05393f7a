"""The command line ``convcore``. Exit codes: 0 done, 1 other failure, 2 usage, 3 bad file, 4 unsupported, 5 mismatch."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from ..errors import ConvcoreError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args in (["--version"], ["-V"]):
        from .. import __version__

        sys.stdout.write(f"convcore {__version__}\n")
        return 0
    from .parser import parse

    try:
        parsed = parse(args)
        code: int = parsed.run(parsed)
        sys.stdout.flush()
        return code
    except ConvcoreError as e:
        if os.environ.get("CONVCORE_DEBUG") == "1":
            traceback.print_exception(e)
        sys.stderr.write(f"convcore: {e}\n")
        return e.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("convcore: interrupted\n")
        return 130
