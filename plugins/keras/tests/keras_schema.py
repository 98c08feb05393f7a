"""Keras itself as the judge of rows: real classes are made from what a row writes, give their configuration back, and run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras.src.ops import core, image, linalg, math, nn
from keras.src.ops import numpy as numpy_ops

from convcore.ir.graph import Node
from convcore.rules import ForeignNode, NotExpressible
from convcore.rules.rows import Row
from convcore.rules.values import equal
from convcore.testing.ops import CheckFailed
from convcore_keras.files.model import LayerConfig
from convcore_keras.files.normalise import normalise
from convcore_keras.files.variables import own_variables
from convcore_keras.rules import RULES

__all__ = ["KerasSchema"]

MODULES = (numpy_ops, nn, math, core, linalg, image)


class KerasSchema:
    """``from_config`` takes what a row writes, ``get_config`` gives it back, the built layer has variables of those names and
    shapes, and what it computes is compared with the op (``convcore.testing.rules.Schema``)."""

    def accept(self, row: Row, written: ForeignNode, node: Node) -> ForeignNode:
        if any(v is not None and (v.dtype is None or v.shape is None) for v in written.inputs):
            raise NotExpressible("an input of unknown type or shape")
        self.made = self._class(written.type).from_config({"name": "judged", **written.attrs})
        config = self.made.get_config()
        for key, value in written.attrs.items():
            if key not in config or not equal(_plain(config[key]), value):
                raise CheckFailed(f"{written}: {key}={value!r} came back from Keras as {config.get(key)!r}")
        read = self._operation(row, written, config) if written.type.startswith("ops.") else self._layer(written, config)
        for key in {*RULES.ignored, *row.then} & read.attrs.keys() - written.attrs.keys():
            del read.attrs[key]  # initialisers, and the activation: the rule set handles them beside the row
        return read

    def compute(self, row: Row, written: ForeignNode, inputs: Sequence[np.ndarray]) -> Sequence[np.ndarray] | None:
        if _torch_is_wrong(written):
            return None
        tensors = [keras.ops.convert_to_tensor(a) for a in inputs]
        many = written.type in RULES.load_rules and not written.type.startswith("ops.") and len(tensors) > 1
        y = self.made(tensors) if many or row.inputs[0][1].endswith("*") else self.made(*tensors)
        return [np.asarray(v.detach()) for v in (y if isinstance(y, (list, tuple)) else [y])]

    @staticmethod
    def _class(name: str) -> Any:
        places = MODULES if name.startswith("ops.") else (keras.layers,)
        for place in places:
            found = getattr(place, name.removeprefix("ops."), None)
            if found is not None:
                return found
        raise CheckFailed(f"Keras has no {name}")

    def _layer(self, written: ForeignNode, config: dict[str, Any]) -> ForeignNode:
        ins = [keras.Input(batch_shape=v.shape, dtype=str(v.dtype)) for v in written.inputs if v is not None]
        many = len(ins) > 1 or written.type == "Concatenate"
        self.made(ins if many else ins[0])
        kept = {k: v for k, v in config.items() if k not in ("name", "trainable", "dtype")}
        read = normalise(written.type, kept, "keras3", (3, 15), "judged")
        names = [v.name for v in own_variables(LayerConfig("judged", written.type, written.type, read)) or ()]
        have = [tuple(w.shape) for w in self.made.weights]
        if sorted(names) != sorted(written.weights) or have != [tuple(written.weights[n].shape) for n in names]:
            shown = {n: t.shape for n, t in written.weights.items()}
            raise CheckFailed(f"{written}: writes {shown}, Keras has {have} for {names}")
        self.made.set_weights([written.weights[n].numpy() for n in names])
        out = ForeignNode(written.type, written.name, written.inputs, read, weights=written.weights)
        return out

    def _operation(self, row: Row, written: ForeignNode, config: dict[str, Any]) -> ForeignNode:
        kept = {k: _plain(v) for k, v in config.items() if k not in ("name", "dtype") or k in written.attrs}
        args = [list(written.inputs)] if any(o.endswith("*") for _, o in row.inputs) else list(written.inputs)
        return ForeignNode(written.type, written.name, [], {**kept, "args": args, "kwargs": {}})


def _torch_is_wrong(written: ForeignNode) -> bool:
    """What Keras's torch backend computes otherwise than the others, or not at all (3.15.1, keras/src/backend/torch)."""
    if written.type.startswith("AveragePooling"):  # edges are repeated where the padding is odd
        return bool(written.attrs["padding"] == "same")
    if written.type == "LayerNormalization":  # only axes at the end
        x, axis = written.inputs[0], written.attrs["axis"]
        axes = [axis] if isinstance(axis, int) else axis
        rank = 0 if x is None else x.rank or 0
        return sorted(a % rank for a in axes) != list(range(rank - len(axes), rank))
    if written.type in ("ops.Sum", "ops.Max", "ops.Min"):  # keepdims is dropped with axis=None
        return written.attrs["axis"] is None and bool(written.attrs["keepdims"])
    return False


def _plain(v: Any) -> Any:
    return list(v) if isinstance(v, (list, tuple)) else v
