"""Broken, mismatched and hostile Keras files: one typed error each, quickly, or plain data."""

from __future__ import annotations

import io
import json
import re
import stat
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import convcore
from convcore.errors import BadFileError, ConvcoreError, PluginBugError, UnsupportedError, UsageError
from convcore_keras.files.hdf5 import H5File
from convcore_keras.files.headers import text_lengths
from convcore_keras.files.model import OpaqueObject
from convcore_keras.files.reader import read
from convcore_keras.files.sniff import sniff
from convcore_keras.files.source import ByteSource


def tensor(name: str, node: int = 0) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, 4], "dtype": "float32", "keras_history": [name, node, 0]},
    }


def layer(
    cls: str, name: str, config: dict[str, Any], args: list[Any] | None = None, module: str = "keras.layers"
) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": cls,
        "config": {"name": name, **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": [] if cls == "InputLayer" else [{"args": args or [tensor("in")], "kwargs": {}}],
    }


INPUT = layer("InputLayer", "in", {"batch_shape": [None, 4], "dtype": "float32"})
DENSE = layer("Dense", "dense", {"units": 2})


def functional(layers: list[dict[str, Any]], out: str) -> dict[str, Any]:
    config = {"name": "m", "layers": [INPUT, *layers], "input_layers": [["in", 0, 0]], "output_layers": [[out, 0, 0]]}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def h5_bytes(fill: Callable[[h5py.File], None]) -> bytes:
    b = io.BytesIO()
    with h5py.File(b, "w") as h:
        fill(h)
    return b.getvalue()


def dense_weights(h: h5py.File) -> None:
    h["layers/dense/vars/0"] = np.arange(8, dtype="float32").reshape(4, 2)
    h["layers/dense/vars/1"] = np.zeros(2, "float32")


def keras_zip(
    path: Path,
    config: Any = None,
    weights: bytes | None = None,
    raw: str | None = None,
    extra: dict[str, bytes] | None = None,
    how: int = 0,
) -> Path:
    with zipfile.ZipFile(path, "w", how) as z:
        z.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        z.writestr("config.json", raw if raw is not None else json.dumps(config or functional([DENSE], "dense")))
        z.writestr("model.weights.h5", weights if weights is not None else h5_bytes(dense_weights))
        for n, b in (extra or {}).items():
            z.writestr(n, b)
    return path


def legacy(h: h5py.File, names: dict[str, list[str]] | None = None, units: int = 2) -> h5py.Group:
    h.attrs["keras_version"], h.attrs["backend"] = "2.15.0", "tensorflow"
    inp = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "in"}}
    dense = {"class_name": "Dense", "config": {"name": "dense", "units": units, "activation": "linear", "use_bias": True}}
    h.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": [inp, dense]}})
    group = h.create_group("model_weights")
    names = names or {"dense": ["dense/kernel:0", "dense/bias:0"]}
    group.attrs["layer_names"] = np.array([n.encode() for n in names])
    for n, w in names.items():
        group.create_group(n).attrs["weight_names"] = np.array([x.encode() for x in w])
    return group


def put(group: h5py.Group, kernel: np.ndarray | None = None) -> None:
    group["dense/dense/kernel:0"] = np.ones((4, 2), "float32") if kernel is None else kernel
    group["dense/dense/bias:0"] = np.zeros(2, "float32")


def test_the_builders_make_readable_files(tmp_path: Path) -> None:
    assert set(read(keras_zip(tmp_path / "m.keras")).root.layer("dense").weights) == {"kernel", "bias"}
    with h5py.File(tmp_path / "m.h5", "w") as h:
        put(legacy(h))
    assert set(read(tmp_path / "m.h5").root.layer("dense").weights) == {"kernel", "bias"}


# ---- zip
def test_duplicate_members(tmp_path: Path) -> None:
    with pytest.warns(UserWarning):
        path = keras_zip(tmp_path / "a.keras", extra={"config.json": b"{}"})
    with pytest.raises(BadFileError, match="twice"):
        read(path)


