"""Live modules: exported with symbolic axes, told where that did not succeed. torch is imported here only."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convcore.plugin import Dim, FrameworkMissingError, LoadRequest, Problem, UnsupportedError, UsageError

from .files.program import Program, TensorValue
from .files.symbols import Expr
from .fx import program_of

__all__ = ["read_live"]

_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23)


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
            "the module is in training mode; call module.eval(), or say training=True to convert it as it is after eval()"
        )
    given = options.get("example_inputs")
    if given is None:
        given = _made_up(torch, request)
    args, kwargs = _arguments(given, torch)
    names = _names(module, args, kwargs)
    with evaluating(module), quiet(), recurrent(torch), torch.no_grad():
        marks = _Axes(torch, names, args, kwargs, request)
        exported = marks.export(module)
    program = program_of(exported)

    def check() -> list[str]:
        with evaluating(module), quiet(), torch.no_grad():
            return marks.verify(module, exported)

    facts = {"name": type(module).__name__, "names": marks.symbols(program), "notes": marks.report(program), "check": check}
    return program, facts


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
            "a module says nothing of its inputs: give example_inputs= (a tensor, a tuple of positional arguments or a dict of "
            "named ones), or the shape of each by the name forward() gives it (--input-shape x:batch,3,224,224)"
        )
    types = dict(p.rpartition(":")[::2] for p in str(request.options.get("input_dtypes") or "").split(",") if p)
    sizes = dict(zip(sorted({d.text for s in request.input_shapes.values() for d in map(_Named, s) if d.text}), _PRIMES))
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

    parameters = list(inspect.signature(module.forward).parameters.values())
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


class _Axes:
    """Which axes are symbolic, with examples that do not make torch take a size of 0 or 1 for granted."""

    def __init__(self, torch: Any, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any], request: LoadRequest) -> None:
        self.torch, self.names = torch, names
        self.values = [*args, *kwargs.values()]
        self.args, self.kwargs = args, kwargs
        self.asked: dict[tuple[str, int], str] = {}
        self.stated = request.options.get("dynamic_shapes")
        shapes = dict(request.input_shapes)
        if "" in shapes and len(names) == 1:
            shapes[names[0]] = shapes.pop("")
        sizes: dict[str, int] = {}
        for name, v in zip(names, self.values):
            for leaf, t in _leaves(name, v, torch):
                shape = shapes.get(leaf)
                if shape is not None and len(shape) != t.ndim:
                    raise UsageError(f"input {leaf!r} has {t.ndim} axes in the example, the shape given has {len(shape)}")
                for axis in range(t.ndim):
                    want = shape[axis] if shape is not None else None
                    if isinstance(want, int) and want != t.shape[axis]:
                        raise UsageError(
                            f"axis {axis} of input {leaf!r} is {t.shape[axis]} in the example, the shape given has {want}"
                        )
                    if isinstance(want, Dim):
                        if not want.is_name:
                            raise UsageError(f"axis {axis} of {leaf!r}: give a name for a symbolic size, not {want}")
                        self.asked[leaf, axis] = str(want)
                    elif shape is None and axis == 0 and self.stated is None:
                        self.asked[leaf, axis] = "batch"
        known = [leaf for name, v in zip(names, self.values) for leaf, _ in _leaves(name, v, torch)]
        unknown = sorted(set(shapes) - set(known))
        if unknown:
            raise UsageError(f"no input is named {', '.join(map(repr, unknown))}; the module's inputs are: {', '.join(known)}")
        self._remake(sizes)

    def _remake(self, sizes: dict[str, int]) -> None:
        """Axes that share a name share a size; 0 and 1 become a prime that no fixed axis has."""
        torch = self.torch
        fixed = {int(n) for name, v in zip(self.names, self.values) for leaf, t in _leaves(name, v, torch) for n in t.shape}
        by_name: dict[str, set[int]] = {}
        for name, v in zip(self.names, self.values):
            for leaf, t in _leaves(name, v, torch):
                for axis in range(t.ndim):
                    if (leaf, axis) in self.asked:
                        by_name.setdefault(self.asked[leaf, axis], set()).add(int(t.shape[axis]))
        free = iter(p for p in _PRIMES if p not in fixed)
        for label, found in by_name.items():
            if len(found) > 1 and label == "batch":  # an input without a batch axis: only what all share is one
                self._split_batch(found)
                return self._remake(sizes)
            if len(found) > 1:
                raise UsageError(f"the axes named {label!r} have sizes {sorted(found)} in the examples")
            n = next(iter(found))
            sizes[label] = n if n > 1 else next(free)

        def grow(leaf: str, t: Any) -> Any:
            for axis in range(t.ndim):
                label = self.asked.get((leaf, axis))
                if label is not None and t.shape[axis] != sizes[label]:
                    if t.shape[axis] == 0:
                        shape = [*t.shape[:axis], sizes[label], *t.shape[axis + 1 :]]
                        t = torch.zeros(shape, dtype=t.dtype, device=t.device)
                    else:
                        t = torch.cat([t] * sizes[label], axis)
            return t

        made = [_mapped(name, v, grow, torch) for name, v in zip(self.names, self.values)]
        self.args = tuple(made[: len(self.args)])
        self.kwargs = dict(zip(self.kwargs, made[len(self.args) :]))

    def _split_batch(self, found: set[int]) -> None:
        """Where first axes differ, the first input's is the batch; others that differ are fixed."""
        first = next(
            int(t.shape[0]) for name, v in zip(self.names, self.values) for _, t in _leaves(name, v, self.torch) if t.ndim
        )
        for name, v in zip(self.names, self.values):
            for leaf, t in _leaves(name, v, self.torch):
                if self.asked.get((leaf, 0)) == "batch" and int(t.shape[0]) != first:
                    del self.asked[leaf, 0]

    def export(self, module: Any) -> Any:
        torch = self.torch
        wanted = self.stated if self.stated is not None else self._dynamic()
        try:
            return torch.export.export(module, self.args, self.kwargs, dynamic_shapes=wanted, strict=False)
        except Exception as e:  # whatever tracing the user's code raises
            text = " ".join(str(e).split())[:600]
            raise UnsupportedError(
                Problem(
                    type(module).__name__,
                    "module",
                    f"torch.export cannot trace it: {type(e).__name__}: {text}",
                    "see the message; fixed sizes help where an axis cannot be symbolic (input_shapes={...})",
                    "not_exportable",
                )
            ) from e

    def _dynamic(self) -> Any:
        auto = self.torch.export.Dim.AUTO

        def spec(leaf: str, t: Any) -> Any:
            found = {axis: auto for axis in range(t.ndim) if (leaf, axis) in self.asked}
            return found or None

        made = [
            _mapped(name, v, spec, self.torch, other=None) for name, v in zip(self.names, (*self.args, *self.kwargs.values()))
        ]
        return {**dict(zip(self.names, made))} if self.kwargs and not self.args else self._by_position(made)

    def _by_position(self, made: list[Any]) -> Any:
        if not self.kwargs:
            return tuple(made)
        return dict(zip(self.names, made))

    def verify(self, module: Any, exported: Any) -> list[str]:
        """The exported program against the module itself, at the size of the examples and at 1: what traced code took for granted
        shows there. Refused where they differ."""
        notes: list[str] = []
        run = exported.module(check_guards=False) if "check_guards" in _parameters(exported.module) else exported.module()
        for size in (None, 1) if "batch" in self.asked.values() else (None,):
            args, kwargs = self._sized(size)
            what = f"batch {size}" if size else "the examples"
            try:
                want = module(*_copied(args, self.torch), **_copied(kwargs, self.torch))
            except Exception as e:  # noqa: BLE001 - the user's code may raise anything; it is told
                notes.append(
                    f"the module itself does not run at {what} ({type(e).__name__}), so the export was not compared there"
                )
                continue
            try:
                got = run(*_copied(args, self.torch), **_copied(kwargs, self.torch))
            except Exception as e:
                text = " ".join(str(e).split())[:200]
                raise self._differs(module, what, f"fails: {type(e).__name__}: {text}") from e
            for (name, a), (_, b) in zip(_leaves("output", want, self.torch), _leaves("output", got, self.torch)):
                if a.shape != b.shape:
                    raise self._differs(module, what, f"gives {name} of shape {list(b.shape)}, the module {list(a.shape)}")
                if not self.torch.allclose(a.to(b.dtype), b, rtol=1e-3, atol=1e-4 * _range(a), equal_nan=True):
                    raise self._differs(module, what, f"gives other values of {name}")
        return notes

    def _differs(self, module: Any, what: str, why: str) -> UnsupportedError:
        return UnsupportedError(
            Problem(
                type(module).__name__, "module",
                f"the program torch.export makes of it {why}, at {what}: its code depends on the size",
                "fix the batch (input_shapes={...}), or write the module so that it does not", "not_exportable",
            )
        )  # fmt: skip

    def _sized(self, size: int | None) -> tuple[Any, Any]:
        def cut(leaf: str, t: Any) -> Any:
            for axis in range(t.ndim):
                if size is not None and self.asked.get((leaf, axis)) == "batch":
                    t = t.narrow(axis, 0, size)
            return t

        made = [_mapped(name, v, cut, self.torch) for name, v in zip(self.names, (*self.args, *self.kwargs.values()))]
        return tuple(made[: len(self.args)]), dict(zip(self.kwargs, made[len(self.args) :]))

    def symbols(self, program: Program) -> dict[str, str]:
        """What the symbols are called: as asked for."""
        out: dict[str, str] = {}
        for name, axis, d in self._axes(program):
            if isinstance(d, Expr) and d.op == "symbol" and (name, axis) in self.asked:
                out.setdefault(str(d.args[0]), self.asked[name, axis])
        return out

    def report(self, program: Program) -> list[str]:
        """Every axis that was to be symbolic and is not, or only in a range."""
        notes = []
        for name, axis, d in self._axes(program):
            label = self.asked.get((name, axis))
            if label is None:
                continue
            if not isinstance(d, Expr):
                notes.append(f"axis {axis} of input {name!r} ({label}) is fixed to {d}: the module's code depends on its size")
            elif d.op == "symbol":
                least, most = program.ranges.get(str(d.args[0]), (None, None))
                if (least or 0) > 2 or (most is not None and most < 2**31):
                    notes.append(
                        f"axis {axis} of input {name!r} ({label}) is valid from {least} to {most} only: the module's code "
                        "depends on its size"
                    )
        return notes

    def _axes(self, program: Program) -> Iterator[tuple[str, int, Any]]:
        for i in program.inputs:
            told = program.graph.values.get(i.name)
            if i.kind == "user" and isinstance(told, TensorValue):
                for axis, d in enumerate(told.shape or ()):
                    yield i.name, axis, d


