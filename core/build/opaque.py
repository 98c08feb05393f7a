"""Opaque nodes: what a loader could not map, kept whole; the problems they stand for."""

from __future__ import annotations

from ..errors import Problem
from ..ir.graph import Graph, Node

__all__ = ["opaque_problems", "problem_of"]


def opaque_problems(graph: Graph) -> list[Problem]:
    """The problems of all opaque nodes, regions included, in order; empty for those unknown only through a predecessor."""
    out: list[Problem] = []
    for node in graph:
        if node.op == "opaque":
            out += [p for p in problem_of(node) if p not in out]
        for r in node.regions:
            out += [p for p in opaque_problems(r) if p not in out]
    return out


def problem_of(node: Node) -> list[Problem]:
    """The problem of one opaque node; none where it is only unknown through a predecessor."""
    if node.attrs.get("follows"):
        return []
    why = str(node.attrs.get("why") or "convcore has no op for it")
    hint, code = str(node.attrs.get("hint") or ""), str(node.attrs.get("code") or "unsupported_layer")
    return [Problem(node.origin.layer or node.name, str(node.attrs["type"]), why, hint, code)]
