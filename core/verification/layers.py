"""Comparing what is inside: every value that both sides have by one name, and what a comparison would have noticed.

The outputs of a model may hardly show what is wrong in it: a saturated softmax, a constant, a range that vanishes. So the values
between are compared too, and the comparison is measured (:mod:`.power`): a weight is covered when one of the first compared
values after it moves noticeably when that weight alone is disturbed by one percent.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ShapeError
from ..interpreter import Interpreter
from ..ir.graph import Graph, Node, Value
from ..opset import Trait, traits_of
from ..records import dataclass
from ..report.compare import distance, tolerance
from .power import DISTURBANCE, Power, counts, disturbed, floats
from .reuse import reusing

__all__ = ["NOISE", "Layers", "Tolerance", "Watched", "flowing", "noise_of"]

Array = NDArray[Any]
Watched = Callable[[list[Array], Callable[[str, Array], None]], list[Array]]

NOISE = 8.0
"""How many times further than the source's own float32 run from float64 a right result may be."""
_MEMORY = 1 << 29
"""Bytes of values between that are kept for comparison."""


@dataclass(frozen=True)
class Tolerance:
    """Relative to range, absolute, and the unit in the last place the models compute in."""

    rtol: float
    atol: float
    eps: float

    def of(self, a: Array) -> float:
        return tolerance(a, self.rtol, self.atol, self.eps)


def _forms(a: Array, b: Array) -> Iterator[Array]:
    """``b`` in the shapes and orders of axes that fit ``a``: layouts move axes of values between."""
    if a.shape == b.shape:
        yield b
    if a.ndim == b.ndim and 2 < a.ndim <= 5:
        for p in itertools.permutations(range(b.ndim)):
            if p != tuple(range(b.ndim)) and tuple(b.shape[i] for i in p) == a.shape:
                yield b.transpose(p)
    elif a.shape != b.shape and a.size == b.size and [n for n in a.shape if n > 1] == [n for n in b.shape if n > 1]:
        yield b.reshape(a.shape)


def _error(a: Array, b: Array, limit: float) -> float:
    """The smallest distance over all forms of ``b``; infinite where none fits."""
    if a is b:
        return 0.0
    best = float("inf")
    for x in _forms(a, b):
        best = min(best, distance(a, x))
        if best <= limit:
            break
    return best


def _operands(v: Value) -> list[Value]:
    """The computed operands of the op that makes the value, seen through ops that only move or view it."""
    while v.producer is not None and traits_of(v.producer.op) & (Trait.MOVES | Trait.VIEW) and len(v.producer.inputs):
        first = v.producer.inputs[0]
        if first is None or first.tensor is not None:
            break
        v = first
    return [] if v.producer is None else [x for x in v.producer.inputs if x is not None and x.tensor is None]


def flowing(graph: Graph, inputs: Sequence[Array], names: Iterable[str]) -> dict[str, float]:
    """For each named value the largest magnitude among the computed values that flow into it within three ops, moves aside.

    The mean of a sigmoid of -10 is right to a few units in the last place of 10, not of itself.
    """
    by_name = {v.name: v for node in graph for v in node.outputs}
    sources: dict[str, set[str]] = {}
    for n in names:
        front = [by_name[n]] if n in by_name else []
        sources[n] = set()
        for _ in range(3):
            front = [x for v in front for x in _operands(v)]
            sources[n] |= {v.name for v in front}
    kept: dict[str, Array] = {v.name: np.asarray(a) for v, a in zip(graph.inputs, inputs)}
    Interpreter(graph).run(list(inputs), watch=_keep(kept, {x: None for xs in sources.values() for x in xs}))
    return {
        n: max((float(np.abs(kept[x].astype(np.float64)).max()) for x in xs if x in kept and floats(kept[x])), default=0.0)
        for n, xs in sources.items()
    }


