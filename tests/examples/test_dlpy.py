"""examples/plugins/convcore-dlpy: what it writes for SAS Viya, computed again from the files by torch, layer by layer."""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from plugin_folders import installed, run

torch = pytest.importorskip("torch")
FOLDER = Path(__file__).parents[2] / "examples" / "plugins" / "convcore-dlpy"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**installed(tmp_path / "site", FOLDER), "KERAS_BACKEND": "torch"}


MODEL = """
import keras, numpy as np
L = keras.layers
x = keras.Input((11, 13, 3), name="image")
a = L.Conv2D(5, 3, padding="same", activation="relu", name="first")(x)
a = L.BatchNormalization(name="norm", epsilon=0.01)(a)
a = L.ReLU(name="bent")(a)
b = L.Conv2D(5, 1, use_bias=False, name="second")(a)
y = L.Add(name="sum")([a, b])
y = L.Concatenate(name="both")([y, b])
y = L.Dropout(0.3)(y)
y = L.MaxPooling2D((3, 1), strides=(2, 3), name="small")(y)
y = L.Flatten()(y)
y = L.Dense(7, activation="tanh", name="hidden")(y)
y = L.Dense(4, activation="softmax", name="out")(y)
model = keras.Model(x, y)
rng = np.random.default_rng(5)
model.set_weights([rng.uniform(0.2, 1, w.shape) if "variance" in v.path else rng.normal(0, 0.3, w.shape)
                   for v, w in zip(model.weights, model.get_weights())])
model.save("net.keras")
x = rng.normal(size=(2, 11, 13, 3)).astype("f4")
np.savez("io.npz", x=x, y=keras.ops.convert_to_numpy(model(x)))
"""


def _computed(folder: Path, stem: str, kind: str, x: Any) -> Any:
    """What the files say, with torch: no line of the plugin."""
    with h5py.File(folder / f"{stem}_weights.{kind}.h5") as f, open(folder / f"{stem}_layers.csv", newline="") as t:
        values: dict[str, Any] = {}
        for row in csv.DictReader(t):
            o, name = json.loads(row["options"]), row["name"]
            ins = [values[s] for s in row["srcLayers"].split()]
            w = {}
            if kind == "caffemodel":
                w = {k: torch.tensor(v[()]) for k, v in f["data"].get(name, {}).items()}
                if row["type"] == "batchnorm":
                    scale = f["data"][f"{name}_scale"]
                    w = dict(zip(("gamma", "beta"), (torch.tensor(scale[k][()]) for k in "01"))) | {
                        "moving_mean": w["0"] / w["2"], "moving_variance": w["1"] / w["2"]
                    }  # fmt: skip
                elif w:
                    w = dict(zip(("kernel", "bias"), (w[k] for k in sorted(w))))
            elif name.encode() in f.attrs["layer_names"]:
                names = [n.decode() for n in f[name].attrs["weight_names"]]
                w = {n.rpartition("/")[2].removesuffix(":0"): torch.tensor(f[name][n][()]) for n in names}
            F = torch.nn.functional
            window = {} if "width" not in o else {"stride": (o.get("strideVertical"), o.get("strideHorizontal")),
                                                   "padding": (o.get("padHeight"), o.get("padWidth"))}  # fmt: skip
            match row["type"]:
                case "input":
                    assert (o["nChannels"], o["height"], o["width"]) == x.shape[1:]
                    y = x
                case "convolution":
                    assert w["kernel"].shape[0] == o["nFilters"] and w["kernel"].shape[2:] == (o["height"], o["width"])
                    assert o["noBias"] == ("bias" not in w)
                    y = F.conv2d(ins[0], w["kernel"], w.get("bias"), **window)
                case "pooling":
                    pool = F.max_pool2d if o["pool"] == "MAX" else F.avg_pool2d
                    y = pool(ins[0], (o["height"], o["width"]), **window)
                case "batchnorm":
                    y = F.batch_norm(ins[0], w["moving_mean"], w["moving_variance"], w["gamma"], w["beta"], eps=0.0)
                case "fullconnect" | "output":
                    y = F.linear(ins[0].flatten(1), w["kernel"], w.get("bias"))
                case "residual":
                    y = ins[0] + ins[1]
                case "concat":
                    y = torch.cat(ins, 1)
            acts = {"IDENTITY": lambda v: v, "RELU": torch.relu, "TANH": torch.tanh, "SOFTMAX": lambda v: torch.softmax(v, 1)}
            values[name] = acts[o.get("act", "IDENTITY")](y)
        assert row["type"] == "output"
        return values[name].numpy()


