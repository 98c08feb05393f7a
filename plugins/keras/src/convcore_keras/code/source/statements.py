"""Functions of Python's syntax tree, and their statements, on symbolic values."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..domain import Domain
from ..function import Parameters
from ..values import CodeRefused, Invocable, Name
from .expressions import OPERATORS, evaluate
from .iterators import generated, yields
from .module import Env

if TYPE_CHECKING:
    from .domain import SourceDomain

__all__ = ["SourceFunction", "assign", "run"]

_TRANSPARENT = {
    "name_scope", "variable_scope", "device", "control_dependencies", "init_scope", "get_default_graph", "_name_scope",
}  # fmt: skip
"""Contexts (``with tf.name_scope(...)``) that do not change what is computed inside."""


class Return(Exception):
    """A function is left with a value."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Leave(Exception):
    """A loop is left, or goes on with its next item."""

    def __init__(self, goes_on: bool) -> None:
        self.goes_on = goes_on


@dataclass(eq=False)
class SourceFunction(Invocable):
    """A function or lambda; ``env`` are the names around it, ``owner`` the class whose method it is."""

    node: ast.FunctionDef | ast.Lambda
    env: Env
    defaults: Mapping[str, Any]
    owner: Any = None
    name: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def parameters(self) -> Parameters:
        """Its parameters with their defaults."""
        a = self.node.args
        names = tuple(x.arg for x in (*a.posonlyargs, *a.args))
        return Parameters(
            names, len(a.posonlyargs), tuple(x.arg for x in a.kwonlyargs), a.vararg.arg if a.vararg else "",
            a.kwarg.arg if a.kwarg else "", self.defaults,
        )  # fmt: skip

    def invoke(self, domain: Domain, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Work through the function. Raises CodeRefused."""
        d: SourceDomain = domain  # type: ignore[assignment]
        env = Env(self.env.module, self.env, _assigned(self.node), owner=self.owner, function=True)
        env.values.update(self.parameters().bind(args, kwargs))
        d.enter()
        old, d.inside = d.inside, self.name or "a lambda"
        try:
            if isinstance(self.node, ast.Lambda):
                return evaluate(d, self.node.body, env)
            if yields(self.node):
                return generated(d, self.node.body, env, d.inside)
            run(d, self.node.body, env)
        except Return as r:
            return r.value
        finally:
            d.inside = old
            d.leave()
        return None

    def attribute(self, domain: Domain, name: str) -> Any:
        if name == "__name__":
            return self.name.rpartition(".")[2]
        raise CodeRefused(f"reads the attribute {name!r} of a function")


@lru_cache(4096)
def _assigned(node: ast.FunctionDef | ast.Lambda) -> frozenset[str]:
    """Names that a function assigns itself, inner functions left out."""
    if isinstance(node, ast.Lambda):
        return frozenset()
    found: set[str] = set()
    free: set[str] = set()
    stack: list[ast.AST] = list(node.body)
    while stack:
        n = stack.pop()
        if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found.add(n.name)
            continue
        if isinstance(n, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
            found.add(n.id)
        elif isinstance(n, ast.MatchAs) and n.name is not None:
            found.add(n.name)
        elif isinstance(n, (ast.Import, ast.ImportFrom)):
            found.update(a.asname or a.name.split(".")[0] for a in n.names)
        elif isinstance(n, (ast.Nonlocal, ast.Global)):
            free.update(n.names)
        stack.extend(ast.iter_child_nodes(n))
    return frozenset(found - free)


# ---- statements
Statement = Callable[["SourceDomain", Any, Env], None]
_STATEMENTS: dict[type[ast.stmt], Statement] = {}
_UNSUPPORTED: dict[type[ast.AST], str] = {
    ast.Raise: "raises an exception", ast.Global: "sets a global variable",
    ast.AsyncFunctionDef: "defines a coroutine", ast.AsyncFor: "loops over a coroutine", ast.AsyncWith: "uses a coroutine",
}  # fmt: skip


def run(d: SourceDomain, body: Sequence[ast.stmt], env: Env) -> None:
    """Work through statements. Raises CodeRefused with its place, Return, Leave."""
    for node in body:
        d.spend()
        work = _STATEMENTS.get(type(node))
        try:
            if work is None:
                raise CodeRefused(_UNSUPPORTED.get(type(node), f"uses the statement {type(node).__name__}"))
            work(d, node, env)
        except CodeRefused as e:
            raise e.at(env.module.place(node, d.inside)) from e.__cause__


def _on(*kinds: type[ast.stmt]) -> Callable[[Statement], Statement]:
    def register(f: Statement) -> Statement:
        _STATEMENTS.update(dict.fromkeys(kinds, f))
        return f

    return register


@_on(ast.Pass, ast.Nonlocal)
def _nothing(d: SourceDomain, node: ast.stmt, env: Env) -> None:
    pass


@_on(ast.Expr)
def _expression(d: SourceDomain, node: ast.Expr, env: Env) -> None:
    evaluate(d, node.value, env)


@_on(ast.Return)
def _return(d: SourceDomain, node: ast.Return, env: Env) -> None:
    raise Return(None if node.value is None else evaluate(d, node.value, env))


@_on(ast.Raise)
def _raise(d: SourceDomain, node: ast.Raise, env: Env) -> None:
    what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    name = what.id if isinstance(what, ast.Name) else "an exception"
    raise CodeRefused(f"raises {name} for this configuration or input", raised=name)


@_on(ast.Try)
def _try(d: SourceDomain, node: ast.Try, env: Env) -> None:
    """What is tried, or the handler of what Python certainly raises in it; other refusals are refusals."""
    if any(isinstance(s, (ast.Import, ast.ImportFrom)) for s in node.body):
        raise CodeRefused("tries to import: whether it can is not known")
    try:
        try:
            run(d, node.body, env)
        except CodeRefused as e:
            handler = _handler(d, node, e.raised, env) if e.raised else None
            if handler is None:
                raise
            if handler.name:
                env.write(handler.name, Name(f"global.{handler.name}"))
            run(d, handler.body, env)
        else:
            run(d, node.orelse, env)
    finally:
        run(d, node.finalbody, env)


def _handler(d: SourceDomain, node: ast.Try, raised: str, env: Env) -> ast.ExceptHandler | None:
    """The first handler of an exception of Python's own; None where there is none. Raises CodeRefused for others."""
    kind = getattr(builtins, raised, None)
    for h in node.handlers:
        if h.type is None:
            return h
        found = evaluate(d, h.type, env)
        for k in found if isinstance(found, tuple) else (found,):
            cls = (
                getattr(builtins, k.path.removeprefix("builtins.").removeprefix("global."), None) if isinstance(k, Name) else None
            )
            if not isinstance(kind, type) or not isinstance(cls, type):
                raise CodeRefused("handles exceptions that are not Python's own")
            if issubclass(kind, cls):
                return h
    return None


@_on(ast.Assert)
def _assert(d: SourceDomain, node: ast.Assert, env: Env) -> None:
    if not d.truth(evaluate(d, node.test, env)):
        raise CodeRefused("asserts something that does not hold for this configuration or input")


@_on(ast.Assign)
def _assign(d: SourceDomain, node: ast.Assign, env: Env) -> None:
    value = evaluate(d, node.value, env)
    for target in node.targets:
        assign(d, target, value, env)


@_on(ast.AnnAssign)
def _annotated(d: SourceDomain, node: ast.AnnAssign, env: Env) -> None:
    if node.value is not None:
        assign(d, node.target, evaluate(d, node.value, env), env)


@_on(ast.AugAssign)
def _augmented(d: SourceDomain, node: ast.AugAssign, env: Env) -> None:
    op = OPERATORS[type(node.op)]
    set_: Callable[[Any], None]
    if isinstance(node.target, ast.Name):
        old, set_ = env.read(node.target.id), (lambda v: assign(d, node.target, v, env))
    elif isinstance(node.target, ast.Attribute):
        owner, name = evaluate(d, node.target.value, env), node.target.attr
        old, set_ = d.attribute(owner, name), (lambda v: d.set_attribute(owner, name, v))
    elif isinstance(node.target, ast.Subscript):
        owner, key = evaluate(d, node.target.value, env), evaluate(d, node.target.slice, env)
        old, set_ = d.item(owner, key), (lambda v: d.set_item(owner, key, v))
    else:
        raise CodeRefused("changes something that is no name")
    set_(d.inplace(op, d.settled(old), evaluate(d, node.value, env)))


def assign(d: SourceDomain, target: ast.expr, value: Any, env: Env) -> None:
    """``target = value``. Raises CodeRefused."""
    if isinstance(target, ast.Name):
        holder = env.holder(target.id) if env.function and target.id not in env.local else env
        holder.write(target.id, value)
    elif isinstance(target, ast.Attribute):
        d.set_attribute(evaluate(d, target.value, env), target.attr, value)
    elif isinstance(target, ast.Subscript):
        d.set_item(evaluate(d, target.value, env), evaluate(d, target.slice, env), value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(d, target.elts, value, env)
    else:
        raise CodeRefused("assigns to something that is no name")


def _unpack(d: SourceDomain, targets: Sequence[ast.expr], value: Any, env: Env) -> None:
    items = [d.settled(x) for x in d.iterate(value)]
    star = next((i for i, t in enumerate(targets) if isinstance(t, ast.Starred)), None)
    if star is None:
        if len(items) != len(targets):
            raise CodeRefused(f"unpacks {len(items)} items into {len(targets)} names")
        for t, x in zip(targets, items, strict=True):
            assign(d, t, x, env)
        return
    after = len(targets) - star - 1
    if len(items) < star + after:
        raise CodeRefused(f"unpacks {len(items)} items into {len(targets)} names")
    for t, x in zip(targets[:star], items[:star], strict=True):
        assign(d, t, x, env)
    starred = targets[star]
    assert isinstance(starred, ast.Starred)
    assign(d, starred.value, items[star : len(items) - after], env)
    for t, x in zip(targets[star + 1 :], items[len(items) - after :], strict=True):
        assign(d, t, x, env)


@_on(ast.Delete)
def _delete(d: SourceDomain, node: ast.Delete, env: Env) -> None:
    for t in node.targets:
        if isinstance(t, ast.Name):
            env.values.pop(t.id, None)
        elif isinstance(t, ast.Subscript):
            owner = evaluate(d, t.value, env)
            d.delete_item(owner, evaluate(d, t.slice, env))
        else:
            raise CodeRefused("deletes an attribute")


@_on(ast.If)
def _if(d: SourceDomain, node: ast.If, env: Env) -> None:
    run(d, node.body if d.truth(evaluate(d, node.test, env)) else node.orelse, env)


@_on(ast.Match)
def _match(d: SourceDomain, node: ast.Match, env: Env) -> None:
    """Values, names, alternatives and sequences of them; other patterns are refused."""
    subject = evaluate(d, node.subject, env)
    for case in node.cases:
        if _fits(d, case.pattern, subject, env) and (case.guard is None or d.truth(evaluate(d, case.guard, env))):
            run(d, case.body, env)
            return


def _fits(d: SourceDomain, pattern: ast.pattern, x: Any, env: Env) -> bool:
    if isinstance(pattern, ast.MatchValue):
        return d.truth(d.compare("==", x, evaluate(d, pattern.value, env)))
    if isinstance(pattern, ast.MatchSingleton):
        return d.same(x, pattern.value)
    if isinstance(pattern, ast.MatchOr):
        return any(_fits(d, p, x, env) for p in pattern.patterns)
    if isinstance(pattern, ast.MatchAs):
        if pattern.pattern is not None and not _fits(d, pattern.pattern, x, env):
            return False
        if pattern.name is not None:
            assign(d, ast.Name(pattern.name, ast.Store()), x, env)
        return True
    if isinstance(pattern, ast.MatchSequence) and not any(isinstance(p, ast.MatchStar) for p in pattern.patterns):
        if not isinstance(x, (list, tuple)):
            return False
        return len(x) == len(pattern.patterns) and all(_fits(d, p, v, env) for p, v in zip(pattern.patterns, x, strict=True))
    raise CodeRefused(f"matches by the pattern {ast.unparse(pattern)[:60]}")


@_on(ast.For)
def _for(d: SourceDomain, node: ast.For, env: Env) -> None:
    for x in d.lazily(evaluate(d, node.iter, env)):
        assign(d, node.target, d.settled(x), env)
        try:
            run(d, node.body, env)
        except Leave as leave:
            if not leave.goes_on:
                return
    run(d, node.orelse, env)


@_on(ast.While)
def _while(d: SourceDomain, node: ast.While, env: Env) -> None:
    while d.truth(evaluate(d, node.test, env)):
        try:
            run(d, node.body, env)
        except Leave as leave:
            if not leave.goes_on:
                return
    run(d, node.orelse, env)


@_on(ast.Break)
def _break(d: SourceDomain, node: ast.Break, env: Env) -> None:
    raise Leave(goes_on=False)


@_on(ast.Continue)
def _continue(d: SourceDomain, node: ast.Continue, env: Env) -> None:
    raise Leave(goes_on=True)


@_on(ast.With)
def _with(d: SourceDomain, node: ast.With, env: Env) -> None:
    for item in node.items:
        call = item.context_expr
        f = evaluate(d, call.func if isinstance(call, ast.Call) else call, env)
        if not isinstance(f, Name) or f.path.rpartition(".")[2] not in _TRANSPARENT:
            raise CodeRefused(f"uses a with block ({ast.unparse(call)[:60]})")
        if item.optional_vars is not None:
            assign(d, item.optional_vars, f, env)
    run(d, node.body, env)


@_on(ast.FunctionDef, ast.ClassDef)
def _define(d: SourceDomain, node: ast.FunctionDef | ast.ClassDef, env: Env) -> None:
    env.write(node.name, d.defined(node, env))


@_on(ast.Import)
def _import(d: SourceDomain, node: ast.Import, env: Env) -> None:
    for a in node.names:
        top = a.name.split(".")[0]
        env.write(a.asname or top, d.module(env.module.file, a.name if a.asname else top, 0))


@_on(ast.ImportFrom)
def _import_from(d: SourceDomain, node: ast.ImportFrom, env: Env) -> None:
    for a in node.names:
        if a.name == "*":
            raise CodeRefused("imports all names of a module inside a function")
        env.write(a.asname or a.name, env.module.imported(node, a.asname or a.name))
