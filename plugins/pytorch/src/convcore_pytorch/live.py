"""Live modules: exported with symbolic axes, told where that did not succeed. torch is imported here only."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from convcore.plugin import Dim, FrameworkMissingError, LoadRequest, UsageError, ask, ask_option

from .about import about_module
from .axes import PRIMES, Axes
from .files.program import Program
from .fx import program_of
from .tracing import quiet, recurrent

__all__ = ["read_live"]


def read_live(source: Any, request: LoadRequest) -> tuple[Program, dict[str, Any]]:
    """The program of a module or ExportedProgram, and what is known beside it."""
    try:
        import torch
    except ImportError as e:
        raise FrameworkMissingError("reading a live PyTorch object needs torch (pip install 'torch>=2.6')") from e
    if isinstance(source, torch.export.ExportedProgram):
        return program_of(source), {"name": ""}
    if request.weights is not None:
        raise UsageError("a module holds its weights; load them into it first")
    return export(source, request)


def export(module: Any, request: LoadRequest) -> tuple[Program, dict[str, Any]]:
    """``torch.export.export(strict=False)`` with the batch (and every axis that ``input_shapes`` name) symbolic."""
    import torch

    options = request.options
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError("a ScriptModule cannot be traced; save it (module.save) and give the file")
    if module.training and not options.get("training"):
        raise UsageError(
            "the module is in training mode; call module.eval(), or say "
            f"{ask_option('training', True)} to convert it as it is after eval()"
        )
    given = options.get("example_inputs")
    if given is None:
        given = _made_up(torch, request)
    args, kwargs = _arguments(given, torch)
    names = _names(module, args, kwargs)
    with evaluating(module), quiet(), recurrent(torch), torch.no_grad():
        marks = Axes(torch, names, args, kwargs, request)
        exported = marks.export(module)
    program = program_of(exported)

    def check() -> list[str]:
        with evaluating(module), quiet(), torch.no_grad():
            return marks.verify(module, exported)

    notes = [*marks.report(program), *_told_nowhere(module)]
    facts = {"name": type(module).__name__, "names": marks.symbols(program), "notes": notes, "check": check}
    facts["about"] = partial(about_module, module)
    facts["keys"] = list(module.state_dict())  # in the order of definition, which an export does not keep
    return program, facts


def _told_nowhere(module: Any) -> list[str]:
    """Facts of training that a program traced in evaluation does not hold."""
    import torch

    lost = [
        name or type(module).__name__
        for name, m in module.named_modules()
        if isinstance(m, torch.nn.MultiheadAttention) and m.dropout
    ]
    return [f"dropout of attention weights is not kept, which only matters in training: {', '.join(lost)}"] if lost else []


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """The module in evaluation mode; afterwards modes and buffers are what they were."""
    modes = [(m, m.training) for m in module.modules()]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode
        for b, was in buffers:
            b.detach().copy_(was)


def _made_up(torch: Any, request: LoadRequest) -> dict[str, Any]:
    """Examples of the shapes that are given: normal numbers, integers all 0."""
    if not request.input_shapes or "" in request.input_shapes:
        raise UsageError(
            "a module says nothing of its inputs: give the shape of each by the name forward() gives it, "
            + ask(
                "--input-shape x:batch,3,224,224",
                "input_shapes={'x': ('batch', 3, 224, 224)}; or example_inputs= (a tensor, a tuple of positional arguments or a "
                "dict of named ones)",
            )
        )
    types = dict(p.rpartition(":")[::2] for p in str(request.options.get("input_dtypes") or "").split(",") if p)
    sizes = dict(zip(sorted({d.text for s in request.input_shapes.values() for d in map(_Named, s) if d.text}), PRIMES))
    out = {}
    for name, shape in request.input_shapes.items():
        dtype = getattr(torch, types.get(name, "float32"))
        numbers = [sizes[str(d)] if isinstance(d, Dim) else d for d in shape]
        if None in numbers:
            raise UsageError(f"input {name!r}: give every size, or a name for it")
        out[name] = torch.randn(numbers).to(dtype) if dtype.is_floating_point else torch.zeros(numbers, dtype=dtype)
    return out


class _Named:
    def __init__(self, d: Any) -> None:
        self.text = str(d) if isinstance(d, Dim) else ""


def _arguments(given: Any, torch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(given, Mapping):
        return (), dict(given)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], tuple) and isinstance(given[1], Mapping):
        return given[0], dict(given[1])
    args = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    return tuple(torch.as_tensor(a) if hasattr(a, "__array__") and not isinstance(a, torch.Tensor) else a for a in args), {}


def _names(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """The names of the arguments as ``forward`` has them."""
    import inspect

    parameters = [
        p for p in inspect.signature(module.forward).parameters.values() if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
    ]
    out: list[str] = []
    for i, _ in enumerate(args):
        p = parameters[min(i, len(parameters) - 1)] if parameters else None
        if p is None:
            out.append(f"arg{i}")
        elif p.kind is p.VAR_POSITIONAL:
            out.append(f"{p.name}_{i - parameters.index(p)}")
        else:
            out.append(p.name)
    return out + list(kwargs)


def module_of(spec: str, weights: Any = None) -> Any:
    """``package.module:factory`` imported and called: the user's code, at the user's word. ``weights``: a file that fills it."""
    path, sep, name = spec.partition(":")
    if not sep or not path or not name:
        raise UsageError(f"{ask_option('module', spec)}: write package.module:factory")
    try:
        made = getattr(importlib.import_module(path), name)
    except (ImportError, AttributeError) as e:
        raise UsageError(f"{ask_option('module', spec)}: {e}") from e
    module = made() if not hasattr(made, "state_dict") or isinstance(made, type) else made
    if weights is not None:
        _fill(module, weights)
    module.eval()
    return module


def _fill(module: Any, weights: Any) -> None:
    """A checkpoint's weights into a module; every name must have its place."""
    import torch

    from .files.checkpoint import read_checkpoint

    held = {k: torch.from_numpy(_plain(t)) for k, t in read_checkpoint(weights).tensors.items()}
    try:
        module.load_state_dict(held)
    except RuntimeError as e:
        raise UsageError(f"{weights} does not fit the module: {' '.join(str(e).split())[:1000]}") from e


def _plain(t: Any) -> Any:
    a = t.numpy()
    return (a.astype("float32") if a.dtype.kind == "V" or a.dtype.name == "bfloat16" else a).copy()
