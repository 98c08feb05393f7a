"""Functions of functions: maps, folds, scans and loops over tensors, as regions of the graph; also ``K.rnn``.

Signatures and results are those of TensorFlow 2.15 (``ops/functional_ops.py``, ``map_fn.py``, ``while_loop.py``),
``keras.backend`` of Keras 1.2 to 2.15, and ``keras.ops`` of 3.15.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcore.plugin import DType, ShapeError, Value

from .meanings import argument_values
from .scans import Step, looped, recur, same_kind, scanned
from .values import CodeRefused, what_is

if TYPE_CHECKING:
    from ..load_context import KerasContext
    from .domain import Domain

__all__ = ["HIGHER", "Higher"]

Higher = Callable[["Domain", list[Any], dict[str, Any]], Any]
HIGHER: dict[str, Higher] = {}
"""Functions that call what they are given, by canonical path."""

MOST_WRITTEN_OUT = 1024
"""Steps of a loop over no tensor, which is written out."""
_RUNNING = "parallel_iterations?, back_prop?, swap_memory?"


def _means(*paths: str) -> Callable[[Higher], Higher]:
    def register(f: Higher) -> Higher:
        def work(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
            try:
                with d.ops.g.b.attempt():  # type: ignore[attr-defined]
                    return f(d, args, kwargs)
            except ShapeError as e:
                raise CodeRefused(str(e).partition(": ")[2] or str(e)) from e

        HIGHER.update(dict.fromkeys(paths, work))
        return work

    return register


# ---- structures
def _flat(x: Any) -> list[Any]:
    """The leaves of lists, tuples and dicts, in the order of ``tf.nest`` and ``keras.tree``."""
    if isinstance(x, Mapping):
        return [v for k in sorted(x) for v in _flat(x[k])]
    if isinstance(x, (list, tuple)) and type(x) not in (list, tuple):
        raise CodeRefused("has a loop over named tuples or sizes")
    return [v for item in x for v in _flat(item)] if isinstance(x, (list, tuple)) else [x]


def _packed(like: Any, values: Sequence[Any]) -> Any:
    rest = iter(values)

    def made(x: Any) -> Any:
        if isinstance(x, Mapping):
            found = {k: made(x[k]) for k in sorted(x)}
            return {k: found[k] for k in x}
        return type(x)(made(v) for v in x) if type(x) in (list, tuple) else next(rest)

    return made(like)


def _tensors(d: Domain, x: Any, what: str) -> list[Value]:
    return [_tensor(d, v, what) for v in _flat(x)]


def _tensor(d: Domain, x: Any, what: str) -> Value:
    """A value, or a number or array as the tensor that TensorFlow and Keras make of it."""
    g: KerasContext = d.ops.g  # type: ignore[attr-defined]
    x = d.settled(x)
    if isinstance(x, Value):
        return x
    if isinstance(x, (bool, int, float)):
        return g.b.const(x, DType.BOOL if isinstance(x, bool) else DType.INT32 if isinstance(x, int) else DType.FLOAT32)
    if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.int32, np.bool_):
        return g.b.const(x, DType(str(x.dtype)))
    raise CodeRefused(f"{what} {what_is(x)}, which is no tensor")


# ---- maps
@_means("tensorflow.map_fn", "keras.backend.map_fn", "keras.ops.map", "keras.ops.vectorized_map", "tensorflow.vectorized_map")
def _map(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    names = {"f": "fn", "function": "fn", "xs": "elems", "elements": "elems"}
    given = {names.get(k, k): v for k, v in kwargs.items()}
    told = f"fn, elems, dtype=None, {_RUNNING}, infer_shape=True, name?, fn_output_signature=None, fallback_to_while_loop?, warn?"
    if len(args) > 2 and not isinstance(args[2], str):
        raise CodeRefused("maps a function with more than two arguments by position")
    b = argument_values(told, args, given)
    elems = _tensors(d, b["elems"], "maps a function over")
    result: list[Any] = []

    def step(_: list[Value], parts: list[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        y = d.call(b["fn"], [_packed(b["elems"], parts)], {})
        result.append(y)
        return [], _tensors(d, y, "maps a function that gives")

    if not elems:
        raise CodeRefused("maps a function over nothing")
    _, ys = scanned(d.ops.g, [], elems, step)  # type: ignore[attr-defined]
    signature = b["fn_output_signature"] if b["fn_output_signature"] is not None else b["dtype"]
    _told(d, signature, elems, ys)
    return _packed(result[0], ys)


def _told(d: Domain, signature: Any, elems: Sequence[Value], ys: Sequence[Value]) -> None:
    """The types a map says that its function gives. Raises CodeRefused where it gives others, as TensorFlow does."""
    if signature is None:
        return
    wanted = [str(s) for s in _flat(signature)]
    wanted = wanted * len(ys) if len(wanted) == 1 and not isinstance(signature, (list, tuple, dict)) else wanted
    have = [str(y.dtype) for y in ys]
    if wanted != have:
        raise CodeRefused(f"maps a function that gives {', '.join(have)} where {', '.join(wanted)} is stated")


# ---- folds and scans of TensorFlow
def _starts(d: Domain, b: Mapping[str, Any], last: bool) -> tuple[Any, list[Value], list[Value], bool]:
    """The structure of the state, the first state, what is gone over, and whether the first element is the first state."""
    elems = _tensors(d, b["elems"], "goes over")
    if b["initializer"] is not None:
        return b["initializer"], _tensors(d, b["initializer"], "starts with"), elems, False
    t, pick = d.ops, -1 if last else 0
    rest = slice(None, -1) if last else slice(1, None)
    return b["elems"], [t.item(v, pick) for v in elems], [t.item(v, rest) for v in elems], True


def _stepping(d: Domain, b: Mapping[str, Any], like: Any) -> Step:
    def step(now: list[Value], parts: list[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        y = d.call(b["fn"], [_packed(like, now), _packed(b["elems"], parts)], {})
        new = _tensors(d, y, "folds with a function that gives")
        return new, new

    return step


def _fold(d: Domain, args: list[Any], kwargs: dict[str, Any], right: bool) -> Any:
    b = argument_values(f"fn, elems, initializer=None, {_RUNNING}, name?", args, kwargs)
    like, start, elems, _ = _starts(d, b, right)
    step = _stepping(d, b, like)
    ends, _ = scanned(d.ops.g, start, elems, lambda s, p: (step(s, p)[0], []), reverse=right)  # type: ignore[attr-defined]
    return _packed(like, ends)


@_means("tensorflow.foldl", "keras.backend.foldl")
def _foldl(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return _fold(d, args, kwargs, False)


@_means("tensorflow.foldr", "keras.backend.foldr")
def _foldr(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return _fold(d, args, kwargs, True)


@_means("tensorflow.scan")
def _scan(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Every state; without a first one that is the first element, which is a result too."""
    b = argument_values(f"fn, elems, initializer=None, {_RUNNING}, infer_shape=True, reverse=False, name?", args, kwargs)
    back = d.truth(b["reverse"])
    like, start, elems, own = _starts(d, b, back)
    g: KerasContext = d.ops.g  # type: ignore[attr-defined]
    _, ys = scanned(g, start, elems, _stepping(d, b, like), reverse=back, turned=back)
    if own:
        firsts = [g.b.unsqueeze(s, axes=(0,)) for s in start]
        ys = [g.b.concat(*((y, s) if back else (s, y)), axis=0) for s, y in zip(firsts, ys, strict=True)]
    return _packed(like, ys)


