"""The words mapping rows are made of: attributes, weights, constant inputs, and what follows from an input's shape.

``A`` takes an attribute of the foreign node, ``W`` a weight it owns, ``I`` an attribute that the foreign format passes as a
constant input; their key in a row is the op's. ``Size`` and ``Given`` are attributes of the *foreign* node that say again what
an input says already (``units`` is an axis of the kernel, ``use_bias`` whether there is a bias): they are written on emission
and checked on loading, and their key in a row is the foreign one. ``Rank`` is the number of axes of an input, ``Rest`` the axes
of the first input from one on, ``Last`` its last axes, told by their sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from ..errors import DeclarationError, ShapeError
from ..ir.tensors import Tensor
from ..records import dataclass
from .foreign import MISSING
from .isomorphisms import Iso, NotExpressible, find_iso
from .values import jsonable

__all__ = ["A", "Given", "I", "Last", "Rank", "Rest", "Size", "W", "permutation_of", "reorder"]


def _iso_json(iso: Iso, default: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if default is not MISSING:
        out["default"] = jsonable(default)
    if iso.name != "same":
        out["iso"] = jsonable(iso.to_json())
    return out


@dataclass(frozen=True, init=False)
class A:
    """An attribute of the foreign node.

    ``default`` is the foreign format's own default (MISSING: required); on emission an attribute equal to it is left out
    unless ``write_default``. ``iso`` names a conversion, or a tuple of its name and arguments. Where the op has one attribute
    for several of the foreign node's, a tuple of ``A`` stands for it: ``sizes=(A("height"), A("width"))``. Of a function, ``at``
    is its place among the arguments, where it is written by position; ``each`` writes what it lists as arguments one after the
    other (``x.permute(0, 2, 1)``). ``sizes`` may be symbolic: the target computes them.
    """

    name: str
    default: Any
    iso: Iso
    write_default: bool
    at: int | None
    each: bool
    sizes: bool

    def __init__(
        self,
        name: str,
        default: Any = MISSING,
        iso: str | tuple[Any, ...] = "same",
        *,
        write_default: bool = False,
        at: int | None = None,
        each: bool = False,
        sizes: bool = False,
    ) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "default", default)
        object.__setattr__(self, "iso", find_iso(iso))
        object.__setattr__(self, "write_default", write_default)
        object.__setattr__(self, "at", at)
        object.__setattr__(self, "each", each)
        object.__setattr__(self, "sizes", sizes)

    def to_json(self) -> dict[str, Any]:
        place: dict[str, Any] = {} if self.at is None else {"at": self.at, **({"each": True} if self.each else {})}
        return {"attribute": self.name, **_iso_json(self.iso, self.default), **place, **({"sizes": True} if self.sizes else {})}


@dataclass(frozen=True, init=False)
class I:  # noqa: E742
    """An attribute of the op that the foreign format passes as a constant input (by name in the row's input list).

    ``dtype`` is the element type it is written in, ``"like"`` that of the op's first input, ``"size"`` int64 sizes, which may be
    symbolic (computed from shapes when the model runs).
    """

    name: str
    default: Any
    iso: Iso
    dtype: str

    def __init__(self, name: str, default: Any = MISSING, iso: str | tuple[Any, ...] = "same", *, dtype: str = "int64") -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "default", default)
        object.__setattr__(self, "iso", find_iso(iso))
        object.__setattr__(self, "dtype", dtype)

    def to_json(self) -> dict[str, Any]:
        return {"input": self.name, "dtype": self.dtype, **_iso_json(self.iso, self.default)}


@dataclass(frozen=True, init=False)
class W:
    """A weight the foreign layer owns, for an input of the op.

    ``order`` is its axes there and here: letters, ``*`` for all spatial ones, ``1`` for an axis of size 1 that one side has
    not, ``(AB)`` for two axes in one: ``"*IO->OI*"``, ``"C->C11"``, ``"*CM->(CM)1*"``; ``~`` at the end of ours for the axes of
    size 1 that let it lie along axis 1 of the op's first input, all of it, whatever that one's rank: ``"C->C~"``. ``sizes`` say
    which attribute of the op is the size of a letter (``C="groups"``): taken from the weight on loading, needed to split an axis
    on emission.
    """

    name: str
    order: str
    optional: bool
    sizes: tuple[tuple[str, str], ...]

    def __init__(self, name: str, order: str = "", optional: bool = False, **sizes: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "optional", optional)
        object.__setattr__(self, "sizes", tuple(sorted(sizes.items())))

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"weight": self.name}
        if self.order:
            out["order"] = self.order
        if self.optional:
            out["optional"] = True
        if self.sizes:
            out["sizes"] = dict(self.sizes)
        return out

    def validate(self) -> None:
        """DeclarationError for an order that names other axes here than there, or sizes of axes it has not."""
        if self.order:
            theirs, ours = _sides(self.order.replace("~", ""))
            if sorted(x for g in theirs for x in g) != sorted(x for g in ours for x in g):
                raise DeclarationError(f"bad axis order {self.order!r}")
        for letter, _ in self.sizes:
            if letter not in self.order.partition("->")[0]:
                raise DeclarationError(f"the axis order {self.order!r} has no {letter!r}")

    def order_for(self, rank: int | None) -> str:
        """The order for a first input of ``rank`` axes, which tells what ``~`` stands for."""
        if "~" not in self.order:
            return self.order
        if rank is None or rank < 2:
            raise NotExpressible(f"its input has {'an unknown number of' if rank is None else rank} axes", "unknown_shape")
        return self.order.replace("~", "1" * (rank - 2))

    def load(self, t: Tensor, rank: int | None = None) -> Tensor:
        """The weight with the op's axes; the tensor itself where nothing changes. Raises ShapeError."""
        return reorder(self.order_for(rank), t) if self.order else t

    def emit(self, t: Tensor, attrs: Mapping[str, Any], shape: Sequence[Any] | None = None) -> Tensor:
        """The weight with the foreign axes, for a first input of ``shape``; NotExpressible where it has others than the order."""
        if not self.order:
            return t
        theirs, _, ours = self.order_for(None if shape is None else len(shape)).partition("->")
        if "~" in self.order and shape is not None and (t.ndim != len(_sides(f"{ours}->{theirs}")[0]) or t.shape[0] != shape[1]):
            raise NotExpressible(f"{self.name} of shape {t.shape} does not lie along axis 1 of {tuple(shape)}")
        try:
            return reorder(f"{ours}->{theirs}", t, {k: int(attrs[a]) for k, a in self.sizes})
        except ShapeError as e:
            raise NotExpressible(f"{self.name}: {e}") from None

    def sizes_of(self, t: Tensor) -> dict[str, int]:
        """The op's attributes that are sizes of this weight, as loaded from it."""
        if not self.sizes:
            return {}
        theirs = _spelt(_sides(self.order)[0], t.ndim, self.order)
        return {attr: int(t.shape[theirs.index((letter,))]) for letter, attr in self.sizes}


@dataclass(frozen=True)
class Size:
    """A foreign attribute that is the size of an axis of the op's input ``of``, counted in the op's order.

    ``axis`` is a number, or ``"2:"`` for all from there on as a list. ``times`` and ``over`` name attributes of the op by which
    the size is multiplied or divided: torch's ``in_channels`` is ``Size("w", 1, times="groups")``.
    """

    of: str
    axis: int | str
    times: str = ""
    over: str = ""

    def value(self, shape: Sequence[Any] | None, attrs: Mapping[str, Any]) -> int | list[int] | None:
        """What the attribute is for an input of this shape; None where a size is not a known number."""
        if shape is None:
            return None
        if isinstance(self.axis, str):
            part = list(shape[int(self.axis.rstrip(":")) :])
            return part if all(isinstance(n, int) for n in part) else None
        n = shape[self.axis]
        if not isinstance(n, int):
            return None
        factor, divisor = (attrs[self.times] if self.times else 1), (attrs[self.over] if self.over else 1)
        if not isinstance(factor, int) or not isinstance(divisor, int) or divisor < 1 or (n * factor) % divisor:
            return None
        return n * factor // divisor

    def to_json(self) -> dict[str, Any]:
        more = {k: getattr(self, k) for k in ("times", "over") if getattr(self, k)}
        return {"size_of": self.of, "axis": self.axis, **more}


@dataclass(frozen=True)
class Last:
    """Axes of the op's first input that are its last ones, as a foreign attribute that holds their sizes, in order: torch's
    ``normalized_shape``. ``single``: one size alone is written as a number. ``at`` is its place among the arguments of a
    function."""

    name: str
    single: bool = True
    at: int | None = None
    each: ClassVar[bool] = False

    def load(self, sizes: Any, shape: Sequence[Any] | None) -> tuple[int, ...]:
        """The axes; NotExpressible where their number is not known or the sizes are others."""
        if shape is None:
            raise NotExpressible("the number of axes of its input is not known", "unknown_shape")
        told = tuple(sizes) if isinstance(sizes, (list, tuple)) else (sizes,)
        first = len(shape) - len(told)
        if first < 0 or any(isinstance(n, int) and isinstance(m, int) and n != m for n, m in zip(told, shape[max(first, 0) :])):
            raise NotExpressible(f"{self.name}={list(told)} are not the last sizes of {tuple(shape)}", "invalid_shape")
        return tuple(range(first, len(shape)))

    def emit(self, key: str, axes: Sequence[int], shape: Sequence[Any] | None) -> Any:
        """Their sizes; NotExpressible for other axes, and sizes that are no numbers."""
        if shape is None:
            raise NotExpressible("the number of axes of its input is not known", "unknown_shape")
        rank = len(shape)
        found = [a % rank for a in axes] if rank else []
        if not found or sorted(found) != list(range(rank - len(found), rank)):
            raise NotExpressible(f"{key}={tuple(axes)} are not the last of {rank} axes")
        sizes = list(shape[min(found) :])
        if any(not isinstance(n, int) for n in sizes):
            raise NotExpressible(f"a size along {key}={tuple(axes)} is not a known number", "unknown_shape")
        return sizes[0] if self.single and len(sizes) == 1 else sizes

    def to_json(self) -> dict[str, Any]:
        return {"sizes_of_last_axes": self.name, **({} if self.at is None else {"at": self.at})}


@dataclass(frozen=True)
class Given:
    """A foreign attribute that is true where the op's input ``of`` is given, false where it is left out.

    ``default`` is the foreign format's own: it is not written.
    """

    of: str
    default: Any = MISSING

    def to_json(self) -> dict[str, Any]:
        return {"given": self.of, **({} if self.default is MISSING else {"default": self.default})}


@dataclass(frozen=True)
class Rank:
    """The number of axes of the op's input ``of`` (default: the first), where a foreign type takes only one (Conv1D, Conv2D).

    Loading passes an input of unknown rank; emission does not, it could write the wrong type.
    """

    n: int
    of: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"axes": self.n, **({"of": self.of} if self.of else {})}


