"""A KerasModel as Python code a person could have written: the functional API, a function per nested model.

The same data that the files are written from, so the two cannot disagree. Weights are read from a ``.weights.h5`` beside the
code, constants of more than a few elements from a ``.constants.npz``.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convcore.plugin import Names, UsageError, identifier

from ..layer_spec import spec_of
from .model import Call, KerasModel, LayerConfig, ModelConfig, TensorRef, iter_refs
from .variables import snake

__all__ = ["write_code"]

_WIDTH = 120
_INLINE = 16
"""Elements of the largest array written into the code itself."""
_RESERVED = ("build_model", "constants", "keras", "layers", "load_model", "model", "np", "ops", "x", "Path")
_IN_IMAGE = frozenset(["ExtractPatches", "Resize"])


def write_code(model: KerasModel, path: Path, weights: str) -> Path | None:
    """Write the module; the path of the constants' file where there is one. UsageError for what code cannot hold."""
    code = _Code(path.name.removesuffix(".py"))
    lines = code.module(model.root, weights)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not code.arrays:
        return None
    held = path.with_name(f"{path.name.removesuffix('.py')}.constants.npz")
    np.savez(held, **code.arrays)
    return held


_GUARD = [
    '    if keras.config.image_data_format() != "channels_last":',
    "        raise RuntimeError(\"channels come last here: keras.config.set_image_data_format('channels_last') first\")",
]


def _asks_for_channels(model: ModelConfig) -> bool:
    """Whether anything in a model means its channels by Keras's default."""
    return any(
        "data_format" in x.config
        or any("data_format" in c.kwargs for c in x.calls)
        or (x.model is not None and _asks_for_channels(x.model))
        for x in model.layers
    )


