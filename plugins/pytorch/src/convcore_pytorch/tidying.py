"""Modules without weights that belong to a layer of the source beside another module are written as functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from convcore.plugin import Plan, PlanCall, Ref, State, Step, Unit, leaves, reads

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

"""Modules without weights."""
_WINDOW = ("stride", "padding", "dilation", "groups")
_STATISTICS = ("running_mean", "running_var")
STATEFUL: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "Linear": ("F.linear", ("weight", "bias"), ()),
    "Embedding": ("F.embedding", ("weight",), ("padding_idx",)),
    "PReLU": ("F.prelu", ("weight",), ()),
    "LayerNorm": ("F.layer_norm", ("weight", "bias"), ("normalized_shape", "eps")),
    "RMSNorm": ("F.rms_norm", ("weight",), ("normalized_shape", "eps")),
    "GroupNorm": ("F.group_norm", ("weight", "bias"), ("num_groups", "eps")),
    **{f"BatchNorm{n}d": ("F.batch_norm", (*_STATISTICS, "weight", "bias"), ("momentum", "eps")) for n in (1, 2, 3)},
    **{f"InstanceNorm{n}d": ("F.instance_norm", ("", "", "weight", "bias"), ("eps",)) for n in (1, 2, 3)},
    **{f"Conv{n}d": (f"F.conv{n}d", ("weight", "bias"), _WINDOW) for n in (1, 2, 3)},
    **{f"ConvTranspose{n}d": (f"F.conv_transpose{n}d", ("weight", "bias"), (*_WINDOW, "output_padding")) for n in (1, 2, 3)},
}
"""Modules with weights: the function, the weights it takes after its input, and what else it takes (torch.nn.functional)."""


class _Training:
    """Whether the module that a call stands in is being trained."""

    def __repr__(self) -> str:
        return "self.training"


_TRAINING = _Training()


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
        _at_home(calls, dialect)
        for call in calls:
            if isinstance(call.target, Unit):
                call.path = call.target.path
        _with_own_weights(calls)
        _as_functions(calls, dialect)
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


def _with_own_weights(calls: Sequence[PlanCall]) -> None:
    """A module of the source that has weights itself and calls others without any, such as a normalisation with its activation:
    it is the layer, and what else it calls stands beside it."""
    under: dict[tuple[str, ...], list[PlanCall]] = {}
    for call in calls:
        names = tuple(s.name for s in call.path or ())
        for i in range(1, len(names) + 1):
            under.setdefault(names[:i], []).append(call)
    for call in calls:
        t, path = call.target, call.path or ()
        if not isinstance(t, Unit) or not t.states or not path:
            continue
        own = ".".join(s.name for s in path)
        beside = [c for c in under[tuple(s.name for s in path)] if c.target is not t]
        if any(s.value is not None and s.value.name != f"{own}.{k}" for k, s in t.states.items()):
            continue
        if any((isinstance(c.target, Unit) and c.target.states) or _has_states(c) for c in beside):
            continue
        for c in beside:
            around, inner = (c.path or ())[: len(path)], c.target
            name = FUNCTIONS.get(inner.type.rpartition(".")[2]) if isinstance(inner, Unit) else None
            if isinstance(inner, Unit) and name is None:
                c.path = inner.path = (*around[:-1], Step(f"{around[-1].name}_{(c.path or ())[-1].name}"))
            elif isinstance(inner, Unit) and name is not None:
                c.become(name, inner.config)
            c.path = c.path if name is None and isinstance(inner, Unit) else around


def _has_states(call: PlanCall) -> bool:
    return any(isinstance(a, State) and a.role != "constant" for a in leaves((*call.args, *call.kwargs.values())))


def _at_home(calls: Sequence[PlanCall], dialect: TorchDialect) -> None:
    """Modules of a source in PyTorch stand where its keys say, though another module calls them; those that share another's
    weights under keys of their own stay. Of several that a key's owner could be, it is the one that has all its keys."""
    keys = _by_owner(dialect.keys)
    claims: dict[str, dict[Unit, None]] = {}
    for t in dict.fromkeys(c.target for c in calls if isinstance(c.target, Unit)):
        names = _keys(t)
        owners = {n[: -len(k) - 1] for k, n in names.items() if n.endswith(f".{k}")}
        if names and len(owners) == 1 and all(n.endswith(f".{k}") for k, n in names.items()):
            claims.setdefault(owners.pop(), {})[t] = None
    for owner, units in claims.items():
        t = max(units, key=lambda u: (_place(u.path) == owner, _is_whole(u, owner, keys)))
        own = _place(t.path)
        if owner != own and _is_whole(t, owner, keys) and not _has_its_keys(t, dialect):
            t.path = tuple(Step(n) for n in owner.split("."))


