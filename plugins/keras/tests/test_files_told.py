"""What is wrong with a damaged file is told in its own words, and what is just within a limit is read."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_files_attacks import DENSE, dense_weights, functional, h5_bytes, keras_zip, layer, legacy, put, tensor

from convcore.errors import BadFileError, UnsupportedError, UsageError
from convcore_keras.files import archive, hdf5, safe_json, safe_yaml, shards
from convcore_keras.files.archive import Archive
from convcore_keras.files.convert import from_keras1
from convcore_keras.files.hdf5 import H5File
from convcore_keras.files.keras1 import modernise
from convcore_keras.files.model import Call, KerasModel, LayerConfig, LayerDType, ModelConfig, TensorRef
from convcore_keras.files.reader import read
from convcore_keras.files.safe_json import loads
from convcore_keras.files.safe_yaml import loads_yaml
from convcore_keras.files.source import ByteSource
from convcore_keras.files.theano import mark_theano_padding
from convcore_keras.files.write import write_h5, write_keras
from convcore_keras.files.write_code import write_code


def dense(**changes: Any) -> dict[str, Any]:
    return {**layer("Dense", "dense", {"units": 2}), **changes}


def made(*layers: dict[str, Any], out: str = "dense", **config: Any) -> dict[str, Any]:
    found = functional(list(layers) or [DENSE], out)
    found["config"].update(config)
    return found


def called(history: Any) -> dict[str, Any]:
    node = tensor("in")
    node["config"]["keras_history"] = history
    return made(layer("Dense", "dense", {"units": 2}, [node]))


def one(cls: str, **config: Any) -> dict[str, Any]:
    return made(layer(cls, "one", config), out="one")


def sequential(*layers: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": list(layers), **config}}


def array(dtype: Any, value: Any = (1,)) -> dict[str, Any]:
    return {"class_name": "__numpy__", "config": {"value": list(value), "dtype": dtype}}


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "no class": ({"class_name": 3, "config": {}}, "is not a Keras model configuration"),
    "model's name": (made(name=3), "a model's name is not a string"),
    "layers": (made(layers={}), "'layers' is not a list of layers"),
    "entry": (made(layers=[3]), "malformed layer entry 3"),
    "entry without configuration": (made(layers=[{"class_name": "Dense"}]), "malformed layer entry {'class_name': 'Dense'}"),
    "twice": (made(DENSE, DENSE), "two layers are named 'dense'"),
    "unnamed": (made(dense(name="", config={"units": 2})), "unnamed layer"),
    "name": (made(dense(name=3)), "a layer's name is not a string"),
    "list": (made(dense(config=[])), "layer 'dense' has a list as its configuration"),
    "sequential twice": (sequential(DENSE, DENSE), "two layers of Sequential model 's' have the same name"),
    "nodes": (made(dense(inbound_nodes=3)), "layer 'dense': inbound_nodes is not a list"),
    "node": (made(dense(inbound_nodes=[3])), "layer 'dense': malformed inbound node 3"),
    "args": (made(dense(inbound_nodes=[{"args": 3}])), "layer 'dense': malformed inbound node"),
    "kwargs": (made(dense(inbound_nodes=[{"args": [], "kwargs": [3]}])), "layer 'dense': malformed inbound node"),
    "history": (called(3), "layer 'dense': malformed __keras_tensor__"),
    "short history": (called(["in", 0]), "layer 'dense': malformed __keras_tensor__"),
    "history of truths": (called(["in", True, 0]), "layer 'dense': malformed __keras_tensor__"),
    "history without name": (called([3, 0, 0]), "layer 'dense': malformed __keras_tensor__"),
    "negative node": (called(["in", -1, 0]), "'dense' refers to node -1, tensor 0 of 'in'"),
    "negative tensor": (called(["in", 0, -1]), "'dense' refers to node 0, tensor -1 of 'in'"),
    "nobody": (called(["other", 0, 0]), "'dense' refers to layer 'other', which the model does not have"),
    "ends": (made(input_layers=3), "model 'm': malformed input or output 3"),
    "array": (one("Rescaling", scale=array("object")), "layer 'one': malformed array constant: element type 'object'"),
    "array's type": (one("Rescaling", scale=array(3)), "layer 'one': malformed array constant: element type '3'"),
    "array's items": (one("Rescaling", scale=array("int32", ["a"])), "layer 'one': malformed array constant: invalid literal"),
    "strides": (one("MaxPooling2D", strides=[1]), "layer 'one': strides=[1] is not 2 integers"),
    "strides of truths": (one("MaxPooling1D", strides=True), "layer 'one': strides=True is not 1 integers"),
    "one truth": (one("MaxPooling2D", strides=[1, True]), "layer 'one': strides=[1, True] is not 2 integers"),
    "sizes": (one("Reshape", target_shape=[2, "a"]), "layer 'one': target_shape=[2, 'a'] is not a list of integers"),
    "pads": (one("ZeroPadding2D", padding=[1, 2, 3]), "layer 'one': padding=[1, 2, 3] does not fit 2 axes"),
    "pad": (one("ZeroPadding2D", padding=[[1], 2]), "layer 'one': padding=[1] is not 2 integers"),
    "shape": (sequential(layer("Dense", "dense", {"units": 2, "batch_input_shape": [None, -4]})), "[None, -4] is not a shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_wrong_with_a_configuration(name: str, tmp_path: Path) -> None:
    config, why = CONFIGS[name]
    with pytest.raises(BadFileError) as found:
        read(keras_zip(tmp_path / "m.keras", config))
    assert why in str(found.value)


def test_a_shape_has_at_most_32_axes(tmp_path: Path) -> None:
    def shape(n: int) -> dict[str, Any]:
        return sequential(layer("Activation", "a", {"activation": "relu", "batch_input_shape": [None] * n}))

    assert read(keras_zip(tmp_path / "m.keras", shape(32))).root.layers[0].config["batch_shape"] == (None,) * 32
    with pytest.raises(BadFileError, match="is not a shape"):
        read(keras_zip(tmp_path / "n.keras", shape(33)))


# ---- the zip
def _patched(path: Path, at: Callable[[zipfile.ZipInfo, bytearray, int], None], name: str = "config.json") -> Path:
    """A zip in which something is written over: given the member, the bytes, and where its entry in the directory starts."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as z:
        info = z.getinfo(name)
    at(info, data, data.rfind(b"PK\x01\x02", 0, data.rfind(name.encode())))
    path.write_bytes(data)
    return path


