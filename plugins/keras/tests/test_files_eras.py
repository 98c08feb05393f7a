"""Every Keras file of every era reads, and the containers of one model agree with each other."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from convcore.errors import BadFileError, UnsupportedError
from convcore_keras.files.model import LayerConfig, OpaqueObject, TensorRef
from convcore_keras.files.reader import read
from convcore_keras.files.sniff import sniff

DATA = Path(__file__).parents[3] / "tests" / "data"
ERAS = DATA / "keras_eras"
ZOO = DATA / "zoo"
# Saved by an old Keras that failed half-way: the group of one layer, and all after it, are missing.
UNFINISHED = {
    "k231/cudnn", "k231/noinput_seq", "tf115/cudnn", "tf115/noinput_seq", "tf115/tfops", "tf215/lambda",
    "tf213/textvec",
    "tf215/textvec", "tf23/textvec", "tf24/textvec", "tf28/textvec",
}  # fmt: skip
OF_ERA = {"k3": "keras3", "k1": "keras1", "k2": "keras2", "tf": "tf.keras", "mi": "keras3"}


def key(path: Path) -> str:
    return f"{path.parent.name}/{path.name.split('.')[0]}"


def weights(model) -> dict[str, np.ndarray]:
    return {f"{p}:{k}": t.numpy() for p, layer in model.walk() for k, t in layer.weights.items()}


FULL = sorted(p for p in ERAS.glob("*/*") if p.suffix in (".h5", ".keras") and not p.name.endswith(".weights.h5"))
FULL = [p for p in FULL if not p.name.startswith("s_0000") and p.name != "n.keras"]


@pytest.mark.parametrize("path", FULL, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_full_model_reads(path: Path) -> None:
    if key(path) in UNFINISHED and path.suffix == ".h5":
        with pytest.raises(BadFileError, match=r"saving it did not finish|not a Keras model"):
            read(path)
        return
    kind = sniff(path)
    assert kind is not None and kind.has_architecture and kind.has_weights
    model = read(path)
    assert model.has_weights
    assert model.era == OF_ERA[path.parent.name[:2]]
    for _, layer in model.walk():
        for tensor in layer.weights.values():
            array = tensor.numpy()
            assert array.shape == tensor.shape
            assert array.dtype == tensor.dtype.numpy
    for refs in (model.root.input_refs(), model.root.output_refs()):
        assert refs and all(r.node < len(model.root.layer(r.layer).calls) for r in refs)


PAIRS = [p for p in FULL if p.suffix == ".h5" and (p.parent / f"{p.stem}.weights.h5").exists() and key(p) not in UNFINISHED]


@pytest.mark.parametrize("path", PAIRS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_containers_agree(path: Path) -> None:
    """The same model as .h5, as .json + .weights.h5 and as .keras: three ways to find weights, one result."""
    one = weights(read(path))
    two = weights(read(path.with_suffix(".json"), path.parent / f"{path.stem}.weights.h5"))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[k], two[k]) for k in one)
    keras_zip = path.with_suffix(".keras")
    if keras_zip.exists():
        three = weights(read(keras_zip))
        assert three.keys() == one.keys()
        assert all(np.array_equal(one[k], three[k]) for k in one)


@pytest.mark.parametrize("name", ["keras2-deepcut", "keras2-meso4_df", "keras2-textgenrnn"])
def test_zoo_architecture_with_weights(name: str) -> None:
    folder = ZOO / name
    (file,) = [p for p in folder.iterdir() if p.suffix in (".h5", ".hdf5")]
    model = read((file, folder / "architecture.json"))  # any order
    assert model.has_weights and model.era == "keras2"
    assert sum(t.size for _, x in model.walk() for t in x.weights.values()) > 20_000


@pytest.mark.parametrize("name", ["keras2-fer-minixception", "keras2-kdef-tiny"])
def test_zoo_hdf5(name: str) -> None:
    (file,) = (ZOO / name).glob("*.hdf5")
    model = read(file)
    convs = [x for _, x in model.walk() if x.class_name == "SeparableConv2D"]
    assert convs and all(set(x.weights) == {"depthwise_kernel", "pointwise_kernel"} for x in convs)


def test_custom_layer_weights_are_numbered() -> None:
    folder = ZOO / "keras2-textgenrnn"
    model = read(folder / "architecture.json", folder / "textgenrnn_weights.hdf5")
    (layer,) = [x for _, x in model.walk() if x.custom]
    assert layer.class_name == "AttentionWeightedAverage"
    assert list(layer.weights) == ["0"]


def test_json_without_weights() -> None:
    model = read(ERAS / "tf28" / "seq_cnn.json")
    assert not model.has_weights and not any(x.weights for _, x in model.walk())


def test_shards() -> None:
    model = read(ERAS / "misc3" / "opt.keras")
    assert [tuple(t.shape) for t in model.root.layer("d1").weights.values()] == [(16, 8), (8,)]
    with pytest.raises(BadFileError, match="fit the model"):
        read(ERAS / "tf28" / "seq_cnn.json", ERAS / "misc3" / "s.weights.json")


def test_npz_weights_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="npz"):
        read(ERAS / "misc3" / "n.keras")


def test_yaml_is_read_as_json_is(tmp_path: Path) -> None:
    """The architecture of Keras 1 as ``to_yaml`` wrote it, and every JSON architecture of the eras as YAML with tuples."""
    yaml = pytest.importorskip("yaml")
    old = read(ERAS / "k122" / "cnn_tf.yaml").root
    assert [x.class_name for x in old.layers] == [x.class_name for x in read(ERAS / "k122" / "cnn_tf.json").root.layers]
    assert [type(x.config["units"]) for x in old.layers if "units" in x.config]
    for path in ("k231/lambda.json", "tf115/lambda.json", "tf213/lambda.json", "tf28/seq_cnn.json"):
        obj = json.loads((ERAS / path).read_text())
        obj = json.loads(obj) if isinstance(obj, str) else obj
        for layer in obj["config"]["layers"]:
            for key in ("batch_input_shape", "function"):
                if isinstance(layer["config"].get(key), list):
                    layer["config"][key] = tuple(layer["config"][key])
        (tmp_path / "m.yaml").write_text(yaml.dump(obj))
        assert "!!python/tuple" in (tmp_path / "m.yaml").read_text()
        a, b = read(ERAS / path), read(tmp_path / "m.yaml")
        assert [(x.name, x.class_name, sorted(x.config), x.calls) for x in a.root.layers] == [
            (x.name, x.class_name, sorted(x.config), x.calls) for x in b.root.layers
        ]


HEAD = "class_name: Sequential\nconfig:\n"
HOSTILE = {
    "Python object 'object/apply:os.system'": HEAD + "- !!python/object/apply:os.system ['true']\n",
    "Python object 'name:os.system'": HEAD + "- !!python/name:os.system ''\n",
    "Python object 'tuple'": HEAD + "  a: !!python/tuple x\n",
    "is given twice": HEAD + "  a: 1\n  a: 2\n",
    "is no text": HEAD + "  1: 2\n",
    "not valid YAML": HEAD + "  a: [1\n",
    "constant NaN": HEAD + "  a: .nan\n",
    "holds a timestamp": HEAD + "  a: 2001-01-01\n",
    "for the tag '!other'": HEAD + "  a: !other x\n",
    "number of numpy that is none": HEAD + "  a: !!python/object/apply:numpy.core.multiarray.scalar [1, 2]\n",
    "Python object 'object/apply:builtins.dict'": HEAD + "  a: !!python/object/apply:builtins.dict [1, 2]\n",
    "deep": HEAD + "  a: " + "[" * 300 + "]" * 300 + "\n",
    "items": HEAD + "  a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    + "".join(f"  a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(8)),
    "itself": HEAD + "  a: &x [*x]\n",
    "bytes of YAML": HEAD + "# " + "x" * (4 << 20) + "\n",
}  # fmt: skip


@pytest.mark.parametrize("why", HOSTILE)
def test_yaml_that_is_no_plain_data_is_refused(why: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "m.yaml").write_text(HOSTILE[why])
    with pytest.raises(BadFileError, match="deep" if why == "itself" else why):
        read(tmp_path / "m.yaml")


def test_yaml_without_pyyaml_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UnsupportedError, match="PyYAML, which is not installed"):
        read(ERAS / "k122" / "cnn_tf.yaml")


# ---- structure
@pytest.mark.parametrize("path", ["tf23/shared_nested.h5", "k231/shared_nested.h5", "tf213/shared_nested.keras"])
def test_node_indices_of_nested_models_are_zero_based(path: str) -> None:
    root = read(ERAS / path).root
    (subtract,) = [x for x in root.layers if x.class_name == "Subtract"]
    assert subtract.calls[0].refs() == [TensorRef("inner", 0, 0), TensorRef("inner", 1, 0)]
    assert root.output_refs() == [TensorRef("iseq", 0, 0), TensorRef("inner", 0, 0)]
    assert len(root.layer("inner").calls) == 2


def test_node_indices_keras3() -> None:
    root = read(ERAS / "misc3" / "nest3.keras").root
    assert root.output_refs() == [TensorRef("dense_1", 0, 0), TensorRef("inner", 1, 0)]
    assert root.layer("dense_1").calls[0].refs() == [TensorRef("inner", 0, 0)]


def test_layer_shared_between_models_gets_its_weights() -> None:
    model = read(ERAS / "misc3" / "sharednest.keras")
    outer, inner = model.root.layer("sh"), model.root.layer("inner").model.layer("sh")
    assert np.array_equal(outer.weights["kernel"].numpy(), inner.weights["kernel"].numpy())
    assert any("shared" in n for n in model.notes)


def test_dict_inputs_and_two_calls() -> None:
    root = read(ERAS / "misc3" / "twice.keras").root
    assert isinstance(root.inputs, dict)
    assert len(root.layer("sh").calls) == 2


def test_operations_are_told_from_layers() -> None:
    for name in ("ops2.h5", "ops2.keras"):
        root = read(ERAS / "misc3" / name).root
        ops = {x.class_name for x in root.layers if x.is_op}
        assert {"Split", "GetItem", "Add", "Multiply", "Matmul"} <= ops
        (get_item,) = [x for x in root.layers if x.class_name == "GetItem"]
        assert get_item.calls[0].args[1] == [slice(None), 0]
        (matmul,) = [x for x in root.layers if x.class_name == "Matmul"]
        assert isinstance(matmul.calls[0].args[1], np.ndarray) and matmul.calls[0].args[1].shape == (4, 2)


def test_tf_op_layers() -> None:
    root = read(ERAS / "tf28" / "tfops.h5").root
    assert root.layer("tf.math.truediv").calls[0].kwargs["y"] == 127.5
    assert root.layer("tf.math.multiply").calls[0].kwargs["y"] == TensorRef("tf.__operators__.getitem_2", 0, 0)
    assert root.layer("tf.reshape").calls[0].kwargs["shape"] == [-1, TensorRef("tf.math.multiply_1", 0, 0)]
    concat = root.layer("tf.concat").calls[0]
    assert concat.args == ([TensorRef("tf.split", 0, 0), TensorRef("tf.split", 0, 1)],) and concat.kwargs == {"axis": -1}
    spec = root.layer("tf.__operators__.getitem").calls[0].kwargs["slice_spec"]
    assert spec == [slice(None), slice(1, 3), slice(None), slice(None, None, 2)]


def test_sequential_is_an_explicit_chain() -> None:
    root = read(ERAS / "k231" / "seq_cnn.h5").root
    assert root.kind == "sequential"
    assert root.layers[0].class_name == "InputLayer" and root.layers[0].config["batch_shape"] == (None, 8, 8, 3)
    for before, layer in zip(root.layers, root.layers[1:], strict=False):
        assert layer.calls[0].args == (TensorRef(before.name, 0, 0),)


def test_lambda_is_opaque() -> None:
    for path in ("k122/cnn_th.h5", "tf28/lambda.h5", "k231/lambda.h5"):
        found = [x for _, x in read(ERAS / path).walk() if x.class_name == "Lambda"]
        assert found and all(isinstance(x.config["function"], OpaqueObject) for x in found)


# ---- configuration
def test_keras1_names() -> None:
    model = read(ERAS / "k122" / "cnn_th.h5")
    by = {x.class_name: x for _, x in model.walk()}
    conv = by["Conv2D"].config
    assert (conv["filters"], conv["kernel_size"], conv["strides"]) == (4, (3, 2), (1, 1))
    assert (conv["padding"], conv["data_format"], conv["activation"], conv["groups"]) == (
        "same",
        "channels_first",
        "relu",
        1,
    )
    assert by["Dense"].config["units"] == 3 and by["Dropout"].config["rate"] == 0.5
    assert by["BatchNormalization"].config["axis"] == 1
    assert any("Theano" in n for n in model.notes)


def test_keras1_formats_of_layers_that_do_not_state_theirs() -> None:
    by = {x.class_name: x for _, x in read(ERAS / "k122" / "conv2.h5").walk()}
    assert by["ZeroPadding2D"].config["data_format"] == "channels_last"
    assert by["ZeroPadding2D"].config["padding"] == ((1, 1), (1, 1))


def test_hard_sigmoid_is_told_apart() -> None:
    lstm = next(x for _, x in read(ERAS / "k122" / "rnn.h5").walk() if x.class_name == "LSTM")
    assert lstm.config["recurrent_activation"] == "hard_sigmoid_keras2"
    assert next(x for _, x in read(ERAS / "tf28" / "rnn.h5").walk() if x.class_name == "LSTM").config["recurrent_activation"] in (
        "sigmoid",
        "hard_sigmoid_keras2",
    )


def test_gru_reset_after_by_era() -> None:
    def flags(path: str) -> set[bool]:
        return {x.config["reset_after"] for _, x in read(ERAS / path).walk() if x.class_name == "GRU"}

    assert flags("k122/rnn.h5") == {False}
    assert True in flags("tf23/rnn.h5")


def test_batch_normalization_axis_list_becomes_int() -> None:
    for _, layer in read(ERAS / "tf215" / "norm_axes.h5").walk():
        if layer.class_name == "BatchNormalization":
            assert isinstance(layer.config["axis"], int)


def test_mixed_precision_and_quantisation() -> None:
    dense = next(x for _, x in read(ERAS / "tf213" / "mixed_precision.keras").walk() if x.name == "dense_8")
    assert (dense.dtype.compute, dense.dtype.variable) == ("float16", "float32")
    for name, mode in (("q_int8", "int8"), ("q_int4", "int4"), ("q_float8", "float8")):
        d1 = read(ERAS / "misc3" / f"{name}.keras").root.layer("d1")
        assert d1.dtype.quantization == mode and set(d1.weights) >= {"0", "1", "2"}


def test_bfloat16() -> None:
    pytest.importorskip("ml_dtypes")
    kernel = read(ERAS / "misc3" / "bf.keras").root.layer("dense").weights["kernel"]
    assert str(kernel.dtype) == "bfloat16" and np.isfinite(kernel.numpy().astype("float32")).all()


def test_bidirectional_has_both_directions() -> None:
    for path in ("tf28/rnn.h5", "tf215/rnn.keras", "k122/rnn.h5"):
        found = [x for _, x in read(ERAS / path).walk() if x.class_name == "Bidirectional"]
        for layer in found:
            assert isinstance(layer.config["layer"], LayerConfig) and isinstance(layer.config["backward_layer"], LayerConfig)
            assert not layer.config["layer"].config["go_backwards"] and layer.config["backward_layer"].config["go_backwards"]
            assert {"forward_layer/kernel", "backward_layer/recurrent_kernel"} <= set(layer.weights)


def test_cudnn_becomes_plain_recurrent_layers() -> None:
    model = read(ERAS / "tf28" / "cudnn.h5")
    for _, layer in model.walk():
        if layer.source_class == "CuDNNLSTM":
            u = layer.config["units"]
            assert layer.class_name == "LSTM" and layer.weights["bias"].shape == (4 * u,)
            assert layer.config["recurrent_activation"] == "sigmoid"
        if layer.source_class == "CuDNNGRU":
            u = layer.config["units"]
            assert layer.class_name == "GRU" and layer.weights["bias"].shape == (2, 3 * u)
            assert layer.config["reset_after"] is True


# ---- numbers: Keras 1 on Theano, recomputed from what was read
def conv2d(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, front: tuple[int, int]) -> np.ndarray:
    kh, kw = kernel.shape[:2]
    _, h, w, _ = x.shape
    xp = np.pad(x, ((0, 0), (front[0], kh - 1 - front[0]), (front[1], kw - 1 - front[1]), (0, 0)))
    y = sum(xp[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(kh) for j in range(kw))
    return y + bias


@pytest.mark.parametrize("name", ["cnn_tf", "cnn_th"])
def test_theano_convolution_numbers(name: str) -> None:
    model = read(ERAS / "k122" / f"{name}.h5", kernels="theano")
    by = {x.class_name: x for _, x in model.walk()}
    io = np.load(ERAS / "k122" / f"{name}.io.npz")
    x, want = (io[k] for k in sorted(io.files))
    first = name == "cnn_th"
    y = np.moveaxis(x, 1, -1) if first else x
    y = y / 127.5 - 1
    conv = by["Conv2D"]
    assert conv.config["same_pads_front"] == (1, 1)
    y = np.maximum(conv2d(y, *(conv.weights[k].numpy() for k in ("kernel", "bias")), conv.config["same_pads_front"]), 0)
    bn = by["BatchNormalization"]
    w = {k: t.numpy() for k, t in bn.weights.items()}
    y = (y - w["moving_mean"]) / np.sqrt(w["moving_variance"] + bn.config["epsilon"]) * w["gamma"] + w["beta"]
    y = y.reshape(len(y), y.shape[1] // 2, 2, y.shape[2] // 2, 2, -1).max((2, 4))
    y = np.moveaxis(y, -1, 1) if first else y
    dense = by["Dense"].weights
    y = y.reshape(len(y), -1) @ dense["kernel"].numpy() + dense["bias"].numpy()
    y = np.exp(y - y.max(-1, keepdims=True))
    y /= y.sum(-1, keepdims=True)
    assert np.abs(y - want).max() < 2e-6


def hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm(x: np.ndarray, w: dict[str, np.ndarray], backwards: bool = False) -> np.ndarray:
    u = w["recurrent_kernel"].shape[0]
    h = c = np.zeros((len(x), u))
    for t in range(x.shape[1])[:: -1 if backwards else 1]:
        z = x[:, t] @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
        i, f, g, o = (z[:, k * u : (k + 1) * u] for k in range(4))
        c = hard_sigmoid(f) * c + hard_sigmoid(i) * np.tanh(g)
        h = hard_sigmoid(o) * np.tanh(c)
    return h


def gru(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    u = w["recurrent_kernel"].shape[0]
    h = np.zeros((len(x), u))
    for t in range(x.shape[1]):
        xz, xr, xh = np.split(x[:, t] @ w["kernel"] + w["bias"], 3, -1)
        kz, kr, kh = np.split(w["recurrent_kernel"], 3, -1)
        z, r = hard_sigmoid(xz + h @ kz), hard_sigmoid(xr + h @ kr)
        h = z * h + (1 - z) * np.tanh(xh + (r * h) @ kh)
    return h


def test_keras1_recurrent_numbers() -> None:
    """Gate order of the 12 and 9 arrays, Bidirectional, TimeDistributed and the flipped Conv1D against Keras 1.2.2's output."""
    model = read(ERAS / "k122" / "rnn.h5", kernels="theano")
    io = np.load(ERAS / "k122" / "rnn.io.npz")
    x, want = io["in0"], io["out0"]
    w = {x.class_name: {k: t.numpy() for k, t in x.weights.items()} for x in model.root.layers}

    def under(cls: str, prefix: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(prefix): v for k, v in w[cls].items() if k.startswith(prefix)}

    h = np.zeros((2, 2))
    for t in range(5):
        s = w["SimpleRNN"]
        h = np.tanh(x[:, t] @ s["kernel"] + h @ s["recurrent_kernel"] + s["bias"])
    both = [lstm(x, under("Bidirectional", "forward_layer/")), lstm(x, under("Bidirectional", "backward_layer/"), True)]
    td = under("TimeDistributed", "layer/")
    conv = w["Conv1D"]
    pooled = np.max([x[:, t] @ conv["kernel"][0] + x[:, t + 1] @ conv["kernel"][1] + conv["bias"] for t in range(4)], 0)
    dense = (x @ td["kernel"] + td["bias"]).reshape(2, -1)
    got = np.concatenate([lstm(x, w["LSTM"]), gru(x, w["GRU"]), h, *both, dense, pooled], -1)
    assert np.abs(got - want).max() < 2e-6


