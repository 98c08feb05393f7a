"""The command line ``convcore``. Exit codes: 0 done, 1 other failure, 2 usage, 3 bad file, 4 unsupported, 5 mismatch, 6 not
verified, 70 a bug."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NoReturn

from ..collector import let_go, one_command, take
from ..errors import ConvcoreError, PluginBugError, by_flags
from .console import Terminated, complain, finish, is_last, leave, peak, prepare, say, terminable

__all__ = ["command", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Whatever is raised inside ends as one message."""
    prepare()
    args = list(sys.argv[1:] if argv is None else argv)
    with one_command() if argv is None else nullcontext(), terminable():
        code = _guarded(lambda: _run(args))
        if code:
            let_go()
    return _guarded(lambda: _finished(code))


def command() -> NoReturn:
    """The process ``convcore``: one command, and the process ends; where others go on in it (:func:`.console.is_last`), as
    ``sys.exit`` ends it."""
    if not is_last():
        sys.exit(main())
    take()
    leave(main())


def _run(args: list[str]) -> int:
    if args in (["--version"], ["-V"]):
        from .. import __version__

        say(f"convcore {__version__}")
        return 0
    if "_ARGCOMPLETE" in os.environ:
        from .completion import complete

        return complete()
    from .parser import parse

    start = time.monotonic()
    parsed = parse(args)
    try:
        with by_flags(parsed.flags):
            code: int = parsed.run(parsed)
        return code
    finally:
        if getattr(parsed, "verbose", False):
            complain(f"took {time.monotonic() - start:.1f} s{peak()}")


def _finished(code: int) -> int:
    finish()
    return code


def _guarded(do: Callable[[], int]) -> int:
    try:
        return do()
    except SystemExit as e:  # argparse: help, or wrong usage
        return e.code if isinstance(e.code, int) else 2 if e.code else 0
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        complain("convcore: interrupted")
        return 130
    except Terminated as e:
        complain("convcore: terminated")
        return 128 + e.number
    except ConvcoreError as e:
        _trace(e)
        complain(f"convcore: {e}")
        return e.exit_code
    except MemoryError as e:
        _trace(e)
        complain("convcore: there is not enough memory for this")
        return 1
    except OSError as e:
        _trace(e)
        where = f"{os.fsdecode(e.filename)}: " if isinstance(e.filename, (str, bytes)) else ""
        complain(f"convcore: {where}{e.strerror or e}")
        return 1
    except Exception as e:  # noqa: BLE001 - the last resort: what nobody foresaw is a bug, told in one line
        _trace(e)
        complain(f"convcore: {_bug(e)}")
        return PluginBugError.exit_code


def _trace(error: BaseException) -> None:
    if os.environ.get("CONVCORE_DEBUG") == "1":
        import traceback

        complain("".join(traceback.format_exception(error)).rstrip())


def _bug(error: Exception) -> PluginBugError:
    """An exception that nobody foresaw, with the distribution whose code raised it and the layer it was working on."""
    import traceback

    from ..host import host
    from ..ir.graph import Node
    from ..rules import ForeignNode

    owners = {i.module.partition(":")[0].partition(".")[0]: i.distribution for i in host().plugins}
    owner, layer = "convcore", ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = owners.get(str(frame.f_globals.get("__name__", "")).partition(".")[0], owner)
        for held in frame.f_locals.values():
            if isinstance(held, Node):
                layer = f"layer {str(held.origin) or held.name!r}"
            elif isinstance(held, ForeignNode):
                layer = f"layer {held.name!r} ({held.type})"
    return PluginBugError(owner, layer or "the command", error)