def noise_of(graph: Graph, inputs: Sequence[Array], wanted: Mapping[str, Array], eps: float) -> dict[str, tuple[Array, float]]:
    """For each wanted value of the float32 run its float64 counterpart and how far rounding takes the float32 computation.

    That is the distance of the float32 run from float64, or of one whose inputs and weights are off by one unit in the last
    place: quantisers and thresholds turn such a unit into a step.
    """
    precise: dict[str, Array] = {}
    again: dict[str, Array] = {}
    Interpreter(graph, precise=True).run(list(inputs), watch=_keep(precise, wanted))
    rng = np.random.default_rng(0)
    near = [
        (x * (1 + np.float32(eps) * rng.choice(np.asarray([-1, 1], np.float32), x.shape))).astype(x.dtype) if floats(x) else x
        for x in inputs
    ]
    with suppress(InputError, ShapeError):  # an index that a unit takes out of its table: the other run tells
        Interpreter(graph, read=disturbed(eps, counts)).run(near, watch=_keep(again, wanted))
    out = {}
    for name, a in wanted.items():
        exact = precise.get(name)
        if exact is None or exact.shape != a.shape:
            continue
        runs = [distance(exact, b) for b in (a, again.get(name)) if b is not None and b.shape == exact.shape]
        out[name] = exact, max((d for d in runs if np.isfinite(d)), default=0.0)
    return out


def _keep(into: dict[str, Array], wanted: Mapping[str, Any]) -> Callable[[Node, Sequence[Array]], None]:
    def watch(node: Node, results: Sequence[Array]) -> None:
        for v, a in zip(node.outputs, results):
            if v.name in wanted:
                into[v.name] = a

    return watch


def _same(a: Array, b: Array) -> bool:
    return a is b or (a.dtype == b.dtype and np.array_equal(a, b))


@dataclass(frozen=True)
class Settled:
    """What one comparison found: the first layer that differs ("" for none), what would have been noticed, how many values were
    compared, whether each is a constant, what is odd without consequence, and (where asked for) :meth:`Layers.errors`."""

    inputs: Sequence[Array]
    agreeing: tuple[str, ...]
    first: str
    power: Power | None
    compared: int
    flat: bool
    odd: list[str]
    errors: list[tuple[str, str, float]]


