"""Recurrent layers, reference and scan body alike, against PyTorch, onnxruntime and Keras."""

import numpy as np
import pytest

from convcore.errors import ShapeError
from convcore.ops.rnn_activations import activation
from convcore.testing import run_body, run_op

RNG = np.random.default_rng(17)
N, T, I, H = 3, 5, 7, 4
BOTH = pytest.mark.parametrize("run", [run_op, run_body], ids=["reference", "body"])
DIRECTIONS = pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(a, b, tol=5e-6):
    b = np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.abs(a - b).max() <= tol * max(np.abs(b).max(), 0.1)


def blocks(a, order, axis=1):
    """Gate blocks of a parameter (D, G*H, ...) in another order."""
    parts = np.split(a, len(order), axis)
    return np.concatenate([parts[i] for i in order], axis)


@BOTH
@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layout", ["batch_major", "time_major"])
def test_torch(run, kind, both, layout):
    torch = pytest.importorskip("torch")
    cls = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind]
    layer = cls(I, H, bidirectional=both, batch_first=layout == "batch_major")
    d = 2 if both else 1
    x = rand(N, T, I) if layout == "batch_major" else rand(T, N, I)
    h0, c0 = rand(d, N, H), rand(d, N, H)
    state = (torch.tensor(h0), torch.tensor(c0)) if kind == "lstm" else torch.tensor(h0)
    with torch.no_grad():
        y, final = layer(torch.tensor(x), state)
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    p = {n: [getattr(layer, n + s).detach().numpy() for s in ("", "_reverse")[:d]] for n in names}
    w, r, b, rb = (np.stack(p[n]) for n in names)
    kw = {"hidden": H, "direction": "bidirectional" if both else "forward", "layout": layout}
    if kind == "lstm":
        got = run("lstm", x, w, r, b + rb, h0, c0, **kw)
        close(got[2], final[1].numpy())
        final = final[0]
    elif kind == "gru":  # torch: r, z, n
        w, r, b, rb = (blocks(a, (1, 0, 2)) for a in (w, r, b, rb))
        got = run("gru", x, w, r, b, rb, h0, reset_after=True, **kw)
    else:
        got = run("rnn", x, w, r, b + rb, h0, **kw)
    close(got[0], y.numpy())
    close(got[1], final.numpy())


def ort(op, inputs, n_outputs, **attrs):
    onnx = pytest.importorskip("onnx")
    rt = pytest.importorskip("onnxruntime")
    h = onnx.helper
    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    outs = [f"y{i}" for i in range(n_outputs)]
    types = {"float32": onnx.TensorProto.FLOAT, "int32": onnx.TensorProto.INT32}
    graph = h.make_graph(
        [h.make_node(op, names, outs, **attrs)],
        "g",
        [h.make_tensor_value_info(n, types[str(a.dtype)], a.shape) for n, a in zip(names, inputs) if a is not None],
        [h.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in outs],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 22)], ir_version=10)
    session = rt.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {n: a for n, a in zip(names, inputs) if a is not None})


def flat(y):
    """ONNX's (T, D, N, H) as (T, N, D*H)."""
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)


LENGTHS = np.asarray([5, 2, 3], np.int32)


@BOTH
@DIRECTIONS
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("extra", ["plain", "peephole", "clip", "coupled"])
def test_lstm_is_onnxruntime(run, direction, lengths, extra):
    d = 2 if direction == "bidirectional" else 1
    x, w, r, b, rb = rand(T, N, I), rand(d, 4 * H, I), rand(d, 4 * H, H), rand(d, 4 * H), rand(d, 4 * H)
    h0, c0 = rand(d, N, H), rand(d, N, H)
    peephole = rand(d, 3 * H) if extra == "peephole" else None
    attrs, mine = {}, {}
    if extra == "clip":
        attrs, mine = {"clip": 0.6}, {"clip": 0.6}
    if extra == "coupled":
        attrs, mine = {"input_forget": 1}, {"input_forget": True}
    order = (0, 3, 1, 2)  # ifgo -> iofc
    onnx_b = np.concatenate([blocks(b, order), blocks(rb, order)], 1)
    inputs = [x, blocks(w, order), blocks(r, order), onnx_b, lengths, h0, c0, peephole]
    y, h_n, c_n = ort("LSTM", inputs, 3, hidden_size=H, direction=direction, **attrs)
    got = run(
        "lstm", x, w, r, b + rb, h0, c0, None, lengths, peephole, hidden=H, direction=direction, layout="time_major", **mine
    )
    close(got[0], flat(y))
    close(got[1], h_n)
    close(got[2], c_n)


