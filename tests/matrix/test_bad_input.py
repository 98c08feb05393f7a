"""Every kind of bad input, through the command line: one clear message, the right exit code, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix_kit import ERAS, ZOO

import convcore
from convcore.cli import main
from convcore.errors import ConvcoreError

h5py = pytest.importorskip("h5py")
onnx = pytest.importorskip("onnx")
pytest.importorskip("convcore_keras")
pytest.importorskip("convcore_onnx")
from onnx import TensorProto, helper, numpy_helper

TF = ERAS / "tf215"
SHARED = Path("/work/shared/attacks/gen_attacks.py")
USAGE, BAD, UNSUPPORTED = 2, 3, 4
SECRET = b"SECRET-MARKER-0123456789abcdef!!"


def refused(capsys: pytest.CaptureFixture[str], folder: Path, code: int, *args: object, says: str = "") -> str:
    """Run ``convert``; the code is right, stderr is one message without traceback, and no file appeared or changed."""
    before = {p: p.lstat().st_mtime_ns for p in folder.rglob("*")}
    try:
        got = main(["convert", *map(str, args)])
    except SystemExit as e:
        got = int(e.code or 0)
    out, err = capsys.readouterr()
    assert got == code, err
    assert out == "" and "Traceback" not in err and err.startswith(("convcore: ", "usage: "))
    assert says in err, err
    assert {p: p.lstat().st_mtime_ns for p in folder.rglob("*")} == before
    return err


# ---- truncated and empty files
def truncatable() -> list[Any]:
    files = [
        TF / "seq_cnn.keras",
        TF / "seq_cnn.h5",
        TF / "seq_cnn.json",
        ERAS / "k122/conv2.h5",
        ZOO / "onnx-pytorch03/pytorch_net1.onnx",
        ZOO / "keras2-fer-minixception/emotion_model.hdf5",
    ]
    return [pytest.param(f, part, id=f"{f.name}-{part}") for f in files for part in (0, 1, 7, 0.01, 0.3, 0.5, 0.9, 0.999, -1)]


@pytest.mark.parametrize(("file", "part"), truncatable())
def test_truncated(file: Path, part: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = file.read_bytes()
    n = int(len(data) * part) if isinstance(part, float) else part
    (tmp_path / file.name).write_bytes(data[:n])
    weights = ["-w", file.with_suffix(".weights.h5")] if file.suffix == ".json" else []
    refused(capsys, tmp_path, BAD, tmp_path / file.name, *weights, "-o", tmp_path / "m.onnx")


@pytest.mark.parametrize("part", [0, 1, 7, 0.3, 0.9, -1])
def test_truncated_weights(part: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (TF / "seq_cnn.weights.h5").read_bytes()
    (tmp_path / "w.weights.h5").write_bytes(data[: int(len(data) * part) if isinstance(part, float) else part])
    refused(capsys, tmp_path, BAD, TF / "seq_cnn.json", "-w", tmp_path / "w.weights.h5", "-o", tmp_path / "m.onnx")


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".json", ".onnx", ".hdf5"])
def test_garbage(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"x{suffix}").write_bytes(np.random.default_rng(3).bytes(4099))
    refused(capsys, tmp_path, BAD, tmp_path / f"x{suffix}", "-o", tmp_path / "m.onnx")


# ---- weights that are missing or another model's
def test_weights_of_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for era in ("tf215", "tf23", "k122"):
        json_file = ERAS / era / ("conv2.json" if era == "k122" else "seq_cnn.json")
        others = sorted(
            p for p in (ERAS / era).glob("*.weights.h5") if not p.name.startswith(json_file.stem) and "noinput" not in p.name
        )
        for other in others[:4]:
            refused(capsys, tmp_path, BAD, json_file, "-w", other, "-o", tmp_path / "m.onnx")


def test_missing_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "alone"  # without the weights that stand beside it
    alone.mkdir()
    shutil.copy(TF / "seq_cnn.json", alone)
    out = ["-o", tmp_path / "m.onnx"]
    for args in (
        [alone / "seq_cnn.json"],
        [TF / "seq_cnn.json", "-w", tmp_path / "none.weights.h5"],
        [TF / "seq_cnn.weights.h5"],
        [ZOO / "keras2-meso4_df/Meso4_DF.h5"],
    ):
        try:
            code = main(["convert", *map(str, [*args, *out])])
        except SystemExit as e:
            code = int(e.code or 0)
        err = capsys.readouterr().err
        assert code in (USAGE, BAD) and "weight" in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == [alone]


@pytest.mark.parametrize("gone", ["model.weights.h5", "config.json", "metadata.json"])
def test_missing_member(gone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(TF / "convs.keras") as src, zipfile.ZipFile(tmp_path / "x.keras", "w") as dst:
        for name in src.namelist():
            if name != gone:
                dst.writestr(name, src.read(name))
    if gone == "metadata.json":
        assert main(["convert", str(tmp_path / "x.keras"), "-o", str(tmp_path / "m.onnx")]) in (0, BAD)
    else:
        refused(capsys, tmp_path, BAD, tmp_path / "x.keras", "-o", tmp_path / "m.onnx")


def without_dataset(tmp_path: Path, change: Callable[[Any], None], source: Path = TF / "seq_cnn.h5") -> Path:
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as f:
        change(f)
    return path


def datasets(f: Any) -> list[str]:
    found: list[str] = []
    f.visititems(lambda n, x: found.append(n) if isinstance(x, h5py.Dataset) and "optimizer" not in n else None)
    return sorted(found)


def swap_shape(f: Any) -> None:
    name = datasets(f)[-1]
    a = np.asarray(f[name])
    del f[name]
    f[name] = np.zeros((*a.shape[:-1], a.shape[-1] + 1), a.dtype)


@pytest.mark.parametrize(
    "change",
    [lambda f: f.pop(datasets(f)[0]), lambda f: f.pop(datasets(f)[-1]), lambda f: f.pop("model_weights"), swap_shape],
    ids=["first", "last", "all", "shape"],
)
def test_missing_or_misshapen_dataset(change: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, tmp_path, BAD, without_dataset(tmp_path, change), "-o", tmp_path / "m.onnx")


# ---- configurations
def with_config(tmp_path: Path, edit: Callable[[str], str], name: str = "seq_cnn", era: str = "tf215") -> list[Path | str]:
    text = (ERAS / era / f"{name}.json").read_text()
    changed = edit(text)
    assert changed != text
    (tmp_path / "x.json").write_text(changed)
    return [tmp_path / "x.json", "-w", ERAS / era / f"{name}.weights.h5", "-o", tmp_path / "m.onnx"]


def edit_layers(fn: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    """Edit the configuration of every layer."""

    def edit(text: str) -> str:
        config = json.loads(text)
        for layer in config["config"]["layers"]:
            fn(layer["config"])
        return json.dumps(config)

    return edit


def put(key: str, value: Any) -> Callable[[str], str]:
    return edit_layers(lambda c: c.__setitem__(key, value) if key in c else None)


NAN = float("nan")
VALUES: list[Any] = [
    NAN,
    float("inf"),
    -1,
    0,
    "x",
    None,
    [],
    {},
    [NAN, NAN],
    [1, 2, 3, 4, 5],
    2**70,
    True,
    1.5,
    {"class_name": "x"},
]
KEYS = (
    "kernel_size",
    "strides",
    "filters",
    "units",
    "dilation_rate",
    "groups",
    "pool_size",
    "epsilon",
    "axis",
    "padding",
    "data_format",
    "activation",
    "use_bias",
    "batch_input_shape",
    "batch_shape",
    "name",
    "dtype",
    "rate",
    "trainable",
)


@pytest.mark.parametrize("key", KEYS)
def test_nonsense_in_a_configuration(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the value: a refusal, or a model that computes what it says (an unread key may hold anything)."""
    if key == "batch_shape":
        key = "batch_input_shape"
    for value in VALUES:
        try:
            args = with_config(tmp_path, put(key, value))
        except AssertionError:
            continue
        try:
            code = main(["convert", *map(str, args)])
        except SystemExit as e:
            code = int(e.code or 0)
        err = capsys.readouterr().err
        assert code in (0, USAGE, BAD, UNSUPPORTED), (key, value, err)
        assert "Traceback" not in err
        written = tmp_path / "m.onnx"
        assert written.exists() == (code == 0), (key, value)
        if code == 0:
            onnx.checker.check_model(str(written), full_check=True)
            written.unlink()
        if value is NAN and key in ("kernel_size", "strides", "filters", "units", "pool_size", "epsilon", "batch_input_shape"):
            assert code != 0, (key, value)


