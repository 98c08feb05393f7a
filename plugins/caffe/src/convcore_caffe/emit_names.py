"""Names of layers and blobs: the source's, where it has them; unique in any case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .emitter import PlanLayer, Top

__all__ = ["name_everything"]


class _Names:
    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    def fresh(self, *wanted: str) -> str:
        """The first wanted name that is free, else the last with a number."""
        for name in wanted:
            if name and name not in self.taken:
                self.taken[name] = 0
                return name
        base = wanted[-1] or "blob"
        while True:
            self.taken[base] = n = self.taken.get(base, 0) + 1
            name = f"{base}_{n}"
            if name not in self.taken:
                self.taken[name] = 0
                return name


def name_everything(layers: Sequence[PlanLayer], roots: Mapping[Top, Top], outputs: Sequence[Top]) -> None:
    """Name every layer after its source layer (further ones of it ``<layer>/<type>``) and every blob after its value or layer.

    ``outputs`` are named already, as are inputs; ``roots`` are the blobs that layers in place share.
    """
    names = _Names()
    for layer in layers:
        layer.name = names.fresh(layer.name or layer.source, f"{layer.source}/{layer.type.lower()}")
    blobs = _Names()
    for top in [*(t for layer in layers if layer.type == "Input" for t in layer.tops), *outputs]:
        blobs.fresh(top.name)
    sharing: dict[Top, list[Top]] = {}
    for top, root in roots.items():
        sharing.setdefault(root, [root]).append(top)
    for top, root in roots.items():
        root.name = root.name or top.name  # an output's blob has its name from the start of the chain
    own = {_own(t) for layer in layers for t in layer.tops}
    for layer in layers:
        for i, top in enumerate(layer.tops):
            if top.name or top in roots:
                continue
            group = sharing.get(top, [top])
            explicit = next((n for n in map(_own, group) if n), "")
            if explicit:
                top.name = blobs.fresh(explicit)
                continue
            plain = layer.name if len(layer.tops) == 1 else f"{layer.name}/{i}"
            top.name = blobs.fresh("" if plain in own else plain, f"{layer.name}/{layer.type.lower()}")
    for top, root in roots.items():
        top.name = root.name


def _own(top: Top) -> str:
    """The name the source gave the value a blob holds, "" if it gave none: the builder's have a colon (``conv1/conv:0``)."""
    name = top.value.name if top.value is not None else ""
    return "" if ":" in name else name
