"""A third target, small but whole: a tree of modules printed as Python classes, run with numpy. What PyTorch and Keras need of
the plan, it needs: units with states, called as often as the source calls them; blocks as classes; states by path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convcore.plugin import Block, Dialect, Graph, Node, NotExpressible, Plan, PlanCall, Ref, RuleSet, State, Unit, W, nest, plan

RULES = RuleSet("tree")
RULES.op("Dense", "linear", "x", w=W("kernel", "IO->OI"), b=W("bias", optional=True))
RULES.op("relu", "relu", "x")
RULES.op("add", "add", "x, y")
RULES.op("mul", "mul", "x, y")
RULES.op("exp", "exp", "x")


@RULES.emit("split")
def _split(e: Any, node: Node) -> None:
    sizes, axis = node.attrs["sizes"], node.attrs["axis"]
    if sizes is None:
        raise NotExpressible("sizes are not given")
    e.call("split", [e.value(node.inputs[0])], {"sizes": tuple(sizes), "axis": axis}, outputs=node.outputs)


class TreeDialect(Dialect):
    """Types in capitals are layers; everything else is a function."""

    title = "Tree"
    reserved = frozenset(["Dense", "Module"])
    reserved_members = frozenset(["forward"])

    def is_unit(self, type: str) -> bool:
        return type[:1].isupper()


class Module:
    def __call__(self, *args: Any) -> Any:
        return self.forward(*args)  # type: ignore[attr-defined]

    def put(self, path: str, array: Any) -> None:
        """Set a state by its path."""
        *way, last = path.split(".")
        at: Any = self
        for name in way:
            at = getattr(at, name)
        assert last in vars(at), path
        setattr(at, last, array)


class Dense(Module):
    def __init__(self) -> None:
        self.kernel: Any = None
        self.bias: Any = None
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        y = x @ self.kernel
        return y if self.bias is None else y + self.bias


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.maximum(x, 0), "add": np.add, "mul": np.multiply, "exp": np.exp,
    "split": lambda x, sizes, axis: tuple(np.split(x, np.cumsum(sizes)[:-1], axis)), "Module": Module, "Dense": Dense,
}  # fmt: skip


def planned(graph: Graph, max_depth: int | None = None, dialect: Dialect | None = None) -> Plan:
    made = plan(graph, RULES, None, dialect or TreeDialect())
    nest(made, max_depth)
    return made


def printed(made: Plan) -> str:
    """One class per kind of block, the inner ones first."""
    done: list[str] = []
    seen: set[Block] = set()

    def enter(block: Block) -> None:
        block = block.alike or block
        if block in seen:
            return
        seen.add(block)
        for member in block.members.values():
            if isinstance(member, Block):
                enter(member)
        done.append(_class(block))

    enter(made.root)
    return "\n".join(done)


def _class(block: Block) -> str:
    lines = [f"class {block.type}(Module):", "    def __init__(self):"]
    for name, member in block.members.items():
        lines.append(f"        self.{name} = " + ("None" if isinstance(member, State) else f"{member.type}()"))
    if not block.members:
        lines.append("        pass")
    names: dict[Any, str] = {r: f"x{i}" for i, r in enumerate(block.inputs)}
    names.update({m: f"self.{n}" for n, m in block.members.items()})
    lines.append(f"    def forward({', '.join(['self', *(names[r] for r in block.inputs)])}):")

    def text(a: Any) -> str:
        return names[a] if isinstance(a, (Ref, State)) else repr(a)

    for call in block.calls:
        for r in call.results:
            names[r] = f"v{sum(n[0] == 'v' for n in names.values())}"
        to = ", ".join(names[r] for r in call.results)
        target = names[call.target] if isinstance(call.target, (Unit, Block)) else call.target
        args = [*map(text, call.args), *(f"{k}={v!r}" for k, v in call.kwargs.items())]
        lines.append(f"        {to} = {target}({', '.join(args)})")
    lines.append(f"        return {', '.join(map(text, block.outputs))}")
    return "\n".join(lines) + "\n"


def live(made: Plan) -> Any:
    """The printed code executed, its states set by path."""
    space = dict(FUNCTIONS)
    exec(printed(made), space)
    model = space[made.root.type]()
    for path, state in made.paths().items():
        model.put(path, state.tensor.numpy())
    return model


def calls_of(block: Block) -> list[str]:
    return [c.target.name if isinstance(c.target, (Unit, Block)) else str(c.target) for c in block.calls]


__all__ = ["RULES", "PlanCall", "TreeDialect", "calls_of", "live", "planned", "printed"]
