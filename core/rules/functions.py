"""Rules that are functions, and what a rule set does with any rule: order, conflicts, the user's own, text and data of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ConvcoreError, PluginConflictError, UnsupportedError, UsageError, ask_override
from ..ir.graph import Node, Value
from ..records import dataclass
from .foreign import EmitContext, ForeignNode, LoadContext
from .isomorphisms import NotExpressible
from .rows import Row

__all__ = ["EmitFunction", "LoadFunction"]

LoadFn = Callable[[Any, Any], Any]
EmitFn = Callable[[Any, Node], Any]
PostFn = Callable[[Any, Any, Value], Value]
PreFn = Callable[[Any, Any, Sequence[str]], Any]


@dataclass(frozen=True, eq=False)
class LoadFunction:
    """An n-to-m load rule: ``fn(g, node)`` returns the output value or a sequence of them."""

    foreign: str
    fn: LoadFn
    since: int | None = None
    until: int | None = None
    when: Mapping[str, Any] = None  # type: ignore[assignment]
    priority: int = 0
    distribution: str = "convcore"
    then: tuple[str, ...] = ()
    direction: str = "load"

    def mismatch(self, node: ForeignNode) -> str:
        return Row.mismatch(self, node)  # type: ignore[arg-type]

    def load(self, g: LoadContext, node: ForeignNode) -> tuple[Value, ...]:
        if self.when:
            node.ignore(*self.when)
        result = self.fn(g, node)
        return (result,) if isinstance(result, Value) else tuple(result)


@dataclass(frozen=True, eq=False)
class EmitFunction:
    """An emit rule: ``fn(e, node)`` adds foreign nodes; it raises NotExpressible when it does not apply."""

    op_name: str
    fn: EmitFn
    since: int | None = None
    until: int | None = None
    priority: int = 0
    distribution: str = "convcore"
    direction: str = "emit"
    when: Mapping[str, Any] = None  # type: ignore[assignment]

    def emit(self, e: EmitContext, node: Node) -> None:
        self.fn(e, node)


LoadRule = Row | LoadFunction
EmitRule = Row | EmitFunction


def joined(unmet: Sequence[str]) -> list[str]:
    """Reasons that differ in what a rule wants of the same attribute as one of them."""
    by_start: dict[str, list[str]] = {}
    for why in dict.fromkeys(unmet):
        start, wants, rest = why.partition(", the rule wants ")
        by_start.setdefault(start + wants, []).append(rest)
    return [start + " or ".join(dict.fromkeys(rests)) for start, rests in by_start.items()]


def overridden(g: LoadContext, node: ForeignNode, key: str, fn: LoadFn) -> tuple[Value, ...]:
    """What a function of the user's makes of a node."""
    try:
        with g.b.attempt():
            made = fn(g, node)
            values = (made,) if isinstance(made, Value) else made
            if not isinstance(values, (tuple, list)) or not all(isinstance(v, Value) for v in values):
                given = type(made).__name__ if made is not None else "None"
                raise UsageError(
                    f"the override for {key!r} returned {given} at layer {node!r}: it must return what the layer gives, a value "
                    f"made with g.b, or several in a tuple{_place(fn)}"
                )
            return tuple(values)
    except (UsageError, UnsupportedError, NotExpressible):
        raise
    except Exception as e:  # the user's code, and shapes that do not fit in it
        raise UsageError(f"the override for {key!r} failed at layer {node!r}: {type(e).__name__}: {e}{_place(fn, e)}") from e


def written(e: EmitContext, node: Node, key: str, fn: EmitFn) -> str:
    """Let a function of the user's write a node; "" or why it gives up."""
    try:
        with e.attempt():
            fn(e, node)
            _whole(e, node, key, fn)
    except NotExpressible as err:
        return str(err)
    except ConvcoreError:
        raise
    except Exception as err:  # the user's code
        raise UsageError(
            f"the override for {key!r} failed at layer {node.origin}: {type(err).__name__}: {err}{_place(fn, err)}"
        ) from err
    return ""


def _whole(e: EmitContext, node: Node, key: str, fn: EmitFn) -> None:
    """UsageError where a function has not written what others use of its node."""
    for v in node.outputs:
        if v.users or v.is_output:
            try:
                e.value(v, carry=True)
            except NotExpressible:
                raise UsageError(
                    f"the override for {key!r} wrote nothing for {v.name!r} at layer {node.origin}: it must write what the op "
                    f"gives, by e.call or e.alias{_place(fn)}"
                ) from None


def _place(fn: Any, error: BaseException | None = None) -> str:
    """`` (layers.py, line 3)``: the last line of the function's own file that an error came through, else where it begins."""
    code = getattr(getattr(fn, "__func__", fn), "__code__", None)
    if code is None:
        return ""
    line, trace = code.co_firstlineno, None if error is None else error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" ({code.co_filename.replace(chr(92), '/').rpartition('/')[2]}, line {line})"


def described(rule: LoadRule | EmitRule) -> str:
    """A rule by what its author can find: the row, or the function."""
    if isinstance(rule, Row):
        return f"the row {rule.foreign} = {rule.op_name}"
    return f"the rule {rule.fn.__module__}.{rule.fn.__qualname__}"


def function_json(rule: LoadFunction | EmitFunction, direction: str) -> dict[str, Any]:
    return {
        "function": f"{rule.fn.__module__}:{rule.fn.__qualname__}",
        "direction": direction,
        "since": rule.since,
        "until": rule.until,
        "distribution": rule.distribution,
    }


def no_conflict(framework: str, key: str, old: Sequence[Any], new: Sequence[Any]) -> None:
    for a in old:
        for b in new:
            if a.distribution != b.distribution and a.priority == b.priority and dict(a.when or {}) == dict(b.when or {}):
                raise PluginConflictError(
                    f"{framework}: {a.distribution} and {b.distribution} both have a rule for {key!r} with priority "
                    f"{a.priority}; give one of them a higher priority, or {ask_override(key)}"
                )


def ordered(rules: Sequence[Any], version: int | None, direction: str) -> list[Any]:
    """The rules of a version in the order in which they are tried: by priority, then by how much they say; of two that say as
    much, a layer is written before a function (Keras's ``Add`` before ``keras.ops.add``), whichever was declared first."""
    fit = [
        r for r in rules
        if version is None or ((r.since is None or r.since <= version) and (r.until is None or version <= r.until))
    ]  # fmt: skip

    def worth(r: Any) -> tuple[Any, ...]:
        said = -r.priority, -len(r.when or ()), -len(getattr(r, "mapping", ()) or ()), -(r.since or 0)
        return *said, direction == "emit" and getattr(r, "call", None) is not None

    return sorted(fit, key=worth)
