"""Run a graph, a prefix of it or any named intermediate, with numpy."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..budget import GROWTH, STEPS
from ..build.builder import Builder
from ..errors import ConvcoreError, InputError, Problem, ShapeError, UnsupportedError, ask
from ..ir.dims import Dim, evaluate, other_order, shape_text
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..opset import find_op
from ..opset.declare import Op

__all__ = ["Interpreter", "affording", "bind_shapes", "few_threads", "run", "ticking"]

Array = NDArray[Any]


FAILURES = (ValueError, IndexError, TypeError, FloatingPointError, OverflowError, ZeroDivisionError)
"""What a reference may raise of arrays it cannot compute with: the model's or the inputs' fault."""


def evaluate_attr(x: Any, env: Mapping[str, int]) -> Any:
    """An attribute with every size evaluated."""
    if isinstance(x, Dim):
        return x.evaluate(env)
    if isinstance(x, tuple):
        return tuple(evaluate_attr(i, env) for i in x)
    return x


def bind_shapes(inputs: Sequence[Value], arrays: Sequence[Array]) -> dict[str, int]:
    """The value of every symbolic size that the arrays' shapes fix; InputError if one contradicts the declaration."""
    env: dict[str, int] = {}
    later: list[tuple[Value, int, Dim, int]] = []
    for v, a in zip(inputs, arrays):
        if v.shape is None:
            continue
        if len(v.shape) != a.ndim:
            raise InputError(f"input {v.name!r} has {len(v.shape)} axes {list(map(str, v.shape))}, got shape {list(a.shape)}")
        for i, (d, n) in enumerate(zip(v.shape, a.shape)):
            if isinstance(d, Dim):
                if d.is_name:
                    name = str(next(iter(d.names)))
                    if env.setdefault(name, n) != n:
                        raise InputError(f"input {v.name!r}: axis {i} is {n}, but {name} is {env[name]} elsewhere")
                else:
                    later.append((v, i, d, n))
            elif d is not None and d != n:
                turned = other_order(v.shape, a.shape)
                raise InputError(
                    f"input {v.name!r}: axis {i} must be {d}, got {n} (shape {list(a.shape)})"
                    + (f"; it looks {turned}, the model takes {shape_text(v.shape)}" if turned else "")
                )
    for v, i, d, n in later:
        if d.names <= env.keys() and d.evaluate(env) != n:
            raise InputError(f"input {v.name!r}: axis {i} must be {d} = {d.evaluate(env)}, got {n}")
    return env


