"""What a comparison of values would have noticed: every kernel is disturbed alone, and looked for in what is compared next.

Nothing upstream is disturbed with it: a weight is evaluated on the values the reference computed, from its own layer to the first
values that were compared, most often one layer. So all weights of a model together cost no more than one run of it, and a window
that slides is evaluated on a part of its input first.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from ..interpreter import Interpreter
from ..interpreter.execute import bind_shapes, few_threads
from ..ir.graph import Graph, Node, Value
from ..opset import Role, Trait, op, traits_of
from ..records import dataclass
from ..report.compare import distance

__all__ = ["DISTURBANCE", "Power", "counts", "disturbed", "floats"]

Array = NDArray[Any]

DISTURBANCE = 0.01
"""What a kernel is disturbed by, relative to itself."""
FORGOTTEN = 1.0
"""The same for vectors (biases, scales): would a wrong one be noticed at all; some are far smaller than what they meet."""
ANOTHER = 0.01
"""What a vector too small to show is off by at least, of the range its layer gives, to see whether another in its place would be
noticed."""
_PATTERN = 65521
"""Signs that are drawn; a larger weight repeats them. Prime, so that no axis of a weight divides it."""
_CHANNELS = 16
"""Channels of a kernel's results that are looked at first."""
_EFFORT = 6
"""Nodes evaluated for weights alone, per node of the graph; what is left then is disturbed together."""


def floats(a: Array) -> bool:
    return a.size > 0 and (a.dtype.kind == "f" or (a.dtype.kind == "V" and "float" in a.dtype.name))


def _array(v: Value) -> Array:
    assert v.tensor is not None
    return v.tensor.numpy()


def counts(v: Value) -> bool:
    """Whether a weight is one the model learnt: floats, or integers that are read as quantised ones; no number of an expression,
    unless it scales quantised values, and nothing that counts or indexes."""
    if v.tensor is None or v.dtype is None:
        return False
    if v.dtype.is_float:
        return v.tensor.size > 1 or any(_quantises(n) for n in v.users)
    return v.dtype.is_int and any(_quantises(n) and op(n.op).role(i) is not Role.INDEX for n, i in v.uses)


def _quantises(node: Node) -> bool:
    """Worth keeping where all inputs are constants, and no recurrence or loop: it quantises, or reads what is."""
    return traits_of(node.op) & (Trait.NO_FOLD | Trait.HEAVY) == Trait.NO_FOLD and not node.regions


@functools.cache
def _signs() -> Array:
    """Coins that were thrown once, twice in a row: a weight takes its own from where its name says."""
    return np.tile(np.random.default_rng(0).choice(np.asarray([-1, 1], np.float32), _PATTERN), 2)


def disturbed_array(a: Array, step: float, name: str, least: float = 0.0) -> Array:
    """The array with every element off, see :func:`disturbed`; ``name`` is the seed."""
    start = zlib.crc32(name.encode()) % _PATTERN
    signs = np.resize(_signs()[start : start + min(a.size, _PATTERN)], a.shape)
    if a.dtype.kind in "iu":
        limits = np.iinfo(a.dtype)
        stepped = a + signs * np.maximum(np.rint(np.abs(a.astype(np.float64)) * step), 1)
        return np.asarray(stepped.clip(limits.min, limits.max).astype(a.dtype))
    wide = a.astype(a.dtype if a.dtype.itemsize >= 4 else np.dtype(np.float32), copy=False)

    def off() -> Array:
        if least:
            made = wide + (signs * np.maximum(np.abs(wide) * step, least)).astype(wide.dtype, copy=False)
        else:
            made = wide * (1 + np.float32(step) * signs).astype(wide.dtype, copy=False)
        return np.asarray(made.astype(a.dtype, copy=False))

    try:
        with np.errstate(over="raise", invalid="raise"):
            return off()
    except FloatingPointError:  # the lowest number of a mask, or an infinite one: what would be none stays
        with np.errstate(over="ignore", invalid="ignore"):
            made = off()
        return np.where(np.isfinite(made), made, a)


def disturbed(step: float, chosen: Callable[[Value], bool], least: float = 0.0) -> Callable[[Value], Array]:
    """Reads weights; every element of the ``chosen`` ones is off by ``step`` of itself and at least by ``least``, up or down by a
    seeded coin. Integers are off by one at least; a step below :data:`DISTURBANCE`, which is rounding, leaves them."""

    def read(v: Value) -> Array:
        a = _array(v)
        stored = a.dtype.kind in "iu"
        if not a.size or not (floats(a) or (stored and step >= DISTURBANCE)) or not chosen(v):
            return a
        return disturbed_array(a, step, v.name, least)

    return read


def _subgraphs(graph: Graph) -> Iterator[tuple[Graph, Node | None]]:
    """The graph, and the regions inside it with the node of the graph that holds them."""
    yield graph, None
    for node in graph:
        stack = list(node.regions)
        while stack:
            region = stack.pop()
            yield region, node
            stack += [r for n in region for r in n.regions]


