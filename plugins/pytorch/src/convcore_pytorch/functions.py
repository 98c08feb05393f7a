"""The functions of ``written.py`` and its likes as text, for the code that calls them, and what that text imports."""

from __future__ import annotations

import functools
import re
from importlib.resources import files

__all__ = ["FILES", "HELPERS", "helpers_of", "imports_of"]


FILES = ("written.py", "written_late.py", "written_types.py", "written_lists.py", "written_sampling.py")
"""Where they are."""


@functools.cache
def _sources() -> dict[str, str]:
    """By name. The files are formatted: two empty lines stand in front of a function and nowhere else. Parsing them would take a
    fifth of what a ResNet50 takes from file to file."""
    found = {}
    for name in FILES:
        text = (files(__package__) / name).read_text(encoding="utf-8")
        for part in re.split(r"\n\n\n(?=def )", text)[1:]:
            found[part[4 : part.index("(")]] = part.rstrip()
    return found


HELPERS = frozenset(_sources())
"""Names of all functions that may be copied."""


def helpers_of(code: str) -> list[str]:
    """The functions that ``code`` calls, and those these call, in the order of the files."""
    wanted: set[str] = set()
    left = [code]
    while left:
        text = left.pop()
        for name, source in _sources().items():
            if name not in wanted and re.search(rf"(?<![.\w]){name}\(", text):
                wanted.add(name)
                left.append(source)
    return [source for name, source in _sources().items() if name in wanted]


def imports_of(code: str) -> list[str]:
    """The import statements of a file with this code, sorted as ruff and isort want them."""

    def used(*names: str) -> list[str]:
        return [n for n in names if re.search(rf"(?<![.\w]){n}\b", code)]

    out = ["from __future__ import annotations", ""]
    out += [f"import {n}" for n in used("json", "math")]
    for module, names in (("collections.abc", used("Callable", "Sequence")), ("pathlib", ["Path"]), ("typing", used("Any"))):
        if names:
            out.append(f"from {module} import {', '.join(names)}")
    out += ["", "import torch"]
    if used("F"):
        out.append("import torch.nn.functional as F")
    return [*out, f"from torch import {', '.join(used('Tensor', 'nn'))}"]