@_means("keras.ops.scan")
def _carried(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """``f(carry, x)`` gives a carry and a result; the last carry, and the results stacked."""
    b = argument_values("f, init, xs=None, length=None, reverse=False, unroll?", args, kwargs)
    start, over = _tensors(d, b["init"], "starts with"), _tensors(d, b["xs"], "scans") if b["xs"] is not None else []
    back = d.truth(b["reverse"])
    shapes: list[Any] = []

    def step(now: list[Value], parts: list[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        given = None if b["xs"] is None else _packed(b["xs"], parts)
        made = d.call(b["f"], [_packed(b["init"], now), given], {})
        if not isinstance(made, (list, tuple)) or len(made) != 2:
            raise CodeRefused("scans with a function that does not give a carry and a result")
        shapes.append(made[1])
        rows = [] if made[1] is None else _tensors(d, made[1], "scans with a function that gives")
        return _tensors(d, made[0], "scans with a function that gives"), rows

    g: KerasContext = d.ops.g  # type: ignore[attr-defined]
    if over:
        ends, ys = scanned(g, start, over, step, reverse=back, turned=back)
    else:
        ends, rows = start, []
        for _ in range(_steps(b["length"])):
            new, row = step(ends, [])
            same_kind(ends, list(new))
            ends = list(new)
            rows.append(list(row))
        ys = [g.b.stack(*(column[::-1] if back else column), axis=0) for column in zip(*rows, strict=True)]
    return _packed(b["init"], ends), None if shapes[0] is None else _packed(shapes[0], ys)


def _steps(n: Any) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or not 0 < n <= MOST_WRITTEN_OUT:
        raise CodeRefused(f"loops over no tensor for a number of steps that is not known, or not 1 to {MOST_WRITTEN_OUT}")
    return n


# ---- loops
@_means("tensorflow.while_loop", "keras.ops.while_loop")
def _while(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    b = argument_values(
        f"cond, body, loop_vars, shape_invariants=None, {_RUNNING}, maximum_iterations=None, name?", *_loop(args, kwargs)
    )
    if b["shape_invariants"] is not None:
        raise CodeRefused("loops with states of shapes that change")
    loose = not isinstance(b["loop_vars"], (list, tuple))
    like = [b["loop_vars"]] if loose else b["loop_vars"]
    start = _tensors(d, like, "loops with")
    limit = b["maximum_iterations"]
    if limit is not None and not isinstance(limit, int):
        raise CodeRefused("loops at most a number of times that is not known")

    def test(values: Sequence[Value]) -> Value:
        found = _tensor(d, d.call(b["cond"], list(_packed(like, values)), {}), "loops while")
        if found.dtype is not DType.BOOL or (found.rank or 0) > 0:
            raise CodeRefused("loops while something that is no truth value holds")
        return found

    def step(values: Sequence[Value]) -> list[Value]:
        made = d.call(b["body"], list(_packed(like, values)), {})
        return _tensors(d, made, "loops with a body that gives")

    ends = looped(d.ops.g, start, test, step, limit)  # type: ignore[attr-defined]
    found = _packed(like, ends)
    return found[0] if loose else found


def _loop(args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """``keras.ops.while_loop`` has the limit as its fourth argument."""
    if len(args) > 4 or (len(args) == 4 and not (args[3] is None or isinstance(args[3], int))):
        raise CodeRefused("loops with more than three arguments by position")
    return args[:3], {**kwargs, **({"maximum_iterations": args[3]} if len(args) == 4 else {})}


@_means("keras.ops.fori_loop")
def _for(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    b = argument_values("lower, upper, body_fun, init_val", args, kwargs)
    if not isinstance(b["lower"], int) or not isinstance(b["upper"], int):
        raise CodeRefused("loops over a range that is not known")
    start = _tensors(d, b["init_val"], "loops with")
    g: KerasContext = d.ops.g  # type: ignore[attr-defined]
    state = [g.b.const(b["lower"], DType.INT32), *start]

    def step(values: Sequence[Value]) -> list[Value]:
        made = d.call(b["body_fun"], [values[0], _packed(b["init_val"], values[1:])], {})
        return [d.binary("+", values[0], 1), *_tensors(d, made, "loops with a body that gives")]

    ends = looped(g, state, lambda values: d.compare("<", values[0], b["upper"]), step, None)
    return _packed(b["init_val"], ends[1:])


# ---- recurrence
@_means("keras.backend.rnn")
def _rnn(d: Domain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The last output, all outputs and the last states of a step function over axis 1."""
    b = argument_values(
        "step_function, inputs, initial_states, go_backwards=False, mask=None, constants=None, unroll?, input_length?, "
        "time_major=False, zero_output_for_mask=False, return_all_outputs=True",
        args, kwargs,
    )  # fmt: skip
    g: KerasContext = d.ops.g  # type: ignore[attr-defined]
    x, mask = b["inputs"], b["mask"]
    if d.truth(b["time_major"]) or not d.truth(b["return_all_outputs"]):
        raise CodeRefused("calls K.rnn with the time first, or for its last output alone")
    if not isinstance(x, Value) or (x.rank or 0) < 2:
        raise CodeRefused("calls K.rnn with something else than one tensor of a batch and of time")
    if mask is not None and g.era in ("keras1", "keras2"):
        raise CodeRefused("calls K.rnn with a mask, which Keras 2 treats otherwise in each backend")
    if mask is not None and (not isinstance(mask, Value) or mask.rank != 2):
        raise CodeRefused("calls K.rnn with a mask that is not (batch, time)")
    start = _tensors(d, list(b["initial_states"] or []), "calls K.rnn with")
    more = list(b["constants"] or [])

    def step(now: list[Value], parts: list[Value]) -> tuple[Sequence[Value], Sequence[Value]]:
        made = d.call(b["step_function"], [parts[0], (*now, *more)], {})
        if not isinstance(made, (list, tuple)) or len(made) != 2:
            raise CodeRefused("calls K.rnn with a step that does not give an output and states")
        y = _tensor(d, made[0], "calls K.rnn with a step that gives")
        return _tensors(d, list(made[1]), "calls K.rnn with a step that gives"), [y]

    back = d.truth(b["go_backwards"])
    if mask is not None and mask.dtype is not DType.BOOL:
        raise CodeRefused("calls K.rnn with a mask that is no truth values")
    ends, ys = recur(g, x, start, step, mask=mask, zero=d.truth(b["zero_output_for_mask"]), reverse=back)
    y: Any = d.ops.item(ys, (slice(None), -1))
    return y, ys, ends