def test_the_files_compute_what_keras_does(env: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("keras")
    run(env, tmp_path, "-c", MODEL)
    code = (
        "import convcore; print(convcore.convert('net.keras', 'dlpy', 'net_weights.kerasmodel.h5', classes=list('abcd')).paths)"
    )
    said = run(env, tmp_path, "-c", code).stdout
    assert all(n in said for n in ("net_weights.kerasmodel.h5", "net_layers.csv", "net_labels.csv"))
    with open(tmp_path / "net_labels.csv", newline="") as f:
        assert list(csv.reader(f)) == [["label_id", "label"], *([str(i), c] for i, c in enumerate("abcd"))]
    io = np.load(tmp_path / "io.npz")
    got = _computed(tmp_path, "net", "kerasmodel", torch.tensor(io["x"]).permute(0, 3, 1, 2))
    np.testing.assert_allclose(got, io["y"], rtol=1e-4, atol=1e-6)
    code = """import convcore
convcore.convert('net.keras', 'onnx', 'n.onnx')
convcore.convert('n.onnx', 'dlpy', 'n_weights.onnxmodel.h5')"""
    run(env, tmp_path, "-c", code)
    got = _computed(tmp_path, "n", "onnxmodel", torch.tensor(io["x"]).permute(0, 3, 1, 2))
    np.testing.assert_allclose(got, io["y"], rtol=1e-4, atol=1e-6)
    code = """import convcore
convcore.convert('net.keras', 'caffe', 'c.prototxt', input_shapes={'image': (1, 11, 13, 3)}, io_layout='target')
convcore.convert(('c.prototxt', 'c.caffemodel'), 'dlpy', 'c_weights.caffemodel.h5')"""
    run(env, tmp_path, "-c", code)
    x = torch.tensor(io["x"][:1]).permute(0, 3, 1, 2)
    np.testing.assert_allclose(_computed(tmp_path, "c", "caffemodel", x), io["y"][:1], rtol=1e-4, atol=1e-6)


REFUSED = {
    "pads both sides of an image alike": "L.Dense(2)(L.Flatten()(L.Conv2D(2, 4, padding='same')(x)))",
    "no gaps (dilation)": "L.Dense(2)(L.Flatten()(L.Conv2D(2, 3, dilation_rate=2)(x)))",
    "a fully connected one": "L.Conv2D(2, 3)(x)",
    "activation that is no layer's own": "L.Dense(2)(L.Flatten()(L.ReLU()(L.MaxPooling2D()(x))))",
    "softmax in the output layer only": "L.Dense(2)(L.Flatten()(L.Softmax()(L.Conv2D(2, 3)(x))))",
    "has softmax, which Viya has": "L.Dense(2)(L.Dense(3, activation='softmax')(L.Flatten()(x)))",
    "applied to each position": "L.Dense(2)(L.Flatten()(L.Dense(3)(x)))",
    "joins images along their channels": "L.Dense(2)(L.Flatten()(L.Concatenate(axis=1)([x, L.Conv2D(2, 1)(x)])))",
    "one shape": "L.Dense(2)(L.Flatten()(L.Add()([x, L.Conv2D(1, 1)(x)])))",
    "reshapes, other than images": "L.Dense(2)(L.Flatten()(L.Reshape((8, 6, 2))(x)))",
    "takes an image in one line": "L.Dense(2)(L.BatchNormalization()(L.Flatten()(x)))",
    "one image as input": "L.Add()([L.Dense(2)(L.Flatten()(x)), L.Dense(2)(L.Flatten()(z))])",
    "counts padding in a mean": "L.Dense(2)(L.Flatten()(L.AveragePooling2D(3, strides=1, padding='same')(x)))",
    "convcore has no rule": "L.Dense(2)(L.Flatten()(L.UpSampling2D()(x)))",
    "classes are named": "L.Dense(3)(L.Flatten()(x))",
}  # fmt: skip


def test_what_viya_lacks_is_refused_by_name(env: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("keras")
    script = f"""
import json, keras, convcore
L = keras.layers
said = {{}}
for i, (wanted, text) in enumerate({REFUSED!r}.items()):
    x, z = keras.Input((8, 6, 2), name="x"), keras.Input((8, 6, 2), name="z")
    y = eval(text)
    model = keras.Model([x, z] if "(z)" in text else x, y)
    try:
        more = {{"classes": ["a"]}} if "classes" in wanted else {{}}
        convcore.convert(model, "dlpy", f"m{{i}}_weights.kerasmodel.h5", **more)
        said[wanted] = "converted"
    except convcore.UnsupportedError as e:
        said[wanted] = str(e)
print("SAID", json.dumps(said))
"""
    said = json.loads(run(env, tmp_path, "-c", script).stdout.partition("SAID ")[2])
    for wanted, text in said.items():
        assert wanted in text or (wanted == "convcore has no rule" and "UpSampling2D" in text), (wanted, text)
    assert not list(tmp_path.glob("m*"))


def test_it_is_a_plugin_by_the_front_door_alone(env: dict[str, str], tmp_path: Path) -> None:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            assert all(n == "convcore.plugin" for n in names if n.startswith("convcore")), names
    run(env, tmp_path, "-c", MODEL)
    code = "from convcore.testing import check_plugin\nprint(check_plugin('dlpy', models=4, sources=['net.keras']))"
    out = run(env, tmp_path, "-c", code).stdout
    assert "1 of 5 sample models written" in out and "1 not verified" in out
    assert "dlpy" in run(env, tmp_path, "-m", "convcore", "plugins").stdout