def _encrypted(info: zipfile.ZipInfo, data: bytearray, entry: int) -> None:
    struct.pack_into("<H", data, entry + 8, 1)


def _longer(info: zipfile.ZipInfo, data: bytearray, entry: int) -> None:
    struct.pack_into("<I", data, entry + 24, info.file_size + 1)


def _elsewhere(info: zipfile.ZipInfo, data: bytearray, entry: int) -> None:
    struct.pack_into("<I", data, entry + 42, info.header_offset + 1)


def _other_name(info: zipfile.ZipInfo, data: bytearray, entry: int) -> None:
    data[info.header_offset + 30] ^= 1


def _broken(info: zipfile.ZipInfo, data: bytearray, entry: int) -> None:
    data[info.header_offset + 30 + len(info.filename) + 20] ^= 255


def test_what_is_wrong_with_a_zip(tmp_path: Path) -> None:
    def fresh(name: str, how: int = 0) -> Path:
        return keras_zip(tmp_path / name, how=how)

    whole = Archive(str(fresh("whole.keras")))
    assert whole.names == ("metadata.json", "config.json", "model.weights.h5") and "config.json" in whole
    with pytest.raises(BadFileError, match=r"whole.keras: the archive has no member 'nobody'"):
        whole.read("nobody")
    size = len(whole.read("config.json"))
    assert len(whole.read("config.json", size)) == size
    with pytest.raises(BadFileError, match=rf"member 'config.json' has {size} bytes, more than the {size - 1} allowed"):
        whole.read("config.json", size - 1)
    with pytest.raises(BadFileError, match=r"member 'config.json' is encrypted"):
        Archive(str(_patched(fresh("a.keras"), _encrypted))).read("config.json")
    with pytest.raises(BadFileError, match=rf"member 'config.json' has {size} bytes, the archive says {size + 1}"):
        Archive(str(_patched(fresh("b.keras", zipfile.ZIP_DEFLATED), _longer))).read("config.json")
    with pytest.raises(BadFileError, match=r"member 'config.json' is damaged: "):
        Archive(str(_patched(fresh("c.keras", zipfile.ZIP_DEFLATED), _broken))).read("config.json")
    with pytest.raises(BadFileError, match=r"\(config.json\): the archive is damaged \(no local header\)"):
        Archive(str(_patched(fresh("d.keras"), _elsewhere))).source("config.json")
    with pytest.raises(
        BadFileError, match=r"\(config.json\): the archive is damaged \(its directory does not fit its contents\)"
    ):
        Archive(str(_patched(fresh("e.keras"), _other_name))).source("config.json")
    with pytest.raises(
        BadFileError, match=r"\(config.json\): the archive is damaged \(its directory does not fit its contents\)"
    ):
        Archive(str(_patched(fresh("f.keras"), _longer))).source("config.json")
    (tmp_path / "cut.keras").write_bytes(fresh("whole.keras").read_bytes()[:-23])
    with pytest.raises(BadFileError, match="the zip archive is cut off"):
        Archive(str(tmp_path / "cut.keras"))


