"""The graph of a ``.pt2`` archive: nodes, arguments, what is known of values.

Source: torch/_export/serde/schema.py, torch 2.13.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from convcore.plugin import BadFileError

from . import limits
from .elements import BY_EXPORT
from .jsons import field
from .program import Argument, Constant, Device, ElementType, Graph, Node, Ref, Scope, SymValue, TensorValue
from .symbols import Expr, parse_expr

__all__ = ["argument_value", "read_graph", "sizes", "tensor_value"]

_LAYOUTS = ["unknown", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "_mkldnn", "strided"]
_FORMATS = ["unknown", "contiguous_format", "channels_last", "channels_last_3d", "preserve_format"]


def read_graph(entry: Any, name: str, where: str, depth: int) -> Graph:
    """A graph, checked: names made once, before they are used."""
    if depth > limits.DEPTH:
        raise BadFileError(f"{where}: graphs nested more than {limits.DEPTH} deep")
    here = f"{where}: graph {name}" if name else where
    nodes = tuple(_node(n, here, depth) for n in field(entry, "nodes", list, here))
    inputs = [argument_value(a, here, depth) for a in field(entry, "inputs", list, here)]
    outputs = tuple(argument_value(a, here, depth) for a in field(entry, "outputs", list, here))
    graph = Graph(name, tuple(v.name for v in inputs if isinstance(v, Ref)), outputs, nodes, _values(entry, here))
    graph.check(here)
    return graph


def _values(entry: Any, where: str) -> dict[str, TensorValue | SymValue]:
    values: dict[str, TensorValue | SymValue] = {}
    for name, told in field(entry, "tensor_values", dict, where).items():
        values[name] = tensor_value(told, f"{where}: {name!r}")
    for kind in ("int", "float", "bool"):
        for name, told in field(entry, f"sym_{kind}_values", dict, where, {}).items():
            values[name] = SymValue(kind, _number(told, kind, f"{where}: {name!r}"))
    return values


def tensor_value(entry: Any, where: str) -> TensorValue:
    """Type, shape and strides of a tensor."""
    code = field(entry, "dtype", int, where)
    if code not in BY_EXPORT:
        raise BadFileError(f"{where}: element type number {code} is not read")
    if field(entry, "layout", int, where, 7) != 7:
        raise BadFileError(f"{where}: a tensor that is not strided (a sparse one)")
    shape, strides = (sizes(field(entry, k, list, where), where) for k in ("sizes", "strides"))
    device = field(field(entry, "device", dict, where, {}), "type", str, where, "cpu")
    return TensorValue(BY_EXPORT[code].name, shape, strides, field(entry, "requires_grad", bool, where, False), device)


def sizes(entries: list[Any], where: str) -> tuple[int | Expr, ...]:
    """Sizes: integers and expressions."""
    return tuple(_number(e, "int", where) for e in entries)


def _number(entry: Any, kind: str, where: str) -> Any:
    if isinstance(entry, dict) and entry.get("as_expr") is not None:
        return parse_expr(field(field(entry, "as_expr", dict, where), "expr_str", str, where), where)
    kinds: dict[str, type | tuple[type, ...]] = {"int": int, "float": (float, int, str), "bool": bool}
    value = field(entry, f"as_{kind}", kinds[kind], where)
    return _real(value, where) if kind == "float" else value


def _real(value: Any, where: str) -> float:
    """A float; JSON has no infinity: torch writes it as text, or (2.6) as the words Python reads."""
    if isinstance(value, str):
        if value not in ("Infinity", "-Infinity", "NaN"):
            raise BadFileError(f"{where}: {value[:40]!r} is no number")
        return math.nan if value == "NaN" else math.copysign(math.inf, -1 if value[0] == "-" else 1)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadFileError(f"{where}: a number is due, not a {type(value).__name__}")
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise BadFileError(f"{where}: a number beyond {sys.float_info.max}")
    return float(value)


# ---------------------------------------------------------------- arguments
def argument_value(entry: Any, where: str, depth: int) -> Any:
    """The value of an argument, whatever its kind."""
    if not isinstance(entry, dict) or len(entry) != 1:
        raise BadFileError(f"{where}: an argument without exactly one value")
    ((kind, value),) = entry.items()
    if kind == "as_none":
        return None
    read = _SIMPLE.get(kind)
    if read is not None:
        return read(value, where)
    if kind == "as_graph":
        return read_graph(field(value, "graph", dict, where), field(value, "name", str, where), where, depth + 1)
    if kind == "as_optional_tensor":
        return argument_value(value, where, depth)
    if kind == "as_optional_tensors":
        return [argument_value(v, where, depth) for v in _list(value, where)]
    if kind == "as_string_to_argument" and isinstance(value, dict) and depth < limits.DEPTH:
        return {k: argument_value(v, where, depth + 1) for k, v in value.items()}
    raise BadFileError(f"{where}: an argument of unknown kind {kind[:40]!r}")


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadFileError(f"{where}: a list is due, not a {type(value).__name__}")
    return value


def _typed(kind: type) -> Any:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadFileError(f"{where}: an argument is a {type(value).__name__} where {kind.__name__} is due")
        return value

    return read


def _ref(value: Any, where: str) -> Ref:
    return Ref(field(value, "name", str, where))


def _sym(kind: str) -> Any:
    def read(value: Any, where: str) -> Any:
        if isinstance(value, dict) and value.get("as_name") is not None:
            return Ref(field(value, "as_name", str, where))
        return _number(value, kind, where)

    return read


def _each(read: Any) -> Any:
    return lambda value, where: [read(v, where) for v in _list(value, where)]


def _dtype(value: Any, where: str) -> ElementType:
    if type(value) is not int or value not in BY_EXPORT:
        raise BadFileError(f"{where}: element type number {value!r:.20} is not read")
    return ElementType(BY_EXPORT[value].name)


def _named(kind: str, names: list[str]) -> Any:
    def read(value: Any, where: str) -> Constant:
        if type(value) is not int or not 0 <= value < len(names):
            raise BadFileError(f"{where}: {kind} number {value!r:.20} is unknown")
        return Constant(kind, names[value])

    return read


def _device(value: Any, where: str) -> Device:
    return Device(field(value, "type", str, where), field(value, "index", int, where, None))


def _complex(value: Any, where: str) -> complex:
    real, imag = (_real(value.get(k) if isinstance(value, dict) else None, where) for k in ("real", "imag"))
    return complex(real, imag)


def _operator(value: Any, where: str) -> Constant:
    return Constant("operator", _target(_typed(str)(value, where)))


def _object(value: Any, where: str) -> Ref:
    return Ref(field(value, "name", str, where))


_SIMPLE: dict[str, Any] = {
    "as_tensor": _ref,
    "as_tensors": _each(_ref),
    "as_nested_tensors": _each(_each(_ref)),
    "as_int": _typed(int),
    "as_ints": _each(_typed(int)),
    "as_int_lists": _each(_each(_typed(int))),
    "as_float": _real,
    "as_floats": _each(_real),
    "as_float_lists": _each(_each(_real)),
    "as_bool": _typed(bool),
    "as_bools": _each(_typed(bool)),
    "as_string": _typed(str),
    "as_strings": _each(_typed(str)),
    "as_sym_int": _sym("int"),
    "as_sym_ints": _each(_sym("int")),
    "as_sym_float": _sym("float"),
    "as_sym_floats": _each(_sym("float")),
    "as_sym_bool": _sym("bool"),
    "as_sym_bools": _each(_sym("bool")),
    "as_scalar_type": _dtype,
    "as_layout": _named("layout", _LAYOUTS),
    "as_memory_format": _named("memory_format", _FORMATS),
    "as_device": _device,
    "as_complex": _complex,
    "as_operator": _operator,
    "as_custom_obj": _object,
}


# ---------------------------------------------------------------- nodes
def _target(text: str) -> str:
    return text.removeprefix("torch.ops.").removeprefix("#")


def _node(entry: Any, where: str, depth: int) -> Node:
    target = _target(field(entry, "target", str, where))
    here = f"{where}: {field(entry, 'name', str, where, None) or target}"
    arguments = []
    for told in field(entry, "inputs", list, here):
        value = argument_value(field(told, "arg", dict, here), here, depth)
        arguments.append(Argument(field(told, "name", str, here), value, field(told, "kind", int, here, 1) == 2))
    outputs = tuple(_result(argument_value(o, here, depth), here) for o in field(entry, "outputs", list, here))
    metadata = field(entry, "metadata", dict, here, {})
    return Node(
        field(entry, "name", str, here, None) or next((o for o in outputs if isinstance(o, str)), ""),
        target,
        tuple(arguments),
        outputs,
        _scopes(field(metadata, "nn_module_stack", str, here, "")),
        field(metadata, "torch_fn", str, here, ""),
        field(metadata, "stack_trace", str, here, ""),
        field(entry, "is_hop_single_tensor_return", bool, here, False),
    )


def _result(value: Any, where: str) -> str | tuple[str, ...] | None:
    if value is None or isinstance(value, Ref):
        return None if value is None else value.name
    if isinstance(value, list) and all(isinstance(v, Ref) for v in value):
        return tuple(v.name for v in value)
    raise BadFileError(f"{where}: a result that is no value")


def _scopes(text: str) -> tuple[Scope, ...]:
    """``key,path,class;...``: the key ends in ``@n`` for the n-th further call of a module. Paths may hold commas."""
    scopes = []
    for entry in text.split(";"):
        parts = entry.split(",")
        half = (len(parts) - 1) // 2
        if len(parts) < 3 or len(parts) % 2 == 0 or parts[0].startswith("_empty_nn_module_stack"):
            continue
        key, path = ",".join(parts[:half]), ",".join(parts[half : 2 * half])
        call = key.rpartition("@")[2] if "@" in key else "0"
        scopes.append(Scope(path.partition("@")[0], parts[-1], int(call) if call.isdecimal() and len(call) < 9 else 0))
    return tuple(scopes)
