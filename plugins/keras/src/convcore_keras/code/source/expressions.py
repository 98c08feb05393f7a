"""Expressions of Python's syntax tree on symbolic values: one function for each kind of node."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from convcore.plugin import ShapeError

from ..values import CodeRefused, Invocable, Name
from .iterators import Iterated
from .module import Env
from .records import Member

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["arguments", "evaluate"]

Expression = Callable[["SourceDomain", Any, Env], Any]
_EXPRESSIONS: dict[type[ast.expr], Expression] = {}

OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>", ast.MatMult: "@",
    ast.USub: "-", ast.UAdd: "+", ast.Invert: "~",
    ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is", ast.IsNot: "is not",
    ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_UNSUPPORTED: dict[type[ast.AST], str] = {
    ast.Await: "waits for a coroutine", ast.Yield: "yields inside an expression", ast.YieldFrom: "yields inside an expression",
}  # fmt: skip


def evaluate(d: SourceDomain, node: ast.expr, env: Env) -> Any:
    """The value of an expression. Raises CodeRefused with its place."""
    work = _EXPRESSIONS.get(type(node))
    try:
        d.spend()
        if work is None:
            raise CodeRefused(_UNSUPPORTED.get(type(node), f"uses {type(node).__name__}"))
        return work(d, node, env)
    except CodeRefused as e:
        raise e.at(env.module.place(node, d.inside)) from e.__cause__
    except ShapeError as e:
        raise CodeRefused(str(e).partition(": ")[2] or str(e), env.module.place(node, d.inside)) from e


def _on(*kinds: type[ast.expr]) -> Callable[[Expression], Expression]:
    def register(f: Expression) -> Expression:
        _EXPRESSIONS.update(dict.fromkeys(kinds, f))
        return f

    return register


@_on(ast.Constant)
def _constant(d: SourceDomain, node: ast.Constant, env: Env) -> Any:
    if isinstance(node.value, (bytes, complex)):
        raise CodeRefused(f"uses {type(node.value).__name__}")
    return node.value


@_on(ast.Name)
def _name(d: SourceDomain, node: ast.Name, env: Env) -> Any:
    return d.settled(env.read(node.id))


@_on(ast.Attribute)
def _attribute(d: SourceDomain, node: ast.Attribute, env: Env) -> Any:
    return d.attribute(evaluate(d, node.value, env), node.attr)


@_on(ast.Subscript)
def _subscript(d: SourceDomain, node: ast.Subscript, env: Env) -> Any:
    return d.item(evaluate(d, node.value, env), evaluate(d, node.slice, env))


@_on(ast.Slice)
def _slice(d: SourceDomain, node: ast.Slice, env: Env) -> Any:
    return slice(*(None if part is None else evaluate(d, part, env) for part in (node.lower, node.upper, node.step)))


@_on(ast.BinOp)
def _binary(d: SourceDomain, node: ast.BinOp, env: Env) -> Any:
    return d.binary(OPERATORS[type(node.op)], evaluate(d, node.left, env), evaluate(d, node.right, env))


@_on(ast.UnaryOp)
def _unary(d: SourceDomain, node: ast.UnaryOp, env: Env) -> Any:
    x = evaluate(d, node.operand, env)
    return not d.truth(x) if isinstance(node.op, ast.Not) else d.unary(OPERATORS[type(node.op)], x)


@_on(ast.BoolOp)
def _boolean(d: SourceDomain, node: ast.BoolOp, env: Env) -> Any:
    stops = isinstance(node.op, ast.Or)
    for part in node.values[:-1]:
        x = evaluate(d, part, env)
        if d.truth(x) == stops:
            return x
    return evaluate(d, node.values[-1], env)


@_on(ast.Compare)
def _compare(d: SourceDomain, node: ast.Compare, env: Env) -> Any:
    left = evaluate(d, node.left, env)
    result: Any = True
    for i, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
        right = evaluate(d, right_node, env)
        result = d.compare(OPERATORS[type(op)], left, right)
        if i < len(node.ops) - 1 and not d.truth(result):
            return result
        left = right
    return result


@_on(ast.IfExp)
def _choice(d: SourceDomain, node: ast.IfExp, env: Env) -> Any:
    return evaluate(d, node.body if d.truth(evaluate(d, node.test, env)) else node.orelse, env)


@_on(ast.Tuple)
def _tuple(d: SourceDomain, node: ast.Tuple, env: Env) -> Any:
    return tuple(_items(d, node.elts, env))


@_on(ast.List)
def _list(d: SourceDomain, node: ast.List, env: Env) -> Any:
    return _items(d, node.elts, env)


@_on(ast.Set)
def _set(d: SourceDomain, node: ast.Set, env: Env) -> Any:
    items = _items(d, node.elts, env)
    if not all(x is None or isinstance(x, (str, int, float)) for x in items):
        raise CodeRefused("makes a set of something else than names and numbers")
    return frozenset(items)


def _items(d: SourceDomain, nodes: list[ast.expr], env: Env) -> list[Any]:
    items: list[Any] = []
    for n in nodes:
        if isinstance(n, ast.Starred):
            items += d.iterate(evaluate(d, n.value, env))
        else:
            items.append(evaluate(d, n, env))
    return list(d.bounded(items))


@_on(ast.Dict)
def _dict(d: SourceDomain, node: ast.Dict, env: Env) -> Any:
    made: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        v = evaluate(d, value, env)
        if key is None:
            if not isinstance(v, dict):
                raise CodeRefused("unpacks something that is no dict")
            made.update(v)
        else:
            made[_key(evaluate(d, key, env))] = v
    return made


def _key(x: Any) -> Any:
    parts = x if isinstance(x, tuple) else (x,)
    if not all(p is None or isinstance(p, (str, int, float, Member)) for p in parts):
        raise CodeRefused("makes a dict whose keys are not names or numbers")
    return x


@_on(ast.JoinedStr)
def _text(d: SourceDomain, node: ast.JoinedStr, env: Env) -> Any:
    return d.bounded("".join(str(evaluate(d, part, env)) for part in node.values))


@_on(ast.FormattedValue)
def _formatted(d: SourceDomain, node: ast.FormattedValue, env: Env) -> Any:
    spec = "" if node.format_spec is None else str(evaluate(d, node.format_spec, env))
    value = evaluate(d, node.value, env)
    return repr(value) if node.conversion == ord("r") and isinstance(value, (str, int, float)) else d.text(value, spec)


@_on(ast.Lambda)
def _lambda(d: SourceDomain, node: ast.Lambda, env: Env) -> Any:
    return d.function(node, env)


@_on(ast.NamedExpr)
def _named(d: SourceDomain, node: ast.NamedExpr, env: Env) -> Any:
    value = evaluate(d, node.value, env)
    d.assign(node.target, value, env)
    return value


@_on(ast.ListComp)
def _comprehension(d: SourceDomain, node: ast.ListComp, env: Env) -> Any:
    return list(d.bounded([evaluate(d, node.elt, inner) for inner in _over(d, node.generators, env)]))


@_on(ast.GeneratorExp)
def _generator(d: SourceDomain, node: ast.GeneratorExp, env: Env) -> Any:
    """What it goes over first is read at once, the rest when it is asked for."""
    first = d.lazily(evaluate(d, node.generators[0].iter, env))
    return Iterated((evaluate(d, node.elt, inner) for inner in _over(d, node.generators, env, first)), "a generator expression")


@_on(ast.SetComp)
def _set_comprehension(d: SourceDomain, node: ast.SetComp, env: Env) -> Any:
    items = [evaluate(d, node.elt, inner) for inner in _over(d, node.generators, env)]
    return frozenset(_key(x) for x in items)


@_on(ast.DictComp)
def _dict_comprehension(d: SourceDomain, node: ast.DictComp, env: Env) -> Any:
    return {_key(evaluate(d, node.key, inner)): evaluate(d, node.value, inner) for inner in _over(d, node.generators, env)}


def _over(
    d: SourceDomain, generators: list[ast.comprehension], env: Env, items: Iterator[Any] | None = None, within: bool = False
) -> Iterator[Env]:  # fmt: skip
    """The names of a comprehension, which are its own (``within``: already), for each of its items."""
    first, *rest = generators
    if first.is_async:
        raise CodeRefused("loops over a coroutine")
    inner = env if within else Env(env.module, env, owner=env.owner)
    for x in d.lazily(evaluate(d, first.iter, env)) if items is None else items:
        d.assign(first.target, x, inner)
        if all(d.truth(evaluate(d, test, inner)) for test in first.ifs):
            if rest:
                yield from _over(d, rest, inner, within=True)
            else:
                yield inner


@_on(ast.Call)
def _call(d: SourceDomain, node: ast.Call, env: Env) -> Any:
    if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
        return d.super_of(env)
    f = evaluate(d, node.func, env)
    if isinstance(f, Name) and d.host.canonical(f.path) in _PHASES and not any(isinstance(a, ast.Starred) for a in node.args):
        return _phase(d, node, env, d.host.canonical(f.path))
    args, kwargs = arguments(d, node, env)
    return d.settled(d.call(f, args, kwargs))


_PHASES = {"keras.backend.in_train_phase": ("x", "alt"), "keras.backend.in_test_phase": ("alt", "x")}
"""What is taken in training, and otherwise."""


def _phase(d: SourceDomain, node: ast.Call, env: Env, path: str) -> Any:
    """``K.in_train_phase(x, alt, training)``: only what is taken is worked through, the other may draw random numbers."""
    given = {**dict(zip(("x", "alt", "training"), node.args)), **{k.arg: k.value for k in node.keywords if k.arg}}
    if not {"x", "alt"} <= given.keys() <= {"x", "alt", "training"} or len(given) != len(node.args) + len(node.keywords):
        raise CodeRefused(f"calls {path} without its arguments")
    training = evaluate(d, given["training"], env) if "training" in given else None
    if d.symbolic(training):
        raise CodeRefused("chooses what to compute by the value of a tensor")
    chosen = evaluate(d, given[_PHASES[path][0 if training in (True, 1) else 1]], env)
    return d.settled(d.call(chosen, [], {})) if isinstance(chosen, Invocable) else chosen


def arguments(d: SourceDomain, node: ast.Call, env: Env) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, stars unpacked."""
    args = _items(d, node.args, env)
    kwargs: dict[str, Any] = {}
    for k in node.keywords:
        value = evaluate(d, k.value, env)
        if k.arg is None:
            if not isinstance(value, dict) or not all(isinstance(n, str) for n in value):
                raise CodeRefused("unpacks keyword arguments from something that is no dict")
            given = value
        else:
            given = {k.arg: value}
        for name in given:
            if name in kwargs:
                raise CodeRefused(f"gives the argument {name!r} twice")
        kwargs.update(given)
    return args, kwargs
