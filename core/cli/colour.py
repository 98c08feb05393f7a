"""Colour of what is printed for people: on a terminal, unless ``NO_COLOR`` is set; everywhere, where ``FORCE_COLOR`` is."""

from __future__ import annotations

import os
import re
from typing import TextIO

__all__ = ["painted"]

_CODES = {"good": "32", "bad": "1;31", "warn": "33", "strong": "1", "quiet": "2"}
_RULES = [
    ("bad", r"\Aconvcore:(?= )"),
    ("strong", r"\A[^\n]+ (?:->|against) [^\n]+$"),  # the title of a report
    ("good", r"(?<=^  verdict: )ok$"),
    ("warn", r"(?<=^  verdict: )(?:weak|NOT VERIFIED)\b"),
    ("bad", r"(?<=^  verdict: )MISMATCH$"),
    ("good", r"(?<=[\d.]  )ok(?=$| \()"),  # at the end of an output's line
    ("bad", r"(?<=[\dfn]  )DIFFERS(?=$| \()"),
    ("quiet", r"^ *note:"),
]


def _wanted(stream: TextIO) -> bool:
    """Whether this stream is to be coloured (https://no-color.org, https://force-color.org): set and not empty counts."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, stream: TextIO) -> str:
    """The text with verdicts, titles and notes coloured, where that is wanted of the stream it goes to."""
    if not _wanted(stream):
        return text
    patterns = "|".join(f"({pattern})" for _, pattern in _RULES)  # compiled here, and kept by re: most output is not coloured
    return re.sub(patterns, lambda m: f"\x1b[{_CODES[_RULES[(m.lastindex or 1) - 1][0]]}m{m[0]}\x1b[0m", text, flags=re.MULTILINE)
