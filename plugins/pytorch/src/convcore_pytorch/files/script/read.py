"""The program of a TorchScript archive."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from typing import Any

from convcore.plugin import BadFileError, UsageError

from .. import limits
from ..archive import Archive
from ..containers import big_endian, unpickle_member
from ..identify import kind_of
from ..objects import Instance
from ..program import Graph, Input, Output, Program
from ..storage import Region
from .source import Source, type_text
from .statements import Statements
from .values import Module, Sym, as_argument, fixed

__all__ = ["read_torchscript"]


def read_torchscript(
    path: str | os.PathLike[str], method: str = "forward", arguments: Mapping[str, Any] | None = None
) -> Program:
    """The program of a TorchScript file, by one of its methods. Nothing is executed.

    ``arguments`` fixes some of the method's arguments to plain values (a sample rate, a flag), and attributes, by their dotted
    paths, that it sets; arguments left out that have a plain default (None, a number, a text) are fixed to it. The rest are the
    program's inputs, in the method's order; a tuple argument is one input per part. Attributes that the method sets are inputs of
    kind ``attribute`` and outputs of kind ``attribute_mutation``; fixed ones are outputs, too.
    BadFileError: unreadable; UnsupportedError: what has no form here; UsageError: no such method.
    """
    name = os.fsdecode(path)
    region = Region.of(name)
    kind = kind_of(name, region)
    if kind is None or kind.name != "torchscript":
        raise BadFileError(f"{name}: no TorchScript archive ({'no PyTorch file' if kind is None else f'a {kind.name} file'})")
    archive = Archive(region)
    big = big_endian(archive, kind.top)
    root = unpickle_member(archive, f"{kind.top}data.pkl", f"{kind.top}data/", big=big, foreign=False)
    literals: Any = ()
    if f"{kind.top}constants.pkl" in archive:
        literals = unpickle_member(archive, f"{kind.top}constants.pkl", f"{kind.top}constants/", big=big, foreign=False)
    if not isinstance(root, Instance) or not isinstance(literals, (tuple, list)):
        raise BadFileError(f"{name}: data.pkl holds no module")
    reader = Statements(Source(archive, kind.top), name)
    reader.literals, reader.mine = tuple(literals), []
    try:
        return _program(reader, reader.wrap("", root), method, dict(arguments or {}))
    except RecursionError as e:
        raise BadFileError(f"{name}: code nested too deep to be read") from e


def _program(reader: Statements, module: Any, method: str, given: dict[str, Any]) -> Program:
    if not isinstance(module, Module) or method not in module.cls.methods:
        known = sorted(module.cls.methods) if isinstance(module, Module) else []
        raise UsageError(f"{reader.where}: no method {method!r}; there are: {', '.join(known) or 'none'}")
    found = module.cls.methods[method]
    parameters = found.args.args[1:]
    reader.fixed = {k: v for k, v in given.items() if k not in {p.arg for p in parameters}}
    defaults = dict(zip([p.arg for p in reversed(parameters)], reversed(found.args.defaults)))
    users: list[Input] = []
    values: list[Any] = []
    for p in parameters:
        default = defaults.get(p.arg)
        if p.arg in given or (isinstance(default, (ast.Constant, ast.UnaryOp))):
            value = given[p.arg] if p.arg in given else reader.value(default, {}) if default is not None else None
            if not fixed(value):
                raise UsageError(f"{reader.where}: argument {p.arg!r} must be a plain value")
            users.append(Input("literal", "", p.arg, value=value))
            values.append(value)
        else:
            values.append(_input(reader, p.arg, p.annotation, users))
    result = reader.method(module, method, values, {})
    if reader.fixed.keys() - reader.first.keys():
        strange = sorted(reader.fixed.keys() - reader.first.keys())
        there = ", ".join([*(p.arg for p in parameters), *reader.first]) or "none"
        raise UsageError(f"{reader.where}: {method} has no argument and sets no attribute {strange}; there are: {there}")
    outputs = [Output("user", as_argument(v)) for v in _flat(result)]
    outputs += [Output("attribute_mutation", as_argument(v), path) for path, v in reader.changed().items()]
    names = [i.name for i in users if i.name] + list(reader.inputs)
    graph = Graph("", tuple(names), tuple(o.value for o in outputs), tuple(reader.nodes), reader.values)
    graph.check(reader.where)
    version = (
        reader.source.archive.read(reader.source.top + "version", limits.TEXT_LINE).strip()
        if (reader.source.top + "version" in reader.source.archive)
        else b""
    )
    training = isinstance(module.instance.state, dict) and module.instance.state.get("training") is True
    return Program(
        "torchscript",
        graph,
        [*users, *(Input("literal", "", path, value=v) for path, v in reader.fixed.items()), *reader.inputs.values()],
        outputs,
        reader.weights,
        reader.constants,
        {},
        {"method": method, "names": [p.arg for p in parameters], "result": _shape(result)},
        reader.modules,
        {"archive": version.decode("latin1"), "training": training},
    )


def _input(reader: Statements, name: str, annotation: ast.expr | None, users: list[Input]) -> Any:
    """A value for an argument: one input, or one for each part of a tuple."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name) and annotation.value.id == "Tuple":
        parts = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return tuple(_input(reader, f"{name}_{i}", part, users) for i, part in enumerate(parts))
    found: Sym = reader.sym(name, type_text(annotation))
    users.append(Input("user", found.name, name))
    return found


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for v in value for leaf in _flat(v)]
    if isinstance(value, dict):
        return [leaf for v in value.values() for leaf in _flat(v)]
    return [value]


def _shape(value: Any) -> Any:
    """How a result nests: lists and dicts with None for a leaf."""
    if isinstance(value, (tuple, list)):
        return [_shape(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _shape(v) for k, v in value.items()}
    return None
