"""What the layers of a written module give, by the names the graph has for it: the check compares these, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from convcore.plugin import Block, Unit

__all__ = ["Inside", "hooked", "values_inside"]

Inside = Mapping[str, tuple[tuple[str, ...], ...]]
"""For the path of a module, call by call, the names of its results ("": one that the graph does not name)."""


def values_inside(root: Block) -> Inside:
    """The values that units of a plan give, whose scopes are blocks named for good.

    A block that is called again gives other values under the names of its first call: only that one counts. What a region of
    control flow calls is called as often as it runs, and is left out.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    repeated = {
        id(c.target) for call in root.all_calls() for v in call.kwargs.values() if isinstance(v, Block) for c in v.all_calls()
    }

    def enter(block: Block, prefix: str) -> None:
        names = {id(m): name for name, m in block.members.items()}
        for call in block.calls:
            name = names.get(id(call.target))
            if isinstance(call.target, Unit) and name is not None and id(call.target) not in repeated:
                results = tuple(r.value.name if r.value is not None else "" for r in call.results)
                found.setdefault(f"{prefix}{name}", []).append(results)
        for name, m in block.members.items():
            if isinstance(m, Block) and id(m) not in repeated:
                enter(m, f"{prefix}{name}.")

    enter(root, "")
    return {path: tuple(calls) for path, calls in found.items()}


@contextmanager
def hooked(model: Any, inside: Inside, see: Callable[[str, Any], None]) -> Iterator[None]:
    """Inside, every call of a module of ``inside`` tells ``see`` the name and tensor of each result."""
    counts = dict.fromkeys(inside, 0)
    handles = []

    def hook(path: str) -> Callable[..., None]:
        def told(module: Any, args: Any, output: Any) -> None:
            i = counts[path]
            counts[path] += 1
            if i < len(inside[path]):
                for name, t in zip(inside[path][i], _flat(output)):
                    if name:
                        see(name, t)

        return told

    try:
        for path in inside:
            handles.append(model.get_submodule(path).register_forward_hook(hook(path)))
        yield
    finally:
        for h in handles:
            h.remove()


def _flat(output: Any) -> Iterator[Any]:
    """The tensors of what a module returns: ``y, (h, c)`` of a recurrent one."""
    if isinstance(output, (tuple, list)):
        for x in output:
            yield from _flat(x)
    elif output is not None:
        yield output
