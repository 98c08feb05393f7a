"""What Caffe refuses when it wires a net: unknown blobs, blobs made twice, unknown fields, counts.

Shapes are not known here; what needs them (group divisibility, axes, crops, weight shapes, ...) is the mapping's.
"""

from __future__ import annotations

from collections import Counter

from convcore.plugin import BadFileError

from ..layer_spec import spec_of
from .layer_checks import check_layer
from .message import Message
from .net import Layer, quote_list

__all__ = ["Refusals", "check_fields", "check_layers", "wire"]

_SHOWN = 50
_LAYER_LEVEL = ("LayerParameter", "NetParameter")


class Refusals:
    """Collects everything wrong with one file and raises it at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[str] = []
        self.count = 0

    def add(self, line: int, layer: str, type_: str, why: str) -> None:
        self.count += 1
        if self.full:
            return
        where = f"{self.path}:{line}: " if line else ""
        who = f"layer {layer[:200]!r} ({type_ or 'no type'}): " if layer or type_ else ""
        self.found.append(where + who + why)

    @property
    def full(self) -> bool:
        """Whether enough is collected: a hostile file may hold a problem in every one of 100,000 layers."""
        return len(self.found) >= _SHOWN

    def done(self) -> None:
        if self.found:
            head = f"{self.path}: Caffe refuses this net" + (f" ({self.count} problems)" if self.count > 1 else "")
            raise BadFileError("\n  ".join([head, *self.found]))


# ---- fields
def check_fields(m: Message, layer: str, type_: str, out: Refusals) -> None:
    """Fields Caffe's schema (and the forks' we know) does not have, and required ones that are absent."""
    if not m.known:
        return
    for name in m.unknown:
        kept = m.type == "LayerParameter" and (not (spec := spec_of(type_)).upstream or spec.source)
        if not kept:
            known = "" if m.type in _LAYER_LEVEL else f"; it has {', '.join(m.schema.by_name)}"
            hint = ""
            if name.startswith("#"):
                hint = " (the numbers of fork fields are ambiguous: read the prototxt)"
            out.add(m.lines.get(name, m.line), layer, type_, f"{m.type} has no field {name!r}{known}{hint}")
    for name in m.schema.required:
        if not m.has(name):
            out.add(m.line, layer, type_, f"{m.type} needs {name}")
    for _, value in m.fields():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Message):
                check_fields(item, layer, type_, out)


def check_layers(layers: list[Layer], out: Refusals) -> None:
    """Per-layer rules that need no shapes."""
    for layer in layers:
        if not layer.type:
            out.add(layer.line, layer.name, "", "has no type")
            continue
        least_b, most_b, least_t, most_t = spec_of(layer.type).counts or (0, None, 0, None)
        sides = (("bottom", len(layer.bottoms), least_b, most_b), ("top", len(layer.tops), least_t, most_t))
        for what, n, least, most in sides:
            if n < least or (most is not None and n > most):
                wanted = str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
                out.add(layer.line, layer.name, layer.type, f"takes {wanted} {what} blobs, {n} given")
        if layer.propagate_down and len(layer.propagate_down) != len(layer.bottoms):
            why = f"propagate_down is given {len(layer.propagate_down)} times for {len(layer.bottoms)} bottoms"
            out.add(layer.line, layer.name, layer.type, why)
        loss = spec_of(layer.type).loss
        weights, tops = len(layer.loss_weight) or int(loss), len(layer.tops) or int(loss)
        if weights and weights != tops:
            why = f"loss_weight must be given once per top: {weights} for {tops} tops"
            out.add(layer.line, layer.name, layer.type, why)
        for why in check_layer(layer):
            out.add(layer.line, layer.name, layer.type, why)


# ---- wiring
def wire(layers: list[Layer], out: Refusals, dropped_inputs: list[str]) -> list[str]:
    """Check the wiring as Net::Init and InsertSplits do; returns the output blobs in Caffe's order.

    Before wiring, Caffe gives each reader of a blob with several readers (or a loss weight) a copy of its own through
    a Split layer. A layer in place on such a blob then reads the copy but writes the blob's name, which already
    exists: refused.
    """
    current: dict[str, tuple[int, int]] = {}
    reads: list[list[tuple[int, int] | None]] = []
    readers: Counter[tuple[int, int]] = Counter()
    for i, layer in enumerate(layers):
        row = []
        for j, bottom in enumerate(layer.bottoms):
            at = current.get(bottom)
            if at is None:
                hint = "; Caffe drops the input of that name: it has no shape" if bottom in dropped_inputs else ""
                out.add(layer.line, layer.name, layer.type, f"unknown bottom blob {bottom!r} (bottom index {j}){hint}")
            else:
                readers[at] += 1
            row.append(at)
        reads.append(row)
        for j, top in enumerate(layer.tops):
            current[top] = (i, j)
        for j, weight in enumerate(layer.loss_weight[: len(layer.tops)]):
            if weight:
                readers[current[layer.tops[j]]] += 1
    made: dict[str, Layer] = {}
    unread: set[str] = set()
    for i, layer in enumerate(layers):
        split = [at is not None and readers[at] > 1 for at in reads[i]]
        for j, bottom in enumerate(layer.bottoms):
            if not split[j]:
                unread.discard(bottom)
        for j, top in enumerate(layer.tops):
            if layer.is_inplace(j) and not split[j] and reads[i][j] is not None:
                pass
            elif top in made:
                others: list[str] = []
                if layer.is_inplace(j) and not out.full:
                    others = [o.name for k, o in enumerate(layers) if k != i and reads[i][j] in reads[k]]
                why = f"top blob {top!r} is produced by multiple sources (first by layer {made[top].name!r})"
                if others:
                    why += f": it works in place on a blob that layer {quote_list(others)} also reads"
                out.add(layer.line, layer.name, layer.type, why)
            made.setdefault(top, layer)
            if readers[(i, j)] <= 1:
                unread.add(top)
    return sorted(unread)
