"""What Caffe does to an image before the net sees it: kept as metadata, or applied as operations on request.

Caffe's data layers give ``(x - mean) * scale`` on BGR channels of 0..255 (data_transformer.cpp); a deploy net has no data
layer, so the user names a mean file, mean values and a scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from convcore.plugin import UsageError, Value, ask_option

from .context import CaffeContext, CaffeNode
from .files import Net, read_mean

__all__ = ["Preprocessing", "apply_preprocessing", "read_preprocessing"]


@dataclass
class Preprocessing:
    """What the user gave; ``apply`` makes operations of it and of the net's transform_param."""

    apply: bool
    mean: Any = None
    mean_path: str = ""
    values: tuple[float, ...] = ()
    scale: float | None = None

    def facts(self, g: CaffeContext) -> dict[str, Any]:
        """Metadata per input: mean (file or values), scale, crop_size, and whether it is part of the graph."""
        out: dict[str, Any] = {}
        for top in g.inputs:
            facts: dict[str, Any] = dict(g.transforms.get(top, {}))
            if self.given and top == next(iter(g.inputs)):
                facts.pop("mean_file", None)
                if self.mean_path:
                    facts["mean_file"] = self.mean_path
                if self.values:
                    facts["mean_value"] = list(self.values)
                if self.scale is not None:
                    facts["scale"] = self.scale
            if facts:
                facts["order"] = "BGR"
                facts["formula"] = "(x - mean) * scale"
                facts["applied"] = self.apply
                out[top] = facts
        return out

    @property
    def given(self) -> bool:
        return bool(self.mean_path or self.values or self.scale is not None)


def read_preprocessing(net: Net, options: Any) -> Preprocessing:
    """From the loader's options. Raises UsageError (values) and BadFileError (mean file)."""
    values: tuple[float, ...] = ()
    text = options.get("mean_values")
    path = options.get("mean_file")
    if text and path:
        raise UsageError("give mean_file or mean_values, not both")
    if text:
        try:
            values = tuple(float(v) for v in str(text).replace(",", " ").split())
        except ValueError:
            raise UsageError(f"{ask_option('mean_values', text)} is not a list of numbers such as 104,117,123") from None
    mean = read_mean(path) if path else None
    p = Preprocessing(options.get("preprocessing") == "apply", mean, str(path or ""), values, options.get("input_scale"))
    transforms = any(layer.has_param("transform_param") for layer in net.data_layers)
    if p.apply and not p.given and not transforms:
        raise UsageError("nothing to apply: the net has no transform_param; give mean_file, mean_values or input_scale")
    return p


def apply_preprocessing(g: CaffeContext, node: CaffeNode, top: str, v: Value, p: Preprocessing) -> Value:
    """The input as the net sees it: ``(x - mean) * scale`` when it is to be applied, else the input itself."""
    first = top == next(iter(g.inputs))
    facts = dict(g.transforms.get(top, {}))
    mean, values, scale = None, tuple(facts.get("mean_value", ())), facts.get("scale", 1.0)
    if not p.apply or not (facts or (first and p.given)):
        return v
    if first:
        mean, values = p.mean, p.values or (() if p.mean is not None else values)
        scale = scale if p.scale is None else p.scale
    if facts.get("mean_file") and mean is None and not values:
        raise UsageError(
            f"layer {node.name!r} subtracts the mean file {str(facts['mean_file'])[:200]!r}: give it with mean_file (paths in a "
            "prototxt are not followed)"
        )
    shape = v.shape
    if shape is None or len(shape) != 4:
        raise UsageError(f"preprocessing is for images (N, C, H, W); input {top!r} is {v}")
    x = v
    if mean is not None:
        x = g.b.sub(x, g.parameter(node, ("mean", top), "mean", mean.map(_cropped(mean.shape, shape), _mean_shape(shape)), False))
    elif values:
        if len(values) not in (1, shape[1]) and isinstance(shape[1], int):
            raise UsageError(f"{len(values)} mean values for {shape[1]} channels")
        array = np.asarray(values, np.float32).reshape(1, -1, 1, 1)
        x = g.b.sub(x, g.parameter(node, ("mean", top), "mean", _tensor(array), False))
    if scale != 1:
        x = g.b.mul(x, g.scalar(x, scale))
    return x


def _tensor(array: Any) -> Any:
    from convcore.plugin import as_tensor

    return as_tensor(array)


def _mean_shape(shape: Any) -> tuple[int, ...]:
    if not all(isinstance(d, int) for d in shape[1:]):
        raise UsageError("a mean image needs an input of fixed size")
    return (1, *shape[1:])


def _cropped(mean: tuple[int, ...], shape: Any) -> Any:
    """The centre of the mean image, as Caffe crops image and mean when testing."""
    want = _mean_shape(shape)
    full = (1,) * (4 - len(mean)) + tuple(mean)
    if len(full) != 4 or full[1] != want[1] or any(m < n for m, n in zip(full[2:], want[2:], strict=True)):
        raise UsageError(f"the mean image {list(mean)} does not cover the input {[str(d) for d in shape]}")
    top, left = ((m - n) // 2 for m, n in zip(full[2:], want[2:], strict=True))

    def crop(a: Any) -> Any:
        image = a.reshape(full)[:, :, top : top + want[2], left : left + want[3]]
        return np.ascontiguousarray(image[:1])

    return crop
