"""Running modules in torch: float32, evaluation mode, no gradients, few threads."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import InputError, Runtime, host

from .inside import Inside, hooked
from .live import evaluating
from .printer import Code

__all__ = ["REQUIRES", "live", "open_runtime", "program_runtime"]

REQUIRES = ("torch>=2.6",)
THREADS = 4
_COUNT = itertools.count()


def open_runtime(source: Any, weights: Any = None, inside: Inside | None = None) -> Runtime | None:
    """A live module, or code that this process has written with its weights; None for any other file: code is not executed
    because it is handed in. ``inside`` names what its layers give."""
    if isinstance(source, (str, os.PathLike)):
        from .emit import written_here

        path = Path(source)
        text = written_here(path) if path.suffix == ".py" else None
        if text is None:
            return None
        host().require(REQUIRES, "running PyTorch models")
        module = _execute(text, path)
        return _runtime(module.load(path.with_suffix(".safetensors")), inside=inside)
    host().require(REQUIRES, "running PyTorch models")
    import torch

    return _runtime(source, inside=inside) if isinstance(source, torch.nn.Module) else None


def _execute(text: str, path: Path) -> Any:
    """A module object of code that convcore has generated."""
    module = types.ModuleType(f"convcore_generated_{path.stem}_{next(_COUNT)}")
    module.__file__ = str(path.absolute())
    exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102
    return module


def live(code: Code) -> Any:
    """The model of generated code with its weights, in evaluation mode."""
    host().require(REQUIRES, "making a PyTorch module")
    import torch

    from .written import set_buffers

    module = _execute(code.text, Path(f"{code.class_name}.py"))
    sys.modules[module.__name__] = module  # where torch.compile and pickle look for what classes are of
    with torch.device("meta"):
        model = getattr(module, code.class_name)()
    state = {k: _tensor(s.tensor.numpy()) for k, s in code.states.items()}
    state.update({k: state[first] for k, first in code.tied.items()})
    unsaved = {k: state.pop(k) for k in code.unsaved}
    model.load_state_dict(state, assign=True)
    set_buffers(model, unsaved)
    if code.tied:
        model.tie_weights()
    return model.eval()


def _tensor(array: Any) -> Any:
    """A tensor with memory of its own."""
    import torch

    a = np.array(array, order="C", copy=True)
    return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16) if a.dtype.name == "bfloat16" else torch.from_numpy(a)


def program_runtime(program: Any, names: Sequence[str]) -> Runtime:
    """An ExportedProgram."""
    return _runtime(program.module(), names)


def _runtime(model: Any, inputs: Sequence[str] = (), inside: Inside | None = None) -> Runtime:
    import inspect

    import torch

    names = tuple(inputs) or tuple(inspect.signature(model.forward).parameters)

    def run(arrays: Any) -> list[Any]:
        if len(arrays) != len(names):
            raise InputError(f"{len(names)} inputs expected ({', '.join(names)}), got {len(arrays)}")
        given = [_tensor(a) for a in arrays]
        threads = torch.get_num_threads()
        torch.set_num_threads(min(threads, THREADS))
        try:
            with evaluating(model) if not inputs else contextlib.nullcontext(), torch.no_grad():
                out = model(*given)
        except (RuntimeError, ValueError, IndexError, NotImplementedError) as e:
            raise InputError(f"torch {torch.__version__}: {e}") from e
        finally:
            torch.set_num_threads(threads)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        return [_numpy(torch, t) for t in outs]

    def watched(arrays: Any, see: Callable[[str, Any], None]) -> list[Any]:
        assert inside is not None
        with hooked(model, inside, lambda name, t: see(name, _numpy(torch, t))):
            return run(arrays)

    return Runtime(f"torch {torch.__version__}", run, names, watched=watched if inside else None)


def _numpy(torch: Any, t: Any) -> Any:
    if not isinstance(t, torch.Tensor):
        return np.asarray(t, np.int64)
    if t.dtype is torch.bfloat16:
        import ml_dtypes

        return t.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return t.detach().resolve_conj().resolve_neg().numpy()
