"""``convcore view``: a page with a picture of a model."""

from __future__ import annotations

import webbrowser
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from ..paging import view as write
from .console import complain, say

__all__ = ["view"]


def view(args: Namespace, options: Mapping[str, Any]) -> int:
    """Write the page, say where, open it if asked to."""
    page = write(
        args.source, args.output, weights=args.weights, format=args.format, input_shapes=args.input_shape, fuse=args.fuse,
        overwrite=args.force, **options,
    )  # fmt: skip
    say(str(page))
    if args.open and not webbrowser.open(page.absolute().as_uri()):
        complain("convcore: there is no browser that could be opened")
    return 0
