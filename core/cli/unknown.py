"""``convcore custom MODEL``: the layers and operators of a model that nothing maps, and what to write for each; as a plugin, with
``--stub``, whose rules have the signatures, weights and shapes filled in and whose tests run."""

from __future__ import annotations

import json
import keyword
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from ..build.opaque import opaque_nodes
from ..errors import OutputError, UsageError
from ..host import host
from ..ir.graph import Graph, Node, Value
from ..records import dataclass
from .console import say

__all__ = ["Unknown", "show_unknown", "unknown_layers", "write_stub"]

Typed = tuple[str, str, tuple[Any, ...] | None]
"""Name, element type and sizes."""


@dataclass
class Unknown:
    """One type of a layer or operator that has no rule. ``inputs`` are those of its first use, None for one left out; ``weights``
    what the file holds for it, by the key in ``node.weights`` or, with ``by_position``, by its place among the inputs."""

    framework: str
    type: str
    why: str
    layers: list[str]
    inputs: list[Typed | None]
    weights: list[Typed]
    by_position: bool
    attributes: Mapping[str, Any]
    outputs: list[Typed]
    taken: set[str] = field(default_factory=set)

    @property
    def function(self) -> str:
        """A name for its rule."""
        words = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z0-9]+", re.split(r"[>.:]", self.type)[-1])
        name = "_".join(w.lower() for w in words) or "layer"
        return f"{name}_" if keyword.iskeyword(name) or name[0].isdigit() else name

    def to_dict(self) -> dict[str, Any]:
        """As JSON-like data."""

        def typed(t: Typed | None) -> Any:
            return (
                None if t is None else {"name": t[0], "dtype": t[1], "shape": None if t[2] is None else [_size(n) for n in t[2]]}
            )

        return {
            "framework": self.framework, "type": self.type, "why": self.why, "layers": self.layers,
            "inputs": [typed(t) for t in self.inputs], "weights": [typed(t) for t in self.weights],
            "attributes": dict(self.attributes), "outputs": [typed(t) for t in self.outputs], "rule": self.rule(),
        }  # fmt: skip

    def rule(self, ending: str = "    return x  # what it computes, by g.b") -> str:
        """A function ``(g, node)`` that reads all there is of it."""
        lines = [
            f"def {self.function}(g: Any, node: ForeignNode) -> Any:",
            f'    """{_plain(self.type)}: say here what it computes."""',
        ]
        self.taken = {"g", "node"}
        for i, t in enumerate(self.inputs):
            if t is not None:
                lines.append(f"    {self._name('x' if i == 0 else f'x{i}')} = node.input({i})  # {_said(t)}")
        for i, t in enumerate(self.weights):
            key = repr(t[0])
            read = f"node.input({t[0]})" if self.by_position else f"g.weight(node, {key}, node.weights[{key}])"
            lines.append(f"    {self._name(f'w{i}')} = {read}  # {_said(t)}")
        for name, value in self.attributes.items():
            shown = repr(value)
            lines.append(
                f"    {self._name(_identifier(name))} = node.attr({name!r})  # {shown[:60]}{'...' if len(shown) > 60 else ''}"
            )
        return "\n".join([*lines, ending, ""])

    def _name(self, wanted: str) -> str:
        n, name = 1, wanted
        while name in self.taken or keyword.iskeyword(name):
            n += 1
            name = f"{wanted}_{n}"
        self.taken.add(name)
        return name


def unknown_layers(graph: Graph) -> list[Unknown]:
    """The types without a rule, in the order of their first layers; layers that only follow from them are left out."""
    found: dict[tuple[str, str], Unknown] = {}
    for node in opaque_nodes(graph):
        if node.attrs.get("follows"):
            continue
        key = (node.attrs["framework"], node.attrs["type"])
        if key in found:
            found[key].layers.append(node.origin.layer or node.name)
        else:
            found[key] = _of(node)
    return list(found.values())


def _of(node: Node) -> Unknown:
    attrs = node.attrs
    own = f"{node.origin.layer}/"
    held = [v for v in node.inputs if v is not None and v.tensor is not None and attrs["framework"] == "keras"]
    by_position = not held
    inputs = [None if v is None or v.tensor is not None else _typed(v, v.name) for v in node.inputs if v not in held]
    weights = [_typed(v, v.source.removeprefix(own) or v.name) for v in held]
    if by_position:
        weights = [_typed(v, str(i)) for i, v in enumerate(node.inputs) if v is not None and v.tensor is not None]
    try:
        ignored = frozenset(host().rules(attrs["framework"]).ignored)
    except UsageError:
        ignored = frozenset()
    kept = attrs["attributes"]
    given = kept["given"] if isinstance(kept.get("given"), Mapping) else kept
    said = {k: v for k, v in given.items() if k not in ignored and not (isinstance(v, str) and v.startswith("%"))}
    return Unknown(
        attrs["framework"], attrs["type"], attrs.get("why", ""), [node.origin.layer or node.name], inputs, weights, by_position,
        said, [_typed(v, v.name) for v in node.outputs],
    )  # fmt: skip


