"""Completion of commands, flags, formats, ops and files in a shell, by argcomplete (extra ``convcore[completion]``)."""

from __future__ import annotations

import importlib
from argparse import Action
from collections.abc import Callable
from typing import Any

__all__ = ["complete"]


def complete() -> int:
    """Answer the shell, which asks with ``_ARGCOMPLETE`` in the environment; argcomplete ends the process itself."""
    try:
        argcomplete: Any = importlib.import_module("argcomplete")
    except ImportError:
        return 1
    from .parser import whole

    parser, commands = whole()
    for arguments in commands.values():
        for action in arguments:
            found = _completer(action, argcomplete)
            if found is not None:
                action.completer = found  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)
    return 1


def _completer(action: Action, argcomplete: Any) -> Callable[..., Any] | None:
    """What may stand for an argument: names that are known, or files."""
    if action.dest in ("to", "format", "from_a", "from_b", "framework"):
        return argcomplete.completers.ChoicesCompleter(_frameworks())  # type: ignore[no-any-return]
    if action.metavar == "OP":
        return argcomplete.completers.ChoicesCompleter(_ops())  # type: ignore[no-any-return]
    if action.choices is None and action.nargs != 0 and action.metavar not in ("NAME", "LAYER", "N"):
        return argcomplete.completers.FilesCompleter()  # type: ignore[no-any-return]
    return None


def _frameworks() -> list[str]:
    from ..host import host

    return sorted(host().frameworks)


def _ops() -> list[str]:
    from ..host import host
    from ..opset import all_ops

    host().load_ops()
    return sorted(all_ops())
