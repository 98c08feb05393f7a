"""Functions and classes of Keras, TensorFlow and numpy that the source calls by name, beside the operations on tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from convcore.plugin import Value

from ...activations import name_of
from ..names import canonical_path
from ..tensors import TensorShape
from ..values import CodeRefused, Invocable, Name, what_is
from . import arrays
from .classes import Bound, SourceClass, SourceObject, Static
from .dataclass import dataclass_function
from .formatting import is_plain
from .iterators import ITERTOOLS, Iterated
from .keras_layer import Chain, KerasLayer, as_activation, keras_class
from .python import Random, Silent
from .records import named_tuple
from .state import Variable
from .training import Initial, Partial, Specification, Training

if TYPE_CHECKING:
    from .domain import SourceDomain
    from .layers import Host

__all__ = ["call", "made_of"]

Work = Callable[["Host", "SourceDomain", list[Any], dict[str, Any]], Any]
_CALLS: dict[str, Work] = {}
_MERGES = {
    "add": "Add", "average": "Average", "concatenate": "Concatenate", "dot": "Dot", "maximum": "Maximum", "minimum": "Minimum",
    "multiply": "Multiply", "subtract": "Subtract",
}  # fmt: skip
"""Functions that make a layer and call it."""
_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@", "and_": "&",
    "or_": "|", "concat": "+",
}  # fmt: skip
"""Functions of ``operator``."""
_KINDS = {"initializers": "an initialiser", "initializations": "an initialiser", "regularizers": "a regulariser",
          "constraints": "a constraint", "losses": "a loss", "metrics": "a metric", "optimizers": "an optimiser"}  # fmt: skip


def _means(*paths: str) -> Callable[[Work], Work]:
    def register(f: Work) -> Work:
        _CALLS.update(dict.fromkeys(paths, f))
        return f

    return register


def call(h: Host, d: SourceDomain, path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A function or class by its dotted name. Raises CodeRefused."""
    name = canonical_path(path)
    parts = name.split(".")
    last = parts[-1]
    found = _CALLS.get(name)
    if found is not None:
        return found(h, d, args, kwargs)
    if parts[0] == "keras" and len(parts) > 2 and parts[1] in _KINDS:
        return _training(_KINDS[parts[1]], last, args, kwargs)
    if parts[0] == "tensorflow" and (last.endswith("_initializer") or parts[1] in ("initializers", "random_normal_initializer")):
        return Training("an initialiser")
    if last == "InputSpec" and parts[0] == "keras":
        return Specification({**dict(zip(("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes"), args)), **kwargs})
    if last == "Sequential" and parts[0] == "keras":
        layers = args[0] if args else kwargs.get("layers") or []
        return Chain(h, [x for x in d.iterate(layers) if not (isinstance(x, KerasLayer) and x.class_name == "InputLayer")])
    if keras_class(name) == "Lambda":
        return _lambda({**dict(zip(("function", "output_shape", "mask", "arguments"), args)), **kwargs})
    if keras_class(name):
        return KerasLayer(h, keras_class(name), args, kwargs)
    if parts[:2] == ["keras", "layers"] and last in _MERGES:
        rest = {k: v for k, v in kwargs.items() if k != "inputs"}
        return KerasLayer(h, _MERGES[last], args[1:], rest).invoke(d, [args[0] if args else kwargs["inputs"]], {})
    if parts[:2] == ["keras", "activations"] and last in ("get", "deserialize", "serialize"):
        return as_activation(args[0] if args else kwargs.get("identifier"))
    if parts[:2] == ["keras", "activations"] and name_of(last) is None and last[:1].isupper():
        raise CodeRefused(f"calls {name}, which convcore does not know")
    if (
        parts[0] in ("logging", "warnings")
        or parts[:2] == ["absl", "logging"]
        or name.startswith(("tensorflow.print", "tensorflow.debugging.assert", "tensorflow.logging"))
    ):
        return Silent() if last == "getLogger" else None
    if parts[0] == "dataclasses":
        return dataclass_function(d, last, args, kwargs)
    if name in ("collections.namedtuple", "typing.NamedTuple"):
        return named_tuple(d, args, kwargs)
    if name == "enum.auto" and not args:
        return Name("enum.auto()")
    if parts[0] == "itertools":
        work = ITERTOOLS.get(name.partition(".")[2])
        if work is None:
            raise CodeRefused(f"calls {name}, which convcore does not know")
        return work(d, args, kwargs)
    if name in ("math.prod", "math.fsum") and not d.symbolic(args):
        args = [d.iterate(a) if isinstance(a, Iterated) else a for a in args]
    if name == "collections.OrderedDict":
        return d.builtin("dict", args, kwargs)
    if parts[0] == "operator" and last in _OPERATORS and len(args) == 2 and not kwargs:
        return d.binary(_OPERATORS[last], *args)
    if name == "numpy.random.RandomState":
        return Random(args, kwargs)
    lazy = next((a for a in (*args, *kwargs.values()) if isinstance(a, Iterated)), None)
    if lazy is not None:
        raise CodeRefused(f"hands {lazy.what} to {name}")
    tensors = d.symbolic([args, kwargs])
    if parts[0] == "numpy" and not tensors:
        if last in ("float32", "float64", "int32", "int64") and args and isinstance(args[0], (int, float)):
            return float(args[0]) if last.startswith("f") else int(args[0])
        if (
            len(parts) == 2
            and (arrays.known(last))
            and not (last in ("sqrt", "log", "exp", "floor", "ceil", "prod") and _numbers(args))
        ):
            found_array = arrays.call(d, last, args, kwargs)
            return found_array
    if parts[0] == "numpy" and len(parts) == 2 and tensors:
        raise CodeRefused(f"calls {name} with a tensor")
    return h.ops.call(path, [_array(h, a) for a in args], {k: _array(h, v) for k, v in kwargs.items()})


