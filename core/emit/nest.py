"""Scopes become blocks where that changes nothing; equal blocks share one class; members get their names.

A scope can be a block when no path leaves it and comes back. Scopes that would wait for each other cannot all be blocks: the
smallest stays open, which means that its calls belong to the scope around it. So does a scope whose calls differ.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..records import dataclass
from .names import Names
from .plan import Arg, Block, Call, Plan, Ref, State, Unit, leaves, reads
from .scopes import Path, place
from .scribe import frozen

if TYPE_CHECKING:
    from .dialect import Dialect

__all__ = ["nest"]

Place = tuple[str, ...]
Env = dict[Ref | State, Ref]


def nest(plan: Plan, max_depth: int | None = None) -> None:
    """Turn the scopes of a flat plan into blocks, at most ``max_depth`` deep, and name what blocks own.

    Calls of one scope that do the same are calls of one block. Blocks that are equal but for the numbers in their states have
    one ``type``, and ``alike`` is the first of them.
    """
    root = plan.root
    for call in root.calls:
        if call.path is None:
            call.path = plan.dialect.path(call.node) if call.node is not None else ()
    flat, outputs = list(root.calls), list(root.outputs)
    before = {c: (c.args, c.kwargs) for c in root.all_calls()}
    regions = {v: list(v.outputs) for c in before for v in c.kwargs.values() if isinstance(v, Block)}
    opened: set[Place] = set()
    while True:
        tree = _Tree(flat, opened, max_depth, plan.dialect)
        items = tree.items(flat, 0, 0)
        _Build(flat, outputs, tree).fill(root, items, {})
        differing = _share(root)
        if not differing:
            break
        opened |= differing
        for c, (args, kwargs) in before.items():
            c.args, c.kwargs = args, kwargs
        for region, results in regions.items():
            region.outputs = list(results)
        root.calls, root.outputs = list(flat), list(outputs)
    done: set[Block] = set()
    _name_members(plan, root, done)
    _name_classes(plan, root)


# ---- which calls go together
@dataclass(eq=False)
class _Group:
    """A scope: what is in it, in order."""

    path: Path
    calls: list[Call]
    items: list[Item]


Item = Call | _Group


class _Tree:
    """The scopes that can be blocks, as a tree over the calls."""

    def __init__(self, flat: Sequence[Call], opened: set[Place], max_depth: int | None, dialect: Dialect) -> None:
        self.opened, self.max_depth, self.dialect = opened, max_depth, dialect
        self.at = {c: i for i, c in enumerate(flat)}

    def items(self, calls: Sequence[Call], level: int, depth: int) -> list[Item]:
        """What a scope holds whose path has ``level`` steps: its calls, and groups for the scopes within."""
        opened: set[Path] = set()
        while True:
            items = self._grouped(calls, level, depth, opened)
            order, cycle = _ordered(items, self.at)
            if not cycle:
                break
            opened.add(cycle[0].path)
        for g in order:
            if isinstance(g, _Group):
                g.items = self.items(g.calls, len(g.path), depth + 1)
        return order

    def _grouped(self, calls: Sequence[Call], level: int, depth: int, opened: set[Path]) -> list[Item]:
        groups: dict[Path, _Group] = {}
        items: list[Item] = []
        for call in calls:
            path = call.path or ()
            n = level + 1
            while n <= len(path) and (path[:n] in opened or place(path[:n]) in self.opened):
                n += 1
            if n > len(path) or (self.max_depth is not None and depth >= self.max_depth):
                items.append(call)
                continue
            group = groups.get(path[:n])
            if group is None:
                group = groups[path[:n]] = _Group(path[:n], [], [])
                items.append(group)
            group.calls.append(call)
        return [part for g in items for part in (g.calls if isinstance(g, _Group) and self._is_layer(g) else [g])]

    def _is_layer(self, g: _Group) -> bool:
        """Whether the scope is a layer of the target with what goes with it (Dense and its activation), which needs no block: one
        unit, or one call, and no weights beside it."""
        if any(len(c.path or ()) != len(g.path) for c in g.calls):
            return False
        units = {c.target for c in g.calls if isinstance(c.target, Unit)}
        states = (a for c in g.calls for a in leaves(c.args) if isinstance(a, State))
        return (len(units) == 1 or len(g.calls) == 1) and not any(self.dialect.beside(s, place(g.path)) for s in states)


def _ordered(items: Sequence[Item], at: dict[Call, int]) -> tuple[list[Item], list[_Group]]:
    """Items in execution order, as near to the calls' own as can be; or the groups of a cycle, smallest first."""
    home = {c: i for i, item in enumerate(items) for c in _calls(item)}
    after: list[set[int]] = [set() for _ in items]
    waits = [0] * len(items)
    for i, item in enumerate(items):
        sources = {home[r.call] for c in _calls(item) for r in reads(c) if r.call in home} - {i}
        waits[i] = len(sources)
        for s in sources:
            after[s].add(i)
    first = [min(at[c] for c in _calls(item)) for item in items]
    ready = [(first[i], i) for i, n in enumerate(waits) if not n]
    heapq.heapify(ready)
    order: list[Item] = []
    while ready:
        _, i = heapq.heappop(ready)
        order.append(items[i])
        for j in after[i]:
            waits[j] -= 1
            if not waits[j]:
                heapq.heappush(ready, (first[j], j))
    if len(order) == len(items):
        return order, []
    stuck = sorted((len(g.calls), first[i], i) for i, g in enumerate(items) if waits[i] and isinstance(g, _Group))
    for _, _, i in stuck:
        if _returns(i, after):
            group = items[i]
            return [], [group] if isinstance(group, _Group) else []
    raise AssertionError("calls of a plan are in no order")


