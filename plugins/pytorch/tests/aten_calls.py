"""Single calls of ATen's operators: by torch, and as a program of one node read by the loader.

A call is plain data, ``{"args": {name: value}}`` by the schema's names; a tensor is ``{"t": dtype, "s": shape, "f": how it is
filled}`` or has its values (``"v"``), a list of tensors is a list of these, an element type ``{"e": name}``.
"""

from __future__ import annotations

import copy
import json
import math
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convcore.errors import ConvcoreError, PluginBugError, UnsupportedError
from convcore.hookspecs import LoadRequest
from convcore.interpreter import Interpreter
from convcore.plugin import opaque_problems
from convcore.testing.torch_runs import array, differs, leaves, untied
from convcore_pytorch.files.program import (
    Argument,
    Constant,
    Device,
    ElementType,
    Graph,
    Input,
    Node,
    Output,
    Program,
    Ref,
    TensorValue,
)
from convcore_pytorch.files.symbols import Expr
from convcore_pytorch.loader import Loader
from convcore_pytorch.rules import RULES
from convcore_pytorch.signatures import REQUIRED, Signature, signature

__all__ = ["CALLS", "Call", "changes", "eager", "facts", "loaded", "outcome", "reasons"]

Call = dict[str, Any]

CALLS: dict[str, list[Call]] = json.loads(Path(__file__).with_name("aten_calls.json").read_text("utf-8"))


def tensor(spec: dict[str, Any], seed: int) -> torch.Tensor:
    """A tensor of the description, the same each time."""
    dtype, shape = getattr(torch, spec["t"]), tuple(spec["s"])
    if "v" in spec:
        return torch.tensor([_number(v) for v in spec["v"]], dtype=dtype).reshape(shape)
    rng = np.random.default_rng(seed * 97 + math.prod(shape) + len(shape))
    fill = spec["f"]
    if fill == "posdef" and len(shape) > 1 and shape[-1] == shape[-2]:
        a = rng.standard_normal(shape)
        values = a @ np.swapaxes(a, -1, -2) + 2 * np.eye(shape[-1])
    elif fill in ("zero to two", "one to five"):
        low, high = {"zero to two": (0, 3), "one to five": (1, 6)}[fill]
        values = rng.integers(low, high, shape)
    elif fill == "rand":
        values = rng.uniform(0.05, 0.95, shape)
    else:
        values = rng.standard_normal(shape) * 1.5
    if dtype is torch.bool:
        return torch.from_numpy(np.asarray(values > 0.4)).reshape(shape)
    if dtype.is_complex:
        values = values + 1j * rng.standard_normal(shape)
    if not dtype.is_floating_point and not dtype.is_complex:
        values = np.round(values * 2) if fill == "randn" else np.round(values)
        if dtype is torch.uint8:
            values = np.abs(values)
    elif fill == "mixed" and values.size > 3:
        values = np.array(values)
        values.reshape(-1)[:4] = [0.0, -0.0, float("inf"), float("nan")]
    return torch.from_numpy(np.asarray(values)).reshape(shape).to(dtype)


def _number(v: Any) -> Any:
    return complex(*v) if isinstance(v, list) else float(v) if isinstance(v, str) else v


def _is_tensor(v: Any) -> bool:
    return isinstance(v, dict) and "t" in v


def _made(value: Any, count: Iterator[int]) -> Any:
    """An argument as torch takes it."""
    if _is_tensor(value):
        return tensor(value, next(count))
    if isinstance(value, list):
        return [_made(v, count) for v in value]
    if isinstance(value, dict) and "e" in value:
        return getattr(torch, value["e"])
    if isinstance(value, dict) and "c" in value:
        return complex(*value["c"])
    return _number(value) if isinstance(value, str) and value in ("inf", "-inf", "nan") else value


def _sig(kind: str) -> Signature:
    found = signature(kind if kind.count(".") > 1 else f"{kind}.default")
    assert found is not None, kind
    return found


def given(call: Call) -> dict[str, Any]:
    """The arguments as torch takes them."""
    count = iter(range(100))
    return {k: _made(v, count) for k, v in call["args"].items()}


