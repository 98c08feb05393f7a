"""The records of layers say what Keras's own classes say."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from convcore_keras.layer_spec import LayerSpec, V, canonical, is_known, layer, spec_of, specs
from convcore_keras.rules import RULES

keras = pytest.importorskip("keras")

SPECS = {s.name: s for s in specs()}
THERE = {n: getattr(keras.layers, n) for n, s in SPECS.items() if hasattr(keras.layers, n) and n not in ("InputLayer", "Lambda")}
NOT_KEPT = ("initializer", "regularizer", "constraint", "lora", "quantization_config")
"""Parts of names of arguments that say how variables start, how they are trained, or how they are stored."""
BOOKKEEPING = {
    "seed", "name", "dtype", "trainable", "implementation", "weights", "sparse", "flash_attention", "rng_type", "synchronized",
    "cuda_graph", "noise_shape",
}  # fmt: skip


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name: p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


@pytest.mark.parametrize("name", THERE)
def test_defaults_are_the_constructors(name: str) -> None:
    spec, args = SPECS[name], arguments(THERE[name])
    for key, value in spec.defaults.items():
        if key in args and args[key].default is not inspect.Parameter.empty:
            real = args[key].default
            assert (value == real) or (key == "data_format" and real is None and value == "channels_last"), key
    assert set(spec.required) == {k for k, p in args.items() if p.default is inspect.Parameter.empty}
    if name in RULES.load_rules:  # a layer that is mapped knows every argument that could change what it computes
        unknown = {k for k in args if not any(w in k for w in NOT_KEPT)} - BOOKKEEPING - set(spec.defaults)
        assert not unknown - set(spec.required)


@pytest.mark.parametrize("name", [n for n in THERE if SPECS[n].variables])
def test_variables_have_keras_own_names(name: str) -> None:
    """Every name of a record is an attribute, an initialiser or a part of the layer in Keras."""
    source = inspect.getsource(THERE[name]) + "".join(inspect.getsource(b) for b in THERE[name].__mro__[1:4])
    for v in SPECS[name].variables or ():
        assert f'"{v.name}"' in source or v.name.split("/")[0] in source, v.name


def test_every_layer_with_a_rule_has_a_record() -> None:
    classes = {n for n in RULES.load_rules if not n.startswith("ops.")}
    assert classes <= set(SPECS)


def test_every_class_of_keras_is_known() -> None:
    public = {n for n, c in vars(keras.layers).items() if inspect.isclass(c) and issubclass(c, keras.Layer)}
    public -= {"Layer", "Wrapper", "TFSMLayer"}
    unknown = {n for n in public if not is_known(canonical(n))}
    assert not unknown


def test_a_record_is_declared_once_and_in_known_words() -> None:
    with pytest.raises(ValueError, match="twice"):
        layer("Dense")
    with pytest.raises(ValueError, match="twice"):
        layer("Convolution2D")
    with pytest.raises(ValueError, match="masks='sometimes'"):
        layer("Other", masks="sometimes")
    assert spec_of("Nobody").variables is None and not is_known("Nobody")


@pytest.mark.parametrize(
    ("era", "version", "gate", "after"),
    [
        ("keras1", (1, 2), "hard_sigmoid", False),
        ("keras2", (2, 2), "hard_sigmoid", False), ("keras2", (2, 3), "sigmoid", False),
        ("tf.keras", (2, 15), "sigmoid", True), ("keras3", (3, 15), "sigmoid", True),
    ],
)  # fmt: skip
def test_eras(era: str, version: tuple[int, ...], gate: str, after: bool) -> None:
    config: dict[str, Any] = spec_of("GRU").config(era, version)
    assert (config["recurrent_activation"], config["reset_after"]) == (gate, after)


def test_a_record_is_enough_for_a_new_layer() -> None:
    """What one file of a family needs: the record alone gives reader, masks and dtype handling their facts."""
    new = LayerSpec("Gain", {"axis": -1}, ("units",), variables=(V("gain", ("units",)),), masks="pass", stepwise=True)
    assert new.config("keras3") == {"axis": -1} and new.variables is not None and new.variables[0].trainable