def _returns(start: int, after: Sequence[set[int]]) -> bool:
    """Whether a path leads from an item back to it."""
    seen: set[int] = set()
    stack = list(after[start])
    while stack:
        i = stack.pop()
        if i == start:
            return True
        if i not in seen:
            seen.add(i)
            stack += after[i]
    return False


def _calls(item: Item) -> Sequence[Call]:
    return item.calls if isinstance(item, _Group) else (item,)


# ---- blocks
class _Build:
    """Makes blocks of groups. ``env`` maps a result of the flat plan to what stands for it in a block."""

    def __init__(self, flat: Sequence[Call], outputs: Sequence[Arg], tree: _Tree) -> None:
        self.readers: dict[Ref, list[Call | None]] = {}
        for call in flat:
            for r in reads(call):
                self.readers.setdefault(r, []).append(call)
        for a in leaves(outputs):
            if isinstance(a, Ref):
                self.readers.setdefault(a, []).append(None)
        self.free = {c: list(dict.fromkeys(reads(c))) for c in flat}
        self.states = {c: list(dict.fromkeys(_states(c))) for c in flat}
        self.dialect = tree.dialect
        self.wanted: dict[tuple[Place, int], set[tuple[int, int]]] = {}

    def fill(self, block: Block, items: Sequence[Item], env: Env) -> None:
        for g in items:
            if isinstance(g, _Group):
                self.want(g)
        block.calls = []
        for item in items:
            block.calls.append(self.block(item, env) if isinstance(item, _Group) else _put(item, env))
        block.outputs = [_swap(a, env) for a in block.outputs]

    def want(self, g: _Group) -> None:
        """Note which results are read outside: what one call of a shared scope returns, the others do too."""
        inside = set(g.calls)
        self.wanted.setdefault((place(g.path), len(g.calls)), set()).update(
            (i, r.index)
            for i, c in enumerate(g.calls)
            for r in c.results
            if any(user is None or user not in inside for user in self.readers.get(r, ()))
        )

    def block(self, g: _Group, env: Env) -> Call:
        step = g.path[-1]
        inside = {r for c in g.calls for r in c.results}
        read: dict[Ref | State, None] = dict.fromkeys(r for c in g.calls for r in self.free[c] if r not in inside)
        read.update((s, None) for c in g.calls for s in self.states[c] if self.dialect.elsewhere(s, place(g.path)))
        inner = {r: Ref(None, i, r.dtype, r.shape, r.value, r.name) for i, r in enumerate(read)}
        results = [g.calls[i].results[j] for i, j in sorted(self.wanted[place(g.path), len(g.calls)])]
        made = Block(step.name, list(inner.values()), type=step.type, path=g.path)
        args = tuple(env.get(r, r) for r in read)
        self.fill(made, g.items, inner)
        made.outputs = [inner.get(r, r) for r in results]
        call = Call(made, args, {}, (), "", step.name, g.calls[0].node, g.path)
        call.results = tuple(Ref(call, i, r.dtype, r.shape, r.value, r.name) for i, r in enumerate(results))
        env.update(zip(results, call.results))
        return call


def _states(call: Call) -> Iterator[State]:
    """The weights that a call of a function reads, its regions included."""
    yield from (a for a in leaves((*call.args, *call.kwargs.values())) if isinstance(a, State))
    for region in call.kwargs.values():
        if isinstance(region, Block):
            for c in region.calls:
                yield from _states(c)
            yield from (a for a in leaves(region.outputs) if isinstance(a, State))


def _put(call: Call, env: Env) -> Call:
    call.args = tuple(_swap(a, env) for a in call.args)
    call.kwargs = {k: _swap(v, env) for k, v in call.kwargs.items()}
    return call