def test_members_that_inflate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keras_zip(tmp_path / "m.keras", extra={"big": bytes(5000)}, how=zipfile.ZIP_DEFLATED)
    assert Archive(str(path)).read("big") == bytes(5000)
    monkeypatch.setattr(archive, "_MAX_INFLATED", 5000)
    assert Archive(str(path)).source("big").size == 5000
    monkeypatch.setattr(archive, "_MAX_INFLATED", 4999)
    with pytest.raises(BadFileError, match=r"member 'big' takes 5000 bytes of memory when inflated; pack .*\(zip -0\)"):
        Archive(str(path)).source("big")
    monkeypatch.setattr(archive, "_BIG", 5000)
    assert Archive(str(path)).names[-1] == "big"
    monkeypatch.setattr(archive, "_BIG", 4999)
    with pytest.raises(BadFileError, match=r"member 'big' inflates \d+ bytes to 5000"):
        Archive(str(path)).read("big")


def test_as_many_members_as_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(keras_zip(tmp_path / "m.keras"))
    monkeypatch.setattr(archive, "_MAX_MEMBERS", 3)
    assert len(Archive(path).names) == 3
    monkeypatch.setattr(archive, "_MAX_MEMBERS", 2)
    with pytest.raises(BadFileError, match="the archive has 3 members, more than the 2 allowed"):
        Archive(path)


# ---- JSON and YAML
def test_limits_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loads("[" * 256 + "]" * 256, "x") and loads('{"a": [1, {"b": Infinity}], "c": -Infinity}', "x")["c"] == -np.inf
    assert loads(b'["\\\\", "\\"[[[", "a"]', "x") == ["\\", '"[[[', "a"]
    for raw, why in {
        "[" * 257 + "]" * 257: "x: JSON nested more than 256 deep",
        " ": "x: is empty",
        "[": "x: not valid JSON: ",
        '{"a": 1, "b": 2, "a": 3}': "x: not valid JSON: key 'a' is given twice in one object",
        "[NaN]": "x: not valid JSON: the constant NaN is not allowed in a model configuration",
    }.items():
        with pytest.raises(BadFileError, match=why):
            loads(raw, "x")
    monkeypatch.setattr(safe_json, "MAX_JSON_BYTES", 6)
    monkeypatch.setattr(safe_json, "MAX_JSON_ITEMS", 3)
    assert loads("[1,22]", "x") == [1, 22] and loads("[1,2,]"[:4] + "]", "x") == [1, 2]
    with pytest.raises(BadFileError, match="x: 7 bytes of JSON, more than the 6 allowed"):
        loads("[1,222]", "x")
    with pytest.raises(BadFileError, match="x: JSON of more than 3 items"):
        loads("[,,,]", "x")


YAML = {
    "": "is empty",
    "a: [": "not valid YAML: ",
    "a: 1\na: 2": "has a key that is no text, or is given twice",
    "1: 2": "has a key that is no text, or is given twice",
    "a: .NaN": "the constant NaN is not allowed in a model configuration",
    "a: 2001-01-01": "holds a timestamp, which no Keras configuration has",
    "a: !!set {x}": "holds a set, which no Keras configuration has",
    "a: !!python/object/apply:os.system ['x']": "holds the Python object 'object/apply:os.system', and nothing in a file is",
    "a: !!python/object/apply:numpy.core.multiarray.scalar [1, 2]": "not valid YAML: a number of numpy that is none",
}


