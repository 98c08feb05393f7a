"""An ExportedProgram of torch as a :class:`.files.program.Program`: the same plain data a ``.pt2`` file holds."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from convcore.plugin import DType, Problem, Tensor, UnsupportedError

from .decompose import parts_of
from .files.elements import BY_NAME
from .files.program import (
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
    Scope,
    SymValue,
    TensorValue,
)
from .files.symbols import Expr, parse_expr

__all__ = ["TorchTensor", "program_of"]


class TorchTensor(Tensor):
    """A tensor of torch, read when asked for; shares its memory."""

    __slots__ = ("held", "requires_grad")

    def __init__(self, held: Any) -> None:
        name = str(held.dtype).removeprefix("torch.")
        if name not in BY_NAME or str(held.layout) != "torch.strided" or held.is_quantized:
            why = f"is a {name} tensor with layout {held.layout}, which is not read"
            raise UnsupportedError(Problem("weight", "tensor", why, "", "unsupported_dtype"))
        super().__init__(BY_NAME[name].dtype, held.shape)
        self.held, self.requires_grad = held, bool(held.requires_grad)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two names of one tensor: the storage and the view of it."""
        t = self.held
        if t.device.type == "meta" or not t.numel():
            return ("object", id(t))
        return (t.untyped_storage().data_ptr(), t.storage_offset(), self.shape, tuple(t.stride()), str(t.dtype))

    def numpy(self) -> Any:
        import torch

        t = self.held.detach().resolve_conj().resolve_neg()
        if t.device.type == "meta":
            raise UnsupportedError(Problem("weight", "tensor", "is on the meta device and has no values", "", "missing_weight"))
        t = t.cpu()
        element = BY_NAME[str(t.dtype).removeprefix("torch.")]
        if element.name == "bfloat16":
            return t.contiguous().view(torch.int16).numpy().view(np.uint16).view(DType.BFLOAT16.numpy)
        if element.name.startswith("float8"):
            return t.float().numpy()
        return t.to(torch.complex64).numpy() if element.name == "complex32" else t.numpy()


def program_of(exported: Any) -> Program:
    """The program of an ExportedProgram. UnsupportedError for what a program cannot hold."""
    module = exported.graph_module
    body = _graph(module, "")
    sig = exported.graph_signature
    inputs = [_input(s) for s in sig.input_specs]
    out_args = next(n for n in module.graph.nodes if n.op == "output").args[0]
    outputs = [
        Output(_OUT.get(s.kind.name, s.kind.name.lower()), _value(a), s.target or "") for s, a in zip(sig.output_specs, out_args)
    ]
    weights = {k: TorchTensor(v) for k, v in exported.state_dict.items() if _is_tensor(v)}
    constants = {k: TorchTensor(v) if _is_tensor(v) else v for k, v in exported.constants.items()}
    import torch

    return Program("program", body, inputs, outputs, weights, constants, _ranges(exported), {}, {}, {"torch": torch.__version__})


def _ranges(exported: Any) -> dict[str, tuple[int | None, int | None]]:
    """Least and most of the free sizes. torch 2.6 leaves out of ``range_constraints`` what the code compares a size with, and has
    it among the guards of the trace."""
    found = {str(k): (_bound(v.lower), _bound(v.upper)) for k, v in exported.range_constraints.items()}
    vals = (n.meta.get("val") for n in exported.graph_module.graph.nodes if n.op == "placeholder")
    mode = next((v.fake_mode for v in vals if hasattr(v, "fake_mode")), None)
    for guard in getattr(getattr(mode, "shape_env", None), "guards", ()):
        expr = guard.expr
        if not expr.is_Relational or str(expr.lhs) not in found or _bound(expr.rhs) is None:
            continue
        (least, most), at = found[str(expr.lhs)], int(expr.rhs)
        if expr.rel_op in (">", ">="):
            least = max(least or 0, at + (expr.rel_op == ">"))
        elif expr.rel_op in ("<", "<="):
            most = min(at - (expr.rel_op == "<"), at if most is None else most)
        found[str(expr.lhs)] = least, most
    return found


def _bound(v: Any) -> int | None:
    return int(v) if getattr(v, "is_Integer", isinstance(v, int)) and abs(int(v)) < 2**62 else None


