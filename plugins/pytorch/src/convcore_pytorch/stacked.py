"""Layers of one recurrent module of a source in PyTorch are one module again, with its keys.

The IR has a node for each layer. torch.nn.LSTM (GRU, RNN) with ``num_layers`` calls one on the results of the other, with dropout
between them; states are those of all layers, one after the other (torch.nn.modules.rnn, torch 2.14).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from convcore.plugin import Plan, PlanCall, Ref, Unit, leaves, reads

__all__ = ["stack"]

_KINDS = ("torch.nn.LSTM", "torch.nn.GRU", "torch.nn.RNN")


def stack(plan: Plan, keys: frozenset[str]) -> None:
    """To be run before nesting; ``keys`` are those of the source's state_dict."""
    made: dict[tuple[Unit, ...], Unit] = {}
    for call in list(plan.root.calls):
        owner, layer = _layer(call)
        if layer == 0 and f"{owner}.weight_ih_l1" in keys:
            chain = list(_chain(plan, call, owner))
            n = sum(_layer(c)[1] >= 0 for c in chain)
            if f"{owner}.weight_ih_l{n}" not in keys:
                _merge(plan, chain, made)


def _layer(call: PlanCall) -> tuple[str, int]:
    """The path of the module whose layer it is, and which; -1 for what is none."""
    t = call.target
    state = t.states.get("weight_ih_l0") if isinstance(t, Unit) and t.type in _KINDS else None
    name = state.value.name if state is not None and state.value is not None else ""
    found = re.fullmatch(r"(?:(.*)\.)?weight_ih_l(\d+)", name)
    return (found[1] or "", int(found[2])) if found else ("", -1)


def _chain(plan: Plan, call: PlanCall, owner: str) -> Iterator[PlanCall]:
    """The layers from the first one on, with the dropout between them."""
    readers: dict[Ref, list[PlanCall | None]] = {}
    for c in plan.root.calls:
        for r in reads(c):
            readers.setdefault(r, []).append(c)
    for a in leaves(plan.root.outputs):
        if isinstance(a, Ref):
            readers.setdefault(a, []).append(None)
    first, at, n = call, call, 0
    between: list[PlanCall] = []
    yield first
    while True:
        after = readers.get(at.results[0], [])
        if len(after) != 1 or after[0] is None or after[0].args[:1] != (at.results[0],):
            return
        at = after[0]
        if isinstance(at.target, Unit) and at.type == "torch.nn.Dropout" and not between:
            between.append(at)
            continue
        if at.type != first.type or _layer(at) != (owner, n + 1) or _same(at) != _same(first):
            return
        yield from between
        yield at
        n, between = n + 1, []


def _same(call: PlanCall) -> Any:
    """What is equal for all layers."""
    return len(call.args), {k: v for k, v in call.config.items() if k != "input_size"}


def _merge(plan: Plan, chain: Sequence[PlanCall], made: dict[tuple[Unit, ...], Unit]) -> None:
    layers = [c for c in chain if c.type in _KINDS]
    rates = {c.config["p"] for c in chain if c not in layers}
    if len(rates) > 1 or (rates and len(chain) != 2 * len(layers) - 1):
        return
    units = tuple(c.target for c in layers if isinstance(c.target, Unit))
    first, last = layers[0], layers[-1]
    if units not in made:
        size = {k: first.config[k] for k in ("input_size", "hidden_size")}
        more = {"num_layers": len(layers), **({"dropout": rates.pop()} if rates else {})}
        states = {re.sub("_l0", f"_l{i}", k, count=1): s for i, u in enumerate(units) for k, s in u.states.items()}
        made[units] = Unit(units[0].type, {**size, **more, **{k: v for k, v in first.config.items() if k not in size}}, states,
                           units[0].path)  # fmt: skip
    each = 2 if first.config.get("bidirectional") else 1
    before: list[PlanCall] = []
    given = [_given([_states(c)[j] for c in layers], each, before) for j in range(len(_states(first)))]
    args = (first.args[0], *((tuple(given) if len(given) > 1 else given[0],) if given else ()))
    results, after = [last.results[0]], list[PlanCall]()
    for j in range(1, len(last.results)):
        results.append(_ends(plan, [c.results[j] for c in layers], each, after))
    call = PlanCall(made[units], args, {}, tuple(results), last.name, last.source, last.node, first.path)
    for i, r in enumerate(results):
        r.call, r.index = call, i
    at = plan.root.calls.index(last)
    plan.root.calls[at : at + 1] = [*before, call, *after]
    gone = {id(c) for c in chain}
    plan.root.calls = [c for c in plan.root.calls if id(c) not in gone]


def _states(call: PlanCall) -> tuple[Any, ...]:
    """The initial states that a layer is given."""
    if len(call.args) < 2:
        return ()
    return call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)


def _given(parts: Sequence[Any], each: int, before: list[PlanCall]) -> Any:
    """The initial states of all layers: what they are parts of, or put together."""
    wholes = {_cut_from(r, i * each, (i + 1) * each) for i, r in enumerate(parts)}
    whole = wholes.pop()
    if whole is not None and not wholes and whole.shape is not None and whole.shape[0] == each * len(parts):
        return whole
    joined = PlanCall("torch.cat", (tuple(parts),), {"dim": 0}, ())
    joined.results = (Ref(joined, 0, parts[0].dtype, None),)
    before.append(joined)
    return joined.results[0]


def _cut_from(part: Any, start: int, stop: int) -> Ref | None:
    """What a Ref is these places of, along the first axis."""
    call = part.call if isinstance(part, Ref) else None
    index = call.kwargs.get("index") if call is not None and call.type == "[]" else None
    if call is None or index is None or len(index) != 1 or not isinstance(index[0], tuple) or not isinstance(call.args[0], Ref):
        return None
    x = call.args[0]
    _, first, last, step = index[0]
    return x if (first or 0, last or (x.shape or (None,))[0], step or 1) == (start, stop, 1) else None


def _ends(plan: Plan, parts: Sequence[Ref], each: int, after: list[PlanCall]) -> Ref:
    """The final states of all layers; what reads those of one layer gets its part of them."""
    users = [c for c in plan.root.calls for r in reads(c) if r in parts]
    read = [r for r in leaves(plan.root.outputs) if r in parts]
    for c in users:
        if c.type == "torch.cat" and c.args[0] == tuple(parts) and c.kwargs.get("dim") == 0:
            plan.root.calls.remove(c)
            users = [u for u in users if u is not c]
            whole = c.results[0]
            break
    else:
        whole = Ref(None, 0, parts[0].dtype, None)
    for i, r in enumerate(parts):
        if r in read or any(r in reads(c) for c in users):
            cut = PlanCall("[]", (whole,), {"index": (("slice", i * each, (i + 1) * each, None),)}, (r,))
            r.call, r.index = cut, 0
            after.append(cut)
    return whole
