"""The records of layers say what Keras's own classes say."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from convcore_keras.layer_spec import LayerSpec, V, canonical, is_known, layer, spec_of, specs
from convcore_keras.rules import RULES

keras = pytest.importorskip("keras")
from test_config_defaults import CASE

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


FACTS = {
    "masks": {"GlobalAveragePooling1D": "its result has no steps", "Dot": "Merge has it, and its compute_mask gives None"},
    "float32": {"BatchNormalization": "casts in its call, its autocast is on"},
    "training": {"Resizing": "for all preprocessing of images", "Dense": "for float8"},
    "takes_mask": {"BatchNormalization": "for the statistics of training"},
}
"""Where a class does not say what its record does, and why."""


def test_facts_are_those_of_the_classes() -> None:
    """One layer of each class with a rule: whether it supports masks, takes one, casts, has ``training``; the axes it wants."""
    told: dict[str, set[str]] = {k: set() for k in FACTS}
    for name, (make, _) in CASE.items():
        spec, made = SPECS[name], make()
        names = list(inspect.signature(type(made).call).parameters)[1:]
        facts = {
            "masks": ((spec.masks != "stop"), bool(made.supports_masking)),
            "float32": (spec.float32, not made.autocast),
            "training": (spec.training, "training" in names),
            "takes_mask": (spec.takes_mask, any("mask" in n for n in names)),
        }
        for key, (said, real) in facts.items():
            if said != real:
                told[key].add(name)
        assert spec.call == tuple(names[1 : 1 + len(spec.call)]), name
        axes = getattr(made.input_spec, "ndim", None)
        more = 1 if name.startswith("ConvLSTM") else 0
        assert axes is None or not spec.spatial or axes == spec.spatial + 2 + more, name
    assert told == {k: set(v) for k, v in FACTS.items()}


def test_steps_are_treated_alike_where_the_record_says_so() -> None:
    """On (batch, steps, features) what Keras computes of all steps is what it computes of each, and nothing is dropped."""
    x = np.random.default_rng(3).normal(0, 2, (2, 5, 3)).astype("float32")
    checked = set()
    for name, (make, shapes) in CASE.items():
        if not SPECS[name].stepwise or len(shapes) > 1:
            continue
        made = make()
        try:
            whole = np.asarray(keras.ops.convert_to_numpy(made(x)))
        except ValueError:  # the case's own sizes
            continue
        steps = [np.asarray(keras.ops.convert_to_numpy(made(x[:, i]))) for i in range(5)]
        assert np.allclose(whole, np.stack(steps, 1), atol=1e-6), name
        checked.add(name)
    assert {"Dense", "ReLU", "LeakyReLU", "ELU", "Activation", "Dropout", "Rescaling", "Identity"} <= checked
    alike = {n for n in THERE if SPECS[n].stepwise}
    assert alike == {
        "Activation", "ActivityRegularization", "AlphaDropout", "Dense", "Dropout", "ELU", "GaussianDropout", "GaussianNoise",
        "Identity", "LeakyReLU", "ReLU", "Rescaling",
    }  # fmt: skip
