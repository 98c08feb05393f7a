"""One call of an operator as calls of simpler ones, by torch's own decomposition of it: for operators that have no rule here.

Only that node is taken apart, over the shapes it was traced with; what its parts are may be taken apart again. Files read without
torch have none of this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["parts_of"]


@functools.cache
def _table() -> Mapping[Any, Callable[..., Any]]:
    """torch's decompositions (torch.export.default_decompositions, torch 2.6), and those of operators it counts as core."""
    import torch
    import torch._refs  # registers more of them
    from torch._decomp import decomposition_table

    return {**decomposition_table, **dict(torch.export.default_decompositions().items())}


def parts_of(node: Any) -> Any:
    """A graph module that computes what an fx node does from the same operands, in their order; None where torch has none.

    The operands are the nodes among its arguments, in order, each once.
    """
    import torch
    from torch._subclasses import FakeTensor
    from torch.fx.experimental.proxy_tensor import make_fx

    op = node.target
    fn = _table().get(op)
    if fn is None and torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd"):
        fn = op.decompose
    if fn is None:
        return None
    operands = node.all_input_nodes
    values = [n.meta.get("val") for n in operands]
    flat = torch.utils._pytree.tree_leaves(values)
    mode = next((v.fake_mode for v in flat if isinstance(v, FakeTensor)), None)
    if mode is None or any(v is None for v in values):
        return None

    def call(*given: Any) -> Any:
        known = dict(zip(operands, given))
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        out = fn(*args, **kwargs)
        return tuple(out) if isinstance(out, (tuple, list)) else out  # torch's named results are nodes of their own

    try:
        with mode, torch.no_grad():
            made = make_fx(call, tracing_mode="real")(*values)
    except Exception:  # noqa: BLE001 - a decomposition may use anything; the operator then stays whole and is refused by its name
        return None
    made.graph.eliminate_dead_code()
    if any(n.op == "get_attr" for n in made.graph.nodes):  # numbers of a fake run are no numbers
        return None
    return made