def test_limits_of_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml")
    text = "a: !!python/tuple [1, 2.5]\nb: !!python/unicode 'x'\nc: .inf\nd: !!python/none ''\ne: !!python/bool 'true'"
    assert loads_yaml(text.encode(), "x") == {"a": [1, 2.5], "b": "x", "c": np.inf, "d": None, "e": True}
    for dtype, value in (("f4", np.float32(2.5)), ("i8", np.int64(-7)), ("u1", np.uint8(200))):
        data = base64.b64encode(value.tobytes()).decode()
        kind = f"!!python/object/apply:numpy.dtype {{args: [{dtype}, false, true], state: !!python/tuple [3, '<', null]}}"
        text = f"a: !!python/object/apply:numpy.core.multiarray.scalar\n- {kind}\n- !!binary {data}\n"
        assert loads_yaml(text.encode(), "x") == {"a": value.item()}
    for text, why in YAML.items():
        with pytest.raises(BadFileError) as found:
            loads_yaml(text.encode(), "x")
        assert str(found.value).startswith(f"x: {why}")
    monkeypatch.setattr(safe_yaml, "MAX_YAML_BYTES", 6)
    assert loads_yaml(b"a: 123", "x") == {"a": 123}
    with pytest.raises(BadFileError, match="x: 7 bytes of YAML, more than the 6 allowed"):
        loads_yaml(b"a: 1234", "x")
    monkeypatch.setattr(safe_yaml, "_MAX_ITEMS", 2)
    assert loads_yaml(b"a: 1", "x") == {"a": 1}
    monkeypatch.setattr(safe_yaml, "_MAX_ITEMS", 1)
    with pytest.raises(BadFileError, match="x: YAML of more than 1 items, or nested more than 256 deep"):
        loads_yaml(b"a: 1", "x")


# ---- HDF5
def _file(path: Path, fill: Callable[[h5py.File], None]) -> H5File:
    with h5py.File(path, "w") as h:
        fill(h)
    return H5File(ByteSource.of_file(str(path)))


def test_attributes_and_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(h: h5py.File) -> None:
        h.attrs["numbers"], h.attrs["one"], h.attrs["none"] = [1, 2], "a", h5py.Empty("f")
        h.attrs["names"], h.attrs["split0"], h.attrs["split1"] = ["a", "b"], ["c"], ["d", "e"]
        h.create_dataset("empty", dtype="f4")
        h["kept"], h["whole"] = np.arange(6, dtype="<f4").reshape(2, 3), np.arange(3, dtype=">i2")
        h.create_group("inside")["x"] = np.float64(2.5)

    with _file(tmp_path / "a.h5", fill) as f:
        assert [f.attr(f.root, k) for k in ("numbers", "one", "none", "names", "nobody")] == [[1, 2], "a", None, ["a", "b"], None]
        assert f.attr_list(f.root, "split") == ["c", "d", "e"] and f.attr_list(f.root, "one") == ["a"]
        assert f.attr_list(f.root, "nobody") is None and f.attr_names(f.root) >= {"one", "split1"}
        with pytest.raises(BadFileError, match=r"a.h5: attribute 'numbers' is not a list of names"):
            f.attr_list(f.root, "numbers")
        with pytest.raises(BadFileError, match=r"a.h5: dataset 'empty' is empty"):
            f.tensor(f.child(f.root, "empty"), "empty")
        with pytest.raises(BadFileError, match=r"a.h5: dataset 'inside' is not a dataset"):
            f.tensor(f.child(f.root, "inside"), "inside")
        assert f.tensor(f.child(f.root, "kept"), "kept").numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
        assert f.tensor(f.child(f.root, "whole"), "whole").numpy().tolist() == [0, 1, 2]
        assert f.tensor(f.child(f.root, "inside/x"), "inside/x").numpy() == 2.5
        assert f.child(f.root, "kept/more") is None and f.child(f.root, "nobody") is None and f.group(f.root, "kept") is None
        for name in ("a\0b", "..", "a//b", "./kept", ""):
            with pytest.raises(BadFileError, match="is not an acceptable name in a weights file"):
                f.child(f.root, name)
        monkeypatch.setattr(hdf5, "_MAX_NAMES", 4)
        assert set(f.keys(f.root)) == {"empty", "inside", "kept", "whole"}
        with pytest.raises(BadFileError, match=r"a.h5: too many attributes"):
            f.attr_names(f.root)
        monkeypatch.setattr(hdf5, "_MAX_NAMES", 2)
        assert f.attr(f.root, "names") == ["a", "b"]
        with pytest.raises(BadFileError, match=r"a.h5: a group holds 4 members"):
            f.keys(f.root)
        with pytest.raises(BadFileError, match=r"a.h5: attribute 'split' lists more than 2 names"):
            f.attr_list(f.root, "split")
        monkeypatch.setattr(hdf5, "_MAX_NAMES", 1)
        with pytest.raises(BadFileError, match=r"a.h5: attribute 'names' is too large"):
            f.attr(f.root, "names")