def _leaves(name: str, v: Any, torch: Any) -> Iterator[tuple[str, Any]]:
    """Tensors in an argument, named as torch.export names its placeholders."""
    if isinstance(v, torch.Tensor):
        yield name, v
    elif isinstance(v, (list, tuple)):
        for i, x in enumerate(v):
            yield from _leaves(f"{name}_{i}", x, torch)
    elif isinstance(v, Mapping):
        for k, x in v.items():
            yield from _leaves(f"{name}_{k}", x, torch)


def _mapped(name: str, v: Any, fn: Any, torch: Any, **other: Any) -> Any:
    if isinstance(v, torch.Tensor):
        return fn(name, v)
    if isinstance(v, (list, tuple)):
        return type(v)([_mapped(f"{name}_{i}", x, fn, torch, **other) for i, x in enumerate(v)])
    if isinstance(v, Mapping):
        return {k: _mapped(f"{name}_{k}", x, fn, torch, **other) for k, x in v.items()}
    return other["other"] if other else v


def _copied(v: Any, torch: Any) -> Any:
    """Copies of all tensors, so that what writes into its inputs does not change ours."""
    return _mapped("", v, lambda _, t: t.clone(), torch)


def _range(t: Any) -> float:
    return max(1.0, float(t.detach().abs().max())) if t.numel() and t.is_floating_point() else 1.0


