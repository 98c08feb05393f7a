"""What is done to a graph before its nodes become Caffe layers: fixed sizes, explicit padding, padding merged into windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convcore.plugin import (
    Builder,
    Dim,
    DimLike,
    Graph,
    Node,
    Problem,
    Role,
    ShapeError,
    Trait,
    UnsupportedError,
    Value,
    ask,
    infer_outputs,
    never_negative,
    op,
    traits_of,
    window_pads,
)

__all__ = ["explicit_pads", "fix_sizes", "fold_pads", "find_shuffles"]


# ---- sizes
def fix_sizes(graph: Graph, batch: int) -> dict[str, int]:
    """Give every size a number: what is symbolic on the first axis of an input becomes ``batch``.

    Returns the sizes by name (``<input>.0`` for one without a name). UnsupportedError lists inputs with other open sizes.
    """
    env: dict[str, int] = {}
    problems = []
    for v in graph.inputs:
        first = v.shape[0] if v.shape else None
        if isinstance(first, Dim) and first.is_name:
            env.update(dict.fromkeys(first.names, batch))
        elif v.shape and first is None:
            env[f"{v.name}.0"] = batch
    for v in graph.inputs:
        left = None if v.shape is None else [
            str(d) if d is not None else "?" for i, d in enumerate(v.shape)
            if (isinstance(d, Dim) and not d.names <= env.keys()) or (d is None and i > 0)
        ]  # fmt: skip
        if left is None or left:
            what = "its number of axes is unknown" if left is None else f"its sizes {', '.join(left)} are open"
            hint = f"give {ask(f'--input-shape {v.name}:...', f'input_shapes={{{v.name!r}: (...)}}')}"
            problems.append(Problem(v.name, "input", f"{what}, Caffe's Input layer has a fixed shape", hint, "unknown_shape"))
            continue
        v.shape = tuple(batch if d is None else d for d in v.shape or ())
    if problems:
        raise UnsupportedError(problems)
    symbols = {n for v in graph.inputs for d in v.shape or () if isinstance(d, Dim) for n in d.names}
    names = {k: n for k, n in env.items() if k in symbols}
    for v in graph.inputs:
        v.shape = _fixed(v.shape, names)
    for node in graph:
        node.attrs = {k: _fixed(x, names) for k, x in node.attrs.items()}
        for v in node.outputs:
            v.shape = _fixed(v.shape, names)
        if not node.regions and node.op != "opaque":
            _infer(node)
    return env


def _fixed(x: Any, env: Mapping[str, DimLike]) -> Any:
    if isinstance(x, Dim):
        return x.substitute(env)
    if isinstance(x, tuple):
        return tuple(_fixed(e, env) for e in x)
    return x


def _infer(node: Node) -> None:
    decl = op(node.op)
    try:
        results = infer_outputs(decl, node.inputs, node.attrs)
    except ShapeError as e:
        raise UnsupportedError(
            Problem(node.origin.layer or node.name, node.origin.type or node.op, str(e), code="invalid_shape")
        ) from e
    for v, (_, shape) in zip(node.outputs, results):
        if shape is not None and (v.shape is None or any(not isinstance(d, int) for d in v.shape)):
            v.shape = shape


# ---- padding
def explicit_pads(graph: Graph) -> None:
    """Write out "same" padding, where the sizes are known."""
    for node in graph:
        if Trait.WINDOW not in traits_of(node.op) or not isinstance(node.attrs.get("pads"), str):
            continue
        x, kernel = node.need("x"), _kernel(node)
        if (
            node.attrs["layout"] != "channels_first"
            or x.shape is None
            or kernel is None
            or any(not isinstance(n, int) for n in x.shape[2:])
        ):
            continue
        a = node.attrs
        node.attrs = {
            **a, "pads": tuple(
                window_pads(n, k, s, d, a["pads"])  # type: ignore[arg-type]
                for n, k, s, d in zip(x.shape[2:], kernel, a["strides"], a["dilations"])
            ),
        }  # fmt: skip
        if "ceil_mode" in a:
            node.attrs["ceil_mode"] = "floor"  # same fixes the size


def _kernel(node: Node) -> tuple[int, ...] | None:
    if "kernel" in node.attrs:
        return tuple(node.attrs["kernel"])
    w = next(v for i, v in enumerate(node.inputs) if op(node.op).role(i) is Role.PARAMETER)
    if w is None or w.shape is None or any(not isinstance(n, int) for n in w.shape[2:]):
        return None
    return tuple(int(n) for n in w.shape[2:])  # type: ignore[arg-type]


def fold_pads(graph: Graph) -> None:
    """Let windows do the zero padding in front of them.

    Exact for convolutions; for averages, whose divisor then counts the padding as the elements it was; for maxima only of
    numbers that cannot be negative, when every window holds at least one of them.
    """
    for node in graph:
        x = node.inputs[0] if node.inputs else None
        if x is None or x.producer is None or x.producer.op != "pad" or Trait.WINDOW not in traits_of(node.op):
            continue
        pad = x.producer
        if _foldable(node, pad):
            extra = pad.attrs["pads"][2:]
            a = dict(node.attrs)
            a["pads"] = tuple((b + int(m), e + int(n)) for (b, e), (m, n) in zip(a["pads"], extra))
            if node.op == "avg_pool":
                a["count_include_pad"] = True
            node.attrs = a
            node.set_input(0, pad.inputs[0])
            if not x.uses and not x.is_output:
                graph.remove(pad)


def _foldable(node: Node, pad: Node) -> bool:
    a, p, x = node.attrs, pad.attrs, pad.inputs[0]
    if p["mode"] != "constant" or p["value"] != 0 or isinstance(a["pads"], str) or a["layout"] != "channels_first" or x is None:
        return False
    pairs = p["pads"]
    if any(not isinstance(n, int) or n < 0 for pair in pairs for n in pair) or any(n for pair in pairs[:2] for n in pair):
        return False
    if node.op in ("conv", "separable_conv"):
        return True
    own = any(n for pair in a["pads"] for n in pair)
    if node.op == "avg_pool":
        return not own or bool(a["count_include_pad"])
    if node.op != "max_pool":
        return False
    covered = a["ceil_mode"] == "floor" and all(max(pair) < k for pair, k in zip(pairs[2:], a["kernel"]))
    return not own and covered and all(d == 1 for d in a["dilations"]) and never_negative(x, inputs=False)


# ---- channel shuffles
def find_shuffles(graph: Graph) -> None:
    """Reshape, transpose and reshape that shuffle the channels as one node: (N, C, ...) as (N, g, C / g, ...), these two swapped,
    the rest in as many axes as the author liked."""
    for node in graph:
        x = node.inputs[0] if node.op == "reshape" and node.inputs else None
        swap = _alone(x, "transpose")
        split = _alone(swap.inputs[0], "reshape") if swap is not None else None
        source = split.inputs[0] if split is not None else None
        if swap is None or split is None or source is None or source.tensor is not None or source.shape != node.output.shape:
            continue
        wide, old = ([d for d in v.shape or () if isinstance(d, int)] for v in (split.output, source))
        if len(wide) < 3 or len(old) < 3 or len(wide) != split.output.rank or len(old) != source.rank:
            continue
        perm = (0, 2, 1, *range(3, len(wide)))
        if tuple(swap.attrs["perm"]) != perm or wide[0] != old[0] or wide[1] * wide[2] != old[1]:
            continue
        b = Builder(graph, before=node, origin=node.origin.by("find_shuffles"))
        y = b.shuffle_channels(source, groups=wide[1], axis=1)
        name = node.output.name
        node.output.replace_uses(y)
        for old_node in (node, swap, split):
            graph.remove(old_node)
        graph.rename(y, name)


def _alone(v: Value | None, op: str) -> Node | None:
    """The node of an op that makes a value which nothing else reads."""
    if v is None or v.producer is None or v.producer.op != op or len(v.uses) != 1 or v.is_output:
        return None
    return v.producer
