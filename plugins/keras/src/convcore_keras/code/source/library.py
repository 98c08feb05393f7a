"""The Python files of ``--custom``: which of them define a name, and which file an import means. Files are only read."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from convcore.plugin import UsageError, ask_option, watched

from ..values import CodeRefused

__all__ = ["Definition", "Library", "SourceFile", "library"]

MAX_FILES = 50_000
MAX_BYTES = 4 << 20
"""A larger file holds no layers."""

_DEFINED = re.compile(rb"^(class|def|async def)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)
_REGISTERED = re.compile(rb"register_keras_serializable\s*\(([^)]*)\)[\s\\]*(?:@[^\n]*\n\s*)*(?:class|def)\s+([A-Za-z_]\w*)")
_ASSIGNED = re.compile(rb"^([A-Za-z_]\w*)[ \t]*=[ \t]*[A-Za-z_]\w*[ \t]*$", re.MULTILINE)
_TEXT = re.compile(rb"""["']([^"'\n]*)["']""")


@dataclass(eq=False)
class SourceFile:
    """One file. ``root`` is the folder of ``--custom`` it was found in (its own folder for a file that was named)."""

    path: Path
    root: Path

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree. Raises CodeRefused for what is no Python of this version."""
        watched(self.path)
        try:
            data = self.path.read_bytes()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(data, filename=str(self.path))
        except SyntaxError as e:
            raise CodeRefused(f"is no Python that this version reads: {e.msg}", f"{self.path}:{e.lineno or 1}") from e
        except (ValueError, RecursionError, MemoryError) as e:
            raise CodeRefused(f"cannot be parsed: {e}", str(self.path)) from e
        except OSError as e:
            raise CodeRefused(f"cannot be read: {e.strerror or e}", str(self.path)) from e

    @property
    def dotted(self) -> tuple[str, ...]:
        """The parts of its module's name, from its root down."""
        parts = self.path.relative_to(self.root).with_suffix("").parts
        return parts[:-1] if parts[-1] == "__init__" else parts


@dataclass(frozen=True)
class Definition:
    """A class or function at the top of a file; ``registered`` is its name in a ``register_keras_serializable``."""

    file: SourceFile
    name: str
    registered: str = ""
    is_class: bool = False
    called: str = ""
    """The name that ``custom_objects`` has it under."""