@dataclass(frozen=True)
class Rest:
    """Axes of the op's first input from ``start`` on, to the last: a number, or an attribute of the foreign node that names it.

    ``axes=Rest(2)`` are the spatial axes of what ONNX calls global pooling, ``axes=Rest(A("axis", 0))`` those that Caffe's
    Reduction is over. ``from_end``: it is written as a negative number.
    """

    start: int | A
    from_end: bool = False

    def load(self, start: int, rank: int | None) -> tuple[int, ...]:
        """The axes from ``start`` (negative: from the end) on; ShapeError when there is no such axis."""
        if rank is None:
            raise NotExpressible("the number of axes of its input is not known", "unknown_shape")
        if isinstance(self.start, A) and not -rank <= start < max(rank, 1):
            raise ShapeError(f"axis {start} is out of range for {rank} axes")
        return tuple(range(start + rank if start < 0 else start, rank))

    def emit(self, key: str, axes: Sequence[int] | None, rank: int | None) -> int:
        """Where axes begin that go to the end (None: all); NotExpressible for others."""
        if rank is None:
            raise NotExpressible("the number of axes of its input is not known", "unknown_shape")
        found = sorted(range(rank) if axes is None else axes)
        if not found or found != list(range(found[0], rank)):
            raise NotExpressible(f"{key}={axes} are not the last of {rank} axes")
        if not isinstance(self.start, A) and found[0] != self.start:
            raise NotExpressible(f"{key}={axes} do not begin with axis {self.start}")
        return found[0] - rank if self.from_end else found[0]

    def to_json(self) -> dict[str, Any]:
        return {"axes_from": self.start.to_json() if isinstance(self.start, A) else self.start}