def test_cudnn_weights_numbers() -> None:
    """textgenrnn's weights were saved by CuDNNLSTM layers: the whole model in numpy against its recorded outputs."""
    folder = ZOO / "keras2-textgenrnn"
    model = read(folder / "architecture.json", folder / "textgenrnn_weights.hdf5")
    x = np.load(folder / "inputs.npz")
    want = np.load(folder / "ref_old.npz")
    x, want = x[x.files[0]], want[want.files[0]]
    w = {layer.name: {k: t.numpy().astype(np.float64) for k, t in layer.weights.items()} for layer in model.root.layers}
    (embedding,) = [layer.name for layer in model.root.layers if layer.class_name == "Embedding"]
    (attention,) = [layer.name for layer in model.root.layers if layer.custom]
    (dense,) = [layer.name for layer in model.root.layers if layer.class_name == "Dense"]

    def sequence(x: np.ndarray, w: dict[str, np.ndarray], act) -> np.ndarray:
        u = w["recurrent_kernel"].shape[0]
        h = c = np.zeros((len(x), u))
        out = []
        for t in range(x.shape[1]):
            z = x[:, t] @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
            i, f, g, o = (z[:, k * u : (k + 1) * u] for k in range(4))
            c = act(f) * c + act(i) * np.tanh(g)
            h = act(o) * np.tanh(c)
            out.append(h)
        return np.stack(out, 1)

    def sigmoid(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-v))

    name = model.root.layer("rnn_1").config["recurrent_activation"]
    act = {"sigmoid": sigmoid, "hard_sigmoid_keras2": hard_sigmoid}[name]
    e = w[embedding]["embeddings"][x.astype(int)]
    a = sequence(e, w["rnn_1"], act)
    b = sequence(a, w["rnn_2"], act)
    y = np.concatenate([e, a, b], -1)
    logits = np.exp((y @ w[attention]["0"])[..., 0])
    y = (y * (logits / logits.sum(1, keepdims=True))[..., None]).sum(1)
    y = y @ w[dense]["kernel"] + w[dense]["bias"]
    y = np.exp(y - y.max(-1, keepdims=True))
    assert np.abs(y / y.sum(-1, keepdims=True) - want).max() < 1e-5


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_frozen_layers_in_nested_models_against_keras(tmp_path: Path, suffix: str) -> None:
    """The order inside a nested model's group depends on which layers are frozen; Keras itself says which array is whose."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layers = keras.layers
    rng = np.random.default_rng(3)
    a = keras.Input((7,))
    x = layers.BatchNormalization(name="bn1")(layers.Dense(7, name="d1")(a))
    inner = keras.Model(a, layers.BatchNormalization(name="bn2")(layers.Dense(7, name="d2")(x)), name="inner")
    i = keras.Input((7,))
    outer = keras.Model(i, layers.Dense(7, name="last")(inner(i)))
    for layer in [*inner.layers, outer.get_layer("last")]:
        layer.set_weights([rng.normal(size=v.shape) for v in layer.get_weights()])
    inner.get_layer("bn1").trainable = False
    inner.get_layer("d2").trainable = False
    outer.save(tmp_path / f"m.{suffix}")
    ours = read(tmp_path / f"m.{suffix}").root.layer("inner").model
    for name in ("d1", "bn1", "d2", "bn2"):
        for mine, theirs in zip(ours.layer(name).weights.values(), inner.get_layer(name).get_weights(), strict=True):
            assert np.array_equal(mine.numpy(), theirs)
