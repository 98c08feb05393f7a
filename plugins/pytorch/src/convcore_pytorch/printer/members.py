"""Members of a module whose name is a path: those of lists, and of modules that are never called themselves."""

from __future__ import annotations

import keyword
from collections.abc import Container, Mapping
from typing import Any

from convcore.plugin import Block, State, Unit

from .text import Bracket, Doc, lay, quoted

__all__ = ["attribute", "is_parameter", "is_plain", "lists_of", "statements"]


def attribute(name: str, state: State | None = None, lists: frozenset[str] = frozenset()) -> str:
    """A member as an expression, or a parameter or buffer (``state``): a number and ``a-b`` are no names of Python.
    ``lists`` are those that can be indexed."""
    owner, _, last = name.rpartition(".")
    if is_plain(last):
        return f"{_owner(owner, lists)}.{last}"
    if owner in lists:
        return f"{_owner(owner, lists)}[{last}]"
    kind = "submodule" if state is None else "parameter" if is_parameter(state) else "buffer"
    return f"{_owner(owner, lists)}.get_{kind}({quoted(last)})"


def is_plain(name: str) -> bool:
    """Whether a name of one part can stand behind a dot in Python as it is."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _owner(path: str, lists: frozenset[str]) -> str:
    if not path:
        return "self"
    parts = path.split(".")
    plain = all(is_plain(p) or ".".join(parts[:i]) in lists for i, p in enumerate(parts))
    return attribute(path, lists=lists) if plain else f"self.get_submodule({quoted(path)})"


def is_parameter(state: State) -> bool:
    """Whether a state is a parameter of its module, and not a buffer."""
    return state.role == "parameter" and state.dtype is not None and state.dtype.is_float


def lists_of(members: Mapping[str, Any]) -> frozenset[str]:
    """Paths under which members are numbered from 0, all modules or all parameters: lists."""
    children: dict[str, dict[str, str]] = {}
    for name, m in members.items():
        parts = name.split(".")
        for i in range(1, len(parts)):
            kind = "module" if i < len(parts) - 1 or not isinstance(m, State) else "parameter" if is_parameter(m) else "buffer"
            children.setdefault(".".join(parts[:i]), {}).setdefault(parts[i], kind)
    return frozenset(
        path
        for path, found in children.items()
        if path not in members
        and not has(members, path)
        and sorted(found) == sorted(map(str, range(len(found))))
        and set(found.values()) in ({"module"}, {"parameter"})
    )


def has(members: Mapping[str, Any], path: str) -> bool:
    """Whether a member has something of its own at a path, or a module that leads there."""
    parts = path.split(".")
    for i in range(1, len(parts)):
        m, rest = members.get(".".join(parts[:i])), ".".join(parts[i:])
        if isinstance(m, Unit):
            return rest in m.states
        if isinstance(m, Block):
            return any(n == rest or n.startswith(f"{rest}.") for n in m.members) or has(m.members, rest)
    return False


def statements(members: Mapping[str, Any], docs: Mapping[str, Doc], unsaved: Container[int] = ()) -> list[str]:
    """The statements of ``__init__`` that make the members, 8 columns in: what is inside another one after it, a list at once.
    ``unsaved`` are buffers (by id) that the state_dict does not have."""
    lists = lists_of(members)
    out: list[str] = []
    made: set[str] = set()

    def make(path: str) -> None:
        owner, _, last = path.rpartition(".")
        if owner:
            make(owner)
        if path in made:
            return
        made.add(path)
        m = members.get(path)
        if has(members, path):
            return
        if m is None:
            put(owner, last, container(path), "add_module")
        elif isinstance(m, State) and not is_parameter(m):
            put(owner, last, docs[path], "register_buffer", *(["persistent=False"] if id(m) in unsaved else []))
        else:
            put(owner, last, docs[path], "register_parameter" if isinstance(m, State) else "add_module")

    def container(path: str) -> Doc:
        inside = [n for n in members if n.startswith(f"{path}.")]
        if path not in lists:
            return "nn.Module()"
        if any(n.count(".") > path.count(".") + 1 for n in inside):
            return "nn.ModuleList()"
        made.update(inside)
        kind = "ParameterList" if isinstance(members[inside[0]], State) else "ModuleList"
        items = [docs[n] for n in sorted(inside, key=lambda n: int(n.rpartition(".")[2]))]
        return Bracket(f"nn.{kind}", [Bracket("", items, "[", "]", display=True)])

    def put(owner: str, last: str, doc: Doc, method: str, *more: str) -> None:
        at = _owner(owner, lists)
        if method == "register_buffer" or not is_plain(last):
            out.extend(lay(Bracket(f"{at}.{method}", [quoted(last), doc, *more]), 8))
        else:
            out.extend(lay(doc, 8, f"{at}.{last} = "))

    for name in members:
        make(name)
    return out
