"""Iterators of Python: generators, generator expressions, ``zip`` and the like, each item worked out when it is asked for.

That is when Python works it out, so what a loop changes between two items is seen, and what is never asked for is never made.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..values import CodeRefused, Invocable

if TYPE_CHECKING:
    from .domain import SourceDomain
    from .module import Env

__all__ = ["ITERATORS", "ITERTOOLS", "Iterated", "generated", "yields"]


class Iterated(Invocable):
    """An iterator: its items are there once. ``what`` names it in messages."""

    always_true = True

    def __init__(self, items: Iterator[Any], what: str) -> None:
        self.items, self.what = items, what

    def invoke(self, domain: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise CodeRefused(f"calls {self.what}")

    def attribute(self, domain: Any, name: str) -> Any:
        raise CodeRefused(f"reads the attribute {name!r} of {self.what}: only its items are followed")


# ---- generators
@lru_cache(4096)
def yields(node: ast.AST) -> bool:
    """Whether a function's body, or a statement of it, has a ``yield`` of its own."""
    stack: list[ast.AST] = list(node.body) if isinstance(node, ast.FunctionDef) else [node]
    while stack:
        n = stack.pop()
        if isinstance(n, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.GeneratorExp)):
            stack.extend(ast.iter_child_nodes(n))
    return False


def generated(d: SourceDomain, body: Sequence[ast.stmt], env: Env, inside: str) -> Iterated:
    """What a call of a generator function gives. ``inside`` is its name, for places in messages."""
    from .statements import Return

    def items() -> Iterator[Any]:
        try:
            yield from _run(d, body, env, inside)
        except Return:
            return

    return Iterated(items(), f"the generator {inside}")


def _run(d: SourceDomain, body: Sequence[ast.stmt], env: Env, inside: str) -> Iterator[Any]:
    """Statements, with what they yield. Raises as :func:`.statements.run` does."""
    from .statements import run

    for node in body:
        if isinstance(node, ast.FunctionDef) or not yields(node):
            with _Named(d, inside):
                run(d, [node], env)
            continue
        d.spend()
        try:
            if isinstance(node, ast.Expr) and isinstance(node.value, (ast.Yield, ast.YieldFrom)):
                yield from _yielded(d, node.value, env, inside)
            elif isinstance(node, ast.If):
                with _Named(d, inside):
                    chosen = node.body if d.truth(d.evaluate(node.test, env)) else node.orelse
                yield from _run(d, chosen, env, inside)
            elif isinstance(node, ast.For):
                with _Named(d, inside):
                    over = d.lazily(d.evaluate(node.iter, env))
                for x in over:
                    d.assign(node.target, d.settled(x), env)
                    if not (yield from _turn(d, node.body, env, inside)):
                        break
                else:
                    yield from _run(d, node.orelse, env, inside)
            elif isinstance(node, ast.While):
                while d.truth(d.evaluate(node.test, env)):
                    if not (yield from _turn(d, node.body, env, inside)):
                        break
                else:
                    yield from _run(d, node.orelse, env, inside)
            else:
                raise CodeRefused(f"yields inside {_WHERE.get(type(node), 'an expression')}")
        except CodeRefused as e:
            raise e.at(env.module.place(node, inside)) from e.__cause__


def _turn(d: SourceDomain, body: Sequence[ast.stmt], env: Env, inside: str) -> Generator[Any, None, bool]:
    """One turn of a loop, with what it yields; whether the loop goes on."""
    from .statements import Leave

    try:
        yield from _run(d, body, env, inside)
    except Leave as leave:
        return leave.goes_on
    return True


_WHERE: dict[type[ast.stmt], str] = {ast.With: "a with block", ast.Try: "a try statement"}


def _yielded(d: SourceDomain, node: ast.Yield | ast.YieldFrom, env: Env, inside: str) -> Iterator[Any]:
    with _Named(d, inside):
        value = None if node.value is None else d.settled(d.evaluate(node.value, env))
    if isinstance(node, ast.Yield):
        yield value
    else:
        yield from d.lazily(value)


class _Named:
    """The name of the function that is worked through, for messages, between two of its items as well."""

    def __init__(self, d: SourceDomain, inside: str) -> None:
        self.d, self.inside, self.old = d, inside, ""

    def __enter__(self) -> None:
        self.old, self.d.inside = self.d.inside, self.inside

    def __exit__(self, *error: object) -> None:
        self.d.inside = self.old


# ---- Python's own
Work = Callable[["SourceDomain", list[Any], dict[str, Any]], Any]
ITERATORS: dict[str, Work] = {}
"""Builtins that give or ask an iterator."""
ITERTOOLS: dict[str, Work] = {}
"""Functions of ``itertools``."""


