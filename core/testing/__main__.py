"""``python -m convcore.testing``: runs of test suites that others wrote."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from . import standard, torch_suites

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "onnx-backend": standard.command,
    **{t: partial(torch_suites.command, t) for t in torch_suites.TABLES},
}


def main(argv: list[str]) -> int:
    """The command named first."""
    if not argv or argv[0] not in COMMANDS:
        sys.stderr.write(f"usage: python -m convcore.testing {{{','.join(COMMANDS)}}} ...\n")
        return 2
    return COMMANDS[argv[0]](argv[1:])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
