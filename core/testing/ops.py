"""Checks of op declarations against themselves.

    from convcore.testing import check_op
    def test_my_op():
        check_op(MY_OPS.ops["my_op"])

For every sample of the declaration: the inferred dtypes and shapes are those of the reference's results; the body computes
the same; with sizes of the inputs replaced by names, one axis at a time and all equal sizes together, the inferred shapes
evaluate to the same numbers, and the body built from named sizes still computes the same. The declared traits hold. The axis
rule names attributes of a fitting kind; whether the axis rule is *true* is the matter of ``convcore.testing.axes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..build.builder import Builder
from ..errors import ConvcoreError, ShapeError
from ..interpreter.execute import Interpreter
from ..ir.dims import Dim, Shape, evaluate, shape_text
from ..ir.dtypes import DType, type_of
from ..ir.graph import Graph, Node, Value
from ..opset import find_op, op
from ..opset.axes import Axes, Axis, Insert, Layout, Letters, PerAxis, Perm, Pick, Remove, Reshape
from ..opset.declare import Op, Sample
from ..records import dataclass
from .failed import CheckFailed
from .traits import check_declared, check_traits

__all__ = ["CheckFailed", "OpReport", "check_axis_rule", "check_op", "check_sample", "compare", "run_body", "run_op"]

Array = NDArray[Any]
TOLERANCE = 1e-5


@dataclass
class OpReport:
    """What was checked. ``refused`` lists the named-size cases that the op refuses, ``unknown`` those whose result has an
    unknown size: both are allowed, but every one costs a model with dynamic sizes."""

    op: str
    samples: int = 0
    symbolic: int = 0
    bodies: int = 0
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def check_op(decl: Op, *, tolerance: float = TOLERANCE) -> OpReport:
    """Check a declaration with all of its samples; raises :class:`CheckFailed`.

    ``tolerance`` bounds the difference between body and reference relative to the largest absolute value of the reference.
    Ops with regions have no samples: only their axis rule is checked.
    """
    report = OpReport(decl.name)
    check_axis_rule(decl)
    check_declared(decl)
    if not decl.samples and not decl.regions:
        raise CheckFailed(f"op {decl.name} has no samples")
    for i, sample in enumerate(decl.samples):
        check_sample(decl, sample, label=f"{decl.name}, sample {i}", tolerance=tolerance, report=report)
        check_traits(decl, sample, label=f"{decl.name}, sample {i}")
    return report


def check_sample(
    decl: Op, sample: Sample, *, label: str = "", tolerance: float = TOLERANCE, report: OpReport | None = None
) -> OpReport:
    """Check one sample of a declaration; see :func:`check_op`."""
    label = label or decl.name
    report = report or OpReport(decl.name)
    if find_op(decl.name) is not decl:
        raise CheckFailed(f"op {decl.name} is not registered (or another declaration has its name): call register first")
    arrays = sample.arrays()
    feed = [a for a in arrays if a is not None]
    node = _build(decl, sample, arrays, [None if a is None else a.shape for a in arrays])
    truth = _run(label, node, feed)
    for v, a in zip(node.outputs, truth):
        _check_inferred(f"{label}, output {v.name}", v, a, {})
    report.samples += 1
    if decl.body is not None:
        compare(f"{label}: body against reference", _run_body(label, decl, node, feed), truth, tolerance)
        report.bodies += 1
    for what, shapes, env in _named_sizes(arrays):
        case = f"{label} with {what}"
        try:
            symbolic = _build(decl, sample, arrays, shapes)
        except ShapeError as e:
            report.refused.append(f"{case}: {e}")
            continue
        report.symbolic += 1
        for v, a in zip(symbolic.outputs, truth):
            _check_inferred(f"{case}, output {v.name}", v, a, env)
            if v.shape is None or None in v.shape:
                report.unknown.append(f"{case}: {v}")
        if decl.body is not None:
            try:
                body = _body(decl, symbolic)
            except ShapeError as e:
                report.refused.append(f"{case}, body: {e}")
                continue
            got = Interpreter(body).run(feed)
            compare(f"{case}: body against reference", got, truth, tolerance)
            for v, a in zip(body.outputs, truth):
                _check_inferred(f"{case}, output {v.name} of the body", v, a, env)
            report.bodies += 1
    return report


def compare(label: str, got: Sequence[Array], truth: Sequence[Array], tolerance: float) -> None:
    """Equal shapes and dtypes; floats within ``tolerance`` of the range of the truth, everything else equal."""
    if len(got) != len(truth):
        raise CheckFailed(f"{label}: {len(got)} results instead of {len(truth)}")
    for i, (a, b) in enumerate(zip(got, truth)):
        if b.dtype == object and any(isinstance(x, np.ndarray) for x in b.reshape(-1)):
            if len(a) != len(b):
                raise CheckFailed(f"{label}: result {i} has {len(a)} elements instead of {len(b)}")
            compare(f"{label}: result {i}", list(a), list(b), tolerance)
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            raise CheckFailed(f"{label}: result {i} is {a.dtype}{list(a.shape)} instead of {b.dtype}{list(b.shape)}")
        if b.dtype.kind in "biuO":
            if not np.array_equal(a, b):
                raise CheckFailed(f"{label}: result {i} differs in {int((a != b).sum())} of {b.size} elements")
            continue
        finite = np.isfinite(b.astype(np.float64) if b.dtype.kind != "c" else b)
        if not np.array_equal(finite, np.isfinite(a.astype(np.float64) if a.dtype.kind != "c" else a)):
            raise CheckFailed(f"{label}: result {i} is finite at other places")
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            raise CheckFailed(f"{label}: result {i} has other infinities or NaNs")
        if finite.any():
            scale = float(np.abs(b[finite]).max())
            worst = float(np.abs(a[finite] - b[finite]).max())
            if worst > tolerance * max(scale, float(np.finfo(np.float32).tiny)):
                raise CheckFailed(f"{label}: result {i} differs by {worst:.3g} at a range of {scale:.3g}")


def check_axis_rule(decl: Op) -> None:
    """The axis rule names inputs, outputs and attributes the op has, of a kind the rule can rewrite."""
    rule = decl.axes

    def attr(name: str, *kinds: str) -> None:
        a = decl.attrs.get(name)
        if a is None or a.kind not in kinds:
            has = "has none of that name" if a is None else f"that is of kind {a.kind}"
            raise CheckFailed(f"op {decl.name}: its axis rule rewrites the attribute {name!r}, {has}, needs {' or '.join(kinds)}")

    names = {a.name for a in decl.inputs}
    for name in (*rule.fixed, *getattr(rule, "along", ()), *getattr(rule, "absorbs_in", ()), *getattr(rule, "absorbs_out", ())):
        if name not in names:
            raise CheckFailed(f"op {decl.name}: its axis rule names the input {name!r}, which it lacks")
    if isinstance(rule, Axis):
        attr(rule.attr, "axis")
    elif isinstance(rule, Axes):
        attr(rule.attr, "axes", "axis", "ints")
        if isinstance(rule.keepdims, str):
            attr(rule.keepdims, "bool")
    elif isinstance(rule, PerAxis):
        for name in rule.attrs:
            attr(name, "pairs", "pads", "ints", "floats", "shape", "dims", "any")
    elif isinstance(rule, Perm):
        attr(rule.attr, "perm")
    elif isinstance(rule, (Insert, Remove)):
        attr(rule.attr, "axes", "ints", "int", "axis")
    elif isinstance(rule, Pick):
        attr(rule.attr, "axis")
        if rule.index not in rule.fixed:
            raise CheckFailed(f"op {decl.name}: its axis rule picks by {rule.index!r}, which is not fixed")
    elif isinstance(rule, Letters):
        attr(rule.attr, "str")
    elif isinstance(rule, Reshape):
        attr(rule.attr, "shape")
    elif isinstance(rule, Layout):
        attr(rule.attr, "str")
        choices = set(decl.attrs[rule.attr].choices)
        if choices != set(rule.forms):
            raise CheckFailed(
                f"op {decl.name}: its axis rule knows the layouts {sorted(rule.forms)}, the attribute {sorted(choices)}"
            )
        for form, orders in rule.forms.items():
            unknown = set(orders) - names - set(decl.outputs)
            if unknown:
                raise CheckFailed(f"op {decl.name}: layout {form} names {sorted(unknown)}, neither inputs nor outputs")


def _build(decl: Op, sample: Sample, arrays: Sequence[Array | None], shapes: Sequence[Shape | None]) -> Node:
    """A graph of the one node, over inputs of the given shapes; the node."""
    g = Graph(decl.name)
    b = Builder(g)
    ins: list[Value | None] = []
    for i, (a, s) in enumerate(zip(arrays, shapes)):
        arg = decl.inputs[min(i, len(decl.inputs) - 1)]
        t = None if a is None else type_of(a)
        ins.append(None if t is None else b.input(arg.name, t, None if t.is_container else s))
    node = b.node(decl.name, ins, sample.attrs)
    g.outputs = list(node.outputs)
    return node


def run_op(name: str, *arrays: Array | None, **attrs: Any) -> list[Array]:
    """The results of one op's reference on arrays (None for an omitted input), through the builder and the interpreter."""
    return _run(name, *_on_arrays(name, arrays, attrs))