def test_what_is_wrong_with_a_legacy_file(tmp_path: Path) -> None:
    def no_group(h: h5py.File) -> None:
        put(legacy(h))
        del h["model_weights"]

    def no_text(h: h5py.File) -> None:
        put(legacy(h))
        h.attrs["model_config"] = [1, 2]

    def two_gates(h: h5py.File) -> None:
        put(legacy(h))

    for fill, why in ((no_group, "has no group model_weights"), (no_text, "attribute model_config is not text")):
        with h5py.File(tmp_path / "m.h5", "w") as h:
            fill(h)
        with pytest.raises(BadFileError, match=f"m.h5: {why}"):
            read(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "w") as h:
        two_gates(h)
    assert read(tmp_path / "m.h5").root.layers[1].weights["kernel"].shape == (4, 2)


def test_arguments_of_the_reader(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "m.keras")
    (tmp_path / "m.json").write_text(json.dumps(functional([DENSE], "dense")))
    with pytest.raises(UsageError, match="kernels must be 'tensorflow' or 'theano', not 'jax'"):
        read(path, kernels="jax")
    for given in ([path], [path, path, path]):
        with pytest.raises(UsageError, match=r"give one path, or a pair of paths \(architecture, weights\)"):
            read(given)
    with pytest.raises(UsageError, match="give one path, or a pair of paths"):
        read([path, path], path)
    with pytest.raises(UsageError, match=r"m.json: holds no weights"):
        read(path, tmp_path / "m.json")
    with pytest.raises(UsageError, match="does not apply to Keras 3 files"):
        read(path, kernels="theano")
    assert read([path, tmp_path / "m.json"][::-1]).root.layers[1].weights.keys() == {"kernel", "bias"}


# ---- shards
def test_what_is_wrong_with_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(h5_bytes(dense_weights))
    (tmp_path / "b.h5").write_bytes(h5_bytes(dense_weights))
    (tmp_path / "folder").mkdir()

    def opened(weight_map: Any) -> shards.Shards:
        return shards.Shards(str(tmp_path / "s.json"), {"weight_map": weight_map}, stack)

    with ExitStack() as stack:
        both = opened({"/layers/dense/vars": ["a.h5"]})
        found = both.variables("layers/dense")
        assert found is not None and [(n, t.shape) for n, t in found] == [("0", (4, 2)), ("1", (2,))]
        assert both.folders("layers") == ["dense"] and both.folders("layers/dense") == [] and both.has("layers")
        assert both.variables("layers/other") is None and not both.has("other")
        for weight_map, why in (
            ([], "has no weight_map"),
            ({"x": 3}, "malformed weight_map entry 'x'"),
            ({"x": ["a.h5", 3]}, "malformed weight_map entry 'x'"),
            ({"x": "nobody.h5"}, "shard 'nobody.h5' cannot be read: No such file"),
            ({"x": "folder"}, "shard 'folder' is not a regular file"),
            ({"x": ".hidden"}, "shard '.hidden' is not a plain file name in the same folder"),
        ):
            with pytest.raises(BadFileError) as e:
                opened(weight_map)
            assert f"s.json: {why}" in str(e.value)
        with pytest.raises(BadFileError, match="two shards hold layers/dense/vars/0"):
            opened({"/layers/dense/vars": ["a.h5", "b.h5"]}).variables("layers/dense")
        monkeypatch.setattr(shards, "_MAX_SHARDS", 1)
        opened({"/layers/dense/vars": "a.h5"})
        with pytest.raises(BadFileError, match=r"s.json: names 2 shards, more than the 1 allowed"):
            opened({"/layers/dense/vars": ["a.h5", "b.h5"]})


