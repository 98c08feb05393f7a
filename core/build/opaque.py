"""Opaque nodes: what a loader could not map, kept whole; the problems they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import Problem
from ..ir.graph import Graph, Node

__all__ = ["damaged", "opaque_nodes", "opaque_problems", "problem_of"]


_KEPT: dict[str, type] = {"framework": str, "type": str, "attributes": Mapping, "why": str, "hint": str, "code": str}


def damaged(node: Node) -> list[str]:
    """What is missing or of another kind among what an opaque node keeps: a file may say anything."""
    out = [f"{k} is {node.attrs.get(k)!r}" for k, kind in _KEPT.items() if not isinstance(node.attrs.get(k), kind)]
    if "follows" in node.attrs and not isinstance(node.attrs["follows"], bool):
        out.append(f"follows is {node.attrs['follows']!r}")
    return out


def opaque_problems(graph: Graph) -> list[Problem]:
    """The problems of all opaque nodes, regions included, in order; empty for those unknown only through a predecessor."""
    out: list[Problem] = []
    for node in opaque_nodes(graph):
        out += [p for p in problem_of(node) if p not in out]
    return out


def opaque_nodes(graph: Graph) -> Iterator[Node]:
    """All opaque nodes, regions included, in order."""
    for node in graph:
        if node.op == "opaque":
            yield node
        for r in node.regions:
            yield from opaque_nodes(r)


def problem_of(node: Node) -> list[Problem]:
    """The problem of one opaque node; none where it is only unknown through a predecessor."""
    if node.attrs.get("follows"):
        return []
    why = str(node.attrs.get("why") or "convcore has no op for it")
    hint, code = str(node.attrs.get("hint") or ""), str(node.attrs.get("code") or "unsupported_layer")
    return [Problem(node.origin.layer or node.name, str(node.attrs["type"]), why, hint, code)]
