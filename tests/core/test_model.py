"""Model: run it, slice it, name it; the API of `convcore.load`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import convcore
from convcore.errors import InputError, UnsupportedError, UsageError

DATA = Path(__file__).parents[1] / "data"
ERAS = DATA / "keras_eras"
FER = DATA / "zoo/keras2-fer-minixception"


def _io(path: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    z = np.load(path)
    return [z[k] for k in sorted(z.files) if k.startswith("in")], [z[k] for k in sorted(z.files) if k.startswith("out")]


@pytest.fixture(scope="module")
def sequential() -> convcore.Model:
    return convcore.load(ERAS / "tf213/seq_cnn.keras")


def test_kind_and_description(sequential: convcore.Model):
    assert sequential.kind == "sequential"
    assert convcore.load(ERAS / "tf213/shared_nested.keras").kind == "functional"
    assert [x.type for x in sequential.layers][:3] == ["Conv2D", "BatchNormalization", "MaxPooling2D"]
    assert len(sequential.inputs) == 1 and str(sequential.inputs[0].shape[0]) == "batch"
    text = sequential.summary()
    assert "sequential" in text and all(x.name in text for x in sequential.layers)
    assert sequential.num_params == sum(x.params for x in sequential.layers) > 0


def test_one_output_is_an_array_several_are_a_tuple(sequential: convcore.Model):
    (x,), (y,) = _io(ERAS / "tf213/seq_cnn.io.npz")
    got = sequential(x)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, y, atol=1e-5)
    name = sequential.inputs[0].name
    np.testing.assert_array_equal(sequential({name: x}), got)
    np.testing.assert_array_equal(sequential(**{name: x}), got)
    many = convcore.load(ERAS / "tf213/shared_nested.keras")
    xs, ys = _io(ERAS / "tf213/shared_nested.io.npz")
    out = many(*xs)
    if len(ys) > 1:
        assert isinstance(out, tuple)
    for a, b in zip(out if isinstance(out, tuple) else (out,), ys):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_every_prefix_composes_to_the_whole(sequential: convcore.Model):
    (x,), _ = _io(ERAS / "tf213/seq_cnn.io.npz")
    whole = sequential(x)
    n = len(sequential)
    for k in range(1, n):
        first = sequential[:k]
        np.testing.assert_array_equal(first(x), sequential[sequential.layers[k - 1].name](x))
        np.testing.assert_array_equal(first(x), sequential[k - 1](x))
        np.testing.assert_allclose(sequential[k:](first(x)), whole, rtol=1e-6)
    assert [x.name for x in sequential[1:3].layers] == [x.name for x in sequential.layers[1:3]]
    np.testing.assert_array_equal(sequential[:n](x), whole)
    np.testing.assert_array_equal(sequential[-1](x), whole)


def test_slices_of_a_branched_model():
    model = convcore.load(FER / "emotion_model.hdf5")
    x = np.load(FER / "inputs.npz")
    x = x[x.files[0]]
    whole = model(x)
    for k in (5, 9, 17, 30, 44):
        head, tail = model[:k], model[k:]
        named = {}
        for t in tail.inputs:
            named[t.name] = x if t.name == model.inputs[0].name else model[t.name](x)
        np.testing.assert_allclose(tail(named), whole, rtol=1e-4, atol=1e-7)
        assert head(x) is not None


def test_wrong_slices(sequential: convcore.Model):
    for bad in (slice(3, 3), slice(0, 4, 2), "no_such_layer", 99, -99):
        with pytest.raises(UsageError):
            sequential[bad]
    near = sequential.layers[0].name[:-1]
    with pytest.raises(UsageError, match=sequential.layers[0].name):
        sequential[near + "x"]


def test_wrong_inputs(sequential: convcore.Model):
    (x,), _ = _io(ERAS / "tf213/seq_cnn.io.npz")
    for bad in ([], [x, x], [x[0]], [x[..., :1]], [x.astype(complex)]):
        with pytest.raises(InputError):
            sequential(*bad)
    with pytest.raises(InputError, match="unknown"):
        sequential(nope=x)


def test_a_model_with_unknown_layers_loads_and_runs_up_to_them():
    model = convcore.load(ERAS / "tf213/lambda.h5")
    assert {p.type for p in model.problems} == {"Lambda"}
    xs, _ = _io(ERAS / "tf213/lambda.io.npz")
    with pytest.raises(UnsupportedError, match="Lambda"):
        model(*xs)


def test_ir_file_round_trip(sequential: convcore.Model, tmp_path: Path):
    (x,), _ = _io(ERAS / "tf213/seq_cnn.io.npz")
    back = convcore.load(sequential.save(tmp_path / "m.ccir"))
    np.testing.assert_array_equal(back(x), sequential(x))
    assert back.kind == "sequential" and [x.name for x in back.layers] == [x.name for x in sequential.layers]
    np.testing.assert_array_equal(back[:3](x), sequential[:3](x))


def test_formats():
    known = convcore.formats()
    assert known["keras"]["load"] and known["onnx"]["load"] and known["onnx"]["emit"]


def test_load_refusals(tmp_path: Path):
    with pytest.raises(UsageError, match="no such file"):
        convcore.load(tmp_path / "none.keras")
    (tmp_path / "x.bin").write_bytes(b"\x00" * 100)
    with pytest.raises(UsageError, match="cannot tell"):
        convcore.load(tmp_path / "x.bin")
    with pytest.raises(UsageError, match="unknown option"):
        convcore.load(ERAS / "tf213/seq_cnn.keras", nonsense=1)
    with pytest.raises(UsageError, match="unknown framework"):
        convcore.load(ERAS / "tf213/seq_cnn.keras", format="kerass")
