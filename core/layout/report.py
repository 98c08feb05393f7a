"""What the layout pass did and what remains."""

from __future__ import annotations

from dataclasses import asdict, field
from typing import Any

from ..ir.dims import Shape, shape_text
from ..records import dataclass

__all__ = ["IOLayout", "LayoutReport", "Remaining", "Unresolved"]


@dataclass(frozen=True)
class IOLayout:
    """The order of one graph input or output: stored axis i is axis ``perm[i]`` of the source model's."""

    name: str
    kind: str  # "input" | "output"
    perm: tuple[int, ...]
    shape: Shape | None  # as it is now
    policy: str  # "source" | "target" | "explicit"

    @property
    def changed(self) -> bool:
        return self.perm != tuple(range(len(self.perm)))

    def __str__(self) -> str:
        where = f"{self.kind} {self.name!r} {shape_text(self.shape)}"
        if not self.changed:
            return f"{where}: source order"
        return f"{where}: axes {', '.join(map(str, self.perm))} of the source ({self.policy})"


@dataclass(frozen=True)
class Remaining:
    """A transpose the pass had to put in."""

    name: str
    value: str
    perm: tuple[int, ...]
    shape: Shape | None  # of what goes in
    elements: int  # moved per run; symbolic sizes count as 1, moving only axes of size 1 counts as 1
    forced_by: str

    def __str__(self) -> str:
        axes = ", ".join(map(str, self.perm))
        if self.perm == tuple(range(len(self.perm))):
            axes = "factors of an axis"
        moved = f"{self.elements} elements" if self.elements > 1 else "only axes of size 1"
        return f"transpose {self.name!r} {shape_text(self.shape)} by {axes}: {moved}, because of {self.forced_by}"


@dataclass(frozen=True)
class Unresolved:
    """A layout-bearing node that could not be given the layout the target wants."""

    node: str
    op: str
    origin: str
    why: str

    def __str__(self) -> str:
        return f"{self.op} {self.node!r} from {self.origin}: {self.why}"


@dataclass
class LayoutReport:
    """The outcome of :func:`convcore.layout.assign.assign`."""

    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)  # by name: axis i is axis perm[i] of the source's
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    io: list[IOLayout] = field(default_factory=list)  # the same with shapes and policies, for reading
    remaining: list[Remaining] = field(default_factory=list)
    unresolved: list[Unresolved] = field(default_factory=list)
    changed_nodes: int = 0  # nodes that now run in another order
    folded_weights: int = 0  # constants permuted
    duplicated: list[str] = field(default_factory=list)  # trained weights needed in two orders: now two weights
    removed: int = 0  # transposes of the source model that became unnecessary
    transposes: int = 0  # those that are in the graph now: the source's that are left, and those put in
    regions: list[LayoutReport] = field(default_factory=list)

    @property
    def elements(self) -> int:
        """Elements moved by all transposes that were put in, regions included (each counted once)."""
        return sum(r.elements for r in self.remaining) + sum(r.elements for r in self.regions)

    def lines(self) -> list[str]:
        """The report for a person."""
        lines = [str(x) for x in self.io]
        lines.append(
            f"{self.changed_nodes} nodes re-laid, {self.folded_weights} weights permuted, {self.removed} transposes removed, "
            f"{len(self.remaining)} put in"
        )
        lines += [str(x) for x in (*self.remaining, *self.unresolved)]
        lines += [f"weight {name!r} is used in two orders and became two weights" for name in self.duplicated]
        for region in self.regions:
            if region.changed_nodes or region.unresolved:
                lines += ["  in a region: " + line for line in region.lines()]
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """JSON-like data; sizes are text where symbolic."""

        def plain(x: Any) -> Any:
            if isinstance(x, dict):
                return {k: plain(v) for k, v in x.items()}
            if isinstance(x, (list, tuple)):
                return [plain(v) for v in x]
            return x if x is None or isinstance(x, (int, float, str, bool)) else str(x)

        out: dict[str, Any] = plain({k: [asdict(x) for x in getattr(self, k)] for k in ("io", "remaining", "unresolved")})
        out.update(changed_nodes=self.changed_nodes, folded_weights=self.folded_weights, removed=self.removed)
        out["transposes"] = self.transposes
        out["duplicated"] = list(self.duplicated)
        out["regions"] = [r.to_dict() for r in self.regions]
        return out
