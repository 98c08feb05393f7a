"""Every error convcore raises on purpose.

All derive from :class:`ConvcoreError`; the command line maps the classes to exit codes (``ConvcoreError.exit_code``):
2 usage, 3 bad file, 4 unsupported, 5 mismatch, 70 a bug.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from .records import dataclass

__all__ = [
    "BadFileError",
    "BrokenPluginError",
    "ConvcoreError",
    "DeclarationError",
    "FrameworkMissingError",
    "InputError",
    "MismatchError",
    "NativeCrashError",
    "OutputError",
    "PluginBugError",
    "PluginConflictError",
    "PluginNotInstalledError",
    "Problem",
    "ShapeError",
    "SourceChangedError",
    "UnknownFrameworkError",
    "UnsupportedError",
    "UsageError",
    "VerifyError",
    "ask",
    "ask_option",
    "ask_override",
    "by_flags",
    "flags_asked",
    "meant",
]


def meant(word: str, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """`` (did you mean ...?)`` where a word is near one or two known ones, which are shown as ``shown`` gives them, else ""."""
    import difflib

    close = difflib.get_close_matches(word, list(known), 2, 0.6)
    return f" (did you mean {' or '.join(map(shown, close))}?)" if close else ""


_FLAGS: ContextVar[Collection[str] | None] = ContextVar("flags", default=None)


def ask(flag: str, argument: str) -> str:
    """What to give, as the one who is told would say it: an argument in Python, or a flag at a command line; a flag that the
    command lacks with the command that has it."""
    known = _FLAGS.get()
    if known is None:
        return argument
    name, space, value = flag.partition(" ")
    if name in known:
        return flag
    either = [f"{name}-{side}" for side in "ab" if f"{name}-{side}" in known]  # of commands that take two models
    return f"{' or '.join(either)}{space}{value}" if either else f"convcore convert {flag}"


def ask_option(name: str, value: object = None) -> str:
    """An option of a plugin or command by its name in Python, with the value to give, if one is to be said."""
    flag = "--" + name.replace("_", "-")
    if value is None or value is True:
        return ask(flag, f"{name}={'' if value is None else value}")
    return ask(f"{flag} {value}", f"{name}={value!r}")


def ask_override(name: str) -> str:
    """How a function of the user's own is given for a layer's name or type, or for an op (``emit:``)."""
    if name.startswith("emit:"):
        argument = f"overrides={{'emit': {{{name.removeprefix('emit:')!r}: function}}}}"
    else:
        argument = f"overrides={{{name!r}: function}}"
    return ask(f"--override {shlex.quote(name)}=FILE.py:FUNCTION", argument)


def flags_asked() -> Collection[str] | None:
    """The flags of the command that messages are for, None in Python."""
    return _FLAGS.get()


@contextmanager
def by_flags(known: Collection[str] | None) -> Iterator[None]:
    """Inside, messages tell a person whose command has these flags what to give (:func:`ask`); None: someone in Python."""
    token = _FLAGS.set(known)
    try:
        yield
    finally:
        _FLAGS.reset(token)


class ConvcoreError(Exception):
    """Base of every refusal and every bad-input error."""

    exit_code = 1


class UsageError(ConvcoreError):
    """The call is wrong: an unknown option, format, name or value."""

    exit_code = 2


class OutputError(UsageError):
    """The output cannot be written where it was asked for (a folder, no permission, wrong suffix)."""


class InputError(UsageError):
    """Arrays given to a model do not fit its inputs (number, name, dtype, shape)."""


class UnknownFrameworkError(UsageError):
    """No plugin, installed or known, has this framework."""


class PluginNotInstalledError(UsageError):
    """The framework is known, but its plugin distribution is not installed."""


class FrameworkMissingError(UsageError):
    """The plugin is installed, but the framework it needs is missing or has an unsupported version."""


class PluginConflictError(ConvcoreError):
    """Two distributions claim the same name, framework, op or rule with equal priority."""


class BrokenPluginError(ConvcoreError):
    """A plugin failed to import or speaks another API version; the original failure is quoted."""


class PluginBugError(ConvcoreError):
    """Code of a plugin raised something that is no refusal: a bug of that plugin, named with the layer it was working on.

    The original exception is its ``__cause__``; the command line shows its traceback with ``CONVCORE_DEBUG=1``.
    """

    exit_code = 70

    def __init__(self, plugin: str, doing: str, error: BaseException) -> None:
        self.plugin = plugin
        reason = " ".join(str(error).split())[:200]
        super().__init__(
            f"a bug in {plugin}: {doing} raised {type(error).__name__}{f': {reason}' if reason else ''}{_place(error)}; "
            "CONVCORE_DEBUG=1 shows the traceback"
        )


def _place(error: BaseException) -> str:
    """Where an exception was raised: `` (file.py, line 3)``."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({trace.tb_frame.f_code.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}, line {trace.tb_lineno})"


class DeclarationError(ConvcoreError):
    """An op declaration or a mapping rule is inconsistent; raised at import of the plugin that holds it."""


class BadFileError(ConvcoreError):
    """The source is unreadable: truncated, malformed, hostile, or its parts do not belong together."""

    exit_code = 3


class SourceChangedError(BadFileError):
    """A file of the source was replaced or written to after it was loaded: what is read now is another model."""


class ShapeError(ConvcoreError):
    """An op's inputs have shapes, dtypes or attributes the op does not allow."""

    exit_code = 3


class VerifyError(ConvcoreError):
    """The intermediate representation breaks one of its invariants (a bug in a loader or pass, which is named)."""


class MismatchError(ConvcoreError):
    """The converted model runs but its outputs differ from the source's beyond the tolerance."""

    exit_code = 5

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class NativeCrashError(ConvcoreError):
    """A framework's own runtime, in a process of its own, died of the model it was given."""


@dataclass(frozen=True)
class Problem:
    """One thing that cannot be converted: what, where, why and what to do.

    ``code`` is a stable reason for machines, e.g. ``unsupported_layer``, ``unsupported_attribute``,
    ``unsupported_op``, ``requires_constant_input``, ``unknown_attribute``.
    """

    layer: str
    type: str
    why: str
    hint: str = ""
    code: str = "unsupported"

    def __str__(self) -> str:
        where = f"{self.layer!r} ({self.type})" if self.layer else self.type
        return f"{where}: {self.why}" + (f" - {self.hint}" if self.hint else "")

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


class UnsupportedError(ConvcoreError):
    """Something in the model has no exact counterpart. ``problems`` lists all of them, not only the first."""

    exit_code = 4

    def __init__(self, problems: Problem | Sequence[Problem], what: str = "cannot be converted exactly") -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.what = what
        n = len(self.problems)
        head = f"{n} problem{'s' if n != 1 else ''}: {what}"
        super().__init__("\n  ".join([head, *map(str, self.problems)]))
