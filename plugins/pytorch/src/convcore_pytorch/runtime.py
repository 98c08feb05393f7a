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
from weakref import WeakKeyDictionary

import numpy as np

from convcore.plugin import DType, InputError, Problem, Runtime, UnsupportedError, as_optional, as_sequence, ask, host

from .inside import Inside, hooked
from .live import evaluating
from .printer import Code
from .types import BY_TORCH, HELD, TORCH_TYPES

__all__ = ["REQUIRES", "live", "not_taken", "open_runtime", "program_runtime"]

REQUIRES = ("torch>=2.6",)
THREADS = 4
_COUNT = itertools.count()
_RESULTS: WeakKeyDictionary[Any, tuple[DType | None, ...]] = WeakKeyDictionary()
"""Of modules made here, what their results are of: torch holds some types as others."""


def open_runtime(
    source: Any, weights: Any = None, inside: Inside | None = None, results: Sequence[DType | None] = ()
) -> Runtime | None:  # fmt: skip
    """A live module, or code that this process has written with its weights; None for any other file: code is not executed
    because it is handed in. ``inside`` names what its layers give, ``results`` says of what it returns which types they are."""
    if isinstance(source, (str, os.PathLike)):
        from .emit import written_here

        path = Path(source)
        text = written_here(path) if path.suffix == ".py" else None
        if text is None:
            return None
        host().require(REQUIRES, "running PyTorch models")
        module = _execute(text, path)
        return _runtime(module.load(path.with_suffix(".safetensors")), inside=inside, results=results)
    host().require(REQUIRES, "running PyTorch models")
    import torch

    return _runtime(source, inside=inside, results=results) if isinstance(source, torch.nn.Module) else None


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
    _RESULTS[model] = code.results
    return model.eval()


def _tensor(array: Any) -> Any:
    """A tensor with memory of its own; of a type that torch lacks, what its numbers are held as."""
    import torch

    a = np.array(array, order="C", copy=True)
    if a.dtype.hasobject and a.dtype.kind == "O":  # a sequence, or what may be absent
        return [_tensor(x) for x in a] if a.ndim else None if a[()] is None else _tensor(a[()])
    dtype = DType.of(a.dtype)
    if dtype in HELD:
        return torch.from_numpy(a.astype(HELD[dtype].numpy))
    if dtype.is_foreign:
        return torch.from_numpy(a.view(_RAW[a.itemsize])).view(getattr(torch, TORCH_TYPES[dtype]))
    return torch.from_numpy(a)


_RAW = {1: np.uint8, 2: np.int16}


def program_runtime(program: Any, code: Code) -> Runtime:
    """An ExportedProgram of generated code."""
    try:
        module = program.module()
    except Exception as e:  # torch has no base class for what this may raise
        raise not_taken(program, "cannot make a module of its program", e, True) from e
    return _runtime(module, code.inputs, results=code.results)


def not_taken(what: Any, why: str, e: Exception, exported: bool) -> UnsupportedError:
    """torch's own exception as a refusal of a module: of the program it was exported as, sizes may be the reason."""
    import torch

    hint = f"give the sizes that need not be free ({ask('--input-shape', 'input_shapes=')})" if exported else ""
    said = f"torch {torch.__version__} {why}: {type(e).__name__}: {' '.join(str(e).split())[:400]}"
    return UnsupportedError(
        Problem(type(what).__name__, "module", said, hint, "not_exportable" if exported else "unsupported_op")
    )


def _runtime(
    model: Any, inputs: Sequence[str] = (), inside: Inside | None = None, results: Sequence[DType | None] = ()
) -> Runtime:  # fmt: skip
    import inspect

    import torch

    kinds = tuple(results) or _RESULTS.get(model, ())
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
        except Exception as e:  # a guard of an exported program, a type that this torch lacks: what else it raises has no base
            raise not_taken(model, "cannot run it", e, bool(inputs)) from e
        finally:
            torch.set_num_threads(threads)
        one = not isinstance(out, (tuple, list)) or _holds(*kinds)
        outs = (out,) if one else out
        return [_numpy(torch, t, d) for t, d in itertools.zip_longest(outs, kinds[: len(outs)])]

    def watched(arrays: Any, see: Callable[[str, Any], None]) -> list[Any]:
        assert inside is not None
        with hooked(model, inside, lambda name, t: see(name, _numpy(torch, t))):
            return run(arrays)

    return Runtime(f"torch {torch.__version__}", run, names, watched=watched if inside else None)


def _holds(*kinds: DType | None) -> bool:
    """Whether the one result is a sequence."""
    return len(kinds) == 1 and kinds[0] is not None and kinds[0].is_container


def _numpy(torch: Any, t: Any, dtype: DType | None = None) -> Any:
    """What torch gives as an array, of the type ``dtype`` where torch holds that as another."""
    if dtype is not None and dtype.is_optional:
        return as_optional(None if t is None else _numpy(torch, t, dtype.held))
    if dtype is not None and dtype.is_sequence:
        return as_sequence([_numpy(torch, x, dtype.element) for x in t])
    if not isinstance(t, torch.Tensor):
        return np.asarray(t, np.int64)
    own = BY_TORCH.get(str(t.dtype))
    if own is not None and own.is_foreign:
        return t.contiguous().view(torch.int16 if own.itemsize == 2 else torch.uint8).numpy().view(own.numpy)
    a = t.detach().resolve_conj().resolve_neg().numpy()
    return a if dtype is None or HELD.get(dtype) is not own else a.astype(dtype.numpy)
