"""What the commands print, and what may happen to a process meanwhile: one place.

Names in messages come from files: what a terminal would obey (escape sequences, carriage returns, letters that turn the
direction of text) is printed as an escape, never raw, and what the terminal's encoding lacks likewise.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from ..errors import OutputError
from .colour import painted

__all__ = ["Terminated", "complain", "finish", "is_last", "leave", "peak", "prepare", "printable", "say", "show", "terminable"]

# controls, directions, halves of characters
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with what a terminal would obey as escapes; line ends and tabs stay."""
    return _OBEYED.sub(lambda m: m[0].encode("unicode_escape").decode(), text)


def say(text: str) -> None:
    """One result, on stdout. OutputError where it cannot be written."""
    _write(printable(text))


def show(text: str) -> None:
    """One report for people, coloured where that is shown. OutputError where it cannot be written."""
    _write(painted(printable(text), sys.stdout))


def _write(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
    except BrokenPipeError:
        raise
    except OSError as e:
        raise OutputError(f"standard output cannot be written: {e.strerror}") from None


def complain(text: str) -> None:
    """One message, on stderr, where there is one."""
    with suppress(OSError):
        sys.stderr.write(painted(printable(text), sys.stderr) + "\n")
        sys.stderr.flush()


def prepare() -> None:
    """Streams that are closed become the null device, so that no file opened later takes their numbers; what an encoding lacks is
    escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115 - it stays open
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def peak() -> str:
    """`, peak memory 71 MB``, where the system tells."""
    try:
        import resource
    except ImportError:
        return ""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f", peak memory {most / 1e6:.0f} MB"


def finish() -> None:
    """Write what stdout still holds. OutputError or BrokenPipeError where that fails; the interpreter does not try again then."""
    try:
        sys.stdout.flush()
    except OSError as e:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        if isinstance(e, BrokenPipeError):
            raise
        raise OutputError(f"standard output cannot be written: {e.strerror}") from None


def is_last() -> bool:
    """Whether nothing of the process comes after the caller's caller: a script at its top, run by its name or by ``python -m``. A
    profiler, a debugger or any program that runs one goes on after it, and so does ``python -i``."""
    if sys.flags.inspect or sys.flags.dev_mode:
        return False
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        place = frame.f_globals.get("__name__"), frame.f_code.co_name
        if place not in (("__main__", "<module>"), ("runpy", "_run_code"), ("runpy", "_run_module_as_main")):
            return False
        frame = frame.f_back
    return True


def leave(code: int) -> NoReturn:
    """End the process, which is ours (:func:`is_last`), with this exit code. What asked to be called at its end is called and the
    streams are written, but objects are not taken apart one by one, which takes a twentieth of a small conversion. Where other
    threads run, or somebody measures or watches the process from inside, it ends as any does."""
    if threading.active_count() > 1 or sys.getprofile() or sys.gettrace():
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    os._exit(code)


class Terminated(BaseException):
    """The process was asked to end; unfinished files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP (where it is not ignored, as by nohup) raise :class:`Terminated` inside."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