class _Code:
    def __init__(self, name: str) -> None:
        self.name = name
        self.arrays: dict[str, Any] = {}
        self.functions: list[str] = []
        self.taken = Names(reserved=[*_RESERVED, *keyword.kwlist])
        self.uses_numpy = False

    def module(self, root: ModelConfig, weights: str) -> list[str]:
        body = self._function(root, "build_model")
        if _asks_for_channels(root):  # a default that the user's configuration of Keras may have changed
            body[1:1] = _GUARD
        lines = [
            f'"""{_plain(root.name)}, written by convcore. Weights: {weights}."""',
            "",
            "from pathlib import Path",
            "",
            "import keras",
        ]
        if self.uses_numpy or self.arrays:
            lines.append("import numpy as np")
        lines += ["from keras import layers, ops", ""]
        if self.arrays:
            lines += [f'constants = np.load(Path(__file__).with_name("{self.name}.constants.npz"))', ""]
        doc = f'    """The model with the weights of {weights}."""'
        load = f'    model.load_weights(Path(__file__).with_name("{weights}"))'
        lines += [
            *self.functions,
            "",
            *body,
            "",
            "",
            "def load_model():",
            doc,
            "    model = build_model()",
            load,
            "    return model",
        ]
        lines += ["", "", 'if __name__ == "__main__":', "    load_model().summary()"]
        return lines

    def _function(self, config: ModelConfig, name: str) -> list[str]:
        """A function that builds one model."""
        names = Names(reserved=[*_RESERVED, *keyword.kwlist])
        layers_ = config.layers
        used = Counter(r for x in layers_ for c in x.calls for r in c.refs())
        used.update(iter_refs(config.outputs))
        steps = [(x, i, c) for x in layers_ for i, c in enumerate(x.calls) if x.class_name != "InputLayer"]
        steps = _in_order(steps, config)
        auto = {snake(x.class_name) for x in layers_ if x.is_op}
        var: dict[TensorRef, str] = {}
        lines = [f"def {name}():"]
        for layer in layers_:
            if layer.class_name == "InputLayer":
                ref = TensorRef(layer.name, 0, 0)
                var[ref] = names.fresh(identifier(layer.name))
                lines += _laid(f"    {var[ref]} = ", "keras.Input", self._input(layer))
        made: dict[str, str] = {}
        for layer in layers_:
            if layer.class_name != "InputLayer" and not layer.is_op and len(layer.calls) > 1:
                made[layer.name] = names.fresh(identifier(layer.name))
                lines += _laid(f"    {made[layer.name]} = ", *self._made(layer, auto))
        for at, (layer, i, call) in enumerate(steps):
            results = sorted({r.tensor for r in used if r.layer == layer.name and r.node == i})
            many = bool(results) and any(r.layer == layer.name and r.node == i and r.tensor > 0 for r in config.specs)
            target = self._target(layer, i, results, used, steps[at + 1][2] if at + 1 < len(steps) else None, names, var, many)
            lines += self._statement(target, layer, call, var, made, auto)
        ends = [self._structure(config.inputs, var), self._structure(config.outputs, var), f'name="{_plain(config.name)}"']
        if not config.trainable:
            ends.append("trainable=False")
        lines += _laid("    return ", "keras.Model", ends)
        return lines

    def _target(
        self, layer: LayerConfig, i: int, results: Sequence[int], used: Counter[TensorRef], following: Call | None, names: Names,
        var: dict[TensorRef, str], many: bool,
    ) -> str:  # fmt: skip
        """What a statement assigns to: ``x`` where only the next one reads it."""
        ref = TensorRef(layer.name, i, 0)
        if not many:
            once = following is not None and used[ref] > 0 and following.refs().count(ref) == used[ref]
            var[ref] = "x" if once else names.fresh(identifier(layer.name))
            return var[ref]
        parts = []
        for k in range(results[-1] + 1):
            var[TensorRef(layer.name, i, k)] = names.fresh(f"{identifier(layer.name)}_{k}")
            parts.append(var[TensorRef(layer.name, i, k)])
        return ", ".join(parts) + ", *_"

    def _statement(
        self, target: str, layer: LayerConfig, call: Call, var: Mapping[TensorRef, str], made: Mapping[str, str], auto: set[str]
    ) -> list[str]:  # fmt: skip
        if layer.class_name == "GetItem" and layer.is_op:
            return [f"    {target} = {self._value(call.args[0], var)}[{self._key(call.args[1])}]"]
        args = [self._value(a, var) for a in call.args]
        if layer.is_op:
            return self._operation(target, layer, args, call, var)
        args += [f"{k}={self._value(v, var)}" for k, v in call.kwargs.items()]
        if layer.name in made:
            return _laid(f"    {target} = ", made[layer.name], args)
        head, config = self._made(layer, auto)
        return _laid(f"    {target} = ", head, config, f"({', '.join(args)})")

    def _operation(self, target: str, layer: LayerConfig, args: list[str], call: Call, var: Mapping[TensorRef, str]) -> list[str]:
        kind, config = layer.class_name, dict(layer.config)
        if kind == "Pad" and len(args) > 1:
            config["constant_values"] = call.args[1]
            args = args[:1]
        if kind == "Einsum":
            args = [self._value(config.pop("subscripts"), var), *args]
        args += [f"{k}={self._value(v, var)}" for k, v in {**config, **call.kwargs}.items()]
        return _laid(f"    {target} = ", f"ops.{'image.' if kind in _IN_IMAGE else ''}{snake(kind)}", args)

    # ---- layers
    def _input(self, layer: LayerConfig) -> list[str]:
        shape = list(layer.config["batch_shape"])
        first = [f"batch_shape={tuple(shape)!r}"] if not shape or shape[0] is not None else [f"{tuple(shape[1:])!r}"]
        kind = layer.config.get("dtype", "float32")
        return [*first, *([] if kind == "float32" else [f'dtype="{kind}"']), f'name="{_plain(layer.name)}"']

    def _made(self, layer: LayerConfig, auto: set[str]) -> tuple[str, list[str]]:
        """The constructor of a layer and its arguments: those that must be, those that differ from Keras's defaults."""
        if layer.model is not None:
            name = self.taken.fresh(identifier(f"{layer.name}_block"))
            self.functions += ["", *self._function(layer.model, name), ""]
            return name, []
        if layer.custom or layer.dtype.quantization is not None:
            raise UsageError(f"layer {layer.name!r}: a {layer.class_name} of its own code or quantised is not written as code")
        spec, config = spec_of(layer.class_name), dict(layer.config)
        args = [self._value(config.pop(k), {}) for k in spec.required if k in config]
        known = {**spec.defaults, "data_format": "channels_last", "dilation_rate": 1, "strides": 1, "padding": "valid"}
        if layer.class_name.startswith(("MaxPooling", "AveragePooling")) and config.get("strides") == layer.config.get(
            "pool_size"
        ):
            config.pop("strides")
        elif layer.class_name.startswith(("MaxPooling", "AveragePooling", "UpSampling", "Cropping", "ZeroPadding")):
            known.pop("strides")
        for key, v in config.items():
            if key in known and _same(v, known[key]):
                continue
            args.append(f"{key}={self._value(v, {})}")
        if not layer.trainable and (spec.variables != () or spec.parts):
            args.append("trainable=False")
        policy = layer.dtype.variable if layer.dtype.compute == layer.dtype.variable else f"mixed_{layer.dtype.compute}"
        if policy != "float32":
            args.append(f'dtype="{policy}"')
        name = layer.name
        if re.sub(r"_\d+$", "", name) in auto:  # operations are named by Keras, and every name must be another one
            name += "_layer"
        return f"layers.{layer.class_name}", [*args, f'name="{_plain(name)}"']

    # ---- values
    def _structure(self, x: Any, var: Mapping[TensorRef, str]) -> str:
        if isinstance(x, TensorRef):
            return var[x]
        if isinstance(x, dict):
            return "{" + ", ".join(f'"{_plain(k)}": {self._structure(v, var)}' for k, v in x.items()) + "}"
        return "[" + ", ".join(self._structure(v, var) for v in x) + "]"

    def _key(self, key: Any) -> str:
        parts = key if isinstance(key, (tuple, list)) else (key,)
        return ", ".join(map(_slice, parts)) + ("," if len(parts) == 1 else "")

    def _value(self, v: Any, var: Mapping[TensorRef, str]) -> str:
        if isinstance(v, TensorRef):
            return var[v]
        if isinstance(v, LayerConfig):
            head, args = self._made(v, set())
            return f"{head}({', '.join(args)})"
        if isinstance(v, np.ndarray):
            return self._array(v)
        if isinstance(v, np.generic):
            v = v.item()
        if isinstance(v, (list, tuple)):
            inside = [self._value(x, var) for x in v]
            return f"[{', '.join(inside)}]" if isinstance(v, list) else f"({', '.join(inside)}{',' if len(inside) == 1 else ''})"
        if isinstance(v, dict):
            return "{" + ", ".join(f"{k!r}: {self._value(x, var)}" for k, x in v.items()) + "}"
        if isinstance(v, float) and not np.isfinite(v):
            return f'float("{v}")'
        if isinstance(v, str):
            return f'"{_plain(v)}"'
        if v is None or isinstance(v, (bool, int, float)):
            return repr(v)
        raise UsageError(f"{type(v).__name__} {str(v)[:60]!r} is not written as code")

    def _array(self, a: Any) -> str:
        if a.size <= _INLINE and str(a.dtype) != "bfloat16" and np.all(np.isfinite(a.astype(np.float64))):
            self.uses_numpy = True
            return f'np.array({a.tolist()!r}, "{a.dtype}")'
        name = next((k for k, held in self.arrays.items() if held is a), f"c{len(self.arrays)}")
        self.arrays[name] = a
        return f'constants["{name}"]'