def _typed(v: Value, name: str) -> Typed:
    return name, str(v.dtype or "?"), None if v.shape is None else tuple(v.shape)


def _size(n: Any) -> Any:
    return n if isinstance(n, int) or n is None else str(n)


def _said(t: Typed) -> str:
    return f"{t[1]}[{'...' if t[2] is None else ', '.join(str(_size(n)) for n in t[2])}]"


def _plain(text: str) -> str:
    return re.sub(r'["\\\s]+', " ", text)


def _identifier(name: str) -> str:
    made = re.sub(r"\W+", "_", name).strip("_") or "value"
    return f"_{made}" if made[0].isdigit() else made


def show_unknown(found: Sequence[Unknown], source: str, as_json: bool) -> int:
    """Print what a model holds that nothing maps; the exit code, 0."""
    if as_json:
        say(json.dumps([u.to_dict() for u in found], indent=1, default=str))
        return 0
    for u in found:
        more = f" and {len(u.layers) - 4} more" if len(u.layers) > 4 else ""
        say(f"{u.type} ({u.framework}), {len(u.layers)} layer{'s' if len(u.layers) > 1 else ''}: {', '.join(u.layers[:4])}{more}")
        say(f"  {u.why}")
        say("  what to write:\n")
        say("\n".join(f"    {line}" for line in u.rule().replace("(g: Any, node: ForeignNode) -> Any", "(g, node)").splitlines()))
        say(f"\n    convcore convert {shlex.quote(source)} ... --override {shlex.quote(u.type)}=FILE.py:{u.function}\n")
    if not found:
        say("every layer is mapped")
        return 0
    say(f"{len(found)} type{'s' if len(found) != 1 else ''} that nothing maps; as a plugin: --stub -o DIR")
    return 0


def write_stub(found: Sequence[Unknown], folder: Path) -> list[Path]:
    """Write a plugin with a rule for each type; the files written. Raises UsageError where there is nothing to write for, and
    OutputError where the folder is not empty."""
    if not found:
        raise UsageError("the model holds nothing that has no rule: there is no plugin to write")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is there already: name an empty or a new folder with -o")
    dash = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower().removeprefix("convcore-")).strip("-") or "layers"
    snake = dash.replace("-", "_")
    snake = f"_{snake}" if snake[0].isdigit() else snake
    marks = {"@dash@": dash, "@snake@": snake}
    for name, text in {
        "@FRAMEWORKS@": _frameworks(found, snake),
        "@RULES@": _rules(found, dash),
        "@TYPES@": _types(found),
    }.items():
        marks[name] = text
    marks["@LAYERS@"] = _layers(found)
    root = Path(__file__).parent / "skeletons" / "unknown"
    made = []
    try:
        for template in sorted(root.rglob("*.txt")):
            path = folder / _filled(template.relative_to(root).as_posix(), marks).removesuffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_filled(template.read_text("utf-8"), marks), encoding="utf-8")
            made.append(path)
    except OSError as e:
        raise OutputError(f"{folder} cannot be written: {e.strerror or e}") from e
    return made


def _filled(text: str, marks: Mapping[str, str]) -> str:
    return re.sub("|".join(marks), lambda m: marks[m[0]], text)


def _frameworks(found: Sequence[Unknown], snake: str) -> str:
    names = sorted({u.framework for u in found})
    return "{" + ", ".join(f'"{n}": ["convcore_{snake}.rules:{n.upper()}"]' for n in names) + "}"


def _rules(found: Sequence[Unknown], dash: str) -> str:
    parts = [f'{n.upper()}: RuleSet = RuleSet("{n}", "convcore-{dash}")' for n in sorted({u.framework for u in found})]
    for u in found:
        why = f"what {_plain(u.type)} computes is not written yet"
        ending = f'    raise node.refuse("{why}", f"write it in {{__file__}}", "unwritten")'
        parts.append(f"\n\n@{u.framework.upper()}.load({json.dumps(u.type)})\n{u.rule(ending)}".rstrip())
    return "\n".join(parts)


def _types(found: Sequence[Unknown]) -> str:
    return ", ".join(sorted({u.type for u in found}))


def _layers(found: Sequence[Unknown]) -> str:
    """The recorded layers as literals for the tests; sizes that are not known are a number."""
    rows = []
    for u in found:
        sizes: dict[str, int] = {}
        primes = iter([3, 5, 7, 11, 13, 17, 19, 23] * 8)

        def fixed(t: Typed | None, sizes: dict[str, int] = sizes, primes: Any = primes) -> Any:
            if t is None:
                return None
            shape = None if t[2] is None else tuple(
                n if isinstance(n, int) else sizes.setdefault(str(n), next(primes)) for n in t[2]
            )  # fmt: skip
            return (t[0], "float32" if t[1] == "?" else t[1], shape)

        rows.append((
            u.framework, u.type, [fixed(t) for t in u.inputs], [fixed(t) for t in u.weights], u.by_position, dict(u.attributes),
            [fixed(t) for t in u.outputs],
        ))  # fmt: skip
    return "[\n" + "".join(f"    {row!r},  # fmt: skip\n" for row in rows) + "]"