def _parameters(fn: Any) -> Any:
    import inspect

    return inspect.signature(fn).parameters


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """torch's exporter prints partial graphs and logs guards: not to the user's terminal."""
    logger = logging.getLogger("torch")
    level = logger.level
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


# ---------------------------------------------------------------- recurrent layers
_RESULTS = {"lstm": 3, "gru": 2, "rnn_tanh": 2, "rnn_relu": 2}


@contextlib.contextmanager
def recurrent(torch: Any) -> Iterator[None]:
    """LSTM, GRU and RNN as one operator each while a module is traced: torch's own are unrolled over the time of the example."""
    rnn = torch.nn.modules.rnn
    real = rnn._VF
    rnn._VF = _Traced(real, _operators(torch))
    try:
        yield
    finally:
        rnn._VF = real


class _Traced:
    """torch's table of recurrent functions, those over a batch of whole sequences replaced."""

    def __init__(self, real: Any, ops: Mapping[str, Any]) -> None:
        self._real, self._ops = real, ops

    def __getattr__(self, name: str) -> Any:
        op = self._ops.get(name)
        real = getattr(self._real, name)
        if op is None:
            return real

        def call(*args: Any) -> Any:
            if len(args) != 9 or not isinstance(args[3], bool):  # packed sequences: (data, batch_sizes, ...)
                return real(*args)
            x, hx, *rest = args
            return tuple(op(x, list(hx) if isinstance(hx, (list, tuple)) else [hx], list(rest[0]), *rest[1:]))

        return call


