"""Modules without weights that belong to a layer of the source beside another module are written as functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convcore.plugin import Plan, PlanCall, Ref, Step, Unit, leaves, reads

from .dialect import TorchDialect

__all__ = ["functions"]

FUNCTIONS = {
    "ReLU": "F.relu", "Sigmoid": "torch.sigmoid", "Tanh": "torch.tanh", "SiLU": "F.silu", "Mish": "F.mish",
    "Softsign": "F.softsign",
    "Tanhshrink": "F.tanhshrink", "Hardswish": "F.hardswish", "LogSigmoid": "F.logsigmoid", "ELU": "F.elu", "CELU": "F.celu",
    "SELU": "F.selu", "LeakyReLU": "F.leaky_relu", "GELU": "F.gelu", "Hardsigmoid": "F.hardsigmoid", "Softshrink": "F.softshrink",
    "Hardshrink": "F.hardshrink", "GLU": "F.glu", "Softmax": "F.softmax", "LogSoftmax": "F.log_softmax",
    "Upsample": "F.interpolate", "PixelShuffle": "F.pixel_shuffle", "PixelUnshuffle": "F.pixel_unshuffle",
    **{f"{kind}{n}d": f"F.{name}{n}d" for n in (1, 2, 3) for kind, name in (
        ("MaxPool", "max_pool"), ("AvgPool", "avg_pool"), ("AdaptiveAvgPool", "adaptive_avg_pool"),
        ("AdaptiveMaxPool", "adaptive_max_pool"))},
}  # fmt: skip


def functions(plan: Plan, dialect: TorchDialect) -> None:
    """To be run before nesting: what shares its scope with another module, or has none, becomes a function; of a source in
    PyTorch, what was no module there."""
    _unbound(plan)
    calls = list(plan.root.all_calls())
    for call in calls:
        if call.node is None:
            call.path = ()
        elif isinstance(call.target, str):
            call.path = dialect.around(call.node)
        else:
            call.path = dialect.path(call.node)
    if dialect.of_torch:
        _at_home(calls, dialect.keys)
    units = {c.target: c.path for c in calls if isinstance(c.target, Unit)}
    count = Counter(units.values())
    for call in calls:
        t = call.target
        if not isinstance(t, Unit) or t.states or not t.type.startswith("torch.nn."):
            continue
        short = t.type.rpartition(".")[2]
        name = FUNCTIONS.get(short)
        written = dialect.of_torch and call.path and call.path[-1].type.rpartition(".")[2] != short
        if name is not None and (count[call.path] > 1 or not call.path or written):
            call.become(name, t.config)
            call.path = dialect.around(call.node) if call.node is not None else ()


def _at_home(calls: Sequence[PlanCall], keys: frozenset[str]) -> None:
    """Modules of a source in PyTorch stand where its keys say, though another module calls them; those that share another's
    weights under keys of their own stay. Weights under other names than the module of torch has for them are parameters beside a
    function."""
    for call in calls:
        t = call.target
        names = {k: s.value.name for k, s in t.states.items() if s.value is not None} if isinstance(t, Unit) else {}
        if not isinstance(t, Unit) or not names or any("." not in n for n in names.values()):
            continue
        if all(n.endswith(f".{k}") for k, n in names.items()):
            owners = {n[: -len(k) - 1] for k, n in names.items()}
            if len(owners) == 1:
                (owner,) = owners
                own = ".".join(s.name for s in t.path)
                if owner != own and not all(f"{own}.{k}" in keys for k in names):
                    t.path = tuple(Step(n) for n in owner.split("."))
                continue
        if t.type == "torch.nn.Linear":
            states = (t.states["weight"], *([t.states["bias"]] if "bias" in t.states else []))
            call.target, call.args, call.kwargs = "F.linear", (*call.args, *states), {}


def _unbound(plan: Plan) -> None:
    """Slices of size 1 whose axis goes at once: one call of unbind."""
    readers: dict[Ref, list[PlanCall | None]] = {}
    for call in plan.root.calls:
        for r in reads(call):
            readers.setdefault(r, []).append(call)
    for result in leaves(plan.root.outputs):
        if isinstance(result, Ref):
            readers.setdefault(result, []).append(None)
    gone: set[int] = set()
    for call in plan.root.calls:
        if call.type != "torch.split" or any(n != 1 for n in call.args[1]):
            continue
        users = [readers.get(r, []) for r in call.results]
        axis = call.kwargs["dim"]
        if all(len(u) == 1 and u[0] is not None and u[0].type == ".squeeze" and u[0].args[1:] == (axis,) for u in users):
            after = [u[0] for u in users if u[0] is not None]
            call.target, call.args, call.kwargs = ".unbind", (call.args[0], axis), {}
            for i, squeeze in enumerate(after):
                squeeze.results[0].call, squeeze.results[0].index = call, i
                gone.add(id(squeeze))
            call.results = tuple(s.results[0] for s in after)
    plan.root.calls = [c for c in plan.root.calls if id(c) not in gone]