# ---- old eras
FRONT: list[tuple[str, dict[str, Any], tuple[int, ...] | None]] = [
    ("MaxPooling1D", {"pool_size": (1,)}, None),
    ("MaxPooling1D", {"pool_size": (2,)}, (1,)),
    ("AveragePooling1D", {"pool_size": (3,)}, None),
    ("MaxPooling2D", {"pool_size": (4, 5)}, (3, 3)),
    ("MaxPooling2D", {"pool_size": (3, 3), "strides": (2, 1)}, (1, 1)),
    ("MaxPooling2D", {"pool_size": (3, 3), "strides": (1, 2)}, (1, 1)),
    ("MaxPooling2D", {"pool_size": (3, 3), "strides": (1, 1)}, None),
    ("Conv1D", {"kernel_size": (3,), "strides": (1,)}, None),
    ("Conv1D", {"kernel_size": (4,), "strides": (1,)}, (2,)),
    ("Conv2D", {"kernel_size": (3, 5), "strides": (2, 2)}, (1, 2)),
    ("Conv2D", {"kernel_size": (2, 3), "strides": (1, 1), "dilation_rate": (3, 2)}, (2, 2)),
    ("Conv2D", {"kernel_size": (3, 3), "strides": (1, 1), "dilation_rate": (2, 2)}, None),
    ("Flatten", {}, None),
]
"""Padding in front of each axis under Theano where TensorFlow's is another (``theano_backend.py`` of Keras 2.3.1: ``conv2d`` and
``pool2d``): ``half`` is k // 2 of the dilated kernel; pools take k - 2 for odd k above 2, else k - 1."""


@pytest.mark.parametrize(("cls", "config", "front"), FRONT)
def test_padding_under_theano(cls: str, config: dict[str, Any], front: tuple[int, ...] | None) -> None:
    for padding in ("same", "valid"):
        made = LayerConfig("x", cls, cls, {"padding": padding, **config})
        mark_theano_padding(made)
        assert made.config.get("same_pads_front") == (front if padding == "same" else None)


def test_gates_that_do_not_fit() -> None:
    from convcore.plugin import as_tensor

    lstm = LayerConfig("x", "LSTM", "LSTM", {"units": 3})
    arrays = [as_tensor(np.full(s, i, np.float32)) for i in range(4) for s in ((2, 3), (3, 3), (3,))]
    found = from_keras1(lstm, arrays, ["kernel", "recurrent_kernel", "bias"])
    assert found["kernel"].numpy()[0, ::3].tolist() == [0, 2, 1, 3] == found["bias"].numpy()[::3].tolist()  # i c f o -> i f c o
    arrays[3] = as_tensor(np.zeros((5, 3), np.float32))
    with pytest.raises(BadFileError, match=r"gates of one recurrent layer have different shapes: \[\[2, 3\], \[2, 3\], \[5, 3\]"):
        from_keras1(lstm, arrays, ["kernel", "recurrent_kernel", "bias"])


# ---- what else the archive, HDF5 and the configuration may not hold
def test_two_members_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(BadFileError, match=r"a.keras: "):
        Archive(str(tmp_path / "a.keras"))
    path = keras_zip(tmp_path / "b.keras")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as z:
        z.writestr("config.json", "{}")
    with pytest.raises(BadFileError, match=r"b.keras: the archive holds 'config.json' twice"):
        Archive(str(path))


def test_what_a_dataset_may_not_be(tmp_path: Path) -> None:
    def fill(h: h5py.File) -> None:
        h["x"] = np.arange(6.0)
        h["soft"], h["outside"] = h5py.SoftLink("/x"), h5py.ExternalLink("other.h5", "/x")
        layout = h5py.VirtualLayout(shape=(6,), dtype="f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", shape=(6,))
        h.create_virtual_dataset("virtual", layout)
        h.create_dataset("external", shape=(6,), dtype="f4", external=[("other.raw", 0, 24)])
        h.create_dataset("lzf", data=np.arange(6.0), compression="lzf")
        h.create_dataset("gzip", data=np.arange(6.0), compression="gzip", shuffle=True, fletcher32=True)
        h["text"], h["complex"], h["wide"] = "text", np.zeros(2, np.complex64), np.zeros(2, np.longdouble)
        h["raw"] = np.zeros(2, "V2")
        h["half"] = np.arange(2, dtype=np.float32).view(np.uint16).view("V2")[1::2]
        h["half"].attrs["dtype"] = "bfloat16"

    with _file(tmp_path / "a.h5", fill) as f:
        for name in ("soft", "outside"):
            with pytest.raises(BadFileError, match=f"a.h5: '{name}' is a soft or external link, which is not allowed"):
                f.child(f.root, name)
        for name, why in {
            "virtual": "is virtual (its data is in other files), which is not allowed",
            "external": "keeps its data in an external file, which is not allowed",
            "lzf": "uses HDF5 filter [32000], which is not allowed",
            "text": "has element type object, which is not a number type of a model",
            "complex": "has element type complex64, which is not a number type of a model",
            "raw": "has element type |V2, which is not a number type of a model",
        }.items():
            with pytest.raises(BadFileError) as e:
                f.tensor(f.child(f.root, name), name)
            assert f"a.h5: dataset '{name}' {why}" in str(e.value)
        with pytest.raises(BadFileError, match=r"a.h5: dataset 'wide': .*(longdouble|float128)"):
            f.tensor(f.child(f.root, "wide"), "wide")
        assert f.tensor(f.child(f.root, "gzip"), "gzip").numpy().tolist() == [0, 1, 2, 3, 4, 5]
        half = f.tensor(f.child(f.root, "half"), "half")
        assert str(half.dtype) == "bfloat16" and half.shape == (2,)