@functools.cache
def _memory() -> int:
    """Bytes of memory the machine has; where it does not tell, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


class TooLargeError(InputError):
    """A result that fits into this machine for no inputs."""


_LIMIT: ContextVar[int | None] = ContextVar("limit", default=None)


@contextmanager
def affording(graph: Graph) -> Iterator[None]:
    """Inside, a result may take :data:`~convcore.budget.GROWTH` times what the graph's inputs and weights take (symbolic sizes
    count as 224), 64 MiB at least: a few bytes of a file do not fill the machine."""
    held = sum(v.tensor.nbytes for v in graph.weights.values() if v.tensor is not None)
    held += sum(
        _bytes(v, dict.fromkeys((n for d in v.shape or () if isinstance(d, Dim) for n in d.names), 224)) for v in graph.inputs
    )
    token = _LIMIT.set(max(64 << 20, GROWTH * held))
    try:
        yield
    finally:
        _LIMIT.reset(token)


_TICK: ContextVar[Callable[[Node], None] | None] = ContextVar("tick", default=None)


@contextmanager
def ticking(tick: Callable[[Node], None]) -> Iterator[None]:
    """Inside, ``tick`` is called with every node that is run: a bar can move while a model is computed."""
    token = _TICK.set(tick)
    try:
        yield
    finally:
        _TICK.reset(token)


def _bytes(v: Value, env: Mapping[str, int]) -> int:
    size = 1 if v.dtype is None else v.dtype.itemsize or 8
    for d in v.shape or ():
        size *= (d.evaluate(env) if d.names <= env.keys() else 1) if isinstance(d, Dim) else 1 if d is None else d
    return size


def _afford(node: Node, env: Mapping[str, int]) -> None:
    """InputError before a node is run whose results cannot fit into the machine, or are out of all proportion to the model while
    it is checked (:func:`affording`): sizes come from files."""
    granted = _LIMIT.get()
    most = _memory() if granted is None else min(granted, _memory())
    for v in node.outputs:
        if v.shape is None or v.dtype is None or (size := _bytes(v, env)) <= most:
            continue
        shape = [str(d.evaluate(env) if isinstance(d, Dim) and d.names <= env.keys() else d) for d in v.shape]
        kind = TooLargeError if _bytes(v, dict.fromkeys(env, 1)) > most else InputError
        why = "more than this machine has" if most == _memory() else (
            f"over {GROWTH:,} times what the model's inputs and weights take; leave the check out "
            f"({ask('--no-check', 'check=False')}), or set CONVCORE_BUDGET=2 in the environment"
        )  # fmt: skip
        raise kind(f"layer {node.origin}: its result [{', '.join(shape)}] needs {size >> 20:,} MiB, {why}")


class RegionRunner:
    """What the reference of a control flow op calls to run one of its regions: arrays in, list of arrays out."""

    def __init__(self, region: Graph, env: Mapping[str, int], outer: Interpreter) -> None:
        self._inner, self._env = Interpreter(region, read=outer.read, precise=outer.precise), env
        self._steps = 0

    def __call__(self, *arrays: Array) -> list[Array]:
        self._steps += 1
        if self._steps > STEPS:
            raise TooLargeError(f"a loop makes more than {STEPS:,} steps")
        return self._inner.run(arrays, env=self._env)

    @property
    def outputs(self) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
        """Dtype and shape of the outputs as declared, for a loop that makes no step; ShapeError if they are not known."""
        found = []
        for v in self._inner.graph.outputs:
            if v.dtype is None or v.shape is None or None in v.shape:
                raise ShapeError(f"a loop makes no step and the shape of its output {v} is not known")
            found.append((v.dtype.numpy, tuple(evaluate(n, self._env) for n in v.shape if n is not None)))
        return found


class Interpreter:
    """Executes one graph. Bodies of composites without a reference are built once per input signature.

    ``read`` gives the array of a weight (default: its tensor's). ``precise`` computes in float64 whatever the graph computes in a
    narrower float: casts to one are skipped, and what an op can only compute as declared is widened after it. What comes out
    tells how far rounding took the ordinary run. ``known`` may give the results of a node for its arguments, or None to have
    them computed.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        read: Callable[[Value], Array] | None = None,
        precise: bool = False,
        known: Callable[[Node, Sequence[Array | None]], Sequence[Array] | None] | None = None,
    ) -> None:
        self.graph, self.read, self.precise, self.known = graph, read, precise, known
        self._bodies: dict[tuple[Node, Any], Graph] = {}

    def run(
        self,
        inputs: Sequence[Array] | Mapping[str, Array],
        targets: Sequence[Value] | None = None,
        *,
        env: Mapping[str, int] | None = None,
        watch: Callable[[Node, Sequence[Array]], None] | None = None,
    ) -> list[Array]:
        """The arrays of ``targets`` (default: the graph's outputs).

        ``inputs`` are arrays in order or by name; only nodes the targets need are run. ``watch`` sees every node's results.
        """
        with few_threads():
            return self._run(inputs, targets, env, watch)

    def _run(
        self,
        inputs: Sequence[Array] | Mapping[str, Array],
        targets: Sequence[Value] | None,
        env: Mapping[str, int] | None,
        watch: Callable[[Node, Sequence[Array]], None] | None,
    ) -> list[Array]:
        g = self.graph
        arrays = self._arrays(inputs)
        if self.precise:
            arrays = [_widened(a) for a in arrays]
        sizes = dict(env or {})
        sizes.update(bind_shapes(g.inputs, arrays))
        wanted = list(g.outputs if targets is None else targets)
        needed = self._needed(wanted)
        live: dict[int, Array] = {id(v): a for v, a in zip(g.inputs, arrays)}
        left = Counter(map(id, wanted))
        left.update(id(x) for node in needed for x in node.inputs if x is not None)

        def get(v: Value) -> Array:
            a = live.get(id(v))
            if a is None:
                if v.tensor is None:
                    raise ShapeError(f"value {v} is not computed by this graph")
                a = v.tensor.numpy() if self.read is None else self.read(v)
                a = live[id(v)] = _widened(a) if self.precise else a
            return a

        tick = _TICK.get()
        for node in needed:
            if tick is not None:
                tick(node)
            args = [None if v is None else get(v) for v in node.inputs]
            results = None if self.known is None else self.known(node, args)
            if results is None:
                results = self._precise(node, args, sizes) if self.precise else self.apply(node, args, sizes)
            if watch is not None:
                watch(node, results)
            for v, a in zip(node.outputs, results):
                live[id(v)] = a
            for x in (*node.inputs, *node.outputs):
                if x is not None:
                    if x.producer is not node:
                        left[id(x)] -= 1
                    if left[id(x)] <= 0:
                        live.pop(id(x), None)
        return [get(v) for v in wanted]

    def _arrays(self, inputs: Sequence[Array] | Mapping[str, Array]) -> list[Array]:
        g = self.graph
        names = [v.name for v in g.inputs]
        if isinstance(inputs, Mapping):
            unknown, missing = sorted(inputs.keys() - set(names)), [n for n in names if n not in inputs]
            if unknown or missing:
                raise InputError(f"inputs are {', '.join(names)}; " + f"unknown: {unknown}, missing: {missing}")
            given = [inputs[n] for n in names]
        else:
            given = list(inputs)
        if len(given) != len(names):
            raise InputError(f"{len(names)} inputs expected ({', '.join(names)}), got {len(given)}")
        out = []
        for v, x in zip(g.inputs, given):
            a = np.asarray(x)
            if v.dtype is not None and v.dtype is not DType.STRING and a.dtype != v.dtype.numpy:
                if not np.can_cast(a.dtype, v.dtype.numpy, "same_kind") and not (a.dtype.kind in "iub" and v.dtype.is_float):
                    raise InputError(f"input {v.name!r} is {v.dtype}, got {a.dtype}")
                given_as, a = a, a.astype(v.dtype.numpy)
                if given_as.dtype.kind in "iu" and v.dtype.is_int and not np.array_equal(given_as, a):
                    raise InputError(f"input {v.name!r} is {v.dtype}, which does not hold what is given")
            out.append(a)
        return out

    def _needed(self, wanted: Sequence[Value]) -> list[Node]:
        need: set[Node] = set()
        stack = [v.producer for v in wanted if v.producer is not None]
        while stack:
            n = stack.pop()
            if n in need:
                continue
            need.add(n)
            stack += [v.producer for v in n.inputs if v is not None and v.producer is not None and v.producer not in need]
        return [n for n in self.graph if n in need]

    def _precise(self, node: Node, args: Sequence[Array | None], env: Mapping[str, int]) -> Sequence[Array]:
        """Apply a node to float64 where it can be; as declared, and widened, where its dtypes are part of its meaning."""
        if node.op == "cast" and args[0] is not None and args[0].dtype == np.float64 and _narrow(node.outputs[0].dtype):
            return [args[0]]
        try:
            return [_widened(r) for r in self.apply(node, args, env)]
        except (InputError, ShapeError):
            declared = [
                a if a is None or v is None or v.dtype is None or a.dtype != np.float64 else a.astype(v.dtype.numpy)
                for v, a in zip(node.inputs, args)
            ]
            return [_widened(r) for r in self.apply(node, declared, env)]

    def apply(self, node: Node, args: Sequence[Array | None], env: Mapping[str, int], **instead: Any) -> Sequence[Array]:
        """The results of one node of the graph on ``args``, with symbolic sizes bound by ``env``; ``instead`` replaces attributes
        of an op that has a reference."""
        decl = find_op(node.op)
        if decl is None:
            why = node.attrs.get("why") or "convcore has no op for it"
            raise UnsupportedError(
                Problem(node.origin.layer or node.name, str(node.attrs.get("type", node.op)), str(why), code="unsupported_op"),
                "cannot be run",
            )
        try:
            _afford(node, env)
            if decl.reference is None:
                return self._run_body(node, decl, args, env)
            attrs = {k: evaluate_attr(v, env) for k, v in node.attrs.items()} | instead
            if any(map(_unranked, node.inputs)):  # axes from the end, and attributes that are one for each axis
                attrs = decl.complete(attrs, _as_given(node, args))
            if node.regions:
                attrs["run"] = tuple(RegionRunner(region, env, self) for region in node.regions)
            result = decl.reference(*args, **attrs)
        except ConvcoreError:
            raise
        except FAILURES as e:
            shapes = ", ".join("-" if a is None else f"{a.dtype}{list(a.shape)}" for a in args)
            raise InputError(f"layer {node.origin}: {node.op}({shapes}) cannot be computed: {e}") from e
        except MemoryError as e:
            raise InputError(f"layer {node.origin}: {node.op} needs more memory than there is: {e}") from e
        if isinstance(result, tuple):
            return [np.asarray(r) for r in result]
        return [np.asarray(result)]

    def _run_body(self, node: Node, decl: Op, args: Sequence[Array | None], env: Mapping[str, int]) -> Sequence[Array]:
        key = (node, tuple(None if a is None else (a.dtype.str, a.shape) for a in args))
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = build_body(decl, args, {k: evaluate_attr(v, env) for k, v in node.attrs.items()})
        return Interpreter(body, precise=self.precise).run([a for a in args if a is not None], env=env)


