"""``convcore new-plugin``: a plugin that works, to be changed into one's own. The files are those in ``skeletons/``."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from ..errors import OutputError, UsageError
from ..host import host
from ..opset import find_op

__all__ = ["KINDS", "new_plugin"]

KINDS = ("layer", "framework")
_HERE = Path(__file__).parent / "skeletons"


def new_plugin(kind: str, name: str, folder: Path) -> list[Path]:
    """Write the plugin ``convcore-<name>`` of a kind into a folder that is empty or not there; the files written.

    UsageError for a name that cannot be one or is taken, OutputError where something is there already: nothing is written then.
    """
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z0-9]+", name)]
    snake = "_".join(words)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or keyword.iskeyword(snake):
        raise UsageError(f"{name!r} cannot be the name of a plugin: letters, digits, - and _, a letter first")
    if (snake in host().frameworks) if kind == "framework" else (find_op(snake) is not None):
        raise UsageError(f"there is {'a framework' if kind == 'framework' else 'an op'} {snake!r} already: take another name")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is there already: name an empty or a new folder with -o")
    marks = {"@snake@": snake, "@dash@": "-".join(words), "@Pascal@": "".join(w[:1].upper() + w[1:] for w in words)}

    def filled(text: str) -> str:
        return re.sub("|".join(marks), lambda m: marks[m[0]], text)

    root = _HERE / kind
    made = []
    try:
        for template in sorted(root.rglob("*.txt")):
            path = folder / filled(template.relative_to(root).as_posix()).removesuffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(filled(template.read_text(encoding="utf-8")), encoding="utf-8")
            made.append(path)
    except OSError as e:
        raise OutputError(f"{folder} cannot be written: {e.strerror or e}") from e
    return made
