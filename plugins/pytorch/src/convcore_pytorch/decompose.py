"""One call of an operator as calls of simpler ones, by torch's own decomposition of it: for operators that have no rule here.

Only that node is taken apart, over the shapes it was traced with; what its parts are may be taken apart again. Files read without
torch have none of this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["parts_of"]


@functools.cache
def _table() -> Mapping[Any, Callable[..., Any]]:
    """torch's decompositions (torch.export.default_decompositions, torch 2.6)."""
    import torch

    table: Any = torch.export.default_decompositions()
    return dict(table.items())


class _NoParts(Exception):
    """torch takes this call not apart."""


def _of_torch(e: Exception) -> bool:
    """Whether an exception is torch's answer to a call it cannot take apart: a RuntimeError (what is not implemented or depends
    on data is one), or anything raised inside a function of torch's by none of ours. A function that does not take the arguments
    it is given was called wrongly."""
    at = None if e.__traceback__ is None else e.__traceback__.tb_next
    inside: list[str] = []
    while at is not None:
        inside.append(at.tb_frame.f_globals.get("__name__", "").partition(".")[0])
        at = at.tb_next
    if any(name.startswith("convcore") for name in inside):
        return False
    return isinstance(e, RuntimeError) or inside[:1] == ["torch"]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from _leaves(v)
    else:
        yield value


def parts_of(node: Any) -> Any:
    """A graph module that computes what an fx node does from the same operands, in their order; None where torch has none.

    The operands are the nodes among its arguments, in order, each once.
    """
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    op = node.target
    fn = _table().get(op, op.decompose)  # a composite operator's own kernel; NotImplemented where it is none
    operands = node.all_input_nodes
    values = [n.meta.get("val") for n in operands]
    mode = next((v.fake_mode for v in _leaves(values) if hasattr(v, "fake_mode")), None)
    if mode is None or any(v is None for v in values):
        return None

    def call(*given: Any) -> Any:
        known = dict(zip(operands, given))
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
        try:
            out = fn(*args, **kwargs)
        except Exception as e:
            if not _of_torch(e):
                raise
            raise _NoParts from e  # the operator stays whole and is refused by its name
        if out is NotImplemented:
            raise _NoParts
        return tuple(out) if isinstance(out, (tuple, list)) else out  # torch's named results are nodes of their own

    env = mode.shape_env
    held = {} if env is None else dict(env.replacements)
    try:
        with mode, torch.no_grad():
            made = make_fx(call, tracing_mode="real")(*values)
    except _NoParts:
        return None
    if env is not None and env.replacements != held:  # a kernel that takes a free size for the number it was traced with
        env.replacements.clear()
        env.replacements.update(held)
        return None
    made.graph.eliminate_dead_code()
    if any(n.op == "get_attr" for n in made.graph.nodes):  # numbers of a fake run are no numbers
        return None
    return made
