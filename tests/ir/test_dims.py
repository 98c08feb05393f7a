"""Dim arithmetic agrees with integer arithmetic, has one form per size, and reads what it prints."""

from __future__ import annotations

import operator

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convcore.errors import InputError, ShapeError
from convcore.ir.dims import Dim, bounds, ceil_div, dim_max, dim_min, evaluate, product, shape_text
from convcore.ir.parse_dims import parse_dim

NAMES = ["N", "T", "batch size", "max", "lambda", "_0_", "a.b", "{odd}", "50%", "é", "x+1"]


def reference(fn, args):
    return {"max": max, "min": min}[fn](args)


@st.composite
def expressions(draw, depth=3):
    """A size as ``(Dim or int, function of an environment)``, built by the same operations on both sides."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        if draw(st.booleans()):
            n = draw(st.integers(-7, 11))
            return n, lambda env: n
        name = draw(st.sampled_from(NAMES))
        return Dim(name), lambda env: env[name]
    kind = draw(st.sampled_from(["+", "-", "*", "//", "%", "ceil", "max", "min"]))
    a, fa = draw(expressions(depth=depth - 1))
    if kind in ("//", "%", "ceil"):
        k = draw(st.integers(1, 6))
        if kind == "//":
            return a // k, lambda env: fa(env) // k
        if kind == "%":
            return a % k, lambda env: fa(env) % k
        return ceil_div(a, k), lambda env: -(-fa(env) // k)
    b, fb = draw(expressions(depth=depth - 1))
    if kind in ("max", "min"):
        fn = dim_max if kind == "max" else dim_min
        return fn(a, b), lambda env: reference(kind, (fa(env), fb(env)))
    op = {"+": operator.add, "-": operator.sub, "*": operator.mul}[kind]
    return op(a, b), lambda env: op(fa(env), fb(env))


environments = st.fixed_dictionaries({n: st.integers(1, 13) for n in NAMES})


@settings(max_examples=400, deadline=None)
@given(expressions(), environments)
def test_arithmetic_agrees_with_integers(e, env):
    d, f = e
    assert evaluate(d, env) == f(env)


# ---- sympy as judge

SYMBOLS = {n: sympy.Symbol(f"x{i}", integer=True, positive=True) for i, n in enumerate(NAMES[:4])}


@st.composite
def polynomials(draw, depth=4):
    """The same polynomial as a size and as a sympy expression."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        if draw(st.booleans()):
            n = draw(st.integers(-3, 5))
            return n, sympy.Integer(n)
        name = draw(st.sampled_from(list(SYMBOLS)))
        return Dim(name), SYMBOLS[name]
    op = draw(st.sampled_from([operator.add, operator.sub, operator.mul]))
    (a, sa), (b, sb) = draw(polynomials(depth=depth - 1)), draw(polynomials(depth=depth - 1))
    return op(a, b), op(sa, sb)


@settings(max_examples=200, deadline=None)
@given(polynomials(), polynomials())
def test_polynomials_are_equal_when_sympy_says_so(p, q):
    """Sums and products have one form: two sizes compare equal exactly where sympy's difference expands to 0."""
    (a, sa), (b, sb) = p, q
    assert (a == b) is (sympy.expand(sa - sb) == 0)
    assert a - b == -(b - a) and (a - b == 0) is (a == b)
    assert isinstance(a, int) is sympy.expand(sa).is_number


