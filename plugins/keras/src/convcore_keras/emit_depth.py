"""How deep Keras recurses when it builds a model: a frame of Python for each call on the way from an output to an input."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from convcore.plugin import Block, PlanCall, Problem, Ref, UnsupportedError, leaves, reads

__all__ = ["check_depth"]

_OTHERS = 100
"""Frames for whoever loads the model, and what Keras has on the stack by then (12 in Keras 3.15.1)."""


def check_depth(root: Block) -> None:
    """UnsupportedError for a plan that Keras cannot build within Python's recursion limit, a problem for each model in it.

    Follows ``_build_map_helper`` of ``keras/src/ops/function.py`` (Keras 3.15.1): from every output through the arguments in
    order, each call once.
    """
    most = sys.getrecursionlimit() - _OTHERS
    problems = []
    for block in root.walk():
        depth, deepest = _depth(block)
        if depth > most and deepest is not None:
            why = (
                f"{depth} calls follow one another up to it, and Keras recurses through them when it builds the model: "
                f"Python allows {sys.getrecursionlimit()} frames"
            )
            hint = f"sys.setrecursionlimit({depth + 2 * _OTHERS}) here, and wherever the model is loaded"
            problems.append(Problem(deepest.source or deepest.name, deepest.type, why, hint, "unsupported_depth"))
    if problems:
        raise UnsupportedError(problems)


def _depth(block: Block) -> tuple[int, PlanCall | None]:
    """The frames of the deepest descent from an output to an input, and the call that it starts with."""
    done: set[PlanCall] = set()
    most, start = 0, None
    for out in leaves(block.outputs):
        if not isinstance(out, Ref) or out.call is None:
            continue
        way: list[tuple[PlanCall, Iterator[Ref]]] = [(out.call, reads(out.call))] if out.call not in done else []
        while way:
            call, rest = way[-1]
            if len(way) + 1 > most:  # and one for what comes before: a call or the input
                most, start = len(way) + 1, out.call
            ahead = next((r.call for r in rest if r.call is not None and r.call not in done), None)
            if ahead is None:
                done.add(call)
                way.pop()
            else:
                way.append((ahead, reads(ahead)))
    return most, start