def test_subclassed_models_and_nesting(tmp_path: Path) -> None:
    def nested(n: int) -> dict[str, Any]:
        found = sequential(layer("Activation", "a", {"activation": "relu"}))
        for i in range(n):
            found = {**sequential(found), "config": {"name": f"s{i}", "layers": [{**found, "name": "x"}]}}
        return found

    def wrapped(n: int) -> dict[str, Any]:
        found = layer("Activation", "a", {"activation": "relu"})
        for i in range(n):
            found = layer("TimeDistributed", f"t{i}", {"layer": found})
        return sequential(found)

    for make, what in ((nested, "models"), (wrapped, "layers")):
        assert read(keras_zip(tmp_path / "deep.keras", make(63))).root.layers
        with pytest.raises(BadFileError, match=f"{what} are nested more than 64 deep"):
            read(keras_zip(tmp_path / "deeper.keras", make(66)))
    with pytest.raises(UnsupportedError) as e:
        read(keras_zip(tmp_path / "m.keras", {"module": "mine", "class_name": "Mine", "config": {"a": 1}}))
    (p,) = e.value.problems
    assert (p.layer, p.type) == ("Mine", "model") and "rebuild it as a Functional or Sequential model" in p.hint
    assert p.why == "is a subclassed model: the file does not hold its graph, only Python code would give it one"


def test_a_graph_that_goes_round(tmp_path: Path) -> None:
    def add(name: str, *of: str) -> dict[str, Any]:
        return layer("Add", name, {}, [[tensor(n) for n in of]])

    with pytest.raises(BadFileError, match=r"model 'm': the graph has a cycle through 'b'|through 'a'"):
        read(keras_zip(tmp_path / "m.keras", functional([add("a", "in", "b"), add("b", "in", "a")], "b")))


def test_weights_alone_and_of_others(tmp_path: Path) -> None:
    (tmp_path / "m.weights.h5").write_bytes(h5_bytes(dense_weights))
    with pytest.raises(UsageError, match=r"m.weights.h5: holds only weights; give the architecture \(a .json"):
        read(tmp_path / "m.weights.h5")
    config = json.dumps(functional([DENSE, {**DENSE, "name": "more", "config": {"name": "more", "units": 2}}], "more"))
    (tmp_path / "m.json").write_text(config)

    def weights(h: h5py.File, *names: str, first: str = "kernel:0") -> None:
        h.attrs["layer_names"], h.attrs["keras_version"], h.attrs["backend"] = (
            [n.encode() for n in names],
            b"2.3.1",
            b"tensorflow",
        )
        for n in names:
            g = h.create_group(n)
            g.attrs["weight_names"] = [f"{n}/{first}".encode(), f"{n}/bias:0".encode()]
            g[f"{n}/{first}"], g[f"{n}/bias:0"] = np.zeros((4, 2), "f4"), np.zeros(2, "f4")

    def no_names(h: h5py.File) -> None:
        put(legacy(h))
        del h["model_weights"].attrs["layer_names"]

    (tmp_path / "whole.h5").write_bytes(h5_bytes(no_names))
    with pytest.raises(BadFileError, match=r"whole.h5: the weights have no attribute 'layer_names'"):
        read(tmp_path / "whole.h5")
    tries: list[tuple[Callable[[h5py.File], None], str]] = [
        (lambda h: weights(h, "dense"), "it has 2 layers with weights, the file 1"),
        (lambda h: weights(h, "dense", "more", first="gamma:0"), "kernel expected, found 'dense/gamma:0'"),
    ]
    for fill, why in tries:
        (tmp_path / "w.h5").write_bytes(h5_bytes(fill))
        with pytest.raises(BadFileError) as e:
            read(tmp_path / "m.json", tmp_path / "w.h5")
        assert why in str(e.value)
    (tmp_path / "w.h5").write_bytes(h5_bytes(lambda h: weights(h, "dense", "more")))
    assert all(x.weights.keys() == {"kernel", "bias"} for x in read(tmp_path / "m.json", tmp_path / "w.h5").root.layers[1:])