def _swap(a: Arg, env: Env) -> Arg:
    if isinstance(a, (Ref, State)):
        return env.get(a, a)
    if isinstance(a, Block):
        for call in a.calls:
            _put(call, env)
        a.outputs = [_swap(x, env) for x in a.outputs]
        return a
    return type(a)(_swap(x, env) for x in a) if isinstance(a, (tuple, list)) else a


# ---- equal blocks
def _share(root: Block) -> set[Place]:
    """Let the calls of one scope be calls of one block; the places of those that differ."""
    seen: dict[Place, tuple[Block, Any]] = {}
    differing: set[Place] = set()

    def enter(block: Block) -> None:
        for call in block.calls:
            if isinstance(call.target, Block):
                enter(call.target)
                where = place(call.target.path)
                form = _form(call.target, lambda unit: id(unit), lambda inner: id(inner))
                first = seen.setdefault(where, (call.target, form))
                if first[1] == form:
                    call.target = first[0]
                else:
                    differing.add(where)

    enter(root)
    return differing


def _form(block: Block, unit: Callable[[Unit], Any], inner: Callable[[Block], Any], state: Callable[[State], Any] = id) -> Any:
    """What a block computes, names of values aside, as something that can be compared."""
    number: dict[Ref, Any] = {r: i for i, r in enumerate(block.inputs)}

    def arg(a: Arg) -> Any:
        if isinstance(a, Ref):
            return ("ref", number.get(a, id(a)))
        if isinstance(a, State):
            return ("state", state(a))
        if isinstance(a, Block):
            return ("region", tuple(rows(a)))
        return tuple(arg(x) for x in a) if isinstance(a, (tuple, list)) else frozen(a)

    def rows(b: Block) -> Iterator[Any]:
        if b is not block:
            number.update((r, ("in", len(number) + i)) for i, r in enumerate(b.inputs))
        for call in b.calls:
            t = call.target
            what = unit(t) if isinstance(t, Unit) else ("block", inner(t)) if isinstance(t, Block) else t
            yield what, tuple(map(arg, call.args)), tuple((k, arg(v)) for k, v in call.kwargs.items()), len(call.results)
            start = len(number)
            number.update((r, start + i) for i, r in enumerate(call.results))
        yield tuple(map(arg, b.outputs))

    return len(block.inputs), tuple(rows(block))


# ---- names
def _name_members(plan: Plan, block: Block, done: set[Block]) -> None:
    """Name the units, blocks and states of a block, after their scopes, in order of their first use."""
    if block in done:
        return
    done.add(block)
    names = Names(reserved=plan.dialect.reserved_members)
    known: set[Any] = set()

    def own(member: Any, wanted: str) -> None:
        if member in known:
            return
        known.add(member)
        name = names.fresh(plan.dialect.member_name(wanted))
        block.members[name] = member
        member.name = member.name if isinstance(member, State) and member.name else name

    def enter(b: Block) -> None:
        for call in b.calls:
            target = call.target
            if isinstance(target, (Unit, Block)):
                inside = place(target.path)[len(place(block.path)) :]
                own(target, plan.dialect.inner_name(inside) or target.type.rpartition(".")[2].lower())
            for a in leaves((*call.args, *call.kwargs.values())):
                if isinstance(a, State):
                    own(a, plan.dialect.state_name(a, place(block.path)))
            for region in call.kwargs.values():
                if isinstance(region, Block):
                    enter(region)
        for a in leaves(b.outputs):
            if isinstance(a, State):
                own(a, plan.dialect.state_name(a, place(block.path)))

    enter(block)
    for member in list(block.members.values()):
        if isinstance(member, Block):
            _name_members(plan, member, done)


def _name_classes(plan: Plan, root: Block) -> None:
    """Name the classes of blocks; those that are equal but for the numbers in their states share one."""
    names = Names(reserved=plan.dialect.reserved)
    first: dict[Any, Block] = {}
    forms: dict[Block, int] = {}
    numbers: dict[Any, int] = {}

    def state(s: State) -> Any:
        return s.dtype, s.shape, s.role, s.trainable

    def enter(block: Block) -> None:
        if block in forms:
            return
        member_of: dict[int, str] = {id(m): name for name, m in block.members.items()}
        for m in block.members.values():
            if isinstance(m, Block):
                enter(m)

        def unit(u: Unit) -> Any:
            held = tuple((k, state(s)) for k, s in u.states.items())
            return member_of[id(u)], u.type, frozen(u.config), held

        def inner(b: Block) -> Any:
            return member_of[id(b)], forms[b]

        form = _form(block, unit, inner, lambda s: (member_of.get(id(s)), state(s)))
        forms[block] = numbers.setdefault(form, len(numbers))
        same = first.setdefault(form, block)
        if same is not block:
            block.alike, block.type = same, same.type
        else:
            block.type = names.fresh(plan.dialect.class_name(block.type or block.name or "model"))

    enter(root)
