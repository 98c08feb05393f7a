"""A live subclassed model of Keras 3 as a functional one: its ``call`` on symbolic tensors, its own layers entered.

What is Keras's own layer stays one, with its name and weights; layers and models of other packages become nested
models of the same name.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from convcore.plugin import Problem, UnsupportedError, UsageError

__all__ = ["entered", "is_subclassed", "traced"]


def is_subclassed(model: Any) -> bool:
    """Whether a live Keras 3 model has no graph of its own."""
    names = {f"{c.__module__}.{c.__qualname__}" for c in type(model).__mro__}
    if "keras.src.models.model.Model" not in names:
        return False
    return not names & {"keras.src.models.functional.Functional", "keras.src.models.sequential.Sequential"}


def _inside(layer: Any, kind: type) -> Iterator[Any]:
    """The layers in a layer, at any depth: those it lists, and those its attributes hold, alone or in lists and dicts."""
    stack, seen = [layer], {id(layer)}
    while stack:
        x = stack.pop()
        for v in (*getattr(x, "layers", ()), *vars(x).values()):
            for y in v.values() if isinstance(v, dict) else v if isinstance(v, (list, tuple)) else (v,):
                if isinstance(y, kind) and id(y) not in seen:
                    seen.add(id(y))
                    stack.append(y)
                    yield y


def traced(model: Any, shapes: Mapping[str, Any] | None = None) -> Any:
    """The functional model. UsageError where no input shape is known, UnsupportedError where its code needs values."""
    keras = sys.modules["keras"]
    inputs = _inputs(keras, model, shapes)
    try:
        with _entered(keras, constants=False):
            outputs = model.call(*inputs.args, **_inference(model))
        return keras.Model(inputs.given, outputs, name=model.name)
    except (UsageError, UnsupportedError):
        raise
    except Exception as e:
        why = f"is a subclassed model whose call does not run on symbolic tensors: {type(e).__name__}: {str(e)[:300]}"
        hint = "write it with keras.ops and Keras layers, or as a functional model"
        raise UnsupportedError(Problem(model.name, type(model).__name__, why, hint, "unsupported_model"), "cannot be read") from e


def entered(model: Any) -> Any:
    """A functional model with its custom layers entered: what they compute on symbolic tensors is there in their place, their
    own weights as constants. UnsupportedError where their code needs values."""
    keras = sys.modules["keras"]
    given = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs]
    structured = keras.tree.pack_sequence_as(model._inputs_struct, given) if hasattr(model, "_inputs_struct") else given[0]
    try:
        with _entered(keras, constants=True):
            outputs = model.call(structured)
        return keras.Model(structured, outputs, name=model.name)
    except Exception as e:
        why = f"has a custom layer whose call does not run on symbolic tensors: {type(e).__name__}: {str(e)[:300]}"
        hint = "write it with keras.ops and Keras layers"
        raise UnsupportedError(Problem(model.name, type(model).__name__, why, hint, "unsupported_model"), "cannot be read") from e


class _Inputs:
    """``given``: the inputs as the model takes them; ``args``: those of ``call``."""

    def __init__(self, given: Any) -> None:
        self.given = given
        self.args = (given,)


def _inputs(keras: Any, model: Any, shapes: Mapping[str, Any] | None) -> _Inputs:
    """Symbolic inputs, of the shapes the model was built with; ``shapes`` replace them by the name of the argument."""
    config = model.get_build_config() if model.built else None
    stated = (config or {}).get("input_shape")
    if stated is None and config and config.get("shapes_dict"):
        if len(config["shapes_dict"]) > 1:
            raise UnsupportedError(
                Problem(model.name, type(model).__name__, "is a subclassed model that is called with several arguments",
                        "give it one list or dict of tensors", "unsupported_model"), "cannot be read",
            )  # fmt: skip
        stated = next(iter(config["shapes_dict"].values()))
    if shapes and len(shapes) == 1 and not isinstance(stated, dict):
        stated = tuple(n if isinstance(n, int) else None for n in next(iter(shapes.values())))
    if stated is None:
        raise UsageError(f"the subclassed model {model.name!r} was never built: call it once, or give its input shape")
    return _Inputs(_symbolic(keras, stated, "inputs"))


def _symbolic(keras: Any, shape: Any, name: str) -> Any:
    if isinstance(shape, dict):
        return {k: _symbolic(keras, s, str(k)) for k, s in shape.items()}
    if any(isinstance(n, (list, tuple)) for n in shape):
        return [_symbolic(keras, s, f"{name}_{i}") for i, s in enumerate(shape)]
    return keras.Input(batch_shape=(None, *shape[1:]), name=name)


def _inference(layer: Any) -> dict[str, Any]:
    return {"training": False} if "training" in inspect.signature(layer.call).parameters else {}


@contextmanager
def _entered(keras: Any, constants: bool) -> Iterator[None]:
    """Inside, calling a layer that is not Keras's own on symbolic tensors is calling its ``call``: as a nested model of its name
    where it takes one tensor, so that what is inside keeps its place. ``constants``: weights that such a layer itself has are
    given to its ``call`` as arrays, which a file can hold, and functional models that hold such layers are entered too."""
    base = keras.Layer
    usual = base.__call__
    models: dict[int, Any] = {}  # of layers, which live as long as the model

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        symbolic = any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten((args, kwargs)))
        keras_own = type(self).__module__.split(".")[0] == "keras" and not (constants and isinstance(self, keras.Model))
        if not symbolic or keras_own or is_functional(self):
            return usual(self, *args, **kwargs)
        if not self.built:
            usual(self, *args, **kwargs)
        if constants:
            with _as_arrays(keras, self):
                return inside(self, args, kwargs)
        return inside(self, args, kwargs)

    def inside(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(args) != 1 or not isinstance(args[0], keras.KerasTensor) or set(kwargs) - {"training"}:
            return self.call(*args, **{**_inference(self), **kwargs})
        found = models.get(id(self))
        if found is None:
            given = keras.Input(batch_shape=args[0].shape, dtype=args[0].dtype, name="inputs")
            found = models[id(self)] = keras.Model(given, self.call(given, **_inference(self)), name=self.name)
        return usual(found, args[0])

    def is_functional(layer: Any) -> bool:
        if not isinstance(layer, keras.Model) or is_subclassed(layer):
            return False
        own = "keras"
        return not (constants and any(type(x).__module__.split(".")[0] != own for x in _inside(layer, keras.Layer)))

    base.__call__ = call
    try:
        yield
    finally:
        base.__call__ = usual


@contextmanager
def _as_arrays(keras: Any, layer: Any) -> Iterator[None]:
    """Inside, the variables among the attributes of a layer are tensors of their values."""
    kept = dict(layer.__dict__)
    variable = keras.Variable

    def plain(x: Any) -> Any:
        return keras.ops.convert_to_tensor(x) if isinstance(x, variable) else x

    try:
        for name, value in kept.items():
            if isinstance(value, variable):
                layer.__dict__[name] = plain(value)
            elif isinstance(value, (list, tuple)) and not name.startswith("_") and any(isinstance(x, variable) for x in value):
                layer.__dict__[name] = [plain(x) for x in value]
        yield
    finally:
        layer.__dict__.update(kept)