# ---- axis orders
_Side = tuple[tuple[str, ...], ...]


@lru_cache(256)
def _sides(order: str) -> tuple[_Side, _Side]:
    """Both sides of an order, every axis as the letters it holds (``1``: none, ``*``: itself)."""
    theirs, sep, ours = order.partition("->")
    if not sep:
        raise DeclarationError(f"bad axis order {order!r}")
    return _parse(theirs, order), _parse(ours, order)


def _parse(text: str, order: str) -> _Side:
    out: list[tuple[str, ...]] = []
    group: list[str] | None = None
    for ch in text:
        if ch == "(" and group is None:
            group = []
        elif ch == ")" and group is not None:
            out.append(tuple(group))
            group = None
        elif ch.isalpha() and group is not None:
            group.append(ch)
        elif group is None and (ch.isalpha() or ch in "*1"):
            out.append(() if ch == "1" else (ch,))
        else:
            raise DeclarationError(f"bad axis order {order!r}")
    if group is not None or sum(g == ("*",) for g in out) > 1:
        raise DeclarationError(f"bad axis order {order!r}")
    return tuple(out)


def _spelt(side: _Side, rank: int, order: str) -> _Side:
    """``*`` written out for a tensor of ``rank`` axes."""
    stars = rank - (len(side) - side.count(("*",)))
    if stars < 0 or (stars and ("*",) not in side):
        raise ShapeError(f"a weight with {rank} axes does not fit the order {order!r}")
    return _stars(side, stars)


