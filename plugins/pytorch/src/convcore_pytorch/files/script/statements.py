"""Statements of TorchScript source: straight code is inlined, a branch on an unknown becomes ``prim.If``, a loop ``prim.Loop``.

``prim.If(condition, then, else)`` and ``prim.Loop(count or None, first condition, carried, body)`` hold graphs that use the names
around them. A loop's body takes (index, carried...) and gives (go on?, carried...). An If whose one side only raises becomes
``prim.RaiseIf(condition, when, message)``: the other side goes on in the code around it.
"""

from __future__ import annotations

import ast
from typing import Any

from ..program import Argument, Graph, Node
from .expressions import Env, Expressions
from .values import Module, NoGrad, Sym, Unset, as_argument, equal, kind_of_value

__all__ = ["Statements"]

_UNROLL = 64
_CALLS = 60


class Return(Exception):
    """The value a function gives."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Statements(Expressions):
    depth = 0

    def inline(self, found: ast.FunctionDef, args: list[Any], keywords: dict[str, Any]) -> Any:
        """The result of a function with these arguments, its code inlined."""
        if self.depth > _CALLS:
            raise self.damaged(f"calls nested more than {_CALLS} deep")
        names = [a.arg for a in found.args.args]
        if len(args) > len(names) or keywords.keys() - set(names):
            raise self.damaged(f"{found.name} takes {len(names)} arguments")
        env: Env = {}
        for name, default in zip(reversed(names), reversed(found.args.defaults)):
            env[name] = self.value(default, {})
        env |= {**dict(zip(names, args)), **keywords}
        if set(names) - env.keys():
            raise self.damaged(f"{found.name} is called without {sorted(set(names) - env.keys())}")
        self.depth += 1
        try:
            self.block(found.body, env)
        except Return as done:
            return done.value
        finally:
            self.depth -= 1
        return None

    def block(self, body: list[ast.stmt], env: Env) -> None:
        for node in body:
            self.step()
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self.assign(node.targets[0], self.made(node.value, env), env)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.assign(node.target, self.made(node.value, env), env)
            elif isinstance(node, ast.Expr):
                self.value(node.value, env)
            elif isinstance(node, ast.Return):
                raise Return(self.value(node.value, env) if node.value is not None else None)
            elif isinstance(node, ast.If):
                self.branch(node, env)
            elif isinstance(node, (ast.For, ast.While)):
                self.loop(node, env)
            elif isinstance(node, ast.With):
                self.context(node, env)
            elif not isinstance(node, ast.Pass):
                self.refuse(type(node).__name__.lower(), "is no statement that is read")

    def made(self, node: ast.expr, env: Env) -> Any:
        """A value; a list made here may be changed here."""
        value = self.value(node, env)
        if isinstance(value, list) and isinstance(node, (ast.List, ast.Call)) and not any(value is m for m in self.mine):
            self.own(value)
        return value

    def assign(self, target: ast.expr, value: Any, env: Env) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = value
        elif isinstance(target, ast.Tuple):
            if isinstance(value, Sym) and value.type.endswith("[]"):
                kinds = [value.type[:-2]] * len(target.elts)
                value = tuple(self.emit("prim.ListUnpack", [Argument("list", as_argument(value))], kinds))
            if not isinstance(value, (tuple, list)) or len(value) != len(target.elts):
                self.refuse("unpacking", f"of a {kind_of_value(value)} into {len(target.elts)} names")
            for inner, part in zip(target.elts, value):
                self.assign(inner, part, env)
        elif isinstance(target, ast.Attribute):
            held = self.value(target.value, env)
            if not isinstance(held, Module) or not isinstance(held.instance.state, dict):
                self.refuse(f"attribute {target.attr!r}", "of something that is no module is set")
            path = f"{held.path}.{target.attr}" if held.path else target.attr
            self.attribute(path, held.instance.state.get(target.attr))
            if isinstance(value, (list, tuple, dict)):
                self.refuse(f"attribute {path!r}", f"is set to a {kind_of_value(value)}, which has no form as a model's state")
            self.state[path] = value
        else:
            raise self.damaged("an assignment that TorchScript does not write")

    def context(self, node: ast.With, env: Env) -> None:
        """``with torch.no_grad()`` changes nothing in inference; other contexts are refused."""
        for item in node.items:
            held = item.context_expr
            name = ast.unparse(held)
            value = env.get(held.id) if isinstance(held, ast.Name) else None
            if not isinstance(value, NoGrad):
                self.refuse(f"with {name}", "is no context that is read")
        self.block(node.body, env)

    # ---- branches
    def branch(self, node: ast.If, env: Env) -> None:
        test = self.value(node.test, env)
        if isinstance(test, bool):
            self.block(node.body if test else node.orelse, env)
            return
        if kind_of_value(test) not in ("bool", "Tensor"):
            raise self.damaged("a condition that is no truth value")
        for side, when in ((node.body, True), (node.orelse, False)):
            if raises(side):
                self.raise_if(side, test, when, env)
                self.block(node.orelse if when else node.body, env)
                return
        sides = [self.side(body, env) for body in (node.body, node.orelse)]
        (then, then_state, then_nodes, then_gives), (other, other_state, other_nodes, other_gives) = sides
        if (then_gives is None) != (other_gives is None):
            self.refuse("return", "from one side of a branch only")
        outputs: list[tuple[Any, Any, str]] = []
        merged: dict[str, Any] = {}
        for name in [n for n in then if n in other]:
            merged[name] = self.meet(then[name], other[name], name, outputs)
        states: dict[str, Any] = {}
        for path in {**then_state, **other_state}:
            first = self.first.get(path)
            left, right = then_state.get(path, first), other_state.get(path, first)
            states[path] = self.meet(left, right, path.replace(".", "_"), outputs)
        result = None
        if then_gives is not None and other_gives is not None:
            result = self.meet(then_gives.value, other_gives.value, "result", outputs)
        if then_nodes or other_nodes or outputs:
            graphs = [
                self.graph(label, [], [o[i] for o in outputs], nodes)
                for i, (label, nodes) in enumerate((("then", then_nodes), ("else", other_nodes)))
            ]
            arguments = [Argument("condition", as_argument(test)), *(Argument(g.name, g) for g in graphs)]
            self.close("prim.If", arguments, outputs)
        env.clear()
        env |= merged
        self.state = states
        if then_gives is not None:
            raise Return(result)

    def close(self, target: str, arguments: list[Argument], outputs: list[tuple[Any, Any, str]]) -> None:
        """The node of a region, whose results were named while its sides met."""
        self.step()
        names = tuple(o[2] for o in outputs)
        self.nodes.append(Node(names[0] if names else self.name("If"), target, tuple(arguments), names, tuple(self.scopes)))

    def side(self, body: list[ast.stmt], env: Env) -> tuple[Env, dict[str, Any], list[Node], Return | None]:
        """One side of a branch, read on copies: names, state, nodes, what it returns."""
        state, mine, inner = dict(self.state), self.mine, dict(env)
        self.mine = []
        gives = None
        with self.region() as nodes:
            try:
                self.block(body, inner)
            except Return as done:
                gives = done
        after, self.state, self.mine = self.state, state, mine
        return inner, after, nodes, gives

    def meet(self, a: Any, b: Any, wish: str, outputs: list[tuple[Any, Any, str]]) -> Any:
        """What a name is after a branch: one value, or a result of the branch. Tuples meet part by part."""
        if equal(a, b) or isinstance(b, Unset):
            return a
        if isinstance(a, Unset):
            return b
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            return tuple(self.meet(x, y, wish, outputs) for x, y in zip(a, b))
        kinds = [kind_of_value(v).removesuffix("?") for v in (a, b)]
        if "NoneType" in kinds:
            kind = next((k for k in kinds if k != "NoneType"), "NoneType") + "?"
        elif kinds[0] == kinds[1] or "t[]" in kinds:
            kind = kinds[1] if kinds[0] == "t[]" else kinds[0]
        else:
            return Unset("Any")  # different things under one name: fine unless it is used, and using it is refused
        if isinstance(a, (Module, dict)) or isinstance(b, (Module, dict)):
            self.refuse(f"variable {wish!r}", "is one of two modules or dicts, depending on a value")
        found = self.sym(wish, kind)
        outputs.append((a, b, found.name))
        return found

    def raise_if(self, side: list[ast.stmt], test: Any, when: bool, env: Env) -> None:
        """A side that only raises: its message is kept if it is a text."""
        with self.region() as nodes:
            self.block(side, dict(env))
        text = next((a.value for n in nodes if n.target == "prim.RaiseException" for a in n.arguments), "")
        message = text if isinstance(text, str) else ""
        self.emit(
            "prim.RaiseIf", [Argument("condition", as_argument(test)), Argument("when", when), Argument("message", message)], []
        )

    # ---- loops
    def loop(self, node: ast.For | ast.While, env: Env) -> None:
        count = None
        if isinstance(node, ast.For):
            call = node.iter
            if not (
                isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range" and len(call.args) == 1
            ):
                raise self.damaged("a loop that TorchScript does not write")
            count = self.value(call.args[0], env)
            if isinstance(count, int) and count <= _UNROLL and isinstance(node.target, ast.Name):
                for i in range(count):
                    env[node.target.id] = i
                    self.block(node.body, env)
                return
            go: Any = True
        else:
            go = self.value(node.test, env)
            if go is False:
                return
        carried = [n for n in sorted(stored(node.body)) if n in env and not isinstance(env[n], Module)]
        before = [env[n] for n in carried]
        for name, value in zip(carried, before):
            if isinstance(value, (list, tuple, dict)) or value is None:
                self.refuse(f"variable {name!r}", f"a {kind_of_value(value)} that changes from step to step of a loop")
        index = self.sym("index", "int")
        inside = [self.sym(n, kind_of_value(v)) for n, v in zip(carried, before)]
        inner = {**env, **dict(zip(carried, inside))}
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            inner[node.target.id] = index
        state, mine, self.mine = dict(self.state), self.mine, []
        with self.region() as nodes:
            try:
                self.block(node.body, inner)
            except Return:
                self.refuse("return", "from inside a loop")
            again = self.value(node.test, inner) if isinstance(node, ast.While) else True
        self.mine = mine
        if any(not equal(v, state.get(path, self.first.get(path))) for path, v in self.state.items()):
            self.refuse("a loop", "sets attributes of a module in its steps")
        body: Graph = self.graph("body", [index, *inside], [again, *(inner[n] for n in carried)], nodes)
        arguments = [Argument("count", as_argument(count)), Argument("condition", as_argument(go))]
        arguments += [Argument("carried", as_argument(before)), Argument("body", body)]
        results = [self.sym(n, kind_of_value(v)) for n, v in zip(carried, before)]
        self.close("prim.Loop", arguments, [(None, None, r.name) for r in results])
        env |= dict(zip(carried, results))


def raises(body: list[ast.stmt]) -> bool:
    """Whether a side does nothing but raise: its last call is RaiseException, before it only the making of a message."""
    for node in body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "ops.prim.RaiseException":
            return True
        if not isinstance(node, (ast.Assign, ast.Pass)):
            return False
    return False


def stored(body: list[ast.stmt]) -> set[str]:
    """Names that statements set."""
    found: set[str] = set()
    for node in body:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                found.add(inner.id)
    return found
