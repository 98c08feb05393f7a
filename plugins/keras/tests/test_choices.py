"""Arguments that take few values (``data_format``, ``padding``, ...): every other value is refused, in every record."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from changed_layers import change, config_of, stored
from keras_helpers import load_graph, problems

from convcore.errors import BadFileError
from convcore_keras.layer_spec import CHOICES, OPEN, LayerSpec, layer, specs

keras = pytest.importorskip("keras")
from test_config_defaults import CASE, saved

CHOSEN = [(s.name, key) for s in specs() for key in s.choices]
SPECS = {s.name: s for s in specs()}
ACTIVATIONS = [(s.name, k) for s in specs() for k in (*s.defaults, *s.required) if "activation" in k and s.name in CASE]
NOT_KERAS3 = {("SeparableConv1D", "padding", "causal"), ("UpSampling2D", "interpolation", None)}
"""What earlier versions of Keras take, and 3.15 does not."""
UNCHECKED = {
    *((name, "interpolation") for name in ("AugMix", "RandAugment", "Resizing", "UpSampling2D")),
    *((f"{kind}Pooling{d}D", "padding") for kind in ("Average", "Max") for d in (1, 2, 3)),
    ("Resizing", "fill_mode"), ("RandomFlip", "mode"),
}  # fmt: skip
"""What Keras's constructors do not look at: the layers fail when they are called or train, and their pages say what they take."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("choices")