def _stars(side: _Side, stars: int) -> _Side:
    out: list[tuple[str, ...]] = []
    for g in side:
        out += [(f"*{i}",) for i in range(stars)] if g == ("*",) else [g]
    return tuple(out)


def permutation_of(order: str, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """``"*IO->OI*"`` for a rank as (perm, inverse): ours = theirs.transpose(perm)."""
    theirs, ours = _sides(order)
    a = _spelt(theirs, rank, order)
    b = _stars(ours, rank - len(theirs) + theirs.count(("*",)))
    if sorted(a) != sorted(b):
        raise DeclarationError(f"bad axis order {order!r}")
    perm = tuple(a.index(x) for x in b)
    return perm, tuple(perm.index(i) for i in range(rank))


def reorder(order: str, t: Tensor, sizes: Mapping[str, int] | None = None) -> Tensor:
    """A tensor with its axes in another order, see :class:`W`; the tensor itself where nothing changes.

    Raises ShapeError for another number of axes than the order has, NotExpressible where an axis of size 1 has another size or
    an axis does not split into ``sizes``.
    """
    theirs, ours = _sides(order)
    src = _spelt(theirs, t.ndim, order)
    dst = _stars(ours, t.ndim - len(theirs) + theirs.count(("*",)))
    size: dict[str, int] = {}
    for group, n in zip(src, t.shape, strict=True):
        known = [(sizes or {})[x] for x in group if x in (sizes or {})] if len(group) > 1 else []
        rest = 1
        for k in known:
            rest *= k
        left = [x for x in group if len(group) == 1 or x not in (sizes or {})]
        if len(left) > 1 or rest < 1 or n % rest or (not left and n != rest):
            why = f"an axis of {n} elements" + (
                f" is not {''.join(group)} with {dict(sizes or {})}" if group else " is not of size 1"
            )
            raise NotExpressible(why)
        size |= {x: (sizes or {})[x] for x in group if x not in left} | dict.fromkeys(left, n // rest)
    atoms = [x for g in src for x in g]
    wanted = [x for g in dst for x in g]
    flat, perm = tuple(size[x] for x in atoms), tuple(atoms.index(x) for x in wanted)
    shape = []
    for g in dst:
        n = 1
        for x in g:
            n *= size[x]
        shape.append(n)
    out = t if flat == t.shape else t.reshape(flat)
    out = out if perm == tuple(range(len(perm))) else out.transpose(perm)
    return out if tuple(shape) == out.shape else out.reshape(tuple(shape))