def test_symlink_member(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("config.json", json.dumps(functional([DENSE], "dense")))
        info = zipfile.ZipInfo("model.weights.h5")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        z.writestr(info, "/etc/passwd")
    with pytest.raises(BadFileError, match="symbolic link"):
        read(path)


def test_zip_bomb(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "a.keras", raw="[" + " " * (80 << 20) + "]", how=zipfile.ZIP_DEFLATED)
    with pytest.raises(BadFileError, match="inflates"):
        read(path)


def test_too_many_members(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "a.keras", extra={f"assets/{i}": b"" for i in range(5000)})
    with pytest.raises(BadFileError, match="members"):
        read(path)


def test_members_outside_are_never_written(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    read(keras_zip(inside / "a.keras", extra={"../out": b"x", "assets/../../out2": b"x"}))
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "a.keras"]


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_cut_off(tmp_path: Path, fraction: float, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "keras":
        keras_zip(path)
    else:
        with h5py.File(path, "w") as h:
            put(legacy(h))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(BadFileError):
        read(path)


def test_compressed_archive_reads_the_same(tmp_path: Path) -> None:
    one = read(keras_zip(tmp_path / "a.keras")).root.layer("dense").weights["kernel"]
    two = read(keras_zip(tmp_path / "b.keras", how=zipfile.ZIP_DEFLATED)).root.layer("dense").weights["kernel"]
    assert type(one).__name__ == "MappedTensor"
    assert np.array_equal(one.numpy(), two.numpy()) and one.numpy()[3, 1] == 7


# ---- JSON
@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ('{"class_name":"Functional","config":' + '{"a":' * 50_000 + "1" + "}" * 50_001, "nested"),
        (json.dumps(functional([DENSE], "dense")).replace('"units": 2', '"units": ' + "9" * 100_000), "JSON"),
        (json.dumps(functional([DENSE], "dense")).replace('"units": 2', '"units": NaN'), "NaN"),
        (json.dumps(functional([DENSE], "dense")).replace('"units": 2', '"units": 2, "units": 5'), "twice"),
        ("", "empty"),
        ("[]", "not a Keras model"),
        ('{"class_name": "Functional", "config": {"layers": 5, "input_layers": [], "output_layers": []}}', "configuration|list"),
    ],
    ids=["deep-list", "deep-dict", "bigint", "nan", "dup", "empty", "list", "layers"],
)
def test_bad_json(tmp_path: Path, raw: str, why: str) -> None:
    start = time.process_time()
    with pytest.raises(ConvcoreError, match=why):
        read(keras_zip(tmp_path / "a.keras", raw=raw))
    assert time.process_time() - start < 2


def test_nested_models_have_a_limit(tmp_path: Path) -> None:
    model = functional([DENSE], "dense")
    for _ in range(70):
        model = {
            "module": "keras",
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [model]},
            "registered_name": None,
        }
    with pytest.raises(BadFileError, match="nested"):
        read(keras_zip(tmp_path / "a.keras", model))


def test_cycle(tmp_path: Path) -> None:
    a = layer("Add", "a", {}, [[tensor("b"), tensor("in")]])
    b = layer("Activation", "b", {"activation": "relu"}, [tensor("a")])
    with pytest.raises(BadFileError, match="cycle"):
        read(keras_zip(tmp_path / "a.keras", functional([a, b], "b"), h5_bytes(lambda h: h.create_group("layers"))))


@pytest.mark.parametrize(("name", "node"), [("nowhere", 0), ("in", 3)])
def test_dangling_reference(tmp_path: Path, name: str, node: int) -> None:
    bad = layer("Activation", "a", {"activation": "relu"}, [tensor(name, node)])
    with pytest.raises(BadFileError, match=r"refers to|is called"):
        read(keras_zip(tmp_path / "a.keras", functional([bad], "a")))


def test_chain_of_20000_layers(tmp_path: Path) -> None:
    chain = [layer("Activation", f"a{i}", {"activation": "relu"}, [tensor(f"a{i - 1}" if i else "in")]) for i in range(20_000)]
    start = time.process_time()
    model = read(keras_zip(tmp_path / "a.keras", functional(chain, "a19999"), h5_bytes(lambda h: h.create_group("layers"))))
    assert len(model.root.layers) == 20_001
    assert time.process_time() - start < 10


