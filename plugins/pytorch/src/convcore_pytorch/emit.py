"""Laid-out graphs as PyTorch modules: code and weights, or weights alone; torch is imported only for the live module."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from convcore.plugin import EmitRequest, Emitted, nest, plan, prune, writing

from .dialect import TorchDialect
from .printer import Code, print_module
from .tidying import functions
from .weights import write_pth, write_safetensors

__all__ = ["dialect", "emit", "written_here"]

_WRITTEN: dict[str, str] = {}
"""The code this process has written: sha256 by absolute path."""


def dialect(request: EmitRequest) -> TorchDialect:
    """PyTorch as calls of modules and functions."""
    return TorchDialect()


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out``: ``.py`` with ``.safetensors`` beside it, or ``.safetensors`` or ``.pth`` alone (the state_dict of
    the same module). UnsupportedError lists everything that PyTorch lacks."""
    torch = dialect(request)
    rules = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    made = plan(request.graph, rules, None, torch, request.overrides)
    prune(made)
    functions(made)
    nest(made, request.options.get("max_depth"))
    wanted = request.options.get("class_name") or request.graph.name or "Model"
    name = torch.class_name(wanted)
    out = None if request.out is None else Path(request.out)
    weights = out.with_suffix(".safetensors") if out is not None else Path("model.safetensors")
    code = print_module(made, request.graph, torch, name, weights.name, request.moved)
    metadata = {"format": "pt", "class": name}
    notes = list(made.remarks())
    if request.moved:
        names = ", ".join(map(repr, request.moved))
        notes.append(f"channels come first in {names}, as in torch; --io-layout source keeps the source's order of axes")
    paths: tuple[str, ...] = ()
    if out is not None and out.suffix == ".pth":
        with writing(out) as (file,):
            write_pth(file, code.states, code.tied)
        paths = (str(out),)
    elif out is not None and out.suffix == ".safetensors":
        with writing(out) as (file,):
            write_safetensors(file, code.states, metadata)
        paths = (str(out),)
    elif out is not None:
        with writing(out, weights) as (text, data):
            text.write_text(code.text, encoding="utf-8")
            write_safetensors(data, code.states, metadata)
        _WRITTEN[str(out.absolute())] = _sum(code.text)
        paths = (str(out), str(weights))
        notes.append(f"weights are in {weights.name}, which belongs to the code")
    return Emitted(paths, lambda: _live(code), tuple(notes))


def written_here(path: Path) -> str | None:
    """The text of a file of code that this process has written and nobody has changed since; None for any other."""
    known = _WRITTEN.get(str(path.absolute()))
    if known is None:
        return None
    text = path.read_text(encoding="utf-8")
    return text if _sum(text) == known else None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _live(code: Code) -> Any:
    """The code executed, the weights set."""
    from .runtime import live

    return live(code)