def run_body(name: str, *arrays: Array | None, **attrs: Any) -> list[Array]:
    """The results of one op's body on arrays."""
    node, feed = _on_arrays(name, arrays, attrs)
    return _run_body(name, op(name), node, feed)


def _on_arrays(name: str, arrays: Sequence[Array | None], attrs: Mapping[str, Any]) -> tuple[Node, list[Array]]:
    given = [None if a is None else np.asarray(a) for a in arrays]
    node = _build(op(name), Sample(**attrs), given, [None if a is None else a.shape for a in given])
    return node, [a for a in given if a is not None]


def _run(label: str, node: Node, feed: Sequence[Array]) -> list[Array]:
    def counted(n: Node, results: Sequence[Array]) -> None:
        if len(results) != len(n.outputs):
            raise CheckFailed(f"{label}: infers {len(n.outputs)} outputs, the reference gives {len(results)}")

    assert node.graph is not None  # _build made it there
    try:
        return Interpreter(node.graph).run(feed, watch=counted)
    except ConvcoreError as e:
        raise CheckFailed(f"{label}: the reference fails: {e}") from e


def _body(decl: Op, node: Node) -> Graph:
    """The body of ``node`` over inputs declared like the node's."""
    g = Graph(f"{decl.name} body")
    b = Builder(g)
    ins = [None if v is None or v.dtype is None else b.input(v.name, v.dtype, v.shape) for v in node.inputs]
    while len(ins) < len(decl.inputs) and not decl.inputs[-1].variadic:
        ins.append(None)
    if decl.body is None:
        raise CheckFailed(f"op {decl.name} has no body")
    out = decl.body(b, *ins, **node.attrs)
    g.outputs = list(out) if isinstance(out, (tuple, list)) else [out]
    return g


