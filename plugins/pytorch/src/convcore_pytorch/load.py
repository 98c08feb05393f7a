"""Programs as IR graphs: ``.pt2``, TorchScript and live modules all become a :class:`.files.program.Program`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convcore.plugin import BadFileError, Graph, LoadRequest, UsageError, ask, ask_option, let_go, opaque_problems, watched

from .files.exported import read_exported
from .files.identify import kind_of
from .files.program import Program
from .files.script import read_torchscript
from .loader import Loader

__all__ = ["load"]


def load(request: LoadRequest) -> Graph:
    """Read a path (``.pt2``, TorchScript), an nn.Module with ``example_inputs``, or an ExportedProgram.

    What no rule covers becomes an opaque node with the reason. BadFileError: damaged; UsageError: wrong call or too little said.
    """
    source, options = request.source, request.options
    if options.get("module"):
        from .live import module_of

        source = module_of(options["module"], source)
    if isinstance(source, (str, os.PathLike)):
        if request.weights is not None:
            raise UsageError("the file holds its weights; give it alone")
        program, facts = _read(os.fspath(source), fixed_values(options.get("fixed"))), dict[str, Any]()
    else:
        from .live import read_live

        program, facts = read_live(source, request)
    loader = Loader(program, request, facts)
    graph = loader.run()
    if freed := loader.given.freed:
        loader.notes.append(let_go(graph, freed, lambda s: Loader(program, replace(request, input_shapes=s), facts).run()))
    check = facts.get("check")
    if check is not None and not opaque_problems(graph):  # the export against the module itself
        graph.metadata["notes"] = [*graph.metadata["notes"], *check()]
    return graph


def fixed_values(text: str | None) -> dict[str, Any]:
    """``a=1,b=true,c=0.5,d=words`` as numbers, truth values and texts."""
    out: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        name, sign, value = part.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"fixed: {part!r} is no name=value")
        out[name.strip()] = _plain(value.strip())
    return out


def _plain(text: str) -> Any:
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _read(path: str, fixed: Mapping[str, Any]) -> Program:
    kind = kind_of(watched(path))
    if kind is None:
        raise BadFileError(f"{path}: no PyTorch file")
    if fixed and kind.name != "torchscript":
        raise UsageError(f"fixed: only arguments and attributes of TorchScript files are fixed, and {path} is a {kind.name} file")
    if kind.name in ("pt2", "pt2-old"):
        return read_exported(path)
    if kind.name == "torchscript":
        return read_torchscript(path, arguments=fixed)
    raise UsageError(
        f"{path}: a {kind.name} file holds weights alone, no architecture; give the module it belongs to "
        f"({ask_option('module', 'package.module:factory')}), and the file as its weights "
        f"({ask('--weights FILE', 'weights=FILE')})"
    )