@st.composite
def quotients(draw):
    """A size with //, %, max and min over polynomials, and the same in sympy's floor, Mod, Max and Min."""
    (a, sa), (b, sb) = draw(polynomials(depth=2)), draw(polynomials(depth=2))
    k = draw(st.integers(1, 6))
    forms = [
        (a // k, sympy.floor(sa / k)),
        (a % k, sympy.Mod(sa, k)),
        (ceil_div(a, k), sympy.ceiling(sa / k)),
        (dim_max(a // k, b), sympy.Max(sympy.floor(sa / k), sb)),
        (dim_min(a, b) * k, sympy.Min(sa, sb) * k),
        ((a * k + b) // k, sympy.floor((sa * k + sb) / k)),
    ]
    return draw(st.sampled_from(forms))


@settings(max_examples=200, deadline=None)
@given(quotients(), st.lists(st.integers(1, 13), min_size=4, max_size=4))
def test_quotients_have_the_values_sympy_gives_them(e, sizes):
    d, s = e
    at = dict(zip(SYMBOLS, sizes))
    assert evaluate(d, at) == int(s.subs({SYMBOLS[n]: v for n, v in at.items()}))


@settings(max_examples=300, deadline=None)
@given(expressions())
def test_text_is_read_back(e):
    d, _ = e
    assert parse_dim(str(d)) == d


@settings(max_examples=300, deadline=None)
@given(expressions(), environments)
def test_bounds_hold(e, env):
    low, high = bounds(e[0])
    v = e[1](env)
    assert (low is None or low <= v) and (high is None or v <= high)


@settings(max_examples=200, deadline=None)
@given(expressions(depth=2), expressions(depth=2), expressions(depth=2))
def test_equal_by_algebra_is_equal_as_objects(x, y, z):
    a, b, c = x[0], y[0], z[0]
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) * c == a * c + b * c
    assert (a + b) - b == a
    assert dim_max(a, b) == dim_max(b, a)
    assert dim_min(dim_min(a, b), c) == dim_min(a, dim_min(b, c))
    assert hash(a + b) == hash(b + a)


def test_what_is_less_than_a_step_goes():
    n = Dim("N")
    assert (2 * n + n % 2) // 4 == n // 2 and (6 * n + n % 2 + 3) // 12 == n // 2
    assert str((6 * n + n % 2 + 5) // 12) != "N//2"  # 5 + 1 reaches the next


@settings(max_examples=200, deadline=None)
@given(expressions(depth=2), st.integers(1, 6), st.integers(1, 6), st.integers(-9, 9), environments)
@example((-dim_min(Dim("N"), 2) - 2, None), 3, 2, 0, {"N": 1, "T": 1})
def test_quotients_have_one_form(x, j, k, c, env):
    a = x[0]
    assert (a + c * k) // k == a // k + c
    assert (a * j) // (k * j) == a // k
    assert evaluate((a // j) // k, env) == evaluate(a // (j * k), env)
    if not any(s in str(a) for s in ("//", "%", "min(", "max(")):  # sums of quotients have no one form, nor what bounds decide
        assert (a // j) // k == a // (j * k)
    assert (a + c * k) % k == a % k


@settings(max_examples=150, deadline=None)
@given(expressions(), environments, st.integers(1, 9))
def test_substitution_of_one_name(e, env, n):
    d = e[0]
    if isinstance(d, Dim):
        s = d.substitute({"N": n, "T": Dim("T") + 1})
        assert evaluate(s, env) == d.evaluate({**env, "N": n, "T": env["T"] + 1})


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (Dim("N") * 2 + 1, "2*N+1"),
        ((Dim("N") - 1) // 2 + 1, "(N+1)//2"),
        (ceil_div(ceil_div(Dim("N"), 2), 2), "(N+3)//4"),
        (Dim("N") * 49 * Dim("C"), "49*C*N"),
        (dim_max(Dim("N") - 1, 0), "N-1"),
        (dim_min(Dim("T"), 1), "1"),
        (dim_max(Dim("T") - 5, 0), "max(T-5, 0)"),
        (dim_max(dim_min(Dim("T"), 16), Dim("T")), "T"),
        (dim_min(dim_max(Dim("T"), Dim("N")), Dim("T")), "T"),
        (dim_max(dim_min(Dim("T"), 16), Dim("N")), "max(N, min(T, 16))"),
        (Dim("N") - Dim("N"), "0"),
        (Dim("N") * Dim("N"), "N*N"),
        (Dim("batch size") + 1, "{batch size}+1"),
    ],
)
def test_printed_form(size, text):
    assert str(size) == text


def test_refusals():
    n = Dim("N")
    with pytest.raises(ShapeError):
        n // 0
    with pytest.raises(ShapeError):
        n % -2
    with pytest.raises(ShapeError):
        bool(n)
    with pytest.raises(ShapeError):
        Dim("")
    with pytest.raises(InputError, match="'M'"):
        (n + Dim("M")).evaluate({"N": 3})
    with pytest.raises(InputError, match="divisor 0"):
        (n // (Dim("M") - 1)).evaluate({"N": 3, "M": 1})


@pytest.mark.parametrize(
    "text", ["", "N+", "f(N)", "N/2", "N**2", "__import__('os')", "N//0", "1.5", "max(N, key=3)", "(" * 3000]
)
def test_texts_that_are_no_sizes(text):
    with pytest.raises(ShapeError):
        parse_dim(text)


def test_product_and_shape_text():
    n = Dim("N")
    assert product([2, n, 3]) == n * 6
    assert product([2, None]) is None
    assert product([0, None]) == 0
    assert shape_text((n, 3, None)) == "[N, 3, ?]"
    assert shape_text(None) == "[...]"


def test_division_of_what_is_bounded():
    """Where the bounds of the dividend fall into one step, the quotient is known; found by hypothesis through dim_max."""
    n = Dim("N")
    assert (n % 2) // 2 == 0 and (n % 2 + 7) // 4 == (n % 2 + 3) // 4 + 1
    assert (n % 2) % 5 == n % 2 and (n % 2 + 5) % 5 == n % 2
    assert dim_max((n % 2) // 2, 0) == dim_max(0, (n % 2) // 2) == 0


def test_quotients_by_a_product_of_names() -> None:
    """Only what is a factor as often as in the divisor is taken out; anything else stays a quotient, with Python's values."""
    n, m, k = Dim("n"), Dim("m"), Dim("k")
    assert (n * m) // m == n and (n * m * m) // (m * m) == n and (6 * n * m) // (3 * m) == 2 * n
    assert (n * m + k * m) // m == n + k and (n * m) % m == 0
    for top, by in ((n, m), (n * m, m * m), (n * n * m, m * m), (n * m, k), (5 * n * m, 3 * m), (n * m + k, m), (n + 1, n * m)):
        assert isinstance(top // by, Dim)
        for values in ({"n": 7, "m": 2, "k": 5}, {"n": 2, "m": 7, "k": 3}):
            a, b = (x.evaluate(values) for x in (top, by))
            assert ((top // by).evaluate(values), (top % by).evaluate(values)) == (a // b, a % b)
