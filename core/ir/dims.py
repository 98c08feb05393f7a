"""Symbolic sizes: a name with integer arithmetic, kept in one canonical form so that equal sizes compare equal.

Polynomials and quotients of them have one form; a quotient of a sum of quotients may be equal and not compare so.

``Dim("N") * 2 + 1`` prints as ``2*N+1``; an expression that turns out constant becomes an ``int``. Where a simplification
depends on it (``max(N-1, 0)`` is ``N-1``, ``min(N, 1)`` is 1), a named size is taken to be at least 1, as torch.export
does. ``None`` in a shape means "unknown"; -1 does not exist.

By hand, because every import of the core pays for it (sympy alone takes 0.25 s to import) and because a size needs one canonical
form, which ``sympy.floor`` and ``Max`` do not have. sympy is the judge in ``tests/ir/test_dims.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import overload

from ..budget import TERMS
from ..errors import InputError, ShapeError
from .bounds import bounds
from .dim_atoms import Atom, Call, Monomial, is_quotient, key_of

__all__ = [
    "Dim",
    "DimLike",
    "Shape",
    "bounds",
    "ceil_div",
    "dim_max",
    "dim_min",
    "evaluate",
    "other_order",
    "product",
    "shape_text",
]


class Dim:
    """A polynomial with integer coefficients over names and opaque calls."""

    __slots__ = ("_hash", "_terms")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise ShapeError(f"a symbolic size needs a name, got {name!r}")
        self._terms: tuple[tuple[Monomial, int], ...] = ((((name, 1),), 1),)
        self._hash = hash(self._terms)

    # ---- construction
    @staticmethod
    def _make(terms: Mapping[Monomial, int]) -> DimLike:
        left = {m: c for m, c in terms.items() if c}
        if len(left) > TERMS:
            raise ShapeError(f"a size of {len(left):,} terms, more than {TERMS:,}")
        if not left:
            return 0
        if len(left) == 1 and () in left:
            return left[()]
        d = object.__new__(Dim)
        d._terms = tuple(sorted(left.items(), key=lambda t: (-sum(p for _, p in t[0]), [(key_of(a), p) for a, p in t[0]])))
        d._hash = hash(d._terms)
        return d

    @staticmethod
    def _call(fn: str, *args: DimLike) -> DimLike:
        return Dim._make({((Call(fn, args), 1),): 1})

    @staticmethod
    def _of(x: DimLike) -> dict[Monomial, int]:
        return dict(x._terms) if isinstance(x, Dim) else {(): int(x)} if x else {}

    @property
    def is_name(self) -> bool:
        """Whether it is a bare name."""
        return _is_atom(self) and isinstance(self._terms[0][0][0][0], str)

    @property
    def terms(self) -> tuple[tuple[int, tuple[tuple[str | tuple[str, tuple[DimLike, ...]], int], ...]], ...]:
        """The sum it is: ``(coefficient, ((factor, power), ...))`` each; a factor is a name, or ``(function, arguments)`` with
        one of the functions ``//``, ``%``, ``max``, ``min``."""
        return tuple((c, tuple((a if isinstance(a, str) else (a.fn, a.args), p) for a, p in mono)) for mono, c in self._terms)

    @property
    def names(self) -> frozenset[str]:
        """The names it depends on."""
        out: set[str] = set()
        for mono, _ in self._terms:
            for atom, _p in mono:
                if isinstance(atom, str):
                    out.add(atom)
                else:
                    for a in atom.args:
                        if isinstance(a, Dim):
                            out |= a.names
        return frozenset(out)

    # ---- arithmetic
    def __add__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        terms = self._of(self)
        for m, c in self._of(other).items():
            terms[m] = terms.get(m, 0) + c
        return self._make(terms)

    __radd__ = __add__

    def __neg__(self) -> DimLike:
        return self._make({m: -c for m, c in self._terms})

    def __sub__(self, other: DimLike) -> DimLike:
        return self + (-other)

    def __rsub__(self, other: DimLike) -> DimLike:
        return (-self) + other

    def __mul__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        terms: dict[Monomial, int] = {}
        for m1, c1 in self._terms:
            for m2, c2 in self._of(other).items():
                powers: dict[Atom, int] = dict(m1)
                for a, p in m2:
                    powers[a] = powers.get(a, 0) + p
                m = tuple(sorted(powers.items(), key=lambda t: key_of(t[0])))
                terms[m] = terms.get(m, 0) + c1 * c2
        return self._make(terms)

    __rmul__ = __mul__

    def _split(self, k: DimLike) -> tuple[DimLike, DimLike]:
        """``q, r`` with ``self == q*k + r``: by an integer every coefficient of r is in [0, k); by a single term q takes
        what it divides exactly."""
        if isinstance(k, int):
            q = {m: c // k for m, c in self._terms}
            r = {m: c % k for m, c in self._terms}
            return self._make(q), self._make(r)
        if len(k._terms) != 1:
            return (1, 0) if self == k else (0, self)
        (km, kc), qd, rd = k._terms[0], {}, {}
        for m, c in self._terms:
            powers = dict(m)
            if c % kc == 0 and all(powers.get(a, 0) >= p for a, p in km):
                for a, p in km:
                    powers[a] -= p
                qd[tuple((a, p) for a, p in powers.items() if p)] = c // kc
            else:
                rd[m] = c
        return self._make(qd), self._make(rd)

    def _reduced(self, k: int) -> tuple[DimLike, int]:
        """``r, k`` with the same floor of the quotient: common factors cancelled, a quotient of a quotient merged."""
        terms = dict(self._terms)
        const = terms.pop((), 0)
        g = math.gcd(k, *terms.values())
        if g > 1:
            return (Dim._make({m: c // g for m, c in terms.items()}) + const // g), k // g
        for g in sorted({math.gcd(k, c) for c in terms.values()} - {1}, reverse=True):  # terms too small to reach a multiple of g
            low, high = bounds(Dim._make({(): const, **{m: c for m, c in terms.items() if c % g}}))
            if low is not None and high is not None and low // g == high // g:
                return (Dim._make({m: c // g for m, c in terms.items() if not c % g}) + low // g), k // g
        quotients = [m for m, c in terms.items() if c == 1 and is_quotient(m)]
        if len(quotients) == 1:
            atom = quotients[0][0][0]
            if isinstance(atom, Call) and isinstance(atom.args[1], int):
                by = atom.args[1]
                terms.pop(quotients[0])
                return Dim._make(terms) * by + const * by + atom.args[0], k * by
        return self, k

    def __floordiv__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        if isinstance(other, int) and other <= 0:
            raise ShapeError(f"cannot divide the size {self} by {other}")
        q, r = self._split(other)
        if isinstance(r, int):
            if r == 0 or isinstance(other, int):
                return q
        elif isinstance(other, int):
            low, high = bounds(r)
            if low is not None and high is not None and low // other == high // other:
                return q + low // other
            less, by = r._reduced(other)
            if by != other:
                return q + (less if by == 1 else less // by)
        return q + self._call("//", r, other)

    def __rfloordiv__(self, other: int) -> DimLike:
        return 0 if other == 0 else self._call("//", other, self)

    def __mod__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        if isinstance(other, int) and other <= 0:
            raise ShapeError(f"cannot take the remainder of the size {self} by {other}")
        _, r = self._split(other)
        if isinstance(r, int) and (r == 0 or isinstance(other, int)):
            return r
        if isinstance(r, Dim) and isinstance(other, int):
            low, high = bounds(r)
            if low is not None and high is not None and low // other == high // other:
                return r - low // other * other
        return self._call("%", r, other)

    def __rmod__(self, other: int) -> DimLike:
        return 0 if other == 0 else self._call("%", other, self)

    # ---- comparison and text
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self._hash == other._hash and self._terms == other._terms

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        raise ShapeError(f"the size {self} is symbolic: its truth value is not known")

    def __str__(self) -> str:
        out = ""
        for mono, c in self._terms:
            factors = []
            for a, p in mono:
                bare = len(mono) == 1 and c == 1 and p == 1
                text = f"({a})" if isinstance(a, Call) and a.fn in ("//", "%") and not bare else key_of(a)
                factors += [text] * p
            if abs(c) != 1 or not mono:
                factors.insert(0, str(abs(c)))
            out += ("-" if c < 0 else "+" if out else "") + "*".join(factors)
        return out

    def __repr__(self) -> str:
        return f"Dim({str(self)!r})"

    def evaluate(self, env: Mapping[str, int]) -> int:
        """Its value with every name bound by ``env``; InputError names one that is not."""
        total = 0
        for mono, c in self._terms:
            v = c
            for atom, p in mono:
                v *= self._atom(atom, env) ** p
            total += v
        return total

    @staticmethod
    def _atom(atom: Atom, env: Mapping[str, int]) -> int:
        if isinstance(atom, str):
            if atom not in env:
                raise InputError(f"the size {atom!r} is not fixed by any input's shape")
            return env[atom]
        args = [a.evaluate(env) if isinstance(a, Dim) else a for a in atom.args]
        if atom.fn in ("//", "%") and args[1] <= 0:
            raise InputError(f"the size {atom} has the divisor {args[1]}")
        return _FUNCTIONS[atom.fn](args)

    def substitute(self, env: Mapping[str, DimLike]) -> DimLike:
        """The expression with names replaced by sizes."""
        total: DimLike = 0
        for mono, c in self._terms:
            v: DimLike = c
            for atom, p in mono:
                if isinstance(atom, str):
                    base = env.get(atom, Dim(atom))
                else:
                    args = [a.substitute(env) if isinstance(a, Dim) else a for a in atom.args]
                    base = _apply(atom.fn, args)
                for _ in range(p):
                    v = v * base
            total = total + v
        return total


DimLike = int | Dim
Shape = tuple[int | Dim | None, ...]

_FUNCTIONS: dict[str, Callable[[Sequence[int]], int]] = {
    "//": lambda a: a[0] // a[1],
    "%": lambda a: a[0] % a[1],
    "max": max,
    "min": min,
}


def _apply(fn: str, args: Sequence[DimLike]) -> DimLike:
    if fn == "//":
        return args[0] // args[1]
    if fn == "%":
        return args[0] % args[1]
    return _extreme(fn, args)


def _at_least(a: DimLike, b: DimLike) -> bool:
    low = bounds(a - b)[0]
    if low is not None and low >= 0:
        return True
    least, most = _call_of(b, "min"), _call_of(a, "max")
    return any(_at_least(a, x) for x in least) or any(_at_least(x, b) for x in most)


def _call_of(d: DimLike, fn: str) -> tuple[DimLike, ...]:
    """The arguments of a size that is a maximum or minimum."""
    call = d._terms[0][0][0][0] if isinstance(d, Dim) and _is_atom(d) else None
    return call.args if isinstance(call, Call) and call.fn == fn else ()


def _extreme(fn: str, args: Sequence[DimLike]) -> DimLike:
    flat: list[DimLike] = []
    for a in args:  # max(max(a, b), c) is max(a, b, c)
        for part in _call_of(a, fn) or (a,):
            if part not in flat:
                flat.append(part)
    kept: list[DimLike] = []
    for i, a in enumerate(flat):
        rivals = kept + flat[i + 1 :]
        if not any(_at_least(b, a) if fn == "max" else _at_least(a, b) for b in rivals):
            kept.append(a)
    kept.sort(key=lambda d: (isinstance(d, int), str(d)))
    return kept[0] if len(kept) == 1 else Dim._call(fn, *kept)


def _is_atom(d: Dim) -> bool:
    t = d._terms
    return len(t) == 1 and t[0][1] == 1 and len(t[0][0]) == 1 and t[0][0][0][1] == 1


def dim_max(*args: DimLike) -> DimLike:
    """The largest of several sizes."""
    return _extreme("max", args)


def dim_min(*args: DimLike) -> DimLike:
    """The smallest of several sizes."""
    return _extreme("min", args)


def ceil_div(a: DimLike, b: DimLike) -> DimLike:
    """``a / b`` rounded up."""
    return (a + b - 1) // b


@overload
def product(dims: Sequence[DimLike]) -> DimLike: ...
@overload
def product(dims: Sequence[DimLike | None]) -> DimLike | None: ...
def product(dims: Sequence[DimLike | None]) -> DimLike | None:
    """The product of sizes; None if one is unknown (and none is 0)."""
    total: DimLike = 1
    unknown = False
    for d in dims:
        if d is None:
            unknown = True
        else:
            total = total * d
    return None if unknown and total != 0 else total


def evaluate(x: DimLike, env: Mapping[str, int]) -> int:
    """The integer value of a size."""
    return x.evaluate(env) if isinstance(x, Dim) else x


def other_order(stated: Shape, given: Sequence[DimLike | None]) -> str:
    """Whether a shape looks like a stated one in the other order of axes: ``channels-first`` or ``channels-last`` (what the given
    one is), else "". The stated number of channels is not where it should be, but at the other end, and with the channels
    moved no number contradicts a stated one."""

    def fits(shape: Sequence[DimLike | None]) -> bool:
        return all(a == b for a, b in zip(stated, shape) if isinstance(a, int) and isinstance(b, int))

    if len(stated) != len(given) or len(given) < 3:
        return ""
    for here, there, name in ((-1, 1, "channels-first"), (1, -1, "channels-last")):
        moved = (given[0], *given[2:], given[1]) if here == -1 else (given[0], given[-1], *given[1:-1])
        if isinstance(stated[here], int) and given[there] == stated[here] and not fits(given) and fits(moved):
            return name
    return ""


def shape_text(shape: Shape | None) -> str:
    """``[N, 3, ?]``; ``[...]`` when even the rank is unknown."""
    return "[...]" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