_OUT = {"USER_OUTPUT": "user", "LOSS_OUTPUT": "loss"}
_KINDS = {"PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "constant", "CUSTOM_OBJ": "object", "TOKEN": "token"}


def _is_tensor(v: Any) -> bool:
    import torch

    return isinstance(v, torch.Tensor)


def _input(spec: Any) -> Input:
    kind = spec.kind.name
    if kind == "USER_INPUT":
        if hasattr(spec.arg, "value"):  # ConstantArgument
            return Input("literal", spec.arg.name or "", value=spec.arg.value)
        return Input("user", spec.arg.name)
    return Input(_KINDS[kind], spec.arg.name, spec.target or "", spec.persistent is not False)


def _graph(module: Any, name: str) -> Graph:
    values: dict[str, TensorValue | SymValue] = {}
    nodes: list[Node] = []
    inputs: list[str] = []
    outputs: tuple[Any, ...] = ()
    bodies: dict[str, Any] = {}
    for n in module.graph.nodes:
        val = n.meta.get("val")
        if n.op == "placeholder":
            inputs.append(n.name)
            _told(values, n.name, val)
        elif n.op == "get_attr":
            bodies[n.name] = functools.reduce(getattr, n.target.split("."), module)
        elif n.op == "output":
            args = n.args[0]
            outputs = tuple(_value(a) for a in (args if isinstance(args, (tuple, list)) else (args,)))
        elif n.target is not operator.getitem or n.users:
            nodes.append(_node(n, val, values, bodies))
    return Graph(name, tuple(inputs), outputs, tuple(nodes), values)


def _node(n: Any, val: Any, values: dict[str, TensorValue | SymValue], bodies: Mapping[str, Any]) -> Node:
    target = _target(n.target)
    schema = getattr(n.target, "_schema", None)
    arguments = []
    names = [a.name for a in schema.arguments] if schema is not None else []
    for i, a in enumerate(n.args):
        arguments.append(Argument(names[i] if i < len(names) else "", _value(a, bodies)))
    arguments += [Argument(k, _value(a, bodies), True) for k, a in n.kwargs.items()]
    returns = len(schema.returns) if schema is not None else 1
    whole = schema is None or not target.startswith("aten.") or target.startswith("aten.sym_")  # a size has no parts
    outs: tuple[Any, ...]
    if isinstance(val, (list, tuple)):  # a list or several results: named, so that getitem finds them
        made = tuple(f"{n.name}:{i}" for i in range(_read(n, val)))
        for m, v in zip(made, val):
            _told(values, m, v)
        values.pop(n.name, None)
        outs = (made,)
    elif schema is not None and returns == 0:
        outs = ()
    else:
        _told(values, n.name, val)
        outs = (n.name,)
    return Node(
        n.name,
        target,
        tuple(arguments),
        outs,
        tuple(_scopes(n.meta.get("nn_module_stack"))),
        str((n.meta.get("torch_fn") or ("",))[0]),
        parts=None if whole else functools.partial(_parts, n),
    )


def _read(n: Any, val: Any) -> int:
    """How many of a node's results are made: of those of an operator with several, the last that is read is the last."""
    if len(getattr(getattr(n.target, "_schema", None), "returns", ())) < 2:
        return len(val)
    if any(u.target is not operator.getitem or u.args[1] < 0 for u in n.users):
        return len(val)
    return max((u.args[1] + 1 for u in n.users if u.users), default=1)


def _parts(n: Any) -> Graph | None:
    """The body of simpler operations of a node."""
    made = parts_of(n)
    return None if made is None else _graph(made, n.name)


def _target(target: Any) -> str:
    if hasattr(target, "_schema"):
        text = str(target)
        return text if text.count(".") >= 2 else f"{text}.default"
    if hasattr(target, "name") and callable(target.name) and "HigherOrder" in type(target).__mro__[1].__name__:
        return f"higher_order.{target.name()}"
    if hasattr(target, "__name__") and not callable(getattr(target, "name", None)):
        module = getattr(target, "__module__", "")
        return f"{module}.{target.__name__}"
    return f"higher_order.{getattr(target, '__name__', str(target))}"


def _told(values: dict[str, TensorValue | SymValue], name: str, val: Any) -> None:
    import torch

    if isinstance(val, torch.Tensor):
        if str(val.layout) != "torch.strided":
            values[name] = TensorValue(str(val.dtype).removeprefix("torch."), None)
            return
        shape, strides = (tuple(_size(d) for d in s) for s in (val.shape, val.stride()))
        values[name] = TensorValue(
            str(val.dtype).removeprefix("torch."), shape, strides, bool(val.requires_grad), val.device.type
        )
    elif isinstance(val, (torch.SymInt, int, torch.SymFloat, float, torch.SymBool, bool)):
        kind = "bool" if isinstance(val, (bool, torch.SymBool)) else "int" if isinstance(val, (int, torch.SymInt)) else "float"
        values[name] = SymValue(kind, _size(val))


def _size(d: Any) -> Any:
    if isinstance(d, (bool, int, float)):
        return d
    expr = d.node.expr
    if expr.is_number:
        return float(expr) if type(d).__name__ == "SymFloat" else int(expr)
    return _expr(expr)


@functools.lru_cache(4096)
def _expr(expr: Any) -> Expr | int | float:
    from sympy.printing.repr import srepr  # type: ignore[import-untyped]

    return parse_expr(srepr(expr), "a size")


def _value(a: Any, bodies: Mapping[str, Any] | None = None) -> Any:
    import torch
    from torch import fx

    if isinstance(a, fx.Node):
        if bodies is not None and a.name in bodies:
            held = bodies[a.name]
            return _graph(held, a.name) if isinstance(held, fx.GraphModule) else held
        val = a.meta.get("val")
        if isinstance(val, (list, tuple)):
            return [Ref(f"{a.name}:{i}") for i in range(_read(a, val))]
        return Ref(a.name)
    if isinstance(a, (list, tuple)):
        return [_value(i, bodies) for i in a]
    if isinstance(a, dict):
        return {k: _value(v, bodies) for k, v in a.items()}
    if isinstance(a, torch.dtype):
        return ElementType(str(a).removeprefix("torch."))
    if isinstance(a, torch.device):
        return Device(a.type, a.index)
    if isinstance(a, torch.layout):
        return Constant("layout", str(a).removeprefix("torch."))
    if isinstance(a, torch.memory_format):
        return Constant("memory_format", str(a).removeprefix("torch."))
    if isinstance(a, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return _size(a)
    return a


def _scopes(stack: Any) -> Iterator[Scope]:
    for key, (path, cls) in (stack or {}).items():
        call = key.rpartition("@")[2] if "@" in key else "0"
        name = cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"
        yield Scope(path.partition("@")[0], name, int(call) if call.isdecimal() else 0)
