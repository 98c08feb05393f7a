"""Keys of the source's state_dict that no call reads: weights that ``forward`` does not use (the auxiliary heads of a GoogLeNet,
a token for masks), and other names of a tensor that is used under one of them."""

from __future__ import annotations

from convcore.plugin import Block, Graph, Plan, State

__all__ = ["keep"]


def keep(plan: Plan, graph: Graph) -> None:
    """Give blocks of a nested plan the members that such keys stand for, so that a state_dict of the source fits the result."""
    paths, tied = plan.paths(), graph.metadata.get("tied") or {}
    wanted = frozenset(graph.metadata.get("unread") or ())
    unread = {v.source: v for v in graph.weights.values() if v.source in wanted}
    for key in graph.metadata.get("keys") or ():
        owner, _, last = key.rpartition(".")
        if key in paths or (last == "num_batches_tracked" and f"{owner}.running_var" in paths):
            continue
        v, same = unread.get(key), paths.get(tied.get(key, ""))
        if v is not None and v.tensor is not None:
            _put(plan.root, key, State(v.tensor, v, role=v.role, trainable=v.trainable))
        elif same is not None:
            _put(plan.root, key, same)


def _put(block: Block, key: str, state: State) -> None:
    """Make it a member of the innermost block that its key leads to."""
    for name, m in block.members.items():
        if isinstance(m, Block) and key.startswith(f"{name}."):
            _put(m, key[len(name) + 1 :], state)
            return
    block.members[key] = state
