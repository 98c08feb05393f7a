"""Generated code that is held as text: files of ``code/``, in which a line ``#### name`` stands above each piece.

What changes it on purpose writes it anew: ``CONVCORE_RECORD=1 .venv/bin/python -m pytest -q`` and the test files that import
this; the difference is read like any other change of the source.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convcore_pytorch.functions import FILES, HELPERS

PLACE = Path(__file__).with_name("code")


def text_of(made: Any) -> str:
    """The whole file that writing gave."""
    live = getattr(made.model, "__wrapped__", made.model)
    return str(live.args[0].text)


SAME = {"", "    def __init__(self) -> None:", "        super().__init__()"}


def classes_of(text: str) -> str:
    """The classes, without what every file and class has: docstring, helpers, how weights are loaded."""
    start = re.search(r"^class \w+\(nn\.Module\):", text, re.M)
    assert start is not None, text
    lines = text[start.start() : text.rindex("    @classmethod\n")].splitlines()
    return "".join(f"{line}\n" for line in lines if line not in SAME)


def held(name: str) -> dict[str, str]:
    """The pieces of a file."""
    path = PLACE / f"{name}.txt"
    if not path.exists():
        return {}
    parts = re.split(r"^#### (.+)\n", path.read_text("utf-8"), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def check(name: str, made: Mapping[str, str], prefix: str = "") -> None:
    """What file ``name`` holds of what was made, and under names that start with ``prefix``, is what was made, to the letter."""
    known = held(name)
    asked = {k for k in known if k in made or (prefix and k.startswith(prefix))}
    if os.environ.get("CONVCORE_RECORD"):
        pieces = {**{k: v for k, v in known.items() if k not in asked}, **made}
        PLACE.mkdir(exist_ok=True)
        text = "".join(f"#### {k}\n{v}" for k, v in sorted(pieces.items()))
        (PLACE / f"{name}.txt").write_text(text, encoding="utf-8")
        return
    assert {k: v for k, v in known.items() if k in asked} == dict(made)


pytest.importorskip("torch")
_MODULES = [importlib.import_module(f"convcore_pytorch.{name.removesuffix('.py')}") for name in FILES]
FUNCTIONS = {n: f for m in _MODULES for n, f in vars(m).items() if n in HELPERS and f.__module__ == m.__name__}


def with_functions(model: Any) -> Any:
    """The model with the functions of ``written.py`` themselves in place of the copies of their text in its module."""
    names = vars(sys.modules[type(model).__module__])
    names.update({n: f for n, f in FUNCTIONS.items() if n in names})
    return model


HERE = re.compile(r"^def (?!load\().*?(?=^(class|def) )", re.M | re.S)


def without_functions(text: str) -> str:
    """Without the functions that are copied into it, and without a version of torch."""
    return re.sub(r"from pytorch torch \S+\.$", "from pytorch.", HERE.sub("", text), flags=re.M)
