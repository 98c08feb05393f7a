"""The standard's node cases changed in one place: an attribute, a shape, type or value of an input, one input or output more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
What = Sequence[Any]
TYPES = ("float32", "int64", "bool", "uint8", "float16", "int32", "float64", "int8")
INDEX = 64
"""Inputs of at most so many integers are held as constants, as models do."""


@dataclass
class Changed:
    """A case of one node as it is changed: the node, its inputs (None: left out), which of them are constants."""

    node: onnx.NodeProto
    arrays: list[Array | None]
    constants: list[bool]
    opsets: list[onnx.OperatorSetIdProto]

    def model(self) -> onnx.ModelProto:
        names = [f"x{i}" for i in range(len(self.arrays))]
        node = onnx.NodeProto.FromString(self.node.SerializeToString())
        node.name = "node"
        del node.input[:]
        node.input.extend("" if a is None else n for n, a in zip(names, self.arrays))
        while node.input and not node.input[-1]:
            node.input.pop()
        infos, weights = [], []
        for name, a, constant in zip(names, self.arrays, self.constants):
            if a is not None and constant:
                weights.append(numpy_helper.from_array(a, name))
            elif a is not None:
                infos.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape))
        outs = [helper.make_empty_tensor_value_info(o) for o in node.output if o]
        graph = helper.make_graph([node], "g", infos, outs, weights)
        return helper.make_model(graph, opset_imports=self.opsets, ir_version=10)

    def feed(self) -> dict[str, Array]:
        return {f"x{i}": a for i, (a, c) in enumerate(zip(self.arrays, self.constants)) if a is not None and not c}


def base(case: Any) -> Changed | None:
    """A case of one node over tensors, else None."""
    g = case.model.graph
    if len(g.node) != 1 or g.initializer or not case.data_sets or any(a.type in (5, 10) for a in g.node[0].attribute):
        return None
    given = dict(zip((i.name for i in g.input), case.data_sets[0][0]))
    arrays = [None if not n else given.get(n) for n in g.node[0].input]
    if any(n and not isinstance(given.get(n), (np.ndarray, np.generic)) for n in g.node[0].input):
        return None
    arrays = [None if a is None else np.asarray(a) for a in arrays]
    if any(a is not None and (a.dtype.kind not in "fiubUO" or a.size > 4096) for a in arrays):
        return None
    arrays = [a.astype(object) if a is not None and a.dtype.kind == "U" else a for a in arrays]
    constants = [i > 0 and a is not None and a.dtype.kind in "iu" and a.size <= INDEX for i, a in enumerate(arrays)]
    return Changed(g.node[0], arrays, constants, list(case.model.opset_import))


def changes(case: Changed) -> Iterator[What]:
    """What can be changed."""
    for i, a in enumerate(case.arrays):
        if a is None:
            continue
        yield ("drop", i)
        shapes = {(*a.shape, 2), (1, *a.shape), a.shape[:-1], a.shape[1:], (), (3,), a.shape[::-1], (2, 2, 2)}
        for k in range(a.ndim):
            shapes |= {(*a.shape[:k], n, *a.shape[k + 1 :]) for n in (a.shape[k] + 1, 0)}
        for s in sorted(shapes - {a.shape}):
            yield ("shape", i, list(s))
        for t in TYPES:
            if a.dtype != object and str(a.dtype) != t:
                yield ("type", i, t)
        if case.constants[i]:
            yield ("late", i)
        elif a.dtype.kind in "iu" and a.size <= INDEX:
            yield ("value", i, -1)
        if case.constants[i] or a.ndim == 0:
            for v in (0, 1, -1, -9, 99):
                yield ("value", i, v)
                for k in range(min(a.size, 3) if a.size > 1 else 0):
                    yield ("value", i, v, k)
    yield ("more",)
    yield ("output",)
    yield ("attr", "strange", 1)
    schema = (
        onnx.defs.get_schema(case.node.op_type, max(o.version for o in case.opsets), case.node.domain)
        if (onnx.defs.has(case.node.op_type, case.node.domain))
        else None
    )
    now = {a.name: helper.get_attribute_value(a) for a in case.node.attribute}
    for name, attr in sorted((schema.attributes if schema else {}).items()):
        default = helper.get_attribute_value(attr.default_value) if attr.default_value.type else None
        for v in _values(now.get(name, default), str(attr.type)):
            yield ("attr", name, v)
        if name in now:
            yield ("without", name)


def change(case: Changed, what: What) -> Changed:
    node = onnx.NodeProto.FromString(case.node.SerializeToString())
    arrays, constants = list(case.arrays), list(case.constants)
    kind = what[0]
    if kind in ("shape", "type", "value"):
        a = arrays[what[1]]
        assert a is not None
        if kind == "shape":
            a = (
                np.full(what[2], "", object)
                if a.dtype == object
                else np.resize(a, what[2])
                if a.size
                else np.zeros(what[2], a.dtype)
            )
        elif kind == "type":
            a = a.astype(what[2])
        else:
            a = a.copy()
            a.reshape(-1)[what[3] if len(what) > 3 else slice(None)] = a.dtype.type(
                what[2] % 256 if a.dtype.kind == "u" else what[2]
            )
        arrays[what[1]] = a
    elif kind == "drop":
        arrays[what[1]] = None
    elif kind == "late":
        constants[what[1]] = False
    elif kind == "more":
        arrays.append(np.zeros(3, np.float32))
        constants.append(False)
    elif kind == "output":
        node.output.append("another")
    else:
        kept = [a for a in node.attribute if a.name != what[1]]
        del node.attribute[:]
        node.attribute.extend(kept)
        if kind == "attr":
            node.attribute.append(helper.make_attribute(what[1], what[2]))
    return Changed(node, arrays, constants, case.opsets)


def _values(v: Any, kind: str) -> list[Any]:
    if isinstance(v, bytes):
        v = v.decode()
    if isinstance(v, (list, tuple)) and len(v):
        v = [x.decode() if isinstance(x, bytes) else x for x in v]
        out: list[Any] = [[*v, v[-1]], v[::-1], v[0]]
        out += [v[:-1]] if len(v) > 1 else []
        for i, x in enumerate(v):
            out += [[*v[:i], n, *v[i + 1 :]] for n in _values(x, "")[:5] if type(n) is type(x)]
        return [o for o in out if o != v]
    if isinstance(v, int):
        return [0, -1, -9, 99, v + 1, 2 * v + 2, "x", 0.5, [v]]
    if isinstance(v, float):
        return [0.0, -1.0, float("nan"), 1.5, "x", [v]]
    if isinstance(v, str):
        return ["x", "", v.upper(), v.lower(), 1]
    if kind.endswith(".INT"):
        return [0, 1, -1, 99]
    if kind.endswith(".INTS"):
        return [[0], [1, 1], [-1], [2, 2], [2, 2, 2], 3]
    if kind.endswith(".FLOAT"):
        return [0.0, -1.0, 1.5]
    if kind.endswith(".FLOATS"):
        return [[0.0], [1.0, 2.0]]
    if kind.endswith(".STRING"):
        return ["x"]
    return []
