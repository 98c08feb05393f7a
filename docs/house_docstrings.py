"""An extension of griffe (mkdocstrings) that shows the house's docstrings as Markdown: roles as code, parameters as a list."""

from __future__ import annotations

import re
from typing import Any

import griffe


def markdown(text: str) -> str:
    """A docstring of the house as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    text = re.sub(r"^(\w+)\n-+$", r"**\1**\n", text, flags=re.MULTILINE)
    head, found, rest = text.partition("**Parameters**\n")
    if not found:
        return text
    params, last, after = rest.partition("\n**")
    return head + found + re.sub(r"^(\w[\w, ]*): ", r"* `\1`: ", params, flags=re.MULTILINE) + last + after


class HouseDocstrings(griffe.Extension):
    """Rewrites each docstring when its object is known."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for every object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
