"""Which axes of a module's example inputs are symbolic: asked for, exported, compared and told."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from convcore.plugin import Dim, LoadRequest, Problem, UnsupportedError, UsageError, ask

from .files.program import Program, TensorValue
from .files.symbols import Expr

__all__ = ["PRIMES", "Axes"]

PRIMES = (3, 5, 7, 11, 13, 17, 19, 23)
"""Sizes that made-up axes take, different from one another."""


class Axes:
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
        free = iter(p for p in PRIMES if p not in fixed)
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
        wanted = self.stated if self.stated is not None else self._dynamic(module)
        try:
            return torch.export.export(module, self.args, self.kwargs, dynamic_shapes=wanted, strict=False)
        except Exception as e:  # whatever tracing the user's code raises
            text = " ".join(str(e).split())[:600]
            raise UnsupportedError(
                Problem(
                    type(module).__name__,
                    "module",
                    f"torch.export cannot trace it: {type(e).__name__}: {text}",
                    "see the message; fixed sizes help where an axis cannot be symbolic: "
                    + ask("--input-shape NAME:...", "input_shapes={...}"),
                    "not_exportable",
                )
            ) from e

    def _dynamic(self, module: Any) -> Any:
        auto = self.torch.export.Dim.AUTO

        def spec(leaf: str, t: Any) -> Any:
            found = {axis: auto for axis in range(t.ndim) if (leaf, axis) in self.asked}
            return found or None

        made = [
            _mapped(name, v, spec, self.torch, other=None) for name, v in zip(self.names, (*self.args, *self.kwargs.values()))
        ]
        n = len(self.args)  # nested as the arguments are when bound: those of *args are a tuple, those of **kwargs a mapping
        bound = inspect.signature(module.forward).bind(*made[:n], **dict(zip(self.kwargs, made[n:])))
        return dict(bound.arguments)

    def verify(self, module: Any, exported: Any) -> list[str]:
        """The exported program against the module itself, at the size of the examples and at 1: what traced code took for granted
        shows there. Refused where they differ."""
        notes: list[str] = []
        try:
            run = exported.module(check_guards=False) if "check_guards" in _parameters(exported.module) else exported.module()
        except Exception as e:  # code that torch makes of the module's own names (class, None), which may be none
            why = f"the program torch.export makes of it cannot be run: {type(e).__name__}: {' '.join(str(e).split())[:200]}"
            hint = "a module whose name is a word of Python does that: give it another"
            raise UnsupportedError(Problem(type(module).__name__, "module", why, hint, "not_exportable")) from e
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
                f"fix the batch ({ask('--input-shape NAME:...', 'input_shapes={...}')}), or write the module so that it does not",
                "not_exportable",
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
        made = [_mapped(f"{name}_{i}", x, fn, torch, **other) for i, x in enumerate(v)]
        return type(v)(*made) if hasattr(v, "_fields") else type(v)(made)  # a named tuple takes its parts one by one
    if isinstance(v, Mapping):
        return {k: _mapped(f"{name}_{k}", x, fn, torch, **other) for k, x in v.items()}
    return other["other"] if other else v


def _copied(v: Any, torch: Any) -> Any:
    """Copies of all tensors, so that what writes into its inputs does not change ours."""
    return _mapped("", v, lambda _, t: t.clone(), torch)


def _range(t: Any) -> float:
    return max(1.0, float(t.detach().abs().max())) if t.numel() and t.is_floating_point() else 1.0


def _parameters(fn: Any) -> Any:
    return inspect.signature(fn).parameters