def _is_vector(v: Value) -> bool:
    """One number for each channel, in whatever shape it is added or multiplied; what is multiplied in is a kernel."""
    assert v.tensor is not None
    shape = v.tensor.shape
    return len(shape) < 2 or (sum(n > 1 for n in shape) < 2 and not any(Trait.HEAVY in traits_of(n.op) for n in v.users))


@dataclass
class Power:
    """Which weights of ``graph`` the values ``compared`` by name cover, and the layers of those they do not.

    ``known`` holds the values of the reference by name, inputs among them; ``limits`` what a compared value may be off unnoticed.
    """

    graph: Graph
    inputs: Sequence[Array]
    known: Mapping[str, Array]
    compared: Collection[str]
    limits: Callable[[str], float]
    weights: int = 0
    covered: int = 0
    together: int = 0
    weak: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._order = {node: i for i, node in enumerate(self.graph)}
        self._effort = _EFFORT * len(self._order) + 100
        self._env = bind_shapes(self.graph.inputs, self.inputs)
        self._known = {**self.known, **{v.name: a for v, a in zip(self.graph.inputs, self.inputs)}}

    def let_go(self) -> None:
        """Keep what was measured without the values."""
        self.inputs, self.known, self.compared, self._known = (), {}, (), {}

    def measure(self) -> None:
        """Disturb every weight that reaches an output: kernels alone, the vectors of one layer at once."""
        with few_threads():
            self._measure()

    def _measure(self) -> None:
        weak: dict[str, None] = {}
        left: list[tuple[list[Value], list[Node]]] = []
        for group, users in self._groups():
            vectors = all(map(_is_vector, group))
            if vectors and not any(_array(v).any() for v in group):
                continue  # zeros: there is nothing to disturb, and whatever else stood there would be compared
            found = self._shows(group, users, 0.0)
            if found is False and vectors:  # as good as zeros: would anything else that stood there show?
                found = self._shows(group, users, self._another(users))
            self.weights += len(group)
            if found is None:
                left.append((group, users))
            elif found:
                self.covered += len(group)
            else:
                weak[str(users[0].origin)] = None
        if left:
            tells = self._all_at_once()
            for group, users in left:
                self.together += len(group)
                if any(tells[o.name] for n in users for o in n.outputs):
                    self.covered += len(group)
                else:
                    weak[str(users[0].origin)] = None
        self.weak = list(weak)

    # ---- what is disturbed
    def _reaching(self) -> set[Node]:
        seen: set[Node] = set()
        stack = [v.producer for v in self.graph.outputs if v.producer is not None]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            stack += [v.producer for v in node.inputs if v is not None and v.producer is not None]
        return seen

    def _groups(self) -> Iterator[tuple[list[Value], list[Node]]]:
        """Weights that are disturbed at once, with the nodes of the graph that use them."""
        reaching = self._reaching()
        vectors: dict[Node, list[Value]] = {}
        for graph, holder in _subgraphs(self.graph):
            for v in graph.weights.values():
                if not counts(v):
                    continue
                users = [n for n in dict.fromkeys(v.users if holder is None else [holder]) if n in reaching]
                if users and not _is_vector(v):
                    yield [v], users
                elif users:
                    vectors.setdefault(users[0], []).append(v)
        for node, group in vectors.items():
            yield group, list(dict.fromkeys(n for v in group for n in v.users if n in self._order and n in reaching)) or [node]

    # ---- what shows it
    def _shows(self, group: Sequence[Value], users: Sequence[Node], least: float) -> bool | None:
        """Whether a compared value moves noticeably; None where finding out costs too much."""
        chosen = {id(v) for v in group}
        step = FORGOTTEN if all(map(_is_vector, group)) else DISTURBANCE
        runner = Interpreter(self.graph, read=disturbed(step, lambda v: id(v) in chosen, least))
        for node in users:
            if node.outputs and node.outputs[0].name in self.compared and self._part_shows(node, group, runner, least):
                return True
        for node in users:
            witnesses, region = self._after(node)
            if self._effort < 0:
                return None
            if witnesses and self._moves(witnesses, region, runner):
                return True
        return False if self._effort >= 0 else None

    def _another(self, users: Sequence[Node]) -> float:
        spans = [float(np.ptp(self._known[o.name])) for n in users for o in n.outputs if o.name in self._known]
        wide = [s for s in spans if s and np.isfinite(s)]
        return ANOTHER * max(wide) if wide else 1.0

    def _after(self, node: Node) -> tuple[list[Value], set[str]]:
        """The first compared values from the node's results on, and the names of all values up to them."""
        out: list[Value] = []
        region: set[str] = set()
        stack = list(node.outputs)
        while stack and self._effort >= 0:
            v = stack.pop()
            if v.name in region:
                continue
            region.add(v.name)
            self._effort -= 1
            if v.name in self.compared:
                out.append(v)
            else:
                stack += [o for n in v.users for o in n.outputs]
        return out, region

    def _moves(self, witnesses: Sequence[Value], region: set[str], runner: Interpreter) -> bool:
        """Evaluate what leads to the witnesses, from the values the reference computed, with the disturbed weights."""
        need: set[Node] = set()
        stack = [v.producer for v in witnesses]
        while stack:
            node = stack.pop()
            if node is None or node in need:
                continue
            need.add(node)
            stack += [v.producer for v in node.inputs if v is not None and not self._given(v, region)]
        self._effort -= len(need)
        wanted = {v.name for v in witnesses}
        live: dict[str, Array] = {}
        try:
            for node in sorted(need, key=self._order.__getitem__):
                args = [None if v is None else self._array(v, live, region, runner) for v in node.inputs]
                for v, b in zip(node.outputs, runner.apply(node, args, self._env)):
                    live[v.name] = b
                    if v.name in wanted and self._differs(v.name, b):
                        return True
        except (InputError, ShapeError):
            return True  # a disturbance that stops the model is one that shows
        return False

    def _given(self, v: Value, region: set[str]) -> bool:
        return v.tensor is not None or (v.name in self._known and v.name not in region)

    def _array(self, v: Value, live: Mapping[str, Array], region: Collection[str], runner: Interpreter) -> Array:
        if v.name in live:
            return live[v.name]
        return self._known[v.name] if v.tensor is None else (runner.read or _array)(v)

    def _differs(self, name: str, b: Array) -> bool:
        a = self.known.get(name)
        return a is not None and (a.shape != b.shape or distance(a, b) > 2 * self.limits(name))

    def _part_shows(self, node: Node, group: Sequence[Value], runner: Interpreter, least: float) -> bool:
        """Whether what an affine op adds because of its disturbed weight shows already. For ``b`` that is what it is off by; for
        the kernel the result of that alone, in some channels and on the middle of the input: less is computed, never more is
        seen."""
        x = node.inputs[0]
        if Trait.AFFINE not in traits_of(node.op) or x is None or x.name not in self._known or len(group) != 1:
            return False
        v, limit = group[0], 2 * self.limits(node.outputs[0].name)
        a, weight = self._known[x.name], _array(v)
        if not a.size or not floats(weight):
            return False
        if v is node.arg("b") and v not in node.inputs[:2]:
            return bool(np.abs(disturbed_array(weight, FORGOTTEN, v.name, least) - weight).max() > limit)
        if v is not node.inputs[1] or v is x:
            return False
        at = [slice(0, _CHANNELS)] * (a.ndim - 1) + [slice(None)]
        instead: dict[str, Any] = {}
        if Trait.WINDOW in traits_of(node.op):
            at, instead = self._middle(node, a, weight.shape[2:])
        if node.attrs.get("groups", 1) == 1:
            weight = weight[:_CHANNELS]
        off = disturbed_array(weight, DISTURBANCE, v.name) - weight
        try:
            added = runner.apply(node, [a[tuple(at)], off, *(None for _ in node.inputs[2:])], self._env, **instead)[0]
        except (InputError, ShapeError):
            return False
        return bool(np.abs(added).max(initial=0) > limit)

    def _middle(self, node: Node, a: Array, kernel: Sequence[int]) -> tuple[list[slice], dict[str, Any]]:
        """Where a few windows lie that see no padding, and the attributes that say so; all of ``a`` where it is too small."""
        at, first = [slice(None)] * a.ndim, 2 if node.attrs["layout"] == "channels_first" else 1
        for axis, (k, d, s) in enumerate(zip(kernel, node.attrs["dilations"], node.attrs["strides"]), first):
            reach = (k - 1) * int(d) + 1
            size = min(reach + 2 * int(s), a.shape[axis])
            if size < reach:
                return [slice(None)] * a.ndim, {}
            start = (a.shape[axis] - size) // 2
            at[axis] = slice(start, start + size)
        return at, {"pads": ((0, 0),) * len(kernel)}

    # ---- where it would cost too much
    def _all_at_once(self) -> dict[str, bool]:
        """By name of value: whether one of the first compared values from it on moves when every weight is disturbed."""
        moved = dict.fromkeys(self.compared, False)

        def see(node: Node, results: Sequence[Array]) -> None:
            for v, b in zip(node.outputs, results):
                if v.name in self.compared:
                    moved[v.name] = self._differs(v.name, b)

        with suppress(InputError, ShapeError):  # where the disturbance stops it, what was not reached counts as unmoved
            Interpreter(self.graph, read=disturbed(DISTURBANCE, counts)).run(list(self.inputs), watch=see)
        tells: dict[str, bool] = {}
        for node in reversed(list(self.graph)):
            for v in node.outputs:
                after = [o.name for n in v.users for o in n.outputs]
                tells[v.name] = moved[v.name] if v.name in self.compared else any(tells[n] for n in after)
        return tells