_made: dict[str, Any] = {}


def _operators(torch: Any) -> Mapping[str, Any]:
    if _made:
        return _made
    library = torch.library.Library("convcore", "DEF")
    for name, results in _RESULTS.items():
        returns = ", ".join(["Tensor"] * results)
        library.define(
            f"{name}(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, "
            f"bool bidirectional, bool batch_first) -> ({returns})"
        )

        def fake(
            x: Any,
            hx: Any,
            params: Any,
            has_biases: bool,
            layers: int,
            drop: float,
            train: bool,
            both: bool,
            first: bool,
            n: int = results,
        ) -> Any:
            features = hx[0].shape[-1] * (2 if both else 1)
            return (x.new_empty((x.shape[0], x.shape[1], features)), *(torch.empty_like(h) for h in hx[: n - 1]))

        def real(x: Any, hx: Any, params: Any, *rest: Any, fn: str = name) -> Any:
            call = getattr(torch._VF, fn)
            return call(x, tuple(hx) if fn == "lstm" else hx[0], params, *rest)

        torch.library.impl(library, name, "CompositeExplicitAutograd")(real)
        torch.library.register_fake(f"convcore::{name}", fake, lib=library)
        _made[name] = getattr(torch.ops.convcore, name).default
    _made["library"] = library
    return _made


def module_of(spec: str, weights: Any = None) -> Any:
    """``package.module:factory`` imported and called: the user's code, at the user's word. ``weights``: a file that fills it."""
    path, sep, name = spec.partition(":")
    if not sep or not path or not name:
        raise UsageError(f"module={spec!r}: write package.module:factory")
    try:
        made = getattr(importlib.import_module(path), name)
    except (ImportError, AttributeError) as e:
        raise UsageError(f"module={spec!r}: {e}") from e
    module = made() if not hasattr(made, "state_dict") or isinstance(made, type) else made
    if weights is not None:
        _fill(module, weights)
    module.eval()
    return module


def _fill(module: Any, weights: Any) -> None:
    """A checkpoint's weights into a module; every name must have its place."""
    import torch

    from .files import read_checkpoint

    held = {k: torch.from_numpy(_plain(t)) for k, t in read_checkpoint(weights).tensors.items()}
    try:
        module.load_state_dict(held)
    except RuntimeError as e:
        raise UsageError(f"{weights} does not fit the module: {' '.join(str(e).split())[:1000]}") from e


def _plain(t: Any) -> Any:
    a = t.numpy()
    return (a.astype("float32") if a.dtype.kind == "V" or a.dtype.name == "bfloat16" else a).copy()
