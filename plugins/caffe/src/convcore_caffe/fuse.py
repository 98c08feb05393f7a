"""BatchNorm followed by Scale, two layers in Caffe, as the one normalisation other frameworks have."""

from __future__ import annotations

from convcore.plugin import Builder, Graph, Node, Value

__all__ = ["fuse_scale"]


def fuse_scale(graph: Graph) -> None:
    """Give every batch_norm from Caffe the per-channel factor and addend that follow it; the result keeps its name.

    Only where nothing else reads what lies between. The sums are the same up to float rounding.
    """
    for node in graph:
        if node.op != "batch_norm" or node.origin.framework != "caffe" or any(v is not None for v in node.inputs[1:3]):
            continue
        scaled = _follower(node, node, "mul")
        if scaled is None:
            continue
        added = _follower(scaled, node, "add")
        _fuse(graph, node, scaled, added)


def _follower(node: Node, norm: Node, op: str) -> Node | None:
    """The only reader of a node's result, if it combines it with a constant that varies along the channels alone."""
    y = node.output
    if len(y.uses) != 1 or y.is_output:
        return None
    user = y.uses[0][0]
    if user.op != op or len(user.inputs) != 2:
        return None
    other = user.inputs[1] if user.inputs[0] is y else user.inputs[0]
    return user if other is not None and _per_channel(other, norm) else None


def _per_channel(v: Value, norm: Node) -> bool:
    x, mean = norm.need("x"), norm.need("mean")
    if v.tensor is None or x.rank is None or mean.tensor is None:
        return False
    shape = (1,) * (x.rank - len(v.tensor.shape)) + v.tensor.shape
    axis = norm.attrs["axis"]
    return len(shape) == x.rank and all(n == (mean.tensor.size if i == axis else 1) for i, n in enumerate(shape))


def _flat(graph: Graph, user: Node, result: Value) -> Value:
    """The constant operand of a node as an array along the channels, under its own name if nothing else needs that."""
    old = user.inputs[1] if user.inputs[0] is result else user.inputs[0]
    if old is None or old.tensor is None:
        raise TypeError(f"{user} has no constant operand")
    flat = old.tensor.reshape((old.tensor.size,))
    if len(old.users) > 1:
        return graph.add_weight(old.name, flat, like=old)
    name = old.name
    graph.rename(old, graph.fresh_name(f"{name}/before_fusion"))
    new = graph.add_weight(name, flat, like=old)
    graph.rename(new, name)
    return new


def _fuse(graph: Graph, norm: Node, scaled: Node, added: Node | None) -> None:
    last = added or scaled
    scale = _flat(graph, scaled, norm.output)
    bias = None if added is None else _flat(graph, added, scaled.output)
    b = Builder(graph, before=norm, origin=norm.origin.by("fuse_scale"))
    x, _, _, mean, var = norm.inputs
    new = b.node("batch_norm", [x, scale, bias, mean, var], norm.attrs)
    name, old = norm.name, last.output
    old.replace_uses(new.output)
    for node in (added, scaled, norm):
        if node is not None:
            graph.remove(node)
    graph.rename(new, name)
    graph.rename(new.output, old.name)