# ---- code and names
def test_nothing_is_executed_or_imported(tmp_path: Path) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "KFxf////fw==", "defaults": None, "closure": None}}
    system = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
    layers = [
        layer("Lambda", "l", {"function": code}),
        layer("Lambda", "s", {"function": system}),
        layer("Dense", "d", {"units": 2, "activation": code}),
        layer("Popen", "p", {"args": ["touch", "x"]}, module="subprocess"),
    ]
    weights = h5_bytes(lambda h: h.update() if False else dense_weights(h))
    seen: list[str] = []
    live = [True]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if live[0] and (
            event in ("exec", "compile", "marshal.loads", "pickle.find_class") or event.startswith(("subprocess", "os.system"))
        ):
            seen.append(event)

    path = keras_zip(tmp_path / "a.keras", functional(layers, "d"), weights)
    read(path)  # imports done
    sys.addaudithook(hook)
    model = read(path)
    live[0] = False
    assert seen == []
    assert model.root.layer("l").config["function"].kind == "lambda"
    assert model.root.layer("s").config["function"].kind == "function"
    assert isinstance(model.root.layer("d").config["activation"], OpaqueObject)
    assert model.root.layer("p").custom


def test_foreign_class_with_a_keras_name_is_not_keras(tmp_path: Path) -> None:
    fake = layer("Dense", "dense", {"units": 2}, module="evil.layers")
    found = read(keras_zip(tmp_path / "a.keras", functional([fake], "dense"))).root.layer("dense")
    assert found.custom and found.class_name != "Dense" and set(found.weights) == {"0", "1"}


@pytest.mark.parametrize("name", ["../../x", 'x"); open("y")', "a\nimport os", "__class__", "\u202eevil\x00", "x" * 100_000])
def test_names_are_data(tmp_path: Path, name: str) -> None:
    model = read(keras_zip(tmp_path / "a.keras", functional([layer("Dense", name, {"units": 2})], name)))
    assert model.root.layers[1].name == name


def test_subclassed_model_is_refused(tmp_path: Path) -> None:
    raw = {"module": "my", "class_name": "MyModel", "config": {"width": 3}, "registered_name": "MyModel"}
    with pytest.raises(UnsupportedError, match="subclassed"):
        read(keras_zip(tmp_path / "a.keras", raw))


def test_not_keras_at_all(tmp_path: Path) -> None:
    for name, data in (("a.h5", b"\x80\x04cos\nsystem\n."), ("b.keras", b""), ("c.json", b"{}"), ("d.keras", b"PK\x03\x04rest")):
        (tmp_path / name).write_bytes(data)
        assert sniff(tmp_path / name) is None
        with pytest.raises(BadFileError):
            read(tmp_path / name)
    with pytest.raises(BadFileError, match="no such file"):
        read(tmp_path / "missing.keras")


