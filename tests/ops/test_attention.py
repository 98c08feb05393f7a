"""Attention and rotary embeddings beside torch, Keras and ONNX's reference evaluator."""

from __future__ import annotations

import os

import numpy as np
import pytest

from convcore.errors import ShapeError
from convcore.testing import run_body, run_op

torch = pytest.importorskip("torch")
F = torch.nn.functional

RNG = np.random.default_rng(7)


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [RNG.standard_normal(s).astype(np.float32) for s in shapes]


Q, K, V = arrays((2, 6, 5, 7), (2, 3, 11, 7), (2, 3, 11, 13))
KEEP = RNG.random((2, 1, 5, 11)) < 0.4
KEEP[0, 0, 2] = False
ADDED = np.where(KEEP, RNG.standard_normal(KEEP.shape), -np.inf).astype(np.float32)


@pytest.mark.parametrize("run", [run_op, run_body])
@pytest.mark.parametrize("mask", [None, KEEP, ADDED, KEEP[0, 0], ADDED[1, 0]])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_torch(run, mask, scale):
    want = F.scaled_dot_product_attention(
        *map(torch.tensor, (Q, K, V)), None if mask is None else torch.tensor(mask), scale=scale, enable_gqa=True
    )
    (got,) = run("attention", Q, K, V, mask, scale=scale)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("run", [run_op, run_body])