def test_nan_instead_of_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key, value in (
        ("batch_input_shape", [None, NAN, 8, 3]),
        ("filters", NAN),
        ("kernel_size", [NAN, 3]),
        ("units", float("inf")),
    ):
        refused(capsys, tmp_path, BAD, *with_config(tmp_path, put(key, value)))


def test_unknown_layer_names_every_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = with_config(
        tmp_path,
        lambda t: t.replace('"class_name": "Conv2D"', '"class_name": "Conv2E"').replace('"MaxPooling2D"', '"MaxPool9"'),
        era="tf23",
    )
    err = refused(capsys, tmp_path, UNSUPPORTED, *args)
    count = sum(
        x["class_name"] in ("Conv2E", "MaxPool9") for x in json.loads((tmp_path / "x.json").read_text())["config"]["layers"]
    )
    assert count > 1 and err.count("Conv2E") + err.count("MaxPool9") >= count and f"{count} problems" in err


def test_unknown_attribute_is_not_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = with_config(tmp_path, edit_layers(lambda c: c.__setitem__("brightness", 3) if "kernel_size" in c else None))
    assert "brightness" in refused(capsys, tmp_path, UNSUPPORTED, *args)


def test_keras_cycle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((TF / "convs.json").read_text())
    layers = [x for x in config["config"]["layers"] if x["inbound_nodes"]]
    layers[0]["inbound_nodes"][0][0][0] = layers[1]["name"]
    layers[1]["inbound_nodes"][0][0][0] = layers[0]["name"]
    (tmp_path / "x.json").write_text(json.dumps(config))
    refused(capsys, tmp_path, BAD, tmp_path / "x.json", "-w", TF / "convs.weights.h5", "-o", tmp_path / "m.onnx", says="cycle")