# ---- HDF5
def external_link(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense")["kernel:0"] = h5py.ExternalLink(str(other), "k")


def external_storage(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense").create_dataset("kernel:0", (4, 2), "float32", external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual(g: h5py.Group, other: Path) -> None:
    layout = h5py.VirtualLayout((4, 2), "float32")
    layout[:] = h5py.VirtualSource(str(other), "k", (4, 2))
    g["dense"].create_group("dense").create_virtual_dataset("kernel:0", layout)


def soft_link(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense")["kernel:0"] = h5py.SoftLink("/model_weights/dense/dense/bias:0")


def shape_bomb(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense").create_dataset(
        "kernel:0", (10**7, 10**7), "float32", chunks=(1000, 1000), compression="gzip"
    )


def strings(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense").create_dataset(
        "kernel:0", data=np.array([["a", "b"]] * 4, object), dtype=h5py.string_dtype()
    )


def references(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense").create_dataset("kernel:0", data=np.array([g.ref, g.ref]), dtype=h5py.ref_dtype)


def unknown_filter(g: h5py.Group, other: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((4, 2))
    plist.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, (0,))
    group = g["dense"].create_group("dense")
    h5py.h5d.create(group.id, b"kernel:0", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 2)), plist)


def group_instead(g: h5py.Group, other: Path) -> None:
    g["dense"].create_group("dense").create_group("kernel:0")


def wrong_shape(g: h5py.Group, other: Path) -> None:
    g["dense/dense/kernel:0"] = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (external_link, "link"), (external_storage, "external file"), (virtual, "virtual"), (soft_link, "link"),
        (shape_bomb, "stores 0"),
        (strings, "element type"), (references, "element type"), (unknown_filter, "filter"), (group_instead, "not a dataset"),
        (wrong_shape, "kernel should have shape"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)  # fmt: skip
def test_hostile_datasets(tmp_path: Path, attack: Callable[[h5py.Group, Path], None], why: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as h:
        h["k"] = np.ones((4, 2), "float32")
    with h5py.File(tmp_path / "a.h5", "w") as h:
        group = legacy(h)
        attack(group, tmp_path / "secret.h5")
        group.require_group("dense/dense")["bias:0"] = np.zeros(2, "float32")
    start = time.process_time()
    with pytest.raises(BadFileError, match=why):
        read(tmp_path / "a.h5")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", ["/zz", "../../zz", "a//b", "."])
def test_escaping_weight_names(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h:
        legacy(h, {"dense": [name, name]})
        h["zz"] = np.ones((4, 2), "float32")
    with pytest.raises(BadFileError, match="acceptable name"):
        read(tmp_path / "a.h5")


def test_hard_link_cycle(tmp_path: Path) -> None:
    def cyclic(h: h5py.File) -> None:
        g = h.create_group("layers/my_layer")
        g["self"], g["up"] = g, h["layers"]

    custom = layer("MyLayer", "x", {}, module="my.package")
    start = time.process_time()
    read(keras_zip(tmp_path / "a.keras", functional([custom], "x"), h5_bytes(cyclic)))
    assert time.process_time() - start < 3


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2"])
@pytest.mark.parametrize("how", [{}, {"compression": "gzip", "shuffle": True}, {"chunks": (3, 2)}])
def test_storage_forms(tmp_path: Path, dtype: str, how: dict[str, Any]) -> None:
    want = np.arange(8, dtype=dtype).reshape(4, 2)
    with h5py.File(tmp_path / "a.h5", "w") as h:
        g = legacy(h)
        g.create_group("dense/dense").create_dataset("kernel:0", data=want, **how)
        g["dense/dense/bias:0"] = np.zeros(2, "float32")
    got = read(tmp_path / "a.h5").root.layer("dense").weights["kernel"].numpy()
    assert np.array_equal(got, want) and got.dtype.isnative


def test_chunked_name_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h:
        g = legacy(h)
        put(g)
        del g["dense"].attrs["weight_names"]
        g["dense"].attrs["weight_names0"], g["dense"].attrs["weight_names1"] = [b"dense/kernel:0"], [b"dense/bias:0"]
    assert set(read(tmp_path / "a.h5").root.layer("dense").weights) == {"kernel", "bias"}


# ---- weights that do not belong
def test_missing_and_extra_variables(tmp_path: Path) -> None:
    def only_kernel(h: h5py.File) -> None:
        h["layers/dense/vars/0"] = np.ones((4, 2), "float32")

    with pytest.raises(BadFileError, match=r"'dense' \(Dense\): 2 variables expected \(kernel, bias\), 1 found"):
        read(keras_zip(tmp_path / "a.keras", weights=h5_bytes(only_kernel)))
    with pytest.raises(BadFileError, match="2 variables expected"):
        read(keras_zip(tmp_path / "b.keras", weights=h5_bytes(lambda h: h.create_group("layers"))))


def test_weights_of_another_model(tmp_path: Path) -> None:
    two = functional([DENSE, layer("Dense", "dense_1", {"units": 3}, [tensor("dense")])], "dense_1")
    (tmp_path / "m.json").write_text(json.dumps(two))
    (tmp_path / "one.json").write_text(json.dumps(functional([layer("Activation", "a", {"activation": "relu"})], "a")))
    (tmp_path / "w.weights.h5").write_bytes(h5_bytes(dense_weights))
    with pytest.raises(BadFileError, match="dense_1"):
        read(tmp_path / "m.json", tmp_path / "w.weights.h5")
    with pytest.raises(BadFileError, match="no such layer"):
        read(tmp_path / "one.json", tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "legacy.h5", "w") as h:
        put(legacy(h))
    with pytest.raises(BadFileError, match="do not belong to this model"):
        read(tmp_path / "m.json", tmp_path / "legacy.h5")


def test_units_bomb(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="kernel should have shape"):
        read(keras_zip(tmp_path / "a.keras", functional([layer("Dense", "dense", {"units": 10**12})], "dense")))


def test_recorded_name_contradicts(tmp_path: Path) -> None:
    def renamed(h: h5py.File) -> None:
        dense_weights(h)
        h["layers/dense/vars"].attrs["name"] = "other"

    with pytest.raises(BadFileError, match="'other'"):
        read(keras_zip(tmp_path / "a.keras", weights=h5_bytes(renamed)))


def test_weights_alone(tmp_path: Path) -> None:
    (tmp_path / "w.weights.h5").write_bytes(h5_bytes(dense_weights))
    with pytest.raises(UsageError, match="architecture"):
        read(tmp_path / "w.weights.h5")


@pytest.mark.parametrize("shard", ["../w.h5", "/etc/passwd", "..", "sub\\w.h5", "missing.h5"])
def test_shard_names(tmp_path: Path, shard: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps(functional([DENSE], "dense")))
    (tmp_path / "s.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": {"/layers/dense/vars": [shard]}}))
    with pytest.raises(BadFileError, match="shard"):
        read(tmp_path / "m.json", tmp_path / "s.weights.json")


def test_layer_over_two_shards(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(functional([DENSE], "dense")))
    files = ["s_0.weights.h5", "s_1.weights.h5"]
    (tmp_path / "s.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": {"/layers/dense/vars": files}}))
    values = [np.arange(8, dtype="float32").reshape(4, 2), np.array([5, 7], "float32")]
    for i, (f, v) in enumerate(zip(files, values, strict=True)):
        (tmp_path / f).write_bytes(h5_bytes(lambda h, i=i, v=v: h.__setitem__(f"layers/dense/vars/{i}", v)))
    found = read(tmp_path / "m.json", tmp_path / "s.weights.json").root.layer("dense").weights
    assert np.array_equal(found["kernel"].numpy(), values[0]) and np.array_equal(found["bias"].numpy(), values[1])


