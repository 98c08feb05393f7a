"""How every operator of the standard stands, version by version: read by rules, by its definition, or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Standing", "operators", "standing"]


class Standing(NamedTuple):
    """``how`` is "rule", "definition", "refused" (``why`` says why) or "" where nothing is known of it."""

    how: str
    why: str = ""


def operators() -> dict[tuple[str, str], list[int]]:
    """The versions (since when) of every operator that the installed onnx knows, by domain and name."""
    from onnx import defs

    found: dict[tuple[str, str], set[int]] = {}
    for s in defs.get_all_schemas_with_history():
        found.setdefault((s.domain, s.name), set()).add(s.since_version)
    return {k: sorted(v) for k, v in sorted(found.items())}


def standing(domain: str, name: str, version: int) -> Standing:
    """How a version of an operator is read. A definition counts where each of its operators is read by rules or definitions."""
    from .rules import RULES
    from .rules.refused import FIRST, REFUSED

    type_ = f"{domain}.{name}" if domain else name
    if type_ in REFUSED:
        return Standing("refused", REFUSED[type_][0])
    if type_ in FIRST and version == 1:
        return Standing("refused", FIRST[type_])
    if any((r.since or 0) <= version <= (r.until or version) for r in RULES.load_rules.get(type_, ())):
        return Standing("rule")
    return Standing("definition" if _defined(domain, name, version) else "")


def _defined(domain: str, name: str, version: int) -> bool:
    from onnx import FunctionProto, defs

    schema: Any = defs.get_schema(name, version, domain)
    if schema.has_context_dependent_function:
        return True  # made for each call: the standard's tests tell whether its operators are there
    if not schema.has_function:
        return False
    body = FunctionProto.FromString(schema.get_function_with_opset_version(min(schema.function_opset_versions)))
    used = {d.domain: d.version for d in body.opset_import}
    return all(standing(d, n, v).how in ("rule", "definition") for d, n, v in _called(body.node, used))


def _called(nodes: Any, opsets: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    from onnx import defs

    for n in nodes:
        yield n.domain, n.op_type, defs.get_schema(n.op_type, opsets[n.domain], n.domain).since_version
        for a in n.attribute:
            yield from _called(a.g.node, opsets)
