"""The algebra of what values compute, whichever way it is spelled.

Every value has a :class:`Form`; equal computations have the same form object. Casts to the own dtype, identities and what only
training needs are looked through; products are sets of factors with a number in front, sums are sets of terms with a number
added; ``div``, ``neg``, ``sqrt``, ``reciprocal``, ``square``, ``pow`` by a number, ``relu`` and limits by numbers are products,
sums and ``clip``. Nothing of the graph is changed: forms are only compared.

Factors never cancel (x / x stays), roots of powers stay roots: what a form says is what the nodes say, but for rounding.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir.dtypes import DType
from ..ir.graph import Value

__all__ = ["HALF", "INVERSE", "INVERSE_HALF", "ONE", "Factor", "Form", "Forms", "less", "ulp"]

MOST = 6
"""A sum or product of more parts than this stays nested, so that a chain of residual additions costs the same per node."""

ONE, INVERSE, HALF, INVERSE_HALF = "", "^-1", "^.5", "^-.5"
_INVERTED = {ONE: INVERSE, INVERSE: ONE, HALF: INVERSE_HALF, INVERSE_HALF: HALF}

Factor = tuple["Form", str]
Factors = tuple[tuple[Factor, int], ...]
Terms = tuple[tuple["Form", float], ...]


def ulp(dtype: DType | None) -> float:
    """The relative distance of two neighbouring numbers of a dtype (float32 where it is not known)."""
    if dtype is DType.BFLOAT16:
        return 2.0**-7
    return {DType.FLOAT16: 2.0**-10, DType.FLOAT64: 2.0**-52}.get(dtype, 2.0**-23)  # type: ignore[arg-type]


def less(have: Mapping[Factor, int], gone: Mapping[Factor, int]) -> dict[Factor, int] | None:
    """Factors without some of them; None where these are not all there."""
    left = Counter(have)
    left.subtract(gone)
    return None if any(n < 0 for n in left.values()) else {f: n for f, n in left.items() if n}


class Form:
    """What a value computes.

    ``op`` is "leaf" (``key`` is the value), "number" (``key`` the number), "+" (``key``, the number, + ``terms``), "*"
    (``factors``) or the name of an op applied to ``args`` with attributes ``key``.
    """

    __slots__ = ("args", "factors", "id", "key", "op", "terms")

    def __init__(self, n: int, op: str, args: tuple[Form, ...], key: Any, terms: Terms, factors: Factors) -> None:
        self.id, self.op, self.args, self.key = n, op, args, key
        self.terms, self.factors = terms, factors

    def __repr__(self) -> str:
        if self.op in ("leaf", "number"):
            return f"%{self.key.name}" if isinstance(self.key, Value) else f"{self.key:g}"
        if self.op == "+":
            parts = [f"{c:g}*{t}" for t, c in self.terms] + ([f"{self.key:g}"] if self.key else [])
            return f"({' + '.join(parts)})"
        if self.op == "*":
            return "*".join(f"{f}{kind}" + (f"**{n}" if n > 1 else "") for (f, kind), n in self.factors)
        return f"{self.op}{self.args}{self.key or ''}"


class Forms:
    """The algebra: makes forms, equal ones once."""

    def __init__(self) -> None:
        self._made: dict[Any, Form] = {}

    def _form(
        self, op: str, args: tuple[Form, ...] = (), key: Any = None, terms: Terms = (), factors: Factors = ()
    ) -> Form:  # fmt: skip
        k = (op, tuple(a.id for a in args), key, tuple((t.id, c) for t, c in terms),
             tuple((f.id, kind, n) for (f, kind), n in factors))  # fmt: skip
        found = self._made.get(k)
        if found is None:
            found = self._made[k] = Form(len(self._made), op, args, key, terms, factors)
        return found

    def leaf(self, v: Value) -> Form:
        return self._form("leaf", key=v)

    def number(self, x: float) -> Form:
        return self._form("number", key=float(x))

    def op(self, name: str, *args: Form, key: Any = None) -> Form:
        """An op that has no algebra of its own."""
        return self._form(name, args, key)

    # ---- sums
    def split(self, f: Form) -> tuple[float, Terms]:
        """A form as number + terms."""
        if f.op == "number":
            return f.key, ()
        return (f.key, f.terms) if f.op == "+" else (0.0, ((f, 1.0),))

    def add(self, *parts: Form, by: Sequence[float] = ()) -> Form:
        """The sum of forms, each times a number."""
        number, terms = 0.0, defaultdict[Form, float](float)
        for f, k in zip(parts, by or (1.0,) * len(parts)):
            n, ts = self.split(f)
            number += n * k
            for t, c in ts:
                terms[t] += c * k
        if sum(c != 0 for c in terms.values()) > MOST:
            number, terms = 0.0, defaultdict(float)
            for f, k in zip(parts, by or (1.0,) * len(parts)):
                if f.op == "number":
                    number += f.key * k
                else:
                    terms[f] += k
        return self._sum(number, terms)

    def _sum(self, number: float, terms: Mapping[Form, float]) -> Form:
        kept = tuple(sorted(((t, c) for t, c in terms.items() if c != 0), key=lambda p: p[0].id))
        if not kept:
            return self.number(number)
        if number == 0 and len(kept) == 1 and kept[0][1] == 1:
            return kept[0][0]
        return self._form("+", key=number, terms=kept)

    def scale(self, f: Form, k: float) -> Form:
        return self.add(f, by=(k,))

    # ---- products
    def factors(self, f: Form) -> tuple[float, dict[Factor, int]]:
        """A form as a number times factors; a sum is one factor, with the number of its first term taken out."""
        if f.op == "number":
            return f.key, {}
        if f.op == "*":
            return 1.0, dict(f.factors)
        if f.op == "+":
            if f.key == 0 and len(f.terms) == 1:
                t, c = f.terms[0]
                k, inner = self.factors(t)
                return c * k, inner
            lead = f.terms[0][1]
            if lead != 1:
                f = self._sum(f.key / lead, {t: c / lead for t, c in f.terms})
            return lead, {(f, ONE): 1}
        return 1.0, {(f, ONE): 1}

    def multiply(self, *parts: Form) -> Form:
        if len(parts) == 2 and any(p.op == "number" for p in parts):
            a, b = parts if parts[1].op == "number" else parts[::-1]
            return self.scale(a, b.key)
        number, together = 1.0, Counter[Factor]()
        for p in parts:
            k, fs = self.factors(p)
            number *= k
            for f, n in fs.items():
                together[f] += n
        if len(together) > MOST:
            number, together = 1.0, Counter()
            for p in parts:
                if p.op == "number":
                    number *= p.key
                else:
                    together[p, ONE] += 1
        return self.product(number, together)

    def product(self, number: float, factors: dict[Factor, int]) -> Form:
        kept = tuple(sorted(factors.items(), key=lambda p: (p[0][0].id, p[0][1])))
        if not kept:
            return self.number(number)
        f = kept[0][0][0] if len(kept) == 1 and kept[0][1] == 1 and kept[0][0][1] == ONE else self._form("*", factors=kept)
        return f if number == 1 else self.scale(f, number)

    def invert(self, f: Form) -> Form:
        number, fs = self.factors(f)
        if number == 0:
            return self.op("reciprocal", f)
        return self.product(1 / number, {(base, _INVERTED[kind]): n for (base, kind), n in fs.items()})

    def root(self, f: Form) -> Form:
        if f.op == "number":
            return self.number(math.sqrt(f.key)) if f.key >= 0 else self.op("sqrt", f)
        return self.product(1.0, {(f, HALF): 1})

    def power(self, f: Form, n: float) -> Form:
        if n in (2, 3):
            return self.multiply(*(f,) * int(n))
        if n == 1:
            return f
        if n in (0.5, -0.5):
            root = self.root(f)
            return root if n > 0 else self.invert(root)
        return self.invert(f) if n == -1 else self.op("pow", f, self.number(n))

    # ---- limits
    def clip(self, f: Form, low: float, high: float) -> Form:
        """max(low, min(high, f)), the number of the first term taken out; limits of limits are joined."""
        if f.op == "number":
            return self.number(min(max(f.key, low), high))
        if f.op == "clip" and low <= f.key[1] and f.key[0] <= high:
            return self.clip(f.args[0], max(low, f.key[0]), min(high, f.key[1]))
        if math.isinf(low) and math.isinf(high):
            return f
        _, terms = self.split(f)
        lead = terms[0][1]
        if lead == 1:
            return self.op("clip", f, key=(low, high))
        low, high = (low / lead, high / lead) if lead > 0 else (high / lead, low / lead)
        return self.scale(self.op("clip", self.scale(f, 1 / lead), key=(low + 0.0, high + 0.0)), lead)

    # ---- comparing
    def near(self, a: Form, b: Form, tolerance: float, depth: int = 12) -> bool:
        """Whether two forms are the same but for the rounding of their numbers (relative)."""
        if a is b:
            return True
        if a.op != b.op or not depth or len(a.args) != len(b.args):
            return False

        def close(x: float, y: float) -> bool:
            return x == y or (math.isfinite(x) and math.isfinite(y) and abs(x - y) <= tolerance * max(abs(x), abs(y)))

        if a.op == "number":
            return close(a.key, b.key)
        if a.op == "+":
            return close(a.key, b.key) and self._paired(
                a.terms, b.terms, lambda x, y: close(x[1], y[1]) and self.near(x[0], y[0], tolerance, depth - 1)
            )
        if a.op == "*":
            return self._paired(
                a.factors, b.factors,
                lambda x, y: x[1] == y[1] and x[0][1] == y[0][1] and self.near(x[0][0], y[0][0], tolerance, depth - 1),
            )  # fmt: skip
        if a.op == "leaf" or not a.args:
            return False
        if a.op == "clip":
            return all(map(close, a.key, b.key)) and self.near(a.args[0], b.args[0], tolerance, depth - 1)
        return a.key == b.key and all(self.near(x, y, tolerance, depth - 1) for x, y in zip(a.args, b.args))

    @staticmethod
    def _paired(xs: Sequence[Any], ys: Sequence[Any], same: Callable[[Any, Any], bool]) -> bool:
        if len(xs) != len(ys):
            return False
        left = list(ys)
        for x in xs:
            found = next((i for i, y in enumerate(left) if same(x, y)), None)
            if found is None:
                return False
            del left[found]
        return True
