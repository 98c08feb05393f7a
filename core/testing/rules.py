"""The round trip of mapping rows, generated from the op declarations.

    from convcore.testing.rules import check_row
    def test_rows():
        for row in MY_RULES.rows():
            check_row(row)

For every sample of the op's declaration, and for variations of it (each mapped attribute in turn takes its choices, the
values of the row's table, numbers of its kind), an IR node is built that the row can express, emitted through a recording
context and loaded back through the row. Op, attributes, inputs and weights must be what they were. A row for which nothing
can be built fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..errors import InputError, ShapeError
from ..interpreter.execute import Interpreter
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..ir.tensors import Tensor
from ..records import dataclass
from ..rules.foreign import ForeignNode, LoadContext
from ..rules.isomorphisms import NotExpressible
from ..rules.rows import Row
from ..rules.values import equal
from .ops import CheckFailed
from .row_examples import sample_nodes
from .samples import same

__all__ = ["RecordingContext", "RowReport", "Schema", "check_row", "sample_nodes"]


@dataclass
class RowReport:
    """What was checked: ``exact`` round trips; ``written`` are the foreign attributes and constant inputs seen in one of them;
    ``reasons`` say why the other candidates were not expressible."""

    row: str
    exact: int = 0
    written: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)


class Schema(Protocol):
    """What a format itself makes of a written node; the plugin gives it to :func:`check_row`.

    The judge is the format's own code, never the row: the real class's constructor and ``get_config`` for Keras, the ATen or
    ONNX schema elsewhere.
    """

    def accept(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        """The node as the format gives it back, with every attribute it has; :class:`CheckFailed` when the format does not take
        it, changes a value that was written, or wants other weights. NotExpressible: the format cannot hold this example."""

    def compute(self, row: Row, written: ForeignNode, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]] | None:
        """What the format computes for the node, None where it cannot be run."""


class RecordingContext:
    """An EmitContext that keeps foreign nodes. A handle is an IR value; constants become weights of the graph."""

    def __init__(self, builder: Builder, version: int | None = None) -> None:
        self.b, self.version = builder, version
        self.nodes: list[ForeignNode] = []

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Nodes added inside go again when an exception leaves it."""
        kept = len(self.nodes)
        try:
            yield
        except BaseException:
            del self.nodes[kept:]
            raise

    def value(self, v: Value, *, carry: object = None) -> Value:
        return v

    def several(self, handles: Sequence[Any]) -> Any:
        return tuple(handles)

    def operand(self, v: Value, other: Value) -> Value:
        return v

    def argument(self, value: Any, near: Sequence[Value]) -> Any:
        """A symbolic size is none here."""
        raise NotExpressible("a size is symbolic")

    def state(self, v: Value, key: str = "", make: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The tensor itself."""
        if v.tensor is None:
            raise NotExpressible(f"{v.name!r} is not a constant")
        return v.tensor if make is None else make(v.tensor)

    def keeps(self, key: str, node: Node) -> bool:
        """Everything is written."""
        return True

    def const(self, value: Any, dtype: Any = None, name: str = "") -> Value:
        return self.b.const(value, dtype, name)

    def sizes(self, dims: Sequence[Any]) -> Value:
        """A constant of int64."""
        if not all(isinstance(n, int) for n in dims):
            raise NotExpressible("a size is symbolic")
        return self.const(list(dims), DType.INT64)

    def call(
        self,
        op: str,
        args: Sequence[Any] = (),
        config: Mapping[str, Any] | None = None,
        *,
        outputs: Sequence[Any] = (),
        n_outputs: int = 1,
        name: str = "",
    ) -> Sequence[Any]:
        """Keep the node; the handles of its results are the values given (or fresh ones)."""
        return self.unit(op, args, config, outputs=outputs, n_outputs=n_outputs, name=name)

    def unit(
        self,
        type: str,
        args: Sequence[Any] = (),
        config: Mapping[str, Any] | None = None,
        states: Mapping[str, Any] | Sequence[Any] = (),
        *,
        outputs: Sequence[Any] = (),
        n_outputs: int = 1,
        name: str = "",
        carry: object = None,
        places: Sequence[tuple[int, str, bool]] = (),
    ) -> Sequence[Any]:
        """Keep the node with its weights, and its configuration by name wherever it is written."""
        args = [x for a in args for x in (a if isinstance(a, tuple) else (a,))]
        made = list(outputs) or [Value(f"{name or type}:{i}", None, None) for i in range(n_outputs)]
        weights = dict(states) if isinstance(states, Mapping) else {str(i): t for i, t in enumerate(states)}
        self.nodes.append(ForeignNode(type, name or type, args, config or {}, weights=weights, version=self.version))
        return made


def check_row(row: Row, schema: Schema | None = None) -> RowReport:
    """Emit and load back everything that can be generated for a row; :class:`CheckFailed` names the first difference.

    With a ``schema`` what is loaded back is not the row's own writing but what the format made of it, and what the format
    computes is compared with the op.
    """
    report = RowReport(f"{row.foreign} -> {row.op_name}")
    version = row.since if row.since is not None else row.until
    for graph, node in sample_nodes(row):
        b = Builder(graph)
        e = RecordingContext(b, version)
        try:
            row.emit(e, node)
        except NotExpressible as why:
            report.reasons.append(f"{_text(node.attrs)}: {why}")
            continue
        if len(e.nodes) != 1:
            raise CheckFailed(f"row {report.row}: emitted {len(e.nodes)} nodes instead of one")
        foreign = e.nodes[0]
        where = f"row {report.row}, {_text(node.attrs)} as {_text(foreign.attrs)}"
        if schema is not None:
            try:
                foreign = schema.accept(row, foreign, node)
            except NotExpressible as why:
                report.reasons.append(f"{_text(node.attrs)}: {why}")
                continue
            _same_results(where, graph, schema.compute(row, foreign, arrays := _arrays(graph)), arrays)
        why_not = row.mismatch(foreign)
        if why_not:
            raise CheckFailed(f"{where}: its own conditions reject it: {why_not}")
        try:
            outputs = row.load(LoadContext(b), foreign)
        except (NotExpressible, ShapeError) as why:
            raise CheckFailed(f"{where}: cannot be loaded: {why}") from why
        if foreign.unread():
            raise CheckFailed(f"{where}: written but not read: {', '.join(foreign.unread())}")
        _compare(where, row, node, outputs)
        report.exact += 1
        report.written |= foreign.attrs.keys() | _constants(row, foreign)
    if not report.exact:
        tried = "; ".join(dict.fromkeys(report.reasons)) or "the op's samples do not fit it"
        raise CheckFailed(f"row {report.row}: no example could be generated: {tried}")
    return report


def _arrays(graph: Graph) -> list[NDArray[Any]]:
    """Values for the graph's inputs in which nothing is special: floats in (0.1, 0.9); the sample's own integers and booleans,
    which may be indices, lengths or masks that must fit."""
    rng = np.random.default_rng(11)
    out = []
    for v in graph.inputs:
        if v.name in graph.metadata["sample"]:
            out.append(graph.metadata["sample"][v.name])
            continue
        dtype = v.dtype.numpy if v.dtype is not None else np.dtype(np.float32)
        shape = tuple(n for n in v.shape or () if isinstance(n, int))
        out.append(rng.uniform(0.1, 0.9, shape).astype(dtype))
    return out


def _same_results(where: str, graph: Graph, found: Sequence[NDArray[Any]] | None, arrays: Sequence[NDArray[Any]]) -> None:
    if found is None:
        return
    try:
        want = Interpreter(graph).run(list(arrays))
    except InputError:  # an attribute was varied, and the sample's indices or lengths no longer fit it
        return
    for a, b in zip(found, want):
        if b.dtype == object:  # strings, sequences of tensors
            why = same(a, b, 1e-4, 1e-5)
            if why:
                raise CheckFailed(f"{where}: the format computes something else than the op: {why}")
        elif a.shape != b.shape or not np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise CheckFailed(f"{where}: the format computes something else than the op")


def _constants(row: Row, foreign: ForeignNode) -> set[str]:
    given = {theirs.rstrip("?"): i for i, (theirs, ours) in enumerate(row.inputs) if ours == "_"}
    return {name for name, i in given.items() if foreign.input(i) is not None}


def _compare(where: str, row: Row, node: Node, outputs: Sequence[Value]) -> None:
    if not outputs or outputs[0].producer is None:
        raise CheckFailed(f"{where}: loading made no node")
    again = outputs[0].producer
    if again.op != node.op:
        raise CheckFailed(f"{where}: came back as {again.op}")
    for key, value in node.attrs.items():
        back = again.attrs[key]
        if value is None and row.decl.attrs[key].training:  # not known, not written: the format's default
            continue
        if row.decl.attrs[key].kind == "axes" and value is not None and back is not None:
            value, back = tuple(sorted(value)), tuple(sorted(back))
        if not equal(back, value) or isinstance(value, bool) is not isinstance(back, bool):
            raise CheckFailed(f"{where}: {key}={value!r} came back as {back!r}")
    wanted = list(node.inputs)
    found = list(again.inputs)
    while wanted and wanted[-1] is None and len(wanted) > len(found):
        wanted.pop()
    while len(wanted) < len(found) and row.decl.inputs[len(wanted) % len(row.decl.inputs)].name in row.fills:
        wanted.append(None)
    if len(found) != len(wanted):
        raise CheckFailed(f"{where}: {len(wanted)} inputs came back as {len(found)}")
    for i, (a, b) in enumerate(zip(wanted, found)):
        if a is b:
            continue
        name = row.decl.inputs[min(i, len(row.decl.inputs) - 1)].name
        if a is None and b is not None and b.tensor is not None and name in row.fills:
            if not np.array_equal(b.tensor.numpy(), np.full(b.shape or (), row.fills[name])):
                raise CheckFailed(f"{where}: {name} is not filled with {row.fills[name]}")
            continue
        if a is None or b is None or a.tensor is None or b.tensor is None:
            raise CheckFailed(f"{where}: input {i} {a!r} came back as {b!r}")
        if not np.array_equal(a.tensor.numpy(), b.tensor.numpy()):
            raise CheckFailed(f"{where}: weight {i} came back changed")
    n = len(again.outputs) if row.decl.variadic_outputs else sum(ours != "_" for _, ours in row.outputs)
    if len(outputs) != n or len(again.outputs) != len(node.outputs):
        raise CheckFailed(f"{where}: {len(node.outputs)} outputs came back as {len(outputs)}")


def _text(attrs: Mapping[str, Any]) -> str:
    return "(" + ", ".join(f"{k}={v}" for k, v in attrs.items()) + ")"