def _in_order(steps: list[tuple[LayerConfig, int, Call]], config: ModelConfig) -> list[tuple[LayerConfig, int, Call]]:
    """Calls so that each comes after what it takes (a shared layer stands where it is first called)."""
    ready = {(x.name, 0) for x in config.layers if x.class_name == "InputLayer"}
    done: list[tuple[LayerConfig, int, Call]] = []
    left = list(steps)
    while left:
        rest = []
        for step in left:
            layer, i, call = step
            if all((r.layer, r.node) in ready for r in call.refs()):
                done.append(step)
                ready.add((layer.name, i))
            else:
                rest.append(step)
        if len(rest) == len(left):
            raise UsageError("the calls of the model depend on each other in a circle")
        left = rest
    return done


def _slice(k: Any) -> str:
    if isinstance(k, slice):
        start, stop = ("" if p is None else str(p) for p in (k.start, k.stop))
        return f"{start}:{stop}" + (f":{k.step}" if k.step is not None else "")
    return "..." if k is Ellipsis else repr(k)


def _same(v: Any, default: Any) -> bool:
    if isinstance(v, (list, tuple)) and isinstance(default, int):
        return all(x == default for x in v)
    return type(v) is type(default) and bool(v == default)


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _laid(prefix: str, head: str, args: list[str], tail: str = "") -> list[str]:
    """A call on one line, or its arguments on one of their own."""
    line = f"{prefix}{head}({', '.join(args)}){tail}"
    if len(line) <= _WIDTH or not args:
        return [line]
    pad = " " * (len(prefix) - len(prefix.lstrip()) + 4)
    inner = f"{pad}{', '.join(args)}"
    rows = [inner] if len(inner) <= _WIDTH else [f"{pad}{a}," for a in args]
    return [f"{prefix}{head}(", *rows, f"{pad[4:]}){tail}"]