def _gives(table: dict[str, Work], name: str) -> Callable[[Callable[..., Iterator[Any]]], Work]:
    def register(f: Callable[..., Iterator[Any]]) -> Work:
        def made(d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
            try:
                return Iterated(f(d, *args, **kwargs), f"what {name}() gives")
            except CodeRefused:
                raise
            except (TypeError, ValueError) as e:
                raise CodeRefused(f"calls {name}() with arguments it does not take") from e

        table[name] = made
        return made

    return register


@_gives(ITERATORS, "zip")
def _zip(d: SourceDomain, *columns: Any, strict: bool = False) -> Iterator[Any]:
    found = [d.lazily(c) for c in columns]
    if strict:
        raise CodeRefused("calls zip() with strict=True")
    return zip(*found, strict=False)


@_gives(ITERATORS, "enumerate")
def _enumerate(d: SourceDomain, items: Any, start: int = 0) -> Iterator[Any]:
    return enumerate(d.lazily(items), _whole(start))


@_gives(ITERATORS, "map")
def _map(d: SourceDomain, f: Any, *columns: Any) -> Iterator[Any]:
    found = [d.lazily(c) for c in columns]
    return (d.call(f, list(row), {}) for row in zip(*found, strict=False))


@_gives(ITERATORS, "filter")
def _filter(d: SourceDomain, f: Any, items: Any) -> Iterator[Any]:
    return (x for x in d.lazily(items) if d.truth(x if f is None else d.call(f, [x], {})))


@_gives(ITERATORS, "reversed")
def _reversed(d: SourceDomain, items: Any) -> Iterator[Any]:
    if isinstance(items, (Iterated, frozenset)):
        raise CodeRefused(f"reverses {items.what if isinstance(items, Iterated) else 'a set'}, which has no order from its end")
    return iter(d.iterate(items)[::-1])


def _iter(d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if len(args) != 1 or kwargs:
        raise CodeRefused("calls iter() with other than one argument")
    return args[0] if isinstance(args[0], Iterated) else Iterated(d.lazily(args[0]), "what iter() gives")


def _next(d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if len(args) not in (1, 2) or not isinstance(args[0], Iterated):
        raise CodeRefused("calls next() of something that is no iterator")
    for x in d.lazily(args[0]):
        return x
    if len(args) == 2:
        return args[1]
    raise CodeRefused(f"asks {args[0].what} for an item after its last", raised="StopIteration")


def _all_or_any(stops: bool) -> Work:
    """``any`` (stops at what is true) or ``all``."""

    def work(d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if len(args) != 1 or kwargs:
            raise CodeRefused("calls any() or all() with other than one argument")
        return stops if any(d.truth(x) == stops for x in d.lazily(args[0])) else not stops

    return work


ITERATORS |= {"iter": _iter, "next": _next, "any": _all_or_any(True), "all": _all_or_any(False)}


# ---- itertools
@_gives(ITERTOOLS, "chain")
def _chain(d: SourceDomain, *parts: Any) -> Iterator[Any]:
    return (x for p in parts for x in d.lazily(p))


@_gives(ITERTOOLS, "chain.from_iterable")
def _chained(d: SourceDomain, parts: Any) -> Iterator[Any]:
    return (x for p in d.lazily(parts) for x in d.lazily(p))


@_gives(ITERTOOLS, "islice")
def _islice(d: SourceDomain, items: Any, *bounds: Any) -> Iterator[Any]:
    return itertools.islice(d.lazily(items), *(None if b is None else _whole(b) for b in bounds))


@_gives(ITERTOOLS, "count")
def _count(d: SourceDomain, start: int = 0, step: int = 1) -> Iterator[Any]:
    return itertools.count(_whole(start), _whole(step))


@_gives(ITERTOOLS, "repeat")
def _repeat(d: SourceDomain, x: Any, times: int | None = None) -> Iterator[Any]:
    return itertools.repeat(x) if times is None else itertools.repeat(x, _whole(times))


@_gives(ITERTOOLS, "cycle")
def _cycle(d: SourceDomain, items: Any) -> Iterator[Any]:
    return itertools.cycle(d.lazily(items))


@_gives(ITERTOOLS, "starmap")
def _starmap(d: SourceDomain, f: Any, rows: Any) -> Iterator[Any]:
    return (d.call(f, d.iterate(row), {}) for row in d.lazily(rows))


@_gives(ITERTOOLS, "zip_longest")
def _zip_longest(d: SourceDomain, *columns: Any, fillvalue: Any = None) -> Iterator[Any]:
    return itertools.zip_longest(*[d.lazily(c) for c in columns], fillvalue=fillvalue)


@_gives(ITERTOOLS, "pairwise")
def _pairwise(d: SourceDomain, items: Any) -> Iterator[Any]:
    return itertools.pairwise(d.lazily(items))


@_gives(ITERTOOLS, "product")
def _product(d: SourceDomain, *columns: Any, repeat: int = 1) -> Iterator[Any]:
    return itertools.product(*[d.iterate(c) for c in columns], repeat=_few(repeat))


@_gives(ITERTOOLS, "combinations")
def _combinations(d: SourceDomain, items: Any, r: int) -> Iterator[Any]:
    return itertools.combinations(d.iterate(items), _few(r))


@_gives(ITERTOOLS, "permutations")
def _permutations(d: SourceDomain, items: Any, r: int | None = None) -> Iterator[Any]:
    return itertools.permutations(d.iterate(items), None if r is None else _few(r))


@_gives(ITERTOOLS, "accumulate")
def _accumulate(d: SourceDomain, items: Any, func: Any = None, *, initial: Any = None) -> Iterator[Any]:
    def step(a: Any, b: Any) -> Any:
        return d.binary("+", a, b) if func is None else d.call(func, [a, b], {})

    return itertools.accumulate(d.lazily(items), step, initial=initial)


def _whole(n: Any) -> int:
    if not isinstance(n, int):
        raise CodeRefused("counts by something that is no whole number")
    return n


def _few(n: Any) -> int:
    if _whole(n) > 16:
        raise CodeRefused("chooses among too many items")
    return int(n)