def test_zip_directory_that_lies(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "a.keras")
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")  # the weights' entry
    struct.pack_into("<LL", data, at + 20, 0x7FFFFFF0, 0x7FFFFFF0)
    path.write_bytes(data)
    with pytest.raises(BadFileError):
        read(path)


# ---- Keras 1
def keras1(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Sequential", "keras_version": "1.2.2", "config": layers}


@pytest.mark.parametrize("mode", [1, 2])
def test_keras1_batch_statistics_are_refused(tmp_path: Path, mode: int) -> None:
    bn = {"class_name": "BatchNormalization", "config": {"name": "bn", "mode": mode, "axis": -1, "batch_input_shape": [None, 4]}}
    (tmp_path / "m.json").write_text(json.dumps(keras1([bn])))
    with pytest.raises(UnsupportedError, match="own statistics"):
        read(tmp_path / "m.json")


def test_keras1_axis_order_that_nothing_states(tmp_path: Path) -> None:
    up = {"class_name": "UpSampling2D", "config": {"name": "u", "size": [2, 3], "batch_input_shape": [None, 4, 5, 7]}}
    (tmp_path / "m.json").write_text(json.dumps(keras1([up])))
    with pytest.raises(UnsupportedError, match="axis order"):
        read(tmp_path / "m.json")
    assert read(tmp_path / "m.json", kernels="theano").root.layer("u").config["data_format"] == "channels_first"


def test_keras2_on_theano(tmp_path: Path) -> None:
    """Kernels are flipped, and ``same`` padding that starts elsewhere than TensorFlow's is marked."""
    sizes = {"even": ([2, 5], [1, 1]), "odd": ([3, 5], [1, 1]), "strided": ([3, 3], [2, 2])}
    layers = [
        {
            "class_name": "Conv2D",
            "config": {"name": n, "filters": 3, "kernel_size": k, "strides": s, "padding": "same", "use_bias": False}
            | ({"batch_input_shape": [None, 11, 13, 3]} if n == "even" else {}),
        }
        for n, (k, s) in sizes.items()
    ]
    kernels = {n: np.random.default_rng(1).normal(size=(*k, 3, 3)).astype("float32") for n, (k, _) in sizes.items()}
    with h5py.File(tmp_path / "a.h5", "w") as h:
        h.attrs["keras_version"], h.attrs["backend"] = "2.1.5", "theano"
        h.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
        g = h.create_group("model_weights")
        g.attrs["layer_names"] = [n.encode() for n in sizes]
        g.attrs["keras_version"], g.attrs["backend"] = "2.1.5", "theano"
        for n in sizes:
            g.create_group(n).attrs["weight_names"] = [f"{n}/kernel:0".encode()]
            g[f"{n}/{n}/kernel:0"] = kernels[n]
    root = read(tmp_path / "a.h5").root
    for n in sizes:
        assert np.array_equal(root.layer(n).weights["kernel"].numpy(), kernels[n][::-1, ::-1])
    assert root.layer("even").config["same_pads_front"] == (1, 2)
    assert "same_pads_front" not in root.layer("odd").config
    assert root.layer("strided").config["same_pads_front"] == (1, 1)
    plain = read(tmp_path / "a.h5", kernels="tensorflow").root.layer("even")
    assert np.array_equal(plain.weights["kernel"].numpy(), kernels["even"]) and "same_pads_front" not in plain.config


# ---- found by mutants of old files
ERAS = Path(__file__).parents[3] / "tests" / "data" / "keras_eras"


def _old(name: str, tmp_path: Path, edit: Callable[[dict[str, dict[str, Any]]], Any]) -> str:
    """What is said of an old model of which some layers, by name, are edited."""
    stored = json.loads((ERAS / f"{name}.json").read_text())
    edit({item["config"]["name"]: item for item in stored["config"]["layers"]})
    (tmp_path / "m.json").write_text(json.dumps(stored))
    try:
        model = convcore.load(tmp_path / "m.json", ERAS / f"{name}.weights.h5")
    except ConvcoreError as e:
        assert not isinstance(e, PluginBugError)
        return str(e)
    return "; ".join(p.why for p in model.problems)


def _set(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda item: item["config"].update(fields)


@pytest.mark.parametrize(
    ("name", "kind", "edit", "why"),
    [
        ("tf28/convs", "ReLU", _set(threshold={"class_name": "Dense"}), "is not a number"),
        ("tf28/convs", "InputLayer", _set(batch_input_shape=[1 << 70, 12, 12, 3]), "has a size of 2\\*\\*63 or more"),
        ("tf28/convs", "ReLU", _set(name="\ud800"), "surrogates not allowed"),
    ],
)
def test_damaged_fields_of_old_files(name: str, kind: str, edit: Any, why: str, tmp_path: Path) -> None:
    def change(layers: dict[str, dict[str, Any]]) -> None:
        edit(next(item for item in layers.values() if item["class_name"] == kind))

    assert re.search(why, _old(name, tmp_path, change))


@pytest.mark.parametrize("kernel", ["query", "key", "value", "attention_output"])
def test_kernels_of_attention_without_heads(kernel: str, tmp_path: Path) -> None:
    with h5py.File(ERAS / "tf28" / "mha.weights.h5") as old, h5py.File(tmp_path / "m.weights.h5", "w") as new:
        for key, value in old.attrs.items():
            new.attrs[key] = value
        for key in old:
            old.copy(key, new)
        found: list[str] = []
        new.visititems(lambda path, obj: found.append(path) if path.endswith(f"/{kernel}/kernel:0") else None)
        assert found
        held = new[found[0]][()]
        del new[found[0]]
        new[found[0]] = held.reshape(-1)
    if kernel != "attention_output":  # whose other axes are those of output_shape
        with pytest.raises(
            BadFileError, match=rf"\(MultiHeadAttention\): {kernel}/kernel should have shape \?x2x.*, the file has \d+"
        ):
            convcore.load(ERAS / "tf28" / "mha.json", tmp_path / "m.weights.h5")
        return
    model = convcore.load(ERAS / "tf28" / "mha.json", tmp_path / "m.weights.h5")
    assert re.search(r"has shape \[\d+\], not that of heads", model.problems[0].why)


def test_shapes_that_hold_no_sizes_and_operators_of_one_argument(tmp_path: Path) -> None:
    for item_name, edit, why in (
        ("tf.reshape", lambda call: call[3].update(shape=[-1, [0, 0]]), "does not hold sizes"),
        ("tf.math.multiply_1", lambda call: call[3].clear(), "operator with 1 argument"),
    ):

        def change(layers: dict[str, dict[str, Any]], item_name: str = item_name, edit: Any = edit) -> None:
            item = next(item for name, item in layers.items() if name.startswith(item_name))
            call = item["inbound_nodes"][0]
            edit(call if isinstance(call[0], str) else call[0])

        assert why in _old("tf215/tfops", tmp_path, change), item_name


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 512])
def test_texts_longer_than_the_file(tmp_path: Path, libver: str, userblock: int) -> None:
    """libhdf5 would make room for the length that an attribute states, before it looks for the text."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver=libver, userblock_size=userblock, track_order=libver == "latest" and userblock > 0) as f:
        f.attrs["number"], f.attrs["fixed"], f.attrs["yes"] = 3, np.array([b"abc", b"d"]), True
        f.attrs["texts"], f.attrs["text"] = ["ab", "cde", "fghij"], "k" * 700
        f.create_group("g").attrs["text"] = "l" * 1300

    def values() -> list[Any]:
        with H5File(ByteSource.of_file(str(path))) as f:
            group = f.group(f.root, "g")
            return [f.attr(f.root, n) for n in ("number", "fixed", "yes", "texts", "text")] + [f.attr(group, "text")]

    assert values() == [3, ["abc", "d"], True, ["ab", "cde", "fghij"], "k" * 700, "l" * 1300]
    whole = path.read_bytes()
    with h5py.File(path) as f:
        stated = text_lengths(lambda at, n: whole[userblock + at :][:n], h5py.h5o.get_info(f.id).addr)
    assert stated == {b"text": [700], b"texts": [2, 3, 5]}
    if libver == "latest":
        return  # libhdf5 itself sees what was changed: these headers have checksums
    for length, name in ((700, "text"), (1300, "text"), (5, "texts")):
        data = bytearray(whole)
        heap = (whole.index(b"GCOL") - userblock).to_bytes(8, "little")
        at = whole.index(length.to_bytes(4, "little") + heap)
        data[at : at + 4] = (0x7F000000 if length > 5 else len(whole) - 4).to_bytes(4, "little")  # texts: 2 + 3 + that
        path.write_bytes(data)
        with pytest.raises(BadFileError, match=rf"attribute '{name}' is damaged: texts of \d+ bytes in a file of {len(whole)}"):
            values()


def test_texts_in_a_fractal_heap(tmp_path: Path) -> None:
    """Texts whose length cannot be seen are refused before libhdf5 reads them; numbers and fixed texts are read from there."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as f:
        for i in range(9):
            f.attrs[f"n{i}"] = i
        f.attrs["fixed"], f.attrs["text"], f.attrs["none"] = np.array([b"abc", b"d"]), "k" * 700, np.empty(0, h5py.string_dtype())
        f.create_group("g").attrs["empty"] = np.empty(0, h5py.string_dtype())
    with H5File(ByteSource.of_file(str(path))) as f:
        assert [f.attr(f.root, n) for n in ("n0", "n8", "fixed")] == [0, 8, ["abc", "d"]]
        with pytest.raises(BadFileError, match=r"attribute 'text' is text of variable length in a fractal heap.*save it again"):
            f.attr(f.root, "text")
        assert f.attr(f.root, "none") == f.attr(f.group(f.root, "g"), "empty") == []


def test_attributes_that_are_neither_text_nor_number(tmp_path: Path) -> None:
    path, many = tmp_path / "m.h5", np.empty(1, object)
    many[0] = np.arange(3, dtype=np.int32)
    with h5py.File(path, "w") as f:
        f.attrs["pair"] = np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")])
        f.attrs.create("many", many, dtype=h5py.vlen_dtype(np.dtype("i4")))
        f.attrs["place"] = f.ref
        f["kind"] = np.dtype("i4")
        f.attrs.create("named", 5, dtype=f["kind"])
    with H5File(ByteSource.of_file(str(path))) as f:
        for name in ("pair", "many", "place", "named"):
            with pytest.raises(BadFileError, match=f"attribute '{name}' is neither text nor a number"):
                f.attr(f.root, name)