def _run_body(label: str, decl: Op, node: Node, feed: Sequence[Array]) -> list[Array]:
    try:
        return Interpreter(_body(decl, node)).run(feed)
    except ConvcoreError as e:
        raise CheckFailed(f"{label}: the body fails: {e}") from e


def _check_inferred(label: str, v: Value, a: Array, env: Mapping[str, int]) -> None:
    if v.dtype is not None and v.dtype.is_container:
        if a.dtype != object or (v.dtype.is_sequence and any(DType.of(x.dtype) is not v.dtype.element for x in a)):
            raise CheckFailed(f"{label}: inferred {v.dtype}, computed something else")
        return
    if v.dtype is not None and DType.of(a.dtype) != v.dtype:
        raise CheckFailed(f"{label}: inferred {v.dtype}, computed {a.dtype}")
    if v.shape is None:
        return
    sizes = []
    for d in v.shape:
        if isinstance(d, Dim) and not d.names <= env.keys():
            raise CheckFailed(f"{label}: the inferred shape {shape_text(v.shape)} has names that no input has")
        sizes.append(None if d is None else evaluate(d, env))
    if len(sizes) != a.ndim or any(s is not None and s != n for s, n in zip(sizes, a.shape)):
        where = "".join(f", {k}={n}" for k, n in env.items())
        raise CheckFailed(f"{label}: inferred {shape_text(v.shape)}{where}, computed {list(a.shape)}")


def _named_sizes(arrays: Sequence[Array | None]) -> Iterator[tuple[str, list[Shape | None], dict[str, int]]]:
    """Shapes with one axis of one input named, then with all axes of one size named alike."""
    plain: list[Shape | None] = [None if a is None else a.shape for a in arrays]
    sizes = Counter[int]()
    for i, a in enumerate(arrays):
        for axis, n in enumerate(() if a is None or type_of(a).is_container else a.shape):
            sizes[n] += 1
            shapes = list(plain)
            shapes[i] = (*a.shape[:axis], Dim("S"), *a.shape[axis + 1 :]) if a is not None else None
            yield f"axis {axis} of input {i} named", shapes, {"S": n}
    for n, count in sizes.items():
        if count > 1 and n > 1:
            named = [None if s is None else tuple(Dim("S") if d == n else d for d in s) for s in plain]
            yield f"every size {n} named", named, {"S": n}