def _lambda(given: dict[str, Any]) -> Any:
    """A Lambda that the source makes: its function, with the arguments it states."""
    f = given.get("function")
    if given.get("mask") is not None or not isinstance(f, (Invocable, Name)):
        raise CodeRefused("makes a Lambda with a mask of its own, or without a function")
    return Partial(f, [], dict(given.get("arguments") or {}))


def _numbers(args: list[Any]) -> bool:
    return all(isinstance(a, (int, float)) for a in args)


def _array(h: Host, x: Any) -> Any:
    """An array handed to a function of tensors is a constant of its own type."""
    if isinstance(x, np.ndarray):
        from convcore.plugin import DType

        return h.g.b.const(x, DType(str(x.dtype)))
    return [_array(h, v) for v in x] if type(x) is list else x


def _training(what: str, last: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if last in ("get", "deserialize"):
        given = args[0] if args else next(iter(kwargs.values()), None)
        return None if given is None else given if isinstance(given, Invocable) else Training(what)
    if last == "serialize":
        return None if args and args[0] is None else Training(what)
    return Training(what)


# ---- weights by hand
@_means("keras.Variable", "keras.backend.variable", "tensorflow.Variable", "keras.backend.Variable")
def _variable(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    names = ("initial_value", "trainable") if h.g.era != "keras3" else ("initial_value", "shape")
    given = {**dict(zip(("initializer", "shape") if h.g.era == "keras3" else names, args)), **kwargs}
    value = next((given[k] for k in ("initial_value", "initializer", "value") if k in given), None)
    if not args and value is None:
        raise CodeRefused("makes a variable without a value")
    value = args[0] if args else value
    if isinstance(value, Invocable) and not isinstance(value, Initial) and not isinstance(value, Training):
        value = d.call(value, [], {})
    if isinstance(value, Initial):
        shape = value.shape
    elif isinstance(value, Training):
        shape = given.get("shape")
    elif isinstance(value, Value):
        shape = h.ops.shape(value)
    elif isinstance(value, (np.ndarray, int, float)):
        value = np.asarray(value, np.float32 if not isinstance(value, np.ndarray) else value.dtype)
        shape = value.shape
    else:
        raise CodeRefused(f"makes a variable of {what_is(value)}")
    if not isinstance(shape, (list, tuple)) or not all(isinstance(n, int) for n in shape):
        raise CodeRefused("makes a variable whose shape is not known")
    dtype = given.get("dtype")
    initial = value if isinstance(value, (np.ndarray, Value)) else None
    return Variable(
        str(given.get("name") or "variable"),
        tuple(shape),
        given.get("trainable") is not False,
        dtype if isinstance(dtype, str) else "float32",
        initial,
    )


# ---- shapes
@_means(
    "tensorflow.TensorShape",
    "tensorflow.python.framework.tensor_shape.TensorShape",
    "tensorflow.framework.tensor_shape.TensorShape",
)
def _tensor_shape(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return TensorShape(args[0] if isinstance(args[0], (list, tuple)) else (args[0],))


@_means("tensorflow.dimension_value", "tensorflow.dimension_at_index")
def _dimension(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return args[0] if len(args) == 1 else args[0][args[1]]


@_means("tensorflow.is_tensor", "keras.backend.is_keras_tensor", "keras.ops.is_tensor", "keras.backend.is_tensor")
def _is_tensor(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return h.ops.is_tensor(args[0])


@_means("keras.backend.is_sparse")
def _is_sparse(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return False


# ---- what depends on whether it trains: here it never does
@_means("keras.backend.learning_phase")
def _phase(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return False


@_means("tensorflow.cond", "keras.ops.cond", "keras.backend.switch")
def _cond(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    names = ("pred", "true_fn", "false_fn")
    given = dict(zip(names, args))
    for k, v in kwargs.items():
        given[
            {
                "condition": "pred",
                "then_expression": "true_fn",
                "else_expression": "false_fn",
                "fn1": "true_fn",
                "fn2": "false_fn",
            }.get(k, k)
        ] = v
    if d.symbolic(given["pred"]):
        raise CodeRefused("chooses what to compute by the value of a tensor")
    chosen = given["true_fn"] if d.truth(given["pred"]) else given["false_fn"]
    return d.call(chosen, [], {}) if isinstance(chosen, Invocable) else chosen


# ---- Python's library
@_means("functools.partial")
def _partial(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return Partial(args[0], args[1:], kwargs)


@_means("functools.reduce")
def _reduce(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    items = d.iterate(args[1])
    if not items and len(args) < 3:
        raise CodeRefused("reduces no items without a first one", raised="TypeError")
    total, rest = (args[2], items) if len(args) > 2 else (items[0], items[1:])
    for x in rest:
        total = d.call(args[0], [total, x], {})
    return total


@_means("copy.copy")
def _copy(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What a list or dict holds is not copied with it."""
    x = args[0]
    if x is None or isinstance(x, (bool, int, float, str, tuple)):
        return x
    if type(x) in (list, dict):
        return type(x)(x)
    raise CodeRefused(f"copies {what_is(x)}")


@_means("copy.deepcopy")
def _deep_copy(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    x = args[0]
    if isinstance(x, tuple) and all(map(is_plain, x)) and not any(isinstance(v, (list, dict)) for v in x):
        return x
    if is_plain(x):
        return copy.deepcopy(x)
    raise CodeRefused(f"copies {what_is(x)}")


@_means("keras.backend.get_uid", "keras.backend.clear_session", "keras.backend.set_learning_phase")
def _session(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    raise CodeRefused("uses the state of the Keras session")


@_means("keras.backend.backend", "keras.config.backend")
def _backend(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if h.g.era == "tf.keras":
        return "tensorflow"
    if h.g.era in ("keras1", "keras2") and h.g.backend:
        return h.g.backend
    raise CodeRefused("asks which backend Keras runs on, which the file does not say")


@_means("keras.utils.conv_utils.normalize_tuple", "keras.utils.normalize_tuple",
        "keras.python.utils.conv_utils.normalize_tuple", "tensorflow.python.keras.utils.conv_utils.normalize_tuple")  # fmt: skip
def _normalize_tuple(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    value, n = args[0], args[1]
    return (value,) * n if isinstance(value, int) else tuple(value)


@_means("keras.utils.conv_utils.normalize_data_format", "keras.backend.normalize_data_format",
        "keras.utils.normalize_data_format", "keras.backend.common.normalize_data_format",
        "keras.config.normalize_data_format")  # fmt: skip
def _data_format(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if not args or not isinstance(args[0], str):
        raise CodeRefused("asks for the machine's image_data_format")
    return args[0].lower()


@_means("keras.utils.conv_utils.normalize_padding", "keras.utils.normalize_padding")
def _padding(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return args[0].lower()


@_means("keras.utils.deserialize_keras_object", "keras.saving.deserialize_keras_object", "keras.layers.deserialize",
        "keras.saving.serialize_keras_object", "keras.layers.serialize")  # fmt: skip
def deserialized(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A layer by its configuration: of the source where it has the class, else of Keras."""
    entry = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str) or not isinstance(entry.get("config"), dict):
        if isinstance(entry, (KerasLayer, Chain, SourceObject)) or entry is None:
            return entry
        raise CodeRefused("makes a layer of a configuration that is none")
    registered = entry.get("registered_name")
    for wanted in (registered if isinstance(registered, str) else "", entry["class_name"]):
        definition = d.library.define(wanted, str(entry.get("module") or "")) if wanted else None
        if definition is not None and definition.is_class:
            return made_of(d, d.module_of(definition.file).read(definition.name), dict(entry["config"]))
    name = keras_class(f"keras.layers.{entry['class_name']}")
    if not name:
        raise CodeRefused(f"makes a {entry['class_name']} of its configuration, which is no layer of Keras")
    return KerasLayer(h, name, [], dict(entry["config"]))


def made_of(d: SourceDomain, cls: Any, config: dict[str, Any]) -> Any:
    """What ``cls.from_config(config)`` gives: the class's own, ``Wrapper``'s, or ``cls(**config)``."""
    if not isinstance(cls, SourceClass):
        raise CodeRefused("makes a layer of something that is no class")
    own = cls.find("from_config")
    if isinstance(own, Static):
        return d.call(Bound(cls, own.function), [config], {})
    if any(f.rpartition(".")[2] == "Wrapper" for f in cls.foreign) and isinstance(config.get("layer"), dict):
        config["layer"] = deserialized(d.host, d, [config["layer"]], {})
    return cls.invoke(d, [], config)


@_means("keras.random.SeedGenerator", "keras.backend.random.SeedGenerator")
def _seed(h: Host, d: SourceDomain, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return Training("a seed")
