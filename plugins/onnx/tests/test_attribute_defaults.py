"""``onnx.defs`` as the judge of every attribute: one left out means its default, and another value means something else."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from functools import lru_cache
from typing import Any

import onnx
from changed_nodes import Changed, base, change
from onnx import helper
from onnx_kit import load_model, node_cases

from convcore.build.opaque import opaque_problems
from convcore.errors import ConvcoreError
from convcore.ir.graph import Graph
from convcore.ir.text import to_text

ODD = {
    "RNN.activations": "the default names those of two directions, whatever the direction",
    "GRU.direction": "version 1 has the default 'foward'",
    "Dropout.is_test": "older exporters left it out of what was trained; stated as 0 it is refused",
}
"""Defaults that cannot be stated, or not without a refusal."""
ALIKE = {
    "Adam.norm_coefficient_post", "Attention.qk_matmul_output_mode", "DequantizeLinear.axis", "DequantizeLinear.output_dtype",
    "LabelEncoder.default_float", "LabelEncoder.default_string", "LinearAttention.chunk_size", "MaxPool.storage_order",
    "QuantizeLinear.axis", "QuantizeLinear.output_dtype", "QuantizeLinear.precision", "Range.stash_type", "Reshape.allowzero",
    *(f"Reduce{k}.noop_with_empty_axes" for k in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")),
}  # fmt: skip
"""What changes nothing in any of the cases: they lack the output or input that it is of, or state how a result is computed."""


@lru_cache
def cases() -> dict[str, Changed]:
    """A case for each operator and each set of attributes."""
    out: dict[tuple[str, ...], tuple[str, Changed]] = {}
    for c in node_cases():
        b = base(c)
        if b is not None and _schema(b, _version(b)) is not None:
            out.setdefault((b.node.domain, b.node.op_type, *sorted(a.name for a in b.node.attribute)), (c.name, b))
    return dict(out.values())


def _version(case: Changed) -> int:
    return max(o.version for o in case.opsets if o.domain == case.node.domain)


def _schema(case: Changed, version: int) -> Any:
    try:
        return onnx.defs.get_schema(case.node.op_type, version, case.node.domain)
    except onnx.defs.SchemaError:
        return None


def _plain(v: Any) -> Any:
    return (
        v.decode()
        if isinstance(v, bytes)
        else [x.decode() if isinstance(x, bytes) else x for x in v]
        if isinstance(v, (list, tuple))
        else v
    )


def defaults(case: Changed, version: int) -> dict[str, Any]:
    schema = _schema(case, version)
    found = {n: a.default_value for n, a in schema.attributes.items() if a.default_value.type}
    return {n: _plain(helper.get_attribute_value(a)) for n, a in found.items()}


def read(case: Changed) -> str:
    """What is loaded, or why it is not, as text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = load_model(case.model())
        except ConvcoreError as e:
            return f"refused: {e}"
    why = opaque_problems(graph)
    return "refused: " + "; ".join(p.why for p in why) if why else _told(to_text(graph), graph)


def _told(text: str, graph: Graph) -> str:
    """Without what the file said of the node, numbers as close as float32 holds them; with the elements of small constants."""
    lines = [re.sub(r'^(  scope \d+ "node" "[\w.]+").*', r"\1", line) for line in text.splitlines()]
    small = [v.tensor.numpy().tolist() for v in graph.weights.values() if v.tensor is not None and v.tensor.size <= 64]
    return re.sub(r"-?\d+\.\d+(?:e[-+]?\d+)?", lambda m: f"{float(m[0]):.5g}", "\n".join([*lines, str(small)]))


def other(v: Any) -> Any:
    """Another value of the type."""
    if isinstance(v, list):
        return [other(x) for x in v]
    if isinstance(v, str):
        return "NONE_SUCH"
    return v + 1 if v != 0 else 1 if isinstance(v, int) else 0.5


def _stated(case: Changed, version: int) -> Changed:
    for k, v in defaults(case, version).items():
        if k not in {a.name for a in case.node.attribute} and f"{case.node.op_type}.{k}" not in ODD:
            case = change(case, ("attr", k, v))
    return case


@lru_cache
def _as_it_is(name: str) -> str:
    return read(cases()[name])


def test_what_is_left_out_means_its_default() -> None:
    told = {n for n, c in cases().items() if _as_it_is(n) != read(_stated(c, _version(c)))}
    assert not told and len(cases()) > 350


def test_another_value_than_the_default_is_another_thing_or_refused() -> None:
    """Nothing is dropped: what no case tells apart is named."""
    seen: dict[str, bool] = {}
    for name, c in cases().items():
        have = {a.name for a in c.node.attribute}
        for k, v in defaults(c, _version(c)).items():
            if k not in have:
                key = f"{c.node.op_type}.{k}"
                seen[key] = seen.get(key, False) or read(change(c, ("attr", k, other(v)))) != _as_it_is(name)
    assert {k for k, told in seen.items() if not told} == ALIKE and len(seen) > 150


def test_what_older_opsets_leave_out_means_their_default() -> None:
    """The same nodes in every opset that changed the operator and has their attributes."""
    versions: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for s in onnx.defs.get_all_schemas_with_history():
        versions[s.domain, s.name].add(s.since_version)
    read_ones, told = 0, list[str]()
    for name, c in cases().items():
        for v in sorted(n for n in versions[c.node.domain, c.node.op_type] if n < _version(c)):
            older = Changed(c.node, c.arrays, c.constants, [helper.make_opsetid(c.node.domain, v)])
            schema = _schema(older, v)
            if schema is None or any(a.name not in schema.attributes for a in c.node.attribute):
                continue
            found = read(older)
            read_ones += not found.startswith("refused")
            if not found.startswith("refused") and found != read(_stated(older, v)):
                told.append(f"{name} {v}")
    assert not told and read_ones > 550