def alone(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """A model of one layer, as JSON."""
    shape = [None, 7, 5, 3]
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": shape, "dtype": "float32", "keras_history": ["x", 0, 0]}}
    common: dict[str, Any] = {"module": "keras.layers", "registered_name": None}
    start = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "x"}, "name": "x"}
    judged = {"class_name": name, "config": {"name": "judged", **config}, "name": "judged"}
    listed = [{**common, **start, "inbound_nodes": []}, {**common, **judged, "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["judged", 0, 0]]}
    return {"module": "keras", "class_name": "Functional", "config": {"name": "m", "layers": listed, **ends}}


def whys(folder: Path, name: str, key: str, value: Any) -> str:
    """Why a layer with another value of an argument is refused; "" where it is not."""
    if name in CASE:
        source, at = saved(folder, name)
        path, _ = stored(folder, source, change(config_of(source), at, ("set", key, value)))
    else:
        path = folder / "alone.json"
        path.write_text(json.dumps(alone(name, {**SPECS[name].defaults, **dict.fromkeys(SPECS[name].required, 3), key: value})))
    try:
        return "; ".join(f"{p.type}: {p.why} ({p.hint})" for p in problems(load_graph(path)))
    except BadFileError as e:  # with another value it would have other variables
        return str(e)


@pytest.mark.parametrize(("name", "key"), CHOSEN)
def test_no_other_value_is_taken(name: str, key: str, folder: Path) -> None:
    values = SPECS[name].choices[key]
    for strange in ("strange", 7):
        words = (
            f"{name}: {key}={str(strange)!r} is not {', '.join(map(str, values[:-1]))}{' or ' if values[1:] else ''}{values[-1]}"
        )
        assert f"{words} (correct its configuration)" in whys(folder, name, key, strange)
    if None not in values and key != "data_format":  # of which None is Keras's own default
        assert f"{key}='None' is not" in whys(folder, name, key, None)


@pytest.mark.parametrize(("name", "key"), CHOSEN)
def test_each_value_is_taken(name: str, key: str, folder: Path) -> None:
    """As far as its argument goes: what is refused is refused for another reason."""
    for value in SPECS[name].choices[key]:
        assert f"{key}={str(value)!r} is not" not in whys(folder, name, key, value)


@pytest.mark.parametrize(("name", "key"), ACTIVATIONS)
def test_no_unknown_activation_is_taken(name: str, key: str, folder: Path) -> None:
    inside = SPECS[name].masks == "own"
    why = "has no counterpart inside a recurrent layer" if inside else "is not one of Keras's (give the file"
    assert f"{name}: its activation function 'nosuch' {why}" in whys(folder, name, key, "nosuch")


def test_data_format_and_padding_may_be_in_capitals(folder: Path) -> None:
    """``standardize_data_format`` and ``standardize_padding`` of Keras lower them."""
    assert not whys(folder, "Conv2D", "data_format", "Channels_Last") and not whys(folder, "Conv2D", "padding", "SAME")
    assert keras.layers.Conv2D(3, 2, padding="SAME").padding == "same"


@pytest.mark.parametrize("name", ["UpSampling2D", "Resizing"])
def test_interpolation_may_be_in_capitals(name: str, folder: Path) -> None:
    """``UpSampling2D`` of Keras 3 and ``Resizing`` of tf.keras lower it."""
    assert not whys(folder, name, "interpolation", "BILINEAR")
    assert keras.layers.UpSampling2D(2, interpolation="BILINEAR").interpolation == "bilinear"


# ---- operations
O = keras.ops
ORDER, PADS = "channels_last or channels_first", "valid nor same"
OPERATIONS: dict[str, tuple[Callable[[Any], Any], dict[str, str]]] = {
    "Conv": (lambda x: O.conv(x, O.ones((2, 2, 3, 5))), {"data_format": ORDER, "padding": PADS}),
    "ExtractPatches": (lambda x: O.image.extract_patches(x, 2), {"padding": PADS}),
    "MaxPool": (lambda x: O.max_pool(x, 2), {"data_format": ORDER, "padding": PADS}),
    "RGBToGrayscale": (lambda x: O.image.rgb_to_grayscale(x), {"data_format": ORDER}),
    "Resize": (
        lambda x: O.image.resize(x, (3, 2)),
        {"data_format": ORDER, "fill_mode": "constant", "interpolation": "backends"},
    ),
    "ScatterUpdate": (lambda x: O.scatter_update(x, [[0, 0, 0, 0]], [1.0]), {"reduction": ""}),
    "SearchSorted": (lambda x: O.searchsorted(O.convert_to_tensor([1.0, 2.0]), O.reshape(x, (-1,))), {"side": "left or right"}),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_take_no_other_value_either(name: str, folder: Path) -> None:
    make, arguments = OPERATIONS[name]
    x = keras.Input(batch_shape=(1, 7, 5, 3))
    keras.Model(x, make(x)).save(folder / "op.keras")
    tree = config_of.__wrapped__(folder / "op.keras")
    for key, word in arguments.items():
        path, _ = stored(folder, folder / "op.keras", with_argument(tree, name, key, "strange"))
        (p,) = problems(load_graph(path))
        assert f"{key}='strange'" in p.why and word in p.why


def with_argument(text: str, name: str, key: str, value: Any) -> str:
    """The architecture with an argument of an operation."""
    tree = json.loads(text)
    (layer,) = [entry for entry in tree["config"]["layers"] if entry["class_name"] == name]
    layer["config"][key] = value
    return json.dumps(tree)


# ---- the judge
def _made(name: str, key: str, value: Any) -> Callable[[], Any]:
    cls = getattr(keras.layers, name)
    own = {"layer": keras.layers.LSTM(3)}
    besides = {"CategoryEncoding": {"num_tokens": 3}, "Discretization": {"num_bins": 3}}.get(name, {})
    return lambda: cls(**{**{k: own.get(k, 1) for k in SPECS[name].required}, **besides, key: value})


def judged() -> list[tuple[str, str]]:
    """Those whose class is there, with its requirements (some want TensorFlow), and takes the argument."""
    found = []
    for name, key in CHOSEN:
        cls = getattr(keras.layers, name, None)
        if cls is None or not any(key in inspect.signature(c.__init__).parameters for c in cls.__mro__ if "__init__" in vars(c)):
            continue
        try:
            _made(name, key, SPECS[name].choices[key][0])()
        except ImportError:
            continue
        found.append((name, key))
    return found


@pytest.mark.parametrize(("name", "key"), judged())
def test_keras_takes_the_same_values(name: str, key: str) -> None:
    for value in SPECS[name].choices[key]:
        if (name, key, value) not in NOT_KERAS3:
            _made(name, key, value)()
    if (name, key) in UNCHECKED:
        return
    with pytest.raises((ValueError, NotImplementedError)):
        _made(name, key, "strange")()


# ---- the records
def test_a_text_of_a_record_says_what_else_it_may_be() -> None:
    with pytest.raises(ValueError, match="Strange: choices= must tell the values of shape, tint"):
        layer("Strange", defaults={"shape": "round", "tint": "red", "activation": "relu", "data_format": "channels_last"})
    told = LayerSpec("Strange", choices={"flag": ("auto", True), "one": ("only",)})
    assert told.invalid({"flag": 1, "one": "other"}) == ["flag='1' is not auto or True", "one='other' is not only"]
    assert told.invalid({"flag": True, "one": "only"}) == [] == told.invalid({})
    for s in specs():
        for key, default in s.defaults.items():
            if isinstance(default, str):
                assert key in OPEN or default in s.choices[key]
                assert key not in CHOICES or key in s.choices
