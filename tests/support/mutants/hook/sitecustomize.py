"""Has a process import and read another text in place of a file, and so do those that it starts: they find this on their path."""

from __future__ import annotations

import importlib.machinery
import os
import pathlib
import types
from typing import Any

CHANGED = "CONVCORE_CHANGED"
"""The variable that tells processes the file, and the file that holds its changed text."""


def import_changed(file: str, text: bytes) -> None:
    """Has this process import ``text`` in place of ``file`` (a path without links), or read it, as ``written.py`` is."""
    loader = importlib.machinery.SourceFileLoader
    real = loader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, fullname: str) -> types.CodeType | None:
        if os.path.realpath(self.path) == file:
            return compile(text, self.path, "exec", dont_inherit=True)
        return real(self, fullname)

    loader.get_code = get_code  # type: ignore[method-assign,assignment]
    read = pathlib.Path.read_text

    def read_text(self: pathlib.Path, *args: Any, **kwargs: Any) -> str:
        return text.decode() if os.path.realpath(self) == file else read(self, *args, **kwargs)

    pathlib.Path.read_text = read_text  # type: ignore[method-assign]


if __name__ == "sitecustomize" and CHANGED in os.environ:
    _file, _text = os.environ[CHANGED].split(os.pathsep)
    with open(_text, "rb") as _f:
        import_changed(_file, _f.read())