@BOTH
@DIRECTIONS
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_is_onnxruntime(run, direction, lengths, reset_after):
    d = 2 if direction == "bidirectional" else 1
    x, w, r, b, rb, h0 = rand(T, N, I), rand(d, 3 * H, I), rand(d, 3 * H, H), rand(d, 3 * H), rand(d, 3 * H), rand(d, N, H)
    inputs = [x, w, r, np.concatenate([b, rb], 1), lengths, h0]
    y, h_n = ort("GRU", inputs, 2, hidden_size=H, direction=direction, linear_before_reset=int(reset_after))
    kw = {"hidden": H, "direction": direction, "layout": "time_major", "reset_after": reset_after}
    got = run("gru", x, w, r, b, rb, h0, None, lengths, **kw)
    close(got[0], flat(y))
    close(got[1], h_n)


@BOTH
@pytest.mark.parametrize(
    "name, onnx_name, alpha, beta",
    [
        ("relu", "Relu", None, None),
        ("softsign", "Softsign", None, None),
        ("softplus", "Softplus", None, None),
        ("leaky_relu(0.3)", "LeakyRelu", 0.3, None),
        ("elu(0.7)", "Elu", 0.7, None),
        ("hard_sigmoid(0.3, 0.4)", "HardSigmoid", 0.3, 0.4),
        ("affine(0.3, 0.4)", "Affine", 0.3, 0.4),
        ("scaled_tanh(0.3, 0.4)", "ScaledTanh", 0.3, 0.4),
        ("thresholded_relu(0.2)", "ThresholdedRelu", 0.2, None),
    ],
)
def test_activations_are_onnxruntime(run, name, onnx_name, alpha, beta):
    x, w, r = rand(T, N, I), rand(1, H, I) * 0.4, rand(1, H, H) * 0.4
    attrs = {"activations": [onnx_name]}
    if alpha is not None:
        attrs["activation_alpha"] = [alpha]
    if beta is not None:
        attrs["activation_beta"] = [beta]
    y, _ = ort("RNN", [x, w, r], 2, hidden_size=H, **attrs)
    close(run("rnn", x, w, r, hidden=H, layout="time_major", activation=name)[0], flat(y))


# ---- Keras
@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