@dataclass
class Layers:
    """The values between of one comparison on one set of inputs.

    ``other`` is the graph of the other side, or a run of it that tells what is inside (:attr:`Runtime.watched`); None where only
    the outputs can be looked at.
    """

    reference: Graph
    other: Graph | Watched | None
    limit: Tolerance
    odd: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settled: Settled | None = None
        self._by_name = {v.name: v for node in self.reference for v in node.outputs}
        self._gave: tuple[Sequence[Array], list[Array]] | None = None  # what the other side was run on, and its results
        self._forget()

    def _forget(self) -> None:
        """Let go of all values, and of what was found with them."""
        self.odd = []
        self.inputs: Sequence[Array] = []
        self._ran: Sequence[Array] | None = None  # the inputs that _kept is of
        self._kept: dict[str, Array] = {}
        self._off: dict[str, float] = {}  # distance of the other side, by name of value
        self._moved = defaultdict[str, float](float)  # response to the disturbance
        self._limits: dict[str, float] = {}
        self._excused = defaultdict[str, float](float)
        self._tried = self._met = False  # whether the other side was run on the same inputs, and to its end

    # ---- runs
    def reference_run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the reference; the first run that succeeds is kept for :meth:`run` on the same inputs."""
        if self._ran is not None or self.settled is not None:
            return Interpreter(self.reference).run(list(inputs))
        self._kept.clear()
        self._limits.clear()
        outputs = {v.name for v in self.reference.outputs}
        room = [_MEMORY]

        def keep(node: Node, results: Sequence[Array]) -> None:
            for v, a in zip(node.outputs, results):
                if floats(a) and (v.name in outputs or (self.other is not None and a.nbytes <= room[0])):
                    room[0] -= a.nbytes
                    self._kept[v.name] = a

        results = Interpreter(self.reference).run(list(inputs), watch=keep)
        self._ran = inputs
        return results

    def run(self, inputs: Sequence[Array], theirs: Sequence[Array]) -> str:
        """Compare the two sides on ``inputs`` (as the reference takes them) and ``theirs`` (as the other does); returns the first
        layer that computes something else, or ""."""
        self.inputs = inputs
        if self._ran is not inputs:
            self._ran, self._met = None, False
            self.reference_run(inputs)
        if self.other is not None and not self._met:
            self._off.clear()
            try:
                self._gave = theirs, self._run_other(list(theirs))
            except (InputError, ShapeError) as e:
                return f"not where it ran: the result read back cannot be run ({e})"
        return self._first()

    def settle(
        self, inputs: Sequence[Array], theirs: Sequence[Array], agreeing: Sequence[str], *, errors: bool
    ) -> Settled:  # fmt: skip
        """Do what :meth:`run` and :meth:`measure` do, as if the outputs ``agreeing`` were found right, and keep what they found
        (:attr:`settled`) instead of the values: these need not be in memory beside a runtime of the result."""
        self.settled = None
        first = self.run(inputs, theirs)
        told = self.errors() if errors else []
        power = None if first else self.measure(agreeing)
        compared = self.compared
        flat = bool(compared) and not any(np.ptp(a) for a in compared)
        self.settled = Settled(inputs, tuple(agreeing), first, power, len(compared), flat, list(self.odd), told)
        self._forget()
        return self.settled

    @property
    def kept_of(self) -> Sequence[Array] | None:
        """The inputs whose values are kept, if any are."""
        return self._ran

    def is_settled(self, inputs: Sequence[Array], agreeing: Sequence[str]) -> bool:
        """Whether :attr:`settled` is for these inputs and outputs."""
        return self.settled is not None and self.settled.inputs is inputs and self.settled.agreeing == tuple(agreeing)

    def other_run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the other side; the first run after the one of the reference that was kept is compared with it."""
        assert isinstance(self.other, Graph)
        if self._gave is not None and all(map(_same, self._gave[0], inputs)):
            return self._gave[1]
        if self._tried or self._ran is None:
            return Interpreter(self.other).run(list(inputs))
        self._tried = True
        results = self._run_other(list(inputs))
        self._met = True
        return results

    def _run_other(self, inputs: list[Array]) -> list[Array]:
        """Runs the other side; what the reference has computed from the same is not computed again."""
        assert self.other is not None and self._ran is not None
        if not isinstance(self.other, Graph):
            return self.other(inputs, self._see)
        given = {v.name: np.asarray(a) for v, a in zip(self.reference.inputs, self._ran)}
        return Interpreter(self.other, known=reusing(self.reference, {**self._kept, **given})).run(inputs, watch=self._compare)

    def _compare(self, node: Node, results: Sequence[Array]) -> None:
        for v, b in zip(node.outputs, results):
            self._see(v.name, b)

    def _see(self, name: str, b: Array) -> None:
        a = self._kept.get(name)
        if a is None or not floats(b):
            return
        limit = self._limit(name)
        off = _error(a, b, limit)
        if off <= limit or not self._elsewhere(name, a, b, limit):
            self._off[name] = off

    def _elsewhere(self, name: str, a: Array, b: Array, limit: float) -> bool:
        """Whether the name stands for something that is right but not the same there: what a later layer folded into it makes, or
        the same elements in another order."""
        if a.size == b.size and a.size <= 1 << 22 and distance(np.sort(a, None), np.sort(b, None)) <= limit:
            return True
        seen, front = {name}, [self._by_name[name]]
        for _ in range(4):
            front = [o for v in front for n in v.users for o in n.outputs if o.name not in seen]
            seen.update(v.name for v in front)
            for v in front:
                later = self._kept.get(v.name)
                if later is not None and _error(later, b, self._limit(v.name)) <= self._limit(v.name):
                    self._off.setdefault(v.name, 0.0)
                    return True
        return False

    def _first(self) -> str:
        """The first value, in the order of the reference, that differs by more than rounding explains."""
        off = [n for n in self._kept if n in self._off and self._off[n] > self._limit(n)]
        if off:
            noise = noise_of(self.reference, self.inputs, {n: self._kept[n] for n in off}, self.limit.eps)
            for n in list(off):
                excused = (NOISE + 1) * noise[n][1] if n in noise else 0.0
                if self._off[n] <= excused + self._limit(n):
                    off.remove(n)
                    self._off[n], self._excused[n] = 0.0, excused
        if not off:
            return ""
        self._disturb()
        for n in reversed(list(off)):  # the last first: what is odd alone does not make what is before it wrong
            if self._would_show(n):
                self.odd.append(n)
                off.remove(n)
                del self._off[n]
        if not off:
            return ""
        v = self._by_name[off[0]]
        node = v.producer
        assert node is not None
        a = self._kept[off[0]]
        span = float(np.ptp(a.astype(np.float64))) or 1.0
        return f"layer {node.origin}, tensor {v.name!r}: relative error {self._off[off[0]] / span:.3g}"

    def _would_show(self, name: str) -> bool:
        """Whether a difference here would have been seen in every compared value right after it, and was not."""
        moved = self._moved[name]
        after = self._witnesses([self._by_name[name]])
        if not moved or not after:
            return False
        for w in after:
            expected = self._off[name] / moved * self._moved[w]
            limit = self._limit(w)
            if (w in self._off and self._off[w] > limit) or expected <= 4 * limit:
                return False
        return True

    # ---- power
    def _disturb(self) -> None:
        if self._moved:
            return

        def see(node: Node, results: Sequence[Array]) -> None:
            for v, b in zip(node.outputs, results):
                a = self._kept.get(v.name)
                if a is not None:
                    self._moved[v.name] = distance(a, b) if a.shape == b.shape else float("inf")

        with suppress(InputError, ShapeError):  # what was not reached did not move
            Interpreter(self.reference, read=disturbed(DISTURBANCE, counts)).run(list(self.inputs), watch=see)

    def measure(self, agreeing: Sequence[str]) -> Power:
        """Find what the comparison could not have noticed. ``agreeing``: outputs compared by themselves, and right."""
        for n in agreeing:
            if n in self._kept:
                self._off.setdefault(n, 0.0)
        power = Power(self.reference, self.inputs, self._kept, self._off.keys(), self._unnoticed)
        power.measure()
        power.let_go()
        return power

    def errors(self) -> list[tuple[str, str, float]]:
        """Of every value that was compared, in the reference's order: its layer, its name, its distance relative to its range."""
        out = []
        for name in self._kept:
            if name in self._off and name in self._by_name:
                a = self._kept[name].astype(np.float64)
                finite = a[np.isfinite(a)]
                span = (float(np.ptp(finite)) or float(np.abs(finite).max())) if finite.size else 0.0
                node = self._by_name[name].producer
                out.append(("" if node is None else node.origin.layer, name, self._off[name] / span if span else self._off[name]))
        return out

    @property
    def compared(self) -> list[Array]:
        """The values of the reference that were compared, outputs among them."""
        return [self._kept[n] for n in self._off]

    def _limit(self, name: str) -> float:
        if name not in self._limits:
            self._limits[name] = self.limit.of(self._kept[name])
        return self._limits[name]

    def _unnoticed(self, name: str) -> float:
        """What a value may be off: the tolerance, and the rounding that one was excused for."""
        return self._limit(name) + self._excused[name]

    def _witnesses(self, values: Sequence[Value]) -> list[str]:
        """The first compared values after these."""
        out: list[str] = []
        seen: set[str] = set()
        stack = [o for v in values for n in v.users for o in n.outputs]
        while stack:
            v = stack.pop()
            if v.name in seen:
                continue
            seen.add(v.name)
            if v.name in self._off:
                out.append(v.name)
            else:
                stack += [o for n in v.users for o in n.outputs]
        return out