@pytest.mark.parametrize("lengths", [(5, 11), (11, 5)])
def test_causal_is_aligned_at_the_first_key(run, lengths):
    q, k, v = arrays((2, 3, lengths[0], 7), (2, 3, lengths[1], 7), (2, 3, lengths[1], 7))
    want = F.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), is_causal=True).numpy()
    np.testing.assert_allclose(run("attention", q, k, v, causal=True)[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("run", [run_op, run_body])
def test_onnx(run):
    """softcap comes before the mask, a causal mask joins another, and a row without a key gives 0."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference.ops.op_attention import _compute_attention

    assert onnx.defs.get_schema("Attention", 23).since_version == 23
    for mask in (None, KEEP, ADDED):
        for causal in (False, True):
            want, _, _, weights = _compute_attention(Q, K, V, mask, softcap=0.7, is_causal=causal, qk_matmul_output_mode=3)
            got = run("attention", Q, K, V, mask, softcap=0.7, causal=causal, weights=True)
            np.testing.assert_allclose(got[0], want, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(got[1], weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("run", [run_op, run_body])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torch_multihead_attention(run, weights, batch_first):
    torch.manual_seed(3)
    m = torch.nn.MultiheadAttention(14, 2, kdim=11, vdim=13, batch_first=batch_first).eval()
    torch.nn.init.normal_(m.in_proj_bias)
    torch.nn.init.normal_(m.out_proj.bias)
    x = arrays((3, 5, 14), (3, 7, 11), (3, 7, 13)) if batch_first else arrays((5, 3, 14), (7, 3, 11), (7, 3, 13))
    ignore = RNG.random((3, 7)) < 0.3
    ignore[:, 0] = False
    y, w = m(*map(torch.tensor, x), key_padding_mask=torch.tensor(ignore), need_weights=weights, average_attn_weights=False)
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight")
    state = {k: v.detach().numpy() for k, v in m.state_dict().items()}
    biases = [*np.split(state["in_proj_bias"], 3), state["out_proj.bias"]]
    got = run(
        "multi_head_attention", *x, *(state[n] for n in names), *biases, ~ignore[:, None, None], heads=2, weights=weights,
        layout="batch_major" if batch_first else "time_major",
    )  # fmt: skip
    np.testing.assert_allclose(got[0], y.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert len(got) == 1 + weights
    if weights:
        np.testing.assert_allclose(got[1], w.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("run", [run_op, run_body])
def test_keras_group_query_attention(run):
    pytest.importorskip("tensorflow" if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" else "torch")
    keras = pytest.importorskip("keras")
    layer = keras.layers.GroupQueryAttention(head_dim=5, num_query_heads=4, num_key_value_heads=2)
    x, y = arrays((2, 3, 11), (2, 7, 11))
    layer.build(x.shape, y.shape)
    layer.set_weights([RNG.standard_normal(w.shape).astype(np.float32) for w in layer.get_weights()])
    want = keras.ops.convert_to_numpy(layer(x, y, use_causal_mask=True))
    kernels = dict(zip(("wq", "bq", "wk", "bk", "wv", "bv", "wo", "bo"), layer.get_weights()))
    flat = [kernels[n].reshape(11, -1).T for n in ("wq", "wk", "wv")]
    biases = [kernels[n].reshape(-1) for n in ("bq", "bk", "bv", "bo")]
    got = run(
        "multi_head_attention", x, y, y, *flat, kernels["wo"].reshape(-1, 11).T, *biases, heads=4, kv_heads=2, causal=True,
        empty="mean",
    )  # fmt: skip
    np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("run", [run_op, run_body])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("size", [14, 8])
def test_rotary_of_onnx(run, interleaved, size):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto as T
    from onnx import helper as h
    from onnx.reference import ReferenceEvaluator

    x, cos, sin = arrays((2, 3, 5, 14), (5, size // 2), (5, size // 2))
    infos = [h.make_tensor_value_info(n, T.FLOAT, a.shape) for n, a in (("x", x), ("cos", cos), ("sin", sin))]
    ids = h.make_tensor("ids", T.INT64, (2, 5), np.tile(np.arange(5), 2))
    node = h.make_node(
        "RotaryEmbedding", ["x", "cos", "sin", "ids"], ["y"], interleaved=int(interleaved), rotary_embedding_dim=size % 14
    )
    graph = h.make_graph([node], "g", infos, [h.make_tensor_value_info("y", T.FLOAT, x.shape)], [ids])
    model = onnx.helper.make_model(graph, opset_imports=[h.make_opsetid("", 23)])
    want = ReferenceEvaluator(model).run(None, {"x": x, "cos": cos, "sin": sin})[0]
    np.testing.assert_allclose(run("rotary_embedding", x, cos, sin, interleaved=interleaved)[0], want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "shapes, attrs, why",
    [
        (((2, 3, 5, 7), (2, 3, 5, 11), (2, 3, 5, 7)), {}, "widths of q and k"),
        (((2, 3, 5, 7), (3, 3, 5, 7), (3, 3, 5, 7)), {}, "batch of q and k"),
        (((2, 4, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7)), {}, "do not share"),
        (((2, 3, 5, 7), (2, 3, 5, 7), (2, 1, 5, 7)), {}, "heads of k and v"),
        (((2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 11, 7)), {}, "lengths of k and v"),
        (((2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7), (7, 5)), {}, "queries of mask"),
        (((2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7), (1, 1, 1, 1, 5)), {}, "mask has 5 axes"),
        (((2, 3, 5, 7), (2, 3, 5, 7), (2, 3, 5, 7)), {"softcap": -1.0}, "negative"),
        (((3, 5, 7), (3, 5, 7), (3, 5, 7)), {}, "3 axes"),
    ],
)  # fmt: skip
def test_wrong_shapes(shapes, attrs, why):
    with pytest.raises(ShapeError, match=why):
        run_op("attention", *arrays(*shapes), **attrs)


@pytest.mark.parametrize(
    "weights, attrs, why",
    [
        (((14, 5), (14, 5), (14, 5), (5, 14)), {"heads": 3}, "do not divide into 3 heads"),
        (((14, 5), (28, 5), (14, 5), (5, 14)), {"heads": 2}, "widths of a head"),
        (((14, 5), (14, 5), (14, 5), (5, 7)), {"heads": 2}, "width of all heads"),
        (((14, 7), (14, 5), (14, 5), (5, 14)), {"heads": 2}, "second axis of wq"),
        (((12, 5), (12, 5), (12, 5), (5, 12)), {"heads": 3, "kv_heads": 2}, "do not share"),
        (((14, 5), (14, 5), (14, 5), (5, 14), (7,)), {"heads": 2}, "bq and the first axis"),
        (((14, 5), (14, 5), (14, 5), (5, 14)), {"heads": 0}, "positive"),
    ],
)  # fmt: skip
def test_wrong_weights(weights, attrs, why):
    with pytest.raises(ShapeError, match=why):
        run_op("multi_head_attention", *arrays((2, 3, 5)) * 3, *arrays(*weights), **attrs)


@pytest.mark.parametrize(
    "shapes, why",
    [
        (((3, 14), (3, 11), (3, 11)), "turns 22"),
        (((3, 14), (5, 7), (5, 7)), "leading sizes"),
        (((14,), (3, 7), (3, 7)), "cos has 2 axes"),
        (((3, 14), (3, 7), (3, 5)), "last axes of cos and sin"),
    ],
)
def test_wrong_rotary(shapes, why):
    with pytest.raises(ShapeError, match=why):
        run_op("rotary_embedding", *arrays(*shapes))


def test_a_mask_of_another_type():
    with pytest.raises(ShapeError, match="mask is int64"):
        run_op("attention", Q, K, V, KEEP.astype(np.int64))
