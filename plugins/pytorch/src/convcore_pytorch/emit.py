"""Laid-out graphs as PyTorch modules: code and weights, or weights alone; torch is imported only for the live module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from convcore.plugin import (
    EmitRequest,
    Emitted,
    Graph,
    State,
    UsageError,
    ViewTensor,
    about,
    about_text,
    ask_option,
    nest,
    plan,
    prune,
    writing,
)

from .dialect import TorchDialect
from .in_place import in_place
from .kept import keep
from .printer import Code, print_module
from .stacked import stack
from .tidying import functions
from .weights import write_pth, write_safetensors

__all__ = ["dialect", "emit", "written_here"]

_WRITTEN: dict[str, str] = {}
"""The code this process has written: sha256 by absolute path."""


def dialect(request: EmitRequest) -> TorchDialect:
    """PyTorch as calls of modules and functions."""
    return TorchDialect()


def emit(request: EmitRequest) -> Emitted:
    """Write ``request.out``: ``.py`` with ``.safetensors`` beside it, ``.safetensors`` or ``.pth`` alone (the state_dict of the
    same module), or ``.pt2`` (that module exported by torch). UnsupportedError lists everything that PyTorch lacks."""
    torch = dialect(request)
    rules = request.rules
    if rules is None:
        from .rules import RULES

        rules = RULES
    made = plan(request.graph, rules, None, torch, request.overrides)
    prune(made)
    if torch.of_torch:
        stack(made, torch.keys)
        prune(made)  # the parts of states that were whole before
    functions(made, torch)
    in_place(made)
    nest(made, request.options.get("max_depth"))
    wanted = request.options.get("class_name") or request.graph.name or "Model"
    name = torch.class_name(wanted)
    out = None if request.out is None else Path(request.out)
    weights = out.with_suffix(".safetensors") if out is not None else Path("model.safetensors")
    into = request.options.get("into") or request.options.get("into_module")
    if torch.of_torch and into is None:
        keep(made, request.graph)
    if into is not None and out is not None and out.suffix not in (".safetensors", ".pth"):
        raise UsageError(f"{out.name}: the code of the module is yours; its weights go to a .safetensors or .pth file")
    code = print_module(made, request.graph, torch, name, weights.name, request.moved)
    told = about_text(request.graph.metadata)
    metadata = {"format": "pt", "class": name, **({"convcore": told} if told else {})}
    notes = list(made.remarks())
    if torch.of_torch:
        notes += _changed(code, frozenset(request.graph.metadata.get("keys") or ()))
    if request.moved:
        names = ", ".join(map(repr, request.moved))
        notes.append(
            f"channels come first in {names}, as in torch; {ask_option('io_layout', 'source')} keeps the source's order of axes"
        )
    paths: tuple[str, ...] = ()
    code_written = False
    if into is not None:
        return _into(into, code, request, notes)
    if out is not None and out.suffix == ".pt2":
        return _program(code, request.graph, out, notes)
    saved = {k: s for k, s in code.states.items() if k not in code.unsaved}  # the state_dict alone
    if out is not None and out.suffix == ".pth":
        with writing(out) as (file,):
            write_pth(file, saved, code.tied)
        paths = (str(out),)
        if told:
            notes.append(f"a .pth has no place for {', '.join(about(request.graph.metadata))}; .safetensors and .py have")
    elif out is not None and out.suffix == ".safetensors":
        with writing(out) as (file,):
            write_safetensors(file, saved, metadata)
        paths = (str(out),)
    elif out is not None:
        code_written = True
        with writing(out, weights) as (text, data):
            text.write_text(code.text, encoding="utf-8")
            write_safetensors(data, code.states, metadata)
        _WRITTEN[str(out.absolute())] = _sum(code.text)
        paths = (str(out), str(weights))
        notes.append(f"weights are in {weights.name}, which belongs to the code")
    made_live: Callable[[], Any] = partial(_live, code)
    if out is None:
        made_live = cache(made_live)  # what is checked is what is handed over
    runs = (lambda: _runtime(out, code)) if code_written else (lambda: _runtime(made_live(), code))
    return Emitted(paths, made_live, tuple(notes), runtime=runs, architecture=name)


def _changed(code: Code, of_source: frozenset[str]) -> list[str]:
    """Keys of the source under which lies something computed of its weights (a normalisation merged into a layer)."""
    found = [
        k
        for k, s in code.states.items()
        if k in of_source and s.value is not None and not s.key and (not s.value.source or isinstance(s.tensor, ViewTensor))
    ]
    if not found:
        return []
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [f"not the source's own, but computed of its weights: {', '.join(found[:3])}{more}; no state_dict of the source fits"]


def _program(code: Code, graph: Graph, out: Path, notes: list[str]) -> Emitted:
    """The module exported: needs torch, whose version the file is for."""
    from .program import exported, write_program
    from .runtime import program_runtime

    model = _live(code)
    program = exported(model, graph)
    with writing(out) as (file,):
        write_program(file, program, about_text(graph.metadata))
    return Emitted((str(out),), lambda: model, tuple(notes), runtime=lambda: program_runtime(program, code))


def _into(into: Any, code: Code, request: EmitRequest, notes: list[str]) -> Emitted:
    """Fill a module that is there already; a file holds its state_dict under its own names."""
    from .fill import examples, fill
    from .live import module_of

    module = module_of(into) if isinstance(into, str) else into
    pairs = fill(module, _live(code), examples(request.graph))
    layers = {k.rpartition(".")[0]: v.rpartition(".")[0] for k, v in pairs.items()}
    notes += [f"{a or 'the model itself'} has the weights of {b or 'the source itself'}" for a, b in layers.items()]
    if request.out is None:
        return Emitted((), lambda: module, tuple(notes), runtime=lambda: _runtime(module))
    of = {**{k: k for k in code.states}, **code.tied}
    first: dict[int, str] = {}
    states: dict[str, State] = {}
    tied: dict[str, str] = {}
    for k, t in module.state_dict().items():
        same = first.setdefault(t.data_ptr() or id(t), k)
        if same != k and same in states and states[same].shape == tuple(t.shape):
            tied[k] = same
        elif k in pairs:
            states[k] = code.states[of[pairs[k]]]
    out = Path(request.out)
    with writing(out) as (file,):
        if out.suffix == ".pth":
            write_pth(file, states, tied)
        else:
            write_safetensors(file, states, {"format": "pt", "class": type(module).__name__})
    return Emitted((str(out),), lambda: module, tuple(notes), runtime=lambda: _runtime(module))


def _runtime(module: Any, code: Code | None = None) -> Any:
    from .runtime import open_runtime

    return open_runtime(module) if code is None else open_runtime(module, None, code.inside, code.results)


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