def test_keras_1_without_an_order_of_axes() -> None:
    kernel = LayerConfig("c", "Conv1D", "Conv1D", {"kernel_size": 3, "filters": 2})
    from convcore.plugin import as_tensor

    with pytest.raises(BadFileError, match=r"layer 'c': a Keras 1 Conv1D kernel has 4 axes, the file has \[3, 2\]"):
        from_keras1(kernel, [as_tensor(np.zeros((3, 2), np.float32)), as_tensor(np.zeros(2, np.float32))], ["kernel", "bias"])
    with pytest.raises(UnsupportedError) as e:
        modernise("MaxPooling2D", {"pool_size": [2, 2]}, "p", None)
    (p,) = e.value.problems
    assert (p.layer, p.type) == ("p", "MaxPooling2D") and "Keras 1 did not store the axis order of this layer" in p.why
    assert "kernels" in p.hint and modernise("MaxPooling2D", {}, "p", "channels_first")[1]["data_format"] == "channels_first"
    assert modernise("MaxPooling2D", {"dim_ordering": "th"}, "p", None)[1]["data_format"] == "channels_first"
    assert modernise("MaxPooling2D", {"dim_ordering": "tf"}, "p", None)[1]["data_format"] == "channels_last"


# ---- what cannot be written
def test_what_is_not_written(tmp_path: Path) -> None:
    def model(*layers: LayerConfig) -> KerasModel:
        first = LayerConfig("in", "InputLayer", "InputLayer", {"batch_shape": (None, 4), "dtype": "float32"}, calls=[Call()])
        for x in layers:
            x.calls = x.calls or [Call((TensorRef("in", 0, 0),))]
        root = ModelConfig(
            "m", "functional", "Functional", [first, *layers], [TensorRef("in", 0, 0)], TensorRef(layers[-1].name, 0, 0)
        )
        return KerasModel(root, "3.15.0", "keras3", None, "keras-zip", None, ("m.keras",), True)

    def dense_layer(**more: Any) -> LayerConfig:
        held = {"kernel": as_tensor(np.zeros((4, 2), np.float32)), "bias": as_tensor(np.zeros(2, np.float32))}
        return LayerConfig("d", "Dense", "Dense", {"units": 2}, **{"weights": held, **more})

    from convcore.plugin import as_tensor

    strange = LayerConfig("s", "Strange", "Strange", {}, weights={"0": as_tensor(np.zeros(2, np.float32))}, custom=True)
    unknown = LayerConfig("s", "Strange", "Strange", {})
    with pytest.raises(UsageError, match="layer 's': the variables of Strange are not known, it cannot be written"):
        write_keras(model(unknown), tmp_path / "a.keras")
    with pytest.raises(UsageError, match=r"layer 'd' \(Dense\): no value for its variables kernel, bias"):
        write_keras(model(dense_layer(weights={})), tmp_path / "a.keras")
    policy = LayerDType("float32", "float32", "int8")
    with pytest.raises(UsageError, match=r"layer 'd': a quantised dtype policy \(int8\) is not written"):
        write_keras(
            model(LayerConfig("d", "Activation", "Activation", {"activation": "relu"}, dtype=policy)), tmp_path / "a.keras"
        )
    with pytest.raises(UsageError, match="layer 'd': a Dense of its own code or quantised is not written as code"):
        write_code(model(dense_layer(dtype=policy)), tmp_path / "a.py", "a.npz")
    with pytest.raises(UsageError, match="layer 's': a Strange of its own code or quantised is not written as code"):
        write_code(model(strange), tmp_path / "a.py", "a.npz")
    long = LayerConfig("x" * 70_000, "Activation", "Activation", {"activation": "relu"})
    with pytest.raises(UsageError, match=r"a name is longer than the \d+ bytes HDF5 takes"):
        write_h5(model(long), tmp_path / "a.h5")
    odd = LayerConfig("o", "Activation", "Activation", {"activation": {1, 2}})
    with pytest.raises(UsageError, match=r"set '\{1, 2\}' is not written as code"):
        write_code(model(odd), tmp_path / "a.py", "a.npz")
    round_ = [
        LayerConfig(n, "Activation", "Activation", {"activation": "relu"}, calls=[Call((TensorRef(m, 0, 0),))])
        for n, m in ("ab", "ba")
    ]
    with pytest.raises(UsageError, match="the calls of the model depend on each other in a circle"):
        write_code(model(*round_), tmp_path / "a.py", "a.npz")