def _flat(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _flat(v)


def eager(kind: str, arguments: dict[str, Any]) -> Any:
    """What torch gives; the exceptions are torch's own."""
    _, base, *overload = kind.split(".")
    op = getattr(getattr(torch.ops.aten, base), overload[0] if overload else "default")
    left, positional = dict(arguments), []
    for p in _sig(kind).parameters:
        if p.keyword or p.name not in left:
            break
        positional.append(left.pop(p.name))
    return op(*positional, **left)


def facts(t: torch.Tensor) -> TensorValue:
    return TensorValue(str(t.dtype).removeprefix("torch."), tuple(t.shape), tuple(t.stride()))


def _written(value: Any, names: Iterator[str]) -> Any:
    """An argument as a program has it."""
    if isinstance(value, torch.Tensor):
        return Ref(next(names))
    if isinstance(value, (list, tuple)):
        return [_written(v, names) for v in value]
    if isinstance(value, torch.dtype):
        return ElementType(str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return Device(value.type)
    if isinstance(value, (torch.layout, torch.memory_format)):
        return Constant("layout" if isinstance(value, torch.layout) else "memory_format", str(value).removeprefix("torch."))
    return value


def _free(t: TensorValue, size: Any) -> TensorValue:
    """With a first axis of that size symbolic."""
    if not t.shape or t.shape[0] != size:
        return t
    return TensorValue(t.dtype, (Expr("symbol", ("s0",)), *t.shape[1:]), t.strides)


def program(kind: str, arguments: dict[str, Any], made: Any, told: bool, free: bool = False) -> Program:
    """One call as a program. ``told``: with types and shapes of results (torch.export has them, TorchScript not)."""
    sig = _sig(kind)
    tensors = list(_flat(list(arguments.values())))
    names = [f"x{i}" for i in range(len(tensors))]
    values: dict[str, Any] = {n: facts(t) for n, t in zip(names, tensors)}
    if free and tensors and tensors[0].ndim:
        values = {n: _free(v, tensors[0].shape[0]) for n, v in values.items()}
    held = iter(names)
    keyword = {p.name: p.keyword for p in sig.parameters}
    written = tuple(Argument(k, _written(v, held), keyword[k]) for k, v in arguments.items())
    results = list(made) if isinstance(made, (list, tuple)) else [made]
    outs = [f"y{i}" for i in range(len(results))]
    if told:
        values |= {n: facts(t) for n, t in zip(outs, results) if isinstance(t, torch.Tensor)}
    listed = isinstance(made, list)
    node = Node("call", kind if kind.count(".") > 1 else f"{kind}.default", written, (tuple(outs),) if listed else tuple(outs))
    graph = Graph("", tuple(names), tuple(map(Ref, outs)), (node,), values)
    inputs = [Input("user", n) for n in names]
    return Program("program", graph, inputs, [Output("user", Ref(n)) for n in outs], {})


def loaded(kind: str, arguments: dict[str, Any], made: Any, told: bool = True, free: bool = False) -> list[np.ndarray]:
    """What the loader makes of a call gives; UnsupportedError where it is refused."""
    graph = Loader(program(kind, arguments, made, told, free), LoadRequest("", rules=RULES)).run()
    problems = opaque_problems(graph)
    if problems:
        raise UnsupportedError(problems)
    held = {f"x{i}": array(t) for i, t in enumerate(_flat(list(arguments.values())))}
    return [np.asarray(a) for a in Interpreter(graph).run({v.name: held[v.name] for v in graph.inputs})]


def unsteady(kind: str, arguments: dict[str, Any], want: list[np.ndarray]) -> bool:
    """Whether torch gives something else each time: one number of ten is the same in one of ten runs."""
    runs = (eager(kind, copy.deepcopy(arguments)) for _ in range(9))
    return any(differs([array(v) for v in leaves(made)], want, 0) for made in runs)


def outcome(kind: str, call: Call, told: bool = True, free: bool = False) -> str:
    """``""`` where the call gives what torch gives, else ``refused: why`` or ``wrong: how``; ``outside`` where torch itself
    refuses it, or gives something else each time."""
    arguments = given(call)
    kept = copy.deepcopy(arguments)
    try:
        made = eager(kind, arguments)
        want = [array(v) for v in leaves(made)]
    except Exception:  # noqa: BLE001 - torch decides what it takes
        return "outside"
    if not want or not all(isinstance(v, torch.Tensor) for v in leaves(made)):
        return "outside"
    arguments = copy.deepcopy(kept)
    try:
        got = loaded(kind, kept, made, told, free)
    except UnsupportedError as e:
        said = f"refused: {'; '.join(p.why for p in e.problems)}"
        return "outside" if unsteady(kind, arguments, want) else said
    except ConvcoreError as e:  # arguments that hold for one size alone are told while the graph is built
        return f"{'refused' if free and not isinstance(e, PluginBugError) else 'wrong'}: {e}"
    inputs = tuple(_flat(list(kept.values())))
    why = differs(untied(got, want, inputs), want, 2e-3 if any(w.dtype == np.float16 for w in want) else 4e-5)
    if why and unsteady(kind, arguments, want):
        return "outside"
    return f"wrong: {why}" if why else ""


# ---- changes
_OTHERS: dict[str, tuple[Any, ...]] = {
    "bool": (True, False), "float": (0.0, 0.25, -1.5, 3.0), "Scalar": (0, 2, -1, 0.5, True, -2.5), "ScalarType": (
        {"e": "float64"}, {"e": "int64"}, {"e": "bool"}, {"e": "float16"}, {"e": "int32"}, None),
}  # fmt: skip
_WORDS = (
    "none", "tanh", "mean", "sum", "prod", "amax", "amin", "trunc", "floor", "same", "valid", "constant", "reflect", "replicate",
    "circular", "add", "multiply", "ij", "xy", "reduced", "complete", "left", "right", "A", "U",
)  # fmt: skip
_TYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "bool", "complex64")


def changes(kind: str, call: Call) -> Iterator[tuple[str, Call]]:
    """Every change of one argument, with what it is."""
    for p in _sig(kind).parameters:
        for what, value in dict(_variants(p.type, call["args"].get(p.name, p.default))).items():
            if (
                value is not REQUIRED
                and value == call["args"].get(p.name, REQUIRED)
                and type(value) is type(call["args"][p.name])
            ):
                continue
            args = {k: v for k, v in call["args"].items() if k != p.name}
            if value is not REQUIRED:
                args[p.name] = value
            elif p.name not in call["args"] or p.default is REQUIRED:
                continue
            yield f"{p.name}={what}", {"args": {q.name: args[q.name] for q in _sig(kind).parameters if q.name in args}}


def _variants(type_: str, value: Any) -> Iterator[tuple[str, Any]]:
    kind = type_.removesuffix("?")
    if type_.endswith("?") or value is not REQUIRED:
        yield "left out", REQUIRED
    if type_.endswith("?") and value is not None:
        yield "None", None
    if _is_tensor(value):
        yield from _tensors(value)
    elif isinstance(value, list) and value and all(map(_is_tensor, value)):
        yield "one of it", value[:1]
        yield "turned", value[::-1]
        for what, other in _tensors(value[-1]):
            yield f"last {what}", [*value[:-1], other]
    elif kind in ("int", "SymInt"):
        n = value if isinstance(value, int) else 1
        for v in (n + 1, n - 1, 0, 2, -2, -n):
            yield repr(v), v
    elif "int[" in kind.lower():
        n = value if isinstance(value, list) and all(isinstance(i, int) for i in value) else [1, 2]
        for v in (n[::-1], [*n[:-1], n[-1] + 1] if n else [1], [n[0] + 1, *n[1:]] if n else [0, 1], n[:1], [*n[:-1], -1], []):
            yield repr(v), v
    elif kind == "str":
        for v in _WORDS:
            yield repr(v), v
    else:
        for v in _OTHERS.get(kind, ()):
            yield repr(v["e"]) if isinstance(v, dict) else repr(v), v


def _tensors(spec: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    shape, plain = list(spec["s"]), {k: v for k, v in spec.items() if k != "v"}
    plain.setdefault("f", "zero to two" if spec["t"].startswith(("int", "uint")) else "randn")
    for t in _TYPES:
        if t != spec["t"]:
            yield t, {**spec, "t": t} if "v" not in spec or t.startswith(("int", "float")) else {**plain, "t": t}
    if spec["t"].startswith("float"):
        yield "mixed", {**plain, "f": "mixed"}
    if shape:
        yield "less an axis", {**plain, "s": shape[1:]}
        yield "last of size 1", {**plain, "s": [*shape[:-1], 1]}
        yield "first of size 1", {**plain, "s": [1, *shape[1:]]}
        yield "empty", {**plain, "s": [0, *shape[1:]]}
    yield "one more axis", {**plain, "s": [2, *shape]}
    yield "a number", {**plain, "s": []}


_OWN_FORMULA = (
    "conv", "upsample", "dist$", "norm", "linalg", "cholesky", "geqrf", "ormqr", "inverse", "bessel", r"\bi[01]e?$", "_i[01]",
    "gelu", "lerp", "std_mean", "var_mean", "stft", "polynomial", "margin_loss", "grid_sampler", "histogram", "searchsorted",
    "bucketize",
)  # fmt: skip
_UNCHECKED = {
    r"batch_norm|_weight_norm|lu_unpack .*pivots|_unsafe_masked_index": "=empty",
    r"aten\._weight_norm": "(v|g|dim)=", r"take_along_dim": "self=first of size 1", "topk": "sorted=False",
    "polygamma": "self=int", "searchsorted": "sorted_sequence=uint8", "(std|var).*correction 1": "self=empty",
    r"aten\.unique_": "=", r"aten\.(new_)?empty": "",
}  # fmt: skip
"""What torch takes without a look, and crashes or gives anything (2.13): sizes that do not fit, places outside, poles."""


def _defined(where: str) -> bool:
    """Whether torch's result is the only right one. Where infinities and nan end up is another matter of each formula."""
    if "=mixed" in where and re.search("|".join(_OWN_FORMULA), where.split()[0]):
        return False
    return not any(re.search(kind, where) and re.search(what, where) for kind, what in _UNCHECKED.items())


def reasons(kind: str, whole: bool = False) -> Iterator[tuple[str, str]]:
    """The calls of an operator and those of their changes that ``"tried"`` names, or all; then each call with a first axis of
    free size: where (which call, which change, whether types of results are told) and what it came to, "" where torch gives the
    same; what torch does not take is left out."""
    for i, call in enumerate(CALLS[kind]):
        for j, (what, changed) in enumerate([("", call), *changes(kind, call)]):
            if not _defined(f"{kind} {i} {what}") or not (whole or not j or what in call.get("tried", ())):
                continue
            told = (i + j) % 5 > 1
            said = outcome(kind, changed, told)
            if said != "outside":
                yield f"{i} {what}{'' if told else ' untold'}", said
        if _defined(f"{kind} {i} ") and (said := outcome(kind, call, told=False, free=True)) != "outside":
            yield f"{i} free", said


def main() -> None:
    """Makes all changes; writes what is refused and which changes ``make test`` tries; says what is wrong."""
    warnings.simplefilter("ignore")
    refused: dict[str, dict[str, list[str]]] = {}
    lines = []
    for kind, calls in CALLS.items():
        tried: dict[str, set[str]] = {}
        seen: Counter[tuple[str, str]] = Counter()
        for where, said in reasons(kind, whole=True):
            if said.startswith("wrong"):
                print(kind, where, said, file=sys.stderr)
                continue
            number, _, what = where.removesuffix(" untold").partition(" ")
            name, _, value = what.partition("=")
            same = next((k for k in ("float", "int", "bool", "complex", "mixed") if value.lstrip("last '").startswith(k)), "")
            most = 1 if number != "0" else 3 if not same else 1
            seen[name + same, said] += 1
            if what not in ("", "free") and seen[name + same, said] <= most:
                tried.setdefault(number, set()).add(what)
                if said:
                    refused.setdefault(kind, {}).setdefault(said.removeprefix("refused: "), []).append(where)
            elif said and what in ("", "free"):
                refused.setdefault(kind, {}).setdefault(said.removeprefix("refused: "), []).append(where)
        made = [{"args": c["args"], "tried": sorted(tried.get(str(i), ()))} for i, c in enumerate(calls)]
        texts = ",\n".join(json.dumps(c, separators=(",", ":")) for c in made)
        lines.append(f"{json.dumps(kind)}: [\n{texts}\n]")
    here = Path(__file__)
    here.with_name("aten_calls.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    text = json.dumps(refused, indent=0, ensure_ascii=False)
    here.with_name("aten_refused.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
