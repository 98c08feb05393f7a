"""YAML from untrusted files, as ``model.to_yaml()`` of Keras before 2.6 wrote it: data alone, no Python objects, small.

Read by PyYAML's safe loader (an optional requirement), which makes no objects; tuples, and Python's names for text and numbers,
are what they stand for in JSON, numbers of numpy and calls of ``dict`` too. Every other tag of Python is refused by its name.
"""

from __future__ import annotations

from base64 import b64decode
from importlib import import_module
from typing import Any

import numpy as np

from convcore.plugin import BadFileError, Problem, UnsupportedError

from .safe_json import MAX_JSON_DEPTH

__all__ = ["MAX_YAML_BYTES", "loads_yaml"]

MAX_YAML_BYTES = 4 << 20
"""Of ResNet152 it is about 200 kB."""
_MAX_ITEMS = 1_000_000
_PYTHON = "tag:yaml.org,2002:python/"
_NUMBER, _DICT = f"{_PYTHON}object/apply:numpy.core.multiarray.scalar", f"{_PYTHON}object/apply:builtins.dict"
_PLAIN = {"unicode": "str", "str": "str", "int": "int", "long": "int", "float": "float", "bool": "bool", "none": "null"}


def loads_yaml(data: bytes, what: str) -> Any:
    """Parse ``data``; ``what`` names it in errors. BadFileError; UnsupportedError where PyYAML is not installed."""
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        why = "YAML architectures are read by PyYAML, which is not installed"
        problem = Problem(what, "YAML", why, "pip install pyyaml, or use model.to_json()", "unsupported_format")
        raise UnsupportedError(problem, "cannot be read") from None
    if len(data) > MAX_YAML_BYTES:
        raise BadFileError(f"{what}: {len(data)} bytes of YAML, more than the {MAX_YAML_BYTES} allowed")
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    kind = type("Loader", (base,), {"yaml_constructors": {**base.yaml_constructors, _NUMBER: _number, _DICT: _dict}})
    loader = kind(data)
    try:
        node = loader.get_single_node()
        if node is None:
            raise BadFileError(f"{what}: is empty")
        _plain(yaml, node, what)
        found = loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise BadFileError(f"{what}: not valid YAML: {' '.join(str(e).split())[:200]}") from e
    finally:
        loader.dispose()
    return found


def _dict(loader: Any, node: Any) -> Any:
    return loader.construct_mapping(node.value[0], deep=True)


def _number(loader: Any, node: Any) -> Any:
    """A number of numpy: its type by name, and its bytes. ValueError for what is none."""
    try:
        dtype, data = node.value
        parts = {k.value: v for k, v in dtype.value}
        name, order = parts["args"].value[0].value, parts["state"].value[1].value
        if dtype.tag != f"{_PYTHON}object/apply:numpy.dtype" or data.tag != "tag:yaml.org,2002:binary":
            raise ValueError
        return np.frombuffer(b64decode(data.value), np.dtype({"<": "<", ">": ">", "|": "|"}[order] + _NUMBERS[name]))[0].item()
    except (ValueError, TypeError, LookupError, AttributeError) as e:
        raise ValueError("a number of numpy that is none") from e


_NUMBERS = {n: n for n in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")}


def _plain(yaml: Any, root: Any, what: str) -> None:
    """Turn the tags of plain data into YAML's own, and refuse what is no plain data, is too much or too deep; what aliases repeat
    counts each time."""
    stack, count = [(root, 0)], 0
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > _MAX_ITEMS or depth > MAX_JSON_DEPTH:
            raise BadFileError(f"{what}: YAML of more than {_MAX_ITEMS:,} items, or nested more than {MAX_JSON_DEPTH} deep")
        tag = str(node.tag)
        if tag.startswith(_PYTHON):
            name = tag.removeprefix(_PYTHON)
            if tag == _NUMBER:
                _number(None, node)
                continue
            if tag == _DICT and isinstance(node, yaml.SequenceNode) and len(node.value) == 1:
                stack.append((node.value[0], depth + 1))
                continue
            if name in ("tuple", "list") and isinstance(node, yaml.SequenceNode):
                node.tag = "tag:yaml.org,2002:seq"
            elif name in _PLAIN and isinstance(node, yaml.ScalarNode):
                node.tag = f"tag:yaml.org,2002:{_PLAIN[name]}"
            else:
                raise BadFileError(f"{what}: holds the Python object {name[:80]!r}, and nothing in a file is executed")
        elif tag.endswith(("timestamp", "binary", "set", "omap", "pairs")):
            raise BadFileError(f"{what}: holds a {tag.rpartition(':')[2]}, which no Keras configuration has")
        if isinstance(node, yaml.SequenceNode):
            stack += [(v, depth + 1) for v in node.value]
        elif isinstance(node, yaml.MappingNode):
            keys = [k.value for k, _ in node.value if isinstance(k, yaml.ScalarNode) and k.tag.endswith(":str")]
            if len(keys) != len(node.value) or len(set(keys)) != len(keys):
                raise BadFileError(f"{what}: has a key that is no text, or is given twice")
            stack += [(v, depth + 1) for _, v in node.value]
        elif node.tag.endswith(":float") and node.value.lower() == ".nan":
            raise BadFileError(f"{what}: the constant NaN is not allowed in a model configuration")