# ---- ONNX
def onnx_model(folder: Path, nodes: list[Any], inits: list[Any] = (), opset: int = 18, name: str = "x.onnx", **more: Any) -> Path:  # type: ignore[assignment]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], list(inits))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name


N = helper.make_node


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([N("Add", ["x", "b"], ["a"]), N("Relu", ["a"], ["b"]), N("Relu", ["b"], ["y"])], "cycle"),
        ([N("Relu", ["y"], ["y"])], "cycle"),
        ([N("Relu", ["nothing"], ["y"])], "nothing"),
        ([N("Relu", ["x"], ["z"])], "y"),
        ([N("Relu", ["x"], ["y"]), N("Relu", ["x"], ["y"])], "twice"),
        ([N("Relu", ["x"], ["x"]), N("Relu", ["x"], ["y"])], "twice"),
        ([N("Relu", [], ["y"])], "Relu"),
        ([N("Add", ["x"], ["y"])], "Add"),
    ],
)
def test_miswired_onnx(nodes: list[Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_model(tmp_path, nodes)
    code = UNSUPPORTED if says in ("Relu", "Add") else BAD
    refused(capsys, tmp_path, code, path, "-o", tmp_path / "m.onnx", says=says)


def test_unknown_onnx_ops_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        N("Mystery", ["x"], ["a"], name="one"),
        N("Riddle", ["a"], ["b"], name="two"),
        N("Relu", ["b"], ["y"]),
    ]
    path = onnx_model(tmp_path, nodes)
    keras_like = refused(capsys, tmp_path, UNSUPPORTED, path, "-o", tmp_path / "m.onnx")
    for name, kind in (("one", "Mystery"), ("two", "Riddle")):
        assert f"'{name}' ({kind}): ONNX's opset 18 has no operator {kind}" in keras_like
    assert "'y'" not in keras_like and "choose opset" not in keras_like


def external(location: str, length: int = 24, **more: str) -> Any:
    t = TensorProto(name="w", dims=[2, 3], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for k, v in {"location": location, "offset": "0", "length": str(length), **more}.items():
        entry = t.external_data.add()
        entry.key, entry.value = k, v
    return t


def outside(folder: Path) -> Path:
    secret = folder / "secret"
    secret.mkdir()
    (secret / "marker.bin").write_bytes(SECRET * 8)
    inside = folder / "model"
    (inside / "sub").mkdir(parents=True)
    return inside


@pytest.mark.parametrize(
    "location",
    [
        "../secret/marker.bin",
        "sub/../../secret/marker.bin",
        "{abs}",
        "link.bin",
        "hard.bin",
        "dirlink/marker.bin",
        "/dev/zero",
        "fifo.bin",
        "..\\secret\\marker.bin",
        "x.onnx",
        "sub",
        "",
        "none.bin",
    ],
)
def test_external_data_stays_in_the_folder(location: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = outside(tmp_path)
    os.symlink("../secret/marker.bin", inside / "link.bin")
    os.link(tmp_path / "secret/marker.bin", inside / "hard.bin")
    os.symlink("../secret", inside / "dirlink")
    os.mkfifo(inside / "fifo.bin")
    path = onnx_model(inside, [N("Add", ["x", "w"], ["y"])], [external(location.format(abs=tmp_path / "secret/marker.bin"))])
    err = refused(capsys, tmp_path, BAD, path, "-o", inside / "m.onnx")
    assert "SECRET" not in err


@pytest.mark.parametrize(
    "fields", [{"length": "1125899906842624"}, {"offset": "-8"}, {"offset": "x"}, {"length": "20"}, {"offset": "9"}]
)
def test_external_data_fields(fields: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ok.bin").write_bytes(bytes(24))
    path = onnx_model(
        tmp_path,
        [N("Add", ["x", "w"], ["y"])],
        [external("ok.bin", **fields)] if "length" not in fields else [external("ok.bin", length=int(fields["length"]))],
    )
    refused(capsys, tmp_path, BAD, path, "-o", tmp_path / "m.onnx")


def test_external_data_in_the_folder_is_read(tmp_path: Path) -> None:
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "ok.bin").write_bytes(w.tobytes())
    path = onnx_model(tmp_path, [N("Add", ["x", "w"], ["y"])], [external("ok.bin")])
    np.testing.assert_array_equal(convcore.load(path)(np.ones((2, 3), np.float32)), w + 1)
    assert convcore.convert(path, "onnx", tmp_path / "m.onnx").report.verified


@pytest.mark.parametrize("opset", ["0", "6", "-1", "999", "x", "1.5", ""])
def test_unknown_opset(opset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, tmp_path, USAGE, TF / "seq_cnn.keras", "-o", tmp_path / "m.onnx", "--opset", opset, says="opset")


def test_a_model_of_an_opset_from_the_future(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = onnx_model(tmp_path, [N("Relu", ["x"], ["y"])], opset=onnx.defs.onnx_opset_version() + 40)
    try:
        code = main(["convert", str(path), "-o", str(tmp_path / "m.onnx")])
    except SystemExit as e:
        code = int(e.code or 0)
    assert code in (BAD, UNSUPPORTED, 0) and "Traceback" not in capsys.readouterr().err


def test_dtype_and_size_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change in ({"dims": [1 << 40, 1 << 20]}, {"dims": [2, 4]}, {"dims": [-2, -3]}):
        t = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
        del t.dims[:]
        t.dims.extend(change["dims"])
        path = onnx_model(tmp_path, [N("Add", ["x", "w"], ["y"])], [t])
        refused(capsys, tmp_path, BAD, path, "-o", tmp_path / "m.onnx")


# ---- outputs
@pytest.mark.parametrize("kind", ["folder", "missing", "file_as_folder", "source", "link_to_source", "suffix"])
def test_output_path(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "s.onnx"
    onnx_model(tmp_path, [N("Relu", ["x"], ["y"])], name="s.onnx")
    (tmp_path / "d.onnx").mkdir()
    (tmp_path / "f").write_text("x")
    os.symlink("s.onnx", tmp_path / "l.onnx")
    out = {
        "folder": tmp_path / "d.onnx",
        "missing": tmp_path / "none/m.onnx",
        "file_as_folder": tmp_path / "f/m.onnx",
        "source": source,
        "link_to_source": tmp_path / "l.onnx",
        "suffix": tmp_path / "m.tflite",
    }[kind]
    refused(capsys, tmp_path, USAGE, source, "-o", out)


@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_folder_where_nothing_can_be_made(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even for root, whom ``os.access`` promises everything."""
    if not Path(folder).is_dir():
        pytest.skip("no such file system")
    refused(capsys, tmp_path, USAGE, TF / "seq_cnn.keras", "-o", f"{folder}/m.onnx", says="cannot be written")


@pytest.mark.parametrize("size", [0, 100, 1000])
def test_disk_that_fills_up(size: int, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    import resource

    command = [
        sys.executable,
        "-m",
        "convcore",
        "convert",
        str(TF / "seq_cnn.keras"),
        "-o",
        str(tmp_path / "m.onnx"),
        "--no-check",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert done.returncode == USAGE and "Traceback" not in done.stderr and "write" in done.stderr
    assert list(tmp_path.iterdir()) == []


# ---- HDF5
def link_external(q: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as f:
        f["k"] = np.frombuffer(SECRET, "float32").reshape(4, 2)
    q["kernel:0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "k")


def external_storage(q: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(SECRET)
    q.create_dataset("kernel:0", shape=(4, 2), dtype="float32", external=[(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)])


def virtual(q: Any, tmp_path: Path) -> None:
    link_external(q, tmp_path)
    del q["kernel:0"]
    layout = h5py.VirtualLayout((4, 2), "float32")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "k", (4, 2))
    q.create_virtual_dataset("kernel:0", layout)


def soft_loop(q: Any, tmp_path: Path) -> None:
    q["kernel:0"] = h5py.SoftLink("/model_weights/dense/dense/kernel:0")


@pytest.mark.parametrize("attack", [link_external, external_storage, virtual, soft_loop])
def test_hdf5_links_are_not_followed(attack: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as h:
        layers = [
            {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "in"}},
            {"class_name": "Dense", "config": {"name": "dense", "units": 2, "activation": "linear", "use_bias": True}},
        ]
        h.attrs["keras_version"], h.attrs["backend"] = "2.15.0", "tensorflow"
        h.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": layers}})
        g = h.create_group("model_weights")
        g.attrs["layer_names"] = np.array([b"dense"])
        q = g.create_group("dense")
        q.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        q = q.create_group("dense")
        q["bias:0"] = np.zeros(2, "float32")
        attack(q, tmp_path)
    assert "SECRET" not in refused(capsys, tmp_path, BAD, tmp_path / "x.h5", "-o", tmp_path / "m.onnx")


# ---- sizes that no machine holds
def test_results_beyond_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = numpy_helper.from_array(np.array([10**13]), "s")
    path = onnx_model(
        tmp_path, [N("ConstantOfShape", ["s"], ["c"]), N("ReduceSum", ["c"], ["d"]), N("Add", ["x", "d"], ["y"])], [size]
    )
    refused(capsys, tmp_path, USAGE, path, "-o", tmp_path / "m.onnx", says="38,146,972 MiB")


def test_the_python_interface_raises_the_same(tmp_path: Path) -> None:
    (tmp_path / "x.keras").write_bytes(b"PK\x03\x04" + bytes(40))
    for call in (
        lambda: convcore.load(tmp_path / "x.keras"),
        lambda: convcore.convert(tmp_path / "x.keras", "onnx", tmp_path / "m.onnx"),
    ):
        with pytest.raises(ConvcoreError):
            call()
    assert [p.name for p in tmp_path.iterdir()] == ["x.keras"]


# ---- the shared collection of attacks
@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the shared collection is not here")
def test_shared_attacks(tmp_path: Path) -> None:
    """About 80 files, each in a process with 2 GiB and 30 s: no traceback, no marker, no leak, nothing left behind."""
    import resource

    files = tmp_path / "files"
    subprocess.run([sys.executable, str(SHARED), str(files)], check=True, capture_output=True, timeout=120)
    harmless = {f"name_{i}.keras" for i in range(6)} | {
        "zip_slip.keras",
        "zip_lying_size.keras",
        "many_nodes.keras",
        "onnx_name_inject.onnx",
    }
    manifest = [m["file"] for m in json.loads((files / "manifest.json").read_text())]
    mine = [f for f in manifest if f.endswith((".keras", ".h5", ".onnx"))]
    assert len(mine) > 75
    before, wrong = set(tmp_path.rglob("*")), []

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (30, 30))

    for file in mine:
        out = tmp_path / "m.onnx"
        command = [sys.executable, "-m", "convcore", "convert", str(files / file), "-o", str(out), "--opset", "18"]
        done = subprocess.run(command, capture_output=True, timeout=90, preexec_fn=limit)
        text = done.stdout + done.stderr
        good = (0,) if file in harmless else (USAGE, BAD, UNSUPPORTED)
        data = out.read_bytes() if out.exists() else b""
        if (
            done.returncode not in good
            or b"Traceback" in text
            or b"SECRET-MARKER" in text + data
            or out.exists() != (done.returncode == 0)
        ):
            wrong.append((file, done.returncode, text[-300:]))
        out.unlink(missing_ok=True)
        extra = set(tmp_path.rglob("*")) - before
        if extra:
            wrong.append((file, "left behind", sorted(extra)))
            before |= extra
    assert wrong == []
