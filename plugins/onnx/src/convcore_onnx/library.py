"""The onnx package, as far as reading and writing needs it: its messages and its schemas of operators.

``import onnx`` also imports its checker, composer, JSON and text formats and its distribution's metadata: 30 ms of 44, a tenth of
a small conversion. In a process that is one command of ours the two modules are imported from their files instead; whoever
imports onnx later in it gets a whole one with the same two in it. Any other process gets ``import onnx``.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

from convcore.plugin import alone

__all__ = ["messages", "newest_opset", "schemas"]


@cache
def messages() -> Any:
    """The module of ModelProto, GraphProto and all other messages."""
    part = _part("onnx_ml_pb2")
    if part is None:
        import onnx.onnx_ml_pb2

        return onnx.onnx_ml_pb2
    return part


@cache
def schemas() -> Any:
    """What has ``get_schema`` and ``SchemaError`` (``onnx.defs``; without what that adds in Python, as default values)."""
    part = _part("onnx_cpp2py_export")
    if part is None:
        import onnx.defs

        return onnx.defs
    return part.defs


@cache
def newest_opset() -> int:
    """The newest version that the installed onnx knows."""
    defs = schemas()
    return int(defs.onnx_opset_version() if hasattr(defs, "onnx_opset_version") else defs.schema_version_map()[""][1])


def _part(name: str) -> Any:
    """A module of onnx without the package around it; None where that is there already, laid out otherwise, or to be whole."""
    if "onnx" in sys.modules or not alone():
        return None
    package = find_spec("onnx")
    places = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec(f"onnx.{name}", places) if places else None
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[spec.name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:
        del sys.modules[spec.name]
        return None
    if _WHOLE not in sys.meta_path:
        sys.meta_path.insert(0, _WHOLE)
    return module


class _Whole:
    """Asked for modules like any finder, it finds none; but the first one that onnx imports while it is imported as a whole tells
    that the package is there now, which gets the parts as its attributes: nobody else sets those of modules that are there."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        package = sys.modules.get("onnx") if name.startswith("onnx.") else None
        for part in ("onnx_ml_pb2", "onnx_cpp2py_export") if package is not None else ():
            if f"onnx.{part}" in sys.modules:
                setattr(package, part, sys.modules[f"onnx.{part}"])


_WHOLE: Any = _Whole()