def _unranked(v: Value | None) -> bool:
    """Whether nobody knows how many axes a tensor has before it is there."""
    return v is not None and v.shape is None and (v.dtype is None or not v.dtype.is_container)


def _as_given(node: Node, args: Sequence[Array | None]) -> list[Value | None]:
    """The inputs of a node with the shapes of the arrays."""
    pairs = zip(node.inputs, args)
    return [v if a is None or v is None or not _unranked(v) else Value(v.name, v.dtype, a.shape) for v, a in pairs]


def _narrow(dtype: DType | None) -> bool:
    return dtype is not None and dtype.is_float and dtype is not DType.FLOAT64 and not dtype.is_small


def _widened(a: Array) -> Array:
    """Floats of any width as float64; anything else as it is."""
    if a.dtype == np.float64 or a.dtype.kind in "biuOSU" or not DType.of(a.dtype).is_float:
        return a
    return a.astype(np.float64)


class _Deep(threading.local):
    on = False
    """Whether the threads of this run are limited already."""


_DEEP = _Deep()


@contextmanager
def few_threads() -> Iterator[None]:
    """BLAS on half of the cores this process may use, where threadpoolctl is installed: on shared cores more threads spin."""
    controller = None if _DEEP.on else _blas()
    if controller is None:
        yield
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _DEEP.on = True
    try:
        with controller.limit(limits=max(1, cores // 2), user_api="blas"):
            yield
    finally:
        _DEEP.on = False


@functools.cache
def _blas() -> Any:
    """threadpoolctl's view of the libraries loaded, or None without it."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def build_body(decl: Op, args: Sequence[Array | None], attrs: Mapping[str, Any]) -> Graph:
    """The body of a composite as a graph over inputs with the dtypes and shapes of ``args``."""
    g = Graph(decl.name)
    b = Builder(g)
    ins = [None if a is None else b.input(f"x{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(args)]
    while len(ins) < len(decl.inputs) and not decl.inputs[-1].variadic:
        ins.append(None)
    if decl.body is None:
        raise ShapeError(f"op {decl.name} has neither a reference nor a body")
    out = decl.body(b, *ins, **attrs)
    g.outputs = list(out) if isinstance(out, tuple) else [out]
    return g


def run(graph: Graph, *inputs: Array, **named: Array) -> list[Array]:
    """Run a graph once: inputs positional or by name."""
    return Interpreter(graph).run(named if named else inputs)