@dataclass(eq=False)
class Library:
    """All files of ``--custom``; ``wide`` are those found in folders, whose imports of each other are followed."""

    files: dict[Path, SourceFile] = field(default_factory=dict)
    roots: list[Path] = field(default_factory=list)
    open: set[Path] = field(default_factory=set)
    """Folders whose files are found when an import names them."""

    def add(self, path: Path) -> None:
        """A file or a folder. Raises UsageError where there is none."""
        path = Path(os.path.abspath(path))
        if path.is_file():
            self.files.setdefault(path, SourceFile(path, path.parent))
            return
        if not path.is_dir():
            raise UsageError(f"{ask_option('custom', str(path))}: no such file or folder")
        self.roots.append(path)
        found = 0
        for file in _python_files(path):
            self.files.setdefault(file, SourceFile(file, path))
            found += 1
            if found > MAX_FILES:
                raise UsageError(
                    f"{ask_option('custom', str(path))}: holds more than {MAX_FILES} Python files; name the folder of the layers"
                )
        if not found:
            raise UsageError(f"{ask_option('custom', str(path))}: holds no Python file")

    @cached_property
    def index(self) -> dict[str, list[Definition]]:
        """Definitions by their own and their registered name, found by a search of the text: no file is parsed for it."""
        found: dict[str, list[Definition]] = {}
        for file in self.files.values():
            try:
                if file.path.stat().st_size > MAX_BYTES:
                    continue
                data = file.path.read_bytes()
            except OSError:
                continue  # a broken link among thousands of files is not the model's
            registered = dict(_registered(data))
            for match in _DEFINED.finditer(data):
                name = match[2].decode()
                d = Definition(file, name, registered.get(name, ""), match[1] == b"class")
                found.setdefault(name, []).append(d)
                if d.registered and d.registered != name:
                    found.setdefault(d.registered, []).append(d)
        return found

    @cached_property
    def classes(self) -> dict[str, str]:
        """The classes by their own names, each with the files that define it."""
        return self._defined(True)

    @cached_property
    def functions(self) -> dict[str, str]:
        """The functions at the top of files, likewise."""
        return self._defined(False)

    def _defined(self, classes: bool) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for name, definitions in self.index.items():
            files = [str(d.file.path) for d in definitions if d.is_class == classes and name in (d.name, d.called)]
            if files:
                found[name] = list(dict.fromkeys(files))
        return {name: ", ".join(files[:4]) for name, files in found.items()}

    def call(self, name: str, own: str, path: Path) -> None:
        """Let ``own`` in a file, which is added, stand for ``name``; the file's imports are followed where they lead to files
        beside it or in its package."""
        top = path.parent
        while (top / "__init__.py").is_file() and top.parent != top:
            top = top.parent
        file = self.files.setdefault(path, SourceFile(path, top))
        self.open.add(top)
        self.index.setdefault(name, []).append(Definition(file, own, "", self._is_class(file, own), name))

    @staticmethod
    def _is_class(file: SourceFile, own: str) -> bool:
        return any(m[2].decode() == own and m[1] == b"class" for m in _DEFINED.finditer(file.path.read_bytes()))

    def define(self, name: str, module: str = "") -> Definition | None:
        """The definition of a class or function, by its name or registered name (``"package>Name"``); ``module`` tells which
        where several files have one. None if there is none; CodeRefused if several are left."""
        bare = name.rpartition(">")[2]
        found = list(dict.fromkeys([*self.index.get(name, ()), *self.index.get(bare, ())]))
        exact = [d for d in found if d.called in (name, bare)] or [d for d in found if d.registered == name]
        found = exact or found
        if len(found) > 1 and module:
            wanted = tuple(module.split("."))
            same = [d for d in found if d.file.dotted and wanted[-len(d.file.dotted) :] == d.file.dotted]
            found = same or found
        if len({d.file.path for d in found}) > 1:
            places = ", ".join(str(d.file.path) for d in found[:4])
            raise CodeRefused(f"is defined in several files ({places}); give {ask_option('custom')} the one that is meant")
        return found[-1] if found else None

    def imported(self, by: SourceFile, module: str, level: int) -> SourceFile | None:
        """The file that ``from <level dots><module> import`` in a file means, if it is one of these."""
        parts = [p for p in module.split(".") if p]
        if level:
            here = by.path.parent
            for _ in range(level - 1):
                here = here.parent
            return self._file(here, parts)
        if not parts:
            return None
        folders = [by.path.parent, *by.path.parent.parents]
        inside = [f for f in folders if f == by.root or by.root in f.parents]
        for folder in (*inside, *self.roots, *sorted(self.open), *(r.parent for r in self.roots if r.name == parts[0])):
            found = self._file(folder, parts)
            if found is not None:
                return found
        return None

    def _file(self, folder: Path, parts: Sequence[str]) -> SourceFile | None:
        at = folder.joinpath(*parts)
        options = (at.parent / f"{at.name}.py", at / "__init__.py") if parts else (at / "__init__.py",)
        for p in options:
            root = next((r for r in self.open if r in p.parents), None)
            if p in self.files:
                return self.files[p]
            if root is not None and p.is_file():
                return self.files.setdefault(p, SourceFile(p, root))
        return None


def _python_files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__pycache__")))
        for name in sorted(names):
            if name.endswith(".py"):
                yield Path(at) / name


def _registered(data: bytes) -> Iterator[tuple[str, str]]:
    """Names of definitions with what they are registered as: ``package>name``, by default ``Custom>`` and its own name."""
    for match in _REGISTERED.finditer(data):
        given, name = match[1], match[2].decode()
        words: dict[str, str] = {}
        for i, part in enumerate(given.split(b",")):
            key, sep, value = part.partition(b"=")
            text = _TEXT.search(value if sep else part)
            if text is not None:
                words[key.strip().decode() if sep else ("package", "name")[min(i, 1)]] = text[1].decode("utf-8", "replace")
        yield name, f"{words.get('package', 'Custom')}>{words.get('name', name)}"


def library(paths: Sequence[str | os.PathLike[str]], named: Sequence[tuple[str, str, Path]] = ()) -> Library:
    """The files of several paths, and what stands for names: (name, name in its file, file). Raises UsageError."""
    made = Library()
    for p in paths:
        made.add(Path(p))
    for name, own, path in named:
        made.call(name, own, Path(os.path.abspath(path)))
    return made
