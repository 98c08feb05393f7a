"""Names of layers and blobs: the source's, where it has them; unique in any case."""

from __future__ import annotations

from collections.abc import Mapping

from convcore.plugin import Names, Plan, Ref

__all__ = ["name_everything"]


def name_everything(plan: Plan, roots: Mapping[Ref, Ref]) -> None:
    """Name every layer after its source layer and every blob after its value or layer.

    Of the layers that one source layer becomes, that one has its name which makes its blob: the last that is not in place. The
    others are ``<layer>_<type>``, without a slash, which Caffe's HDF5 snapshots take for a group. Outputs are named already, as
    are inputs; ``roots`` are the blobs that layers in place share.
    """
    calls = plan.root.calls
    names = Names()
    makers = {call.source: call for call in calls if not call.name and any(r not in roots for r in call.results)}
    alone = {call.source: call for call in reversed(calls) if not call.name}  # all in place: the first
    for call in calls:
        if call.name or makers.get(call.source, alone.get(call.source)) is call:
            call.name = names.fresh(call.name or call.source, f"{call.source}_{call.type.lower()}")
    for call in calls:
        if not call.name:
            call.name = names.fresh(f"{call.source}_{call.type.lower()}")
    blobs = Names()
    for top in [*(t for call in calls if call.type == "Input" for t in call.results), *plan.root.outputs]:
        blobs.fresh(top.name)
    sharing: dict[Ref, list[Ref]] = {}
    for top, root in roots.items():
        sharing.setdefault(root, [root]).append(top)
    for top, root in roots.items():
        root.name = root.name or top.name  # an output's blob has its name from the start of the chain
    own = {_own(t) for call in calls for t in call.results}
    for call in calls:
        for i, top in enumerate(call.results):
            if top.name or top in roots:
                continue
            group = sharing.get(top, [top])
            explicit = next((n for n in map(_own, group) if n), "")
            if explicit:
                top.name = blobs.fresh(explicit)
                continue
            plain = call.name if len(call.results) == 1 else f"{call.name}_{i}"
            top.name = blobs.fresh("" if plain in own else plain, f"{call.name}_{call.type.lower()}")
    for top, root in roots.items():
        top.name = root.name


def _own(top: Ref) -> str:
    """The name the source gave the value a blob holds, "" if it gave none: the builder's have a colon (``conv1/conv:0``)."""
    name = top.value.name if top.value is not None else ""
    return "" if ":" in name else name