def _as_functions(calls: Sequence[PlanCall], dialect: TorchDialect) -> None:
    """Of a source in PyTorch what is no module with its weights under its keys is a function of them: one that uses a weight of
    another module, a part of its own, or one that is not saved, or that stands in its module beside something else."""
    keys = _by_owner(dialect.keys)
    inside: dict[str, set[object]] = {}
    for call in calls:
        steps = [s.name for s in call.path or ()]
        for i in range(1, len(steps) + 1):
            inside.setdefault(".".join(steps[:i]), set()).add(call.target if isinstance(call.target, Unit) else call)
    for call in calls:
        t = call.target
        if not isinstance(t, Unit) or t.type.rpartition(".")[2] not in STATEFUL:
            continue
        names, own = _keys(t), _place(t.path)
        if not names or not (dialect.keys | dialect.unsaved).issuperset(names.values()):
            continue  # what a pass has computed is nobody's
        kept = dialect.unsaved.isdisjoint(names.values())
        if kept and _has_its_keys(t, dialect) and _is_whole(t, own, keys) and inside.get(own, {t}) <= {t}:
            continue
        name, operands, config = STATEFUL[t.type.rpartition(".")[2]]
        if name == "F.batch_norm" and (
            any("." in n for n in names.values()) or ("momentum" in t.config and not t.config["momentum"])
        ):
            continue  # a module counts its batches, too: only one that is the whole model is no module in it
        held = [_given(t.states.get(k), k) for k in operands]
        while held and held[-1] is None:
            held.pop()
        more = {k: t.config[k] for k in config if t.config.get(k) is not None}
        args = [call.args[0], *held]
        if "normalized_shape" in more:
            shape = more.pop("normalized_shape")
            args[1:1] = [(shape,) if isinstance(shape, int) else tuple(shape)]
        elif name == "F.group_norm":
            args[1:1] = [more.pop("num_groups")]
        if name == "F.batch_norm":
            more = {"training": _TRAINING, **more}
        call.target, call.args, call.kwargs = name, tuple(args), more
        owner = next(iter(names.values())).rpartition(".")[0]
        steps = owner.split(".") if owner else []
        around = dialect.around(call.node) if call.node is not None else ()
        call.path = around[: len(steps)] if [s.name for s in around[: len(steps)]] == steps else around


def _given(state: State | None, name: str) -> State | None:
    """What a function is given for a weight: nothing for ones or zeros that only a module needs."""
    if state is None or state.value is not None:
        return state
    return None if (state.tensor.numpy() == (1 if name == "weight" else 0)).all() else state


def _keys(t: Unit) -> dict[str, str]:
    """The keys of a unit's weights by torch's names for them."""
    return {k: s.value.name for k, s in t.states.items() if s.value is not None}


def _has_its_keys(t: Unit, dialect: TorchDialect) -> bool:
    """Whether the source has a unit's weights under the keys that they would have where it stands, or under them, too."""
    keys = {f"{_place(t.path)}.{k}": n for k, n in _keys(t).items()}
    return all(n in (key, dialect.tied.get(key)) for key, n in keys.items())


def _is_whole(t: Unit, owner: str, keys: Mapping[str, set[str]]) -> bool:
    """Whether a unit has all that has keys under a module of the source; ones that stand in for a weight are not it."""
    own = _keys(t) if t.type.rpartition(".")[2] in STATEFUL else t.states
    return keys.get(owner, set()) <= own.keys()


def _by_owner(keys: Collection[str]) -> dict[str, set[str]]:
    """The last parts of keys by what is before them, counts of batches left out."""
    found: dict[str, set[str]] = {}
    for key in keys:
        owner, _, last = key.rpartition(".")
        if last != "num_batches_tracked":
            found.setdefault(owner, set()).add(last)
    return found


def _place(path: Sequence[Step]) -> str:
    return ".".join(s.name for s in path)


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
        if call.type != "torch.split" or not isinstance(call.args[1], tuple) or any(n != 1 for n in call.args[1]):
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
