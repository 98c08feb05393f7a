"""Images resized and sampled, in the ways that F.interpolate and F.grid_sample have."""

from __future__ import annotations

from typing import Any

from convcore.plugin import Node, NotExpressible, axis_matrix

from ..rules.base import RULES, one_if_equal
from ..rules.image import other_picks
from .base import E, shape_of, sizes, static


@RULES.emit("resize")
def resize(e: E, node: Node) -> None:
    """F.interpolate: sizes where they are numbers, whole factors where they are not; positions must be those of torch."""
    a = node.attrs
    x = node.need("x")
    shape, out = shape_of(x), shape_of(node.output)
    d = len(shape) - 2
    if a["layout"] != "channels_first" or not 1 <= d <= 3 or x.dtype is None or not x.dtype.is_float:
        raise NotExpressible(f"{len(shape)} axes of {x.dtype}, {a['layout']}")
    space, wanted, how = shape[2:], out[2:], a["coordinates"]
    scales, factors = a["scales"], None
    if scales is not None:
        if any(s != int(s) for s in scales):
            raise NotExpressible(f"scales={scales} are not whole numbers")
        factors = tuple(int(s) for s in scales)
        if a["sizes"] is not None:
            raise NotExpressible("sizes and scales at once")
    config: dict[str, Any] = {}
    if all(isinstance(n, int) for n in (*space, *wanted)):
        config["size"] = tuple(wanted)
        if a["mode"] == "nearest":
            if any(other_picks(n, m, None, how, a["nearest"], x.dtype) is not None for n, m in zip(space, wanted)):
                raise NotExpressible("torch's float32 takes other elements")
    elif factors is not None:
        config["scale_factor"] = one_if_equal(factors)
    else:
        config["size"] = static(wanted, "sizes")
    if "size" in config and isinstance(config["size"], tuple):
        config["size"] = one_if_equal(config["size"])
    config.update(_mode(a, how, d, factors))
    e.unit("torch.nn.Upsample", [e.value(x)], config, outputs=node.outputs)


@RULES.emit("resize", priority=-1)
def resize_by_axis(e: E, node: Node) -> None:
    """Every way of placing, rounding and weighing, for sizes that are numbers: elements picked, or mixed by a matrix, axis by
    axis."""
    a, x = node.attrs, node.need("x")
    shape, out = shape_of(x), shape_of(node.output)
    if x.dtype is None:
        raise NotExpressible("elements of a type that is not known")
    first = 2 if a["layout"] == "channels_first" else 1
    spatial = slice(first, first + len(shape) - 2)
    same = [n == m for n, m in zip(shape[spatial], out[spatial])]
    given = [s in (None, 1.0) for s in a["scales"] or [None] * len(same)]
    todo: list[tuple[int, int, int, float | None]] = []
    for i, (n, m) in enumerate(zip(shape[spatial], out[spatial])):
        if not (all(same) or (same[i] and given[i])):
            size, wanted = static((n, m), "sizes")
            todo.append((first + i, size, wanted, None if a["scales"] is None else a["scales"][i]))
    h = e.value(x)
    if not todo:
        e.alias(node.output, h)
    for axis, n, m, scale in todo:
        last = axis == todo[-1][0]
        matrix = axis_matrix(n, m, scale, **{k: v for k, v in a.items() if k not in ("sizes", "scales", "layout")})
        if a["mode"] == "nearest":
            where = matrix.argmax(axis=0)
            (h,) = e.call("torch.index_select", [h, axis, e.const(where)], outputs=node.outputs if last else ())
            continue
        end = axis == len(shape) - 1
        if not end:
            (h,) = e.call(".transpose", [h, axis, -1])
        (h,) = e.call("torch.matmul", [h, e.const(matrix.astype(x.dtype.numpy))], outputs=node.outputs if last and end else ())
        if not end:
            (h,) = e.call(".transpose", [h, axis, -1], outputs=node.outputs if last else ())


@RULES.emit("affine_grid")
def affine_grid(e: E, node: Node) -> None:
    """F.affine_grid takes the size of the whole target."""
    theta, a = node.need("theta"), node.attrs
    n = sizes(e, [shape_of(theta)[0]], theta)
    whole = (*n, 1, *sizes(e, a["size"], theta))
    e.call("F.affine_grid", [e.value(theta), whole], {"align_corners": a["align_corners"]}, outputs=node.outputs)


def _mode(a: Any, how: str, d: int, factors: Any) -> dict[str, Any]:
    mode = a["mode"]
    if a["antialias"] or (a["exclude_outside"] and mode != "nearest"):
        raise NotExpressible("antialias" if a["antialias"] else "exclude_outside")
    if mode == "nearest":
        if how == "asymmetric" and a["nearest"] == "floor":
            return {}
        if factors is not None and how == "half_pixel" and a["nearest"] in ("round_prefer_floor", "round_prefer_ceil"):
            if all(f == 1 or f % 2 == 0 for f in factors):  # no position lies halfway: (i + .5) / f - .5
                return {}
        if how == "half_pixel" and a["nearest"] == "round_prefer_ceil":
            return {"mode": "nearest-exact"}
        if how == "tf_half_pixel_for_nn" and a["nearest"] == "floor":
            return {"mode": "nearest-exact"}
        raise NotExpressible(f"nearest by {how}, {a['nearest']}")
    if mode == "cubic" and (d != 2 or abs(a["cubic_a"] + 0.75) > 1e-9):
        raise NotExpressible(f"cubic with a={a['cubic_a']} over {d} axes")
    name = "bicubic" if mode == "cubic" else ("linear", "bilinear", "trilinear")[d - 1]
    if how == "align_corners":
        return {"mode": name, "align_corners": True}
    if how == "half_pixel":
        return {"mode": name}
    raise NotExpressible(f"{mode} by {how}")