MASKS = {
    "none": None,
    "tail": np.arange(T) < np.asarray([[5], [2], [3]]),
    "holes": np.asarray([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool),
}


def weights(layer, kind, reset_after=True):
    """Keras's (I, G*H), (H, G*H), bias as our w, r, b(, rb). Gates: LSTM i f c o, GRU z r h: ours."""
    kernel, recurrent, bias = (np.asarray(v) for v in layer.get_weights())
    w, r = kernel.T[None], recurrent.T[None]
    if kind == "gru":
        return (w, r, bias[None, 0], bias[None, 1]) if reset_after else (w, r, bias[None], None)
    return w, r, bias[None]


@BOTH
@pytest.mark.parametrize("mask", list(MASKS))
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("kind, reset_after", [("lstm", None), ("gru", True), ("gru", False), ("rnn", None)])
@pytest.mark.parametrize("backwards", [False, True])
def test_keras(keras, run, mask, zero, kind, reset_after, backwards):
    kw = {"bias_initializer": "normal", "go_backwards": backwards, "return_sequences": True, "return_state": True}
    kw["zero_output_for_mask"] = zero
    if kind == "gru":
        kw["reset_after"] = reset_after
    cls = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[kind]
    layer = cls(H, **kw)
    x, m = rand(N, T, I), MASKS[mask]
    states = [rand(N, H) for _ in range(2 if kind == "lstm" else 1)]
    y, *finals = layer(x, mask=m, initial_state=[keras.ops.convert_to_tensor(s) for s in states])
    y, *finals = (keras.ops.convert_to_numpy(v) for v in (y, *finals))
    mine = {"hidden": H, "direction": "reverse" if backwards else "forward", "zero_output_for_mask": zero}
    if kind == "gru":
        mine["reset_after"] = reset_after
    got = run(kind, x, *weights(layer, kind, reset_after), *(s[None] for s in states), m, **mine)
    close(got[0], y[:, ::-1] if backwards else y)  # Keras hands back a reversed sequence in the order it was read
    for a, b in zip(got[1:], finals):
        close(a[0], b)


@BOTH
def test_keras_bidirectional(keras, run):
    layer = keras.layers.Bidirectional(keras.layers.GRU(H, return_sequences=True, bias_initializer="normal"))
    x, m = rand(N, T, I), MASKS["holes"]
    y = keras.ops.convert_to_numpy(layer(x, mask=keras.ops.convert_to_tensor(m)))
    both = [weights(side, "gru") for side in (layer.forward_layer, layer.backward_layer)]
    params = [np.concatenate(p) for p in zip(*both)]
    assert layer.forward_layer.zero_output_for_mask  # Bidirectional sets it when it returns sequences
    kw = {"hidden": H, "direction": "bidirectional", "reset_after": True, "zero_output_for_mask": True}
    got = run("gru", x, *params, None, m, **kw)
    close(got[0], y)


@BOTH
@pytest.mark.parametrize(
    "name, mine",
    [("hard_sigmoid", "hard_sigmoid"), ("silu", "silu"), ("gelu", "gelu"), ("selu", "selu"), ("exponential", "exponential"),
    ("elu", "elu"),
     ("relu6", "relu6"), ("mish", "mish"), ("softmax", "softmax"), ("linear", "linear"), ("celu", "celu"), ("log_sigmoid",
     "log_sigmoid")],
)  # fmt: skip
def test_keras_activations(keras, run, name, mine):
    x = rand(N, T, I) * 0.2
    layer = keras.layers.LSTM(H, activation="tanh", recurrent_activation=name, return_sequences=True)
    y = keras.ops.convert_to_numpy(layer(x))
    close(run("lstm", x, *weights(layer, "lstm"), hidden=H, recurrent_activation=mine)[0], y, 1e-5)


# ---- symbolic sizes, refusals
def test_a_body_over_named_sizes_runs_at_any_size():
    from convcore.build.builder import Builder
    from convcore.interpreter.execute import Interpreter
    from convcore.ir.dims import Dim
    from convcore.ir.graph import Graph
    from convcore.opset import op

    w, r, b = rand(2, 4 * H, I), rand(2, 4 * H, H), rand(2, 4 * H)
    graph = Graph()
    g = Builder(graph)
    x, lengths = g.input("x", "float32", (Dim("N"), Dim("T"), I)), g.input("lengths", "int64", (Dim("N"),))
    attrs = op("lstm").complete({"hidden": H, "direction": "bidirectional"}, [x])
    graph.outputs = list(op("lstm").body(g, x, g.weight(w), g.weight(r), g.weight(b), lengths=lengths, **attrs))
    assert [str(d) for d in graph.outputs[0].shape] == ["N", "T", str(2 * H)]
    for n, t in ((3, 5), (2, 11), (1, 1)):
        a, lens = rand(n, t, I), RNG.integers(1, t + 1, n)
        truth = run_op("lstm", a, w, r, b, None, None, None, lens, hidden=H, direction="bidirectional")
        for got, want in zip(Interpreter(graph).run([a, lens]), truth):
            close(got, want)


def test_no_steps():
    w, r = rand(1, H, I), rand(1, H, H)
    h0 = rand(1, 3, H)
    for run in (run_op, run_body):
        y, h = run("rnn", np.zeros((3, 0, I), np.float32), w, r, None, h0, hidden=H)
        assert y.shape == (3, 0, H) and np.array_equal(h, h0)


@pytest.mark.parametrize(
    "kw, shapes, why",
    [
        ({}, {"w": (1, 4 * H + 1, I)}, "axis 1 of w: 17 != 16"),
        ({}, {"b": (2, 4 * H)}, "axis 0 of b"),
        ({"direction": "bidirectional"}, {}, "axis 0 of w: 1 != 2"),
        ({"activation": "swoosh"}, {}, "unknown activation 'swoosh'"),
        ({"activation": "leaky_relu"}, {}, "needs its parameter alpha"),
        ({"activation": "tanh(1)"}, {}, "takes 0 parameters"),
        ({"activation": "affine(1)"}, {}, "needs two parameters"),
        ({"activation": "elu(x)"}, {}, "must be numbers"),
    ],
)
def test_refusals(kw, shapes, why):
    s = {"w": (1, 4 * H, I), "r": (1, 4 * H, H), "b": (1, 4 * H)} | shapes
    with pytest.raises(ShapeError, match=why):
        run_op("lstm", rand(N, T, I), *(rand(*v) for v in s.values()), hidden=H, **kw)


def test_mask_and_lengths_are_not_given_together():
    with pytest.raises(ShapeError, match="mask or lengths"):
        run_op("rnn", rand(N, T, I), rand(1, H, I), rand(1, H, H), None, None, MASKS["tail"], LENGTHS.astype(np.int64), hidden=H)


def test_activation_names_are_remembered():
    assert activation("tanh") is activation("tanh")
