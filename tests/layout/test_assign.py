"""The pass on the patterns real models have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.build.verify import verify
from convcore.errors import UsageError
from convcore.interpreter import run
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin, Value
from convcore.layout import Convention, LayoutReport, assign

N = Dim("N")
FIRST = Convention({"channels": "channels_first", "time": "time_major"}, axis_at={"batch_norm": 1})


class Net:
    """A builder with seeded weights."""

    def __init__(self) -> None:
        self.g = Graph("net")
        self.b = Builder(self.g)
        self.rng = np.random.default_rng(7)

    def x(self, *shape: Any, name: str = "x") -> Value:
        return self.b.input(name, "float32", (N, *shape))

    def w(self, *shape: int, name: str = "") -> Value:
        return self.b.weight(self.rng.standard_normal(shape).astype(np.float32) * 0.5, name, trainable=True)

    def conv(self, x: Value, out: int, k: int = 3, **kw: Any) -> Value:
        assert x.shape is not None
        kw = {"layout": "channels_last", "pads": "same_upper", **kw}
        c = x.shape[-1] if kw["layout"] == "channels_last" else x.shape[1]
        assert isinstance(c, int)
        y: Value = self.b.conv(x, self.w(out, c, *(k,) * (len(x.shape) - 2)), self.w(out), **kw)
        return y

    def norm(self, x: Value, axis: int = -1) -> Value:
        assert x.shape is not None
        n = x.shape[axis]
        assert isinstance(n, int)
        var = self.b.weight(self.rng.uniform(0.5, 2, n).astype(np.float32))
        y: Value = self.b.batch_norm(x, self.w(n), self.w(n), self.w(n), var, epsilon=1e-3, axis=axis)
        return y

    def linear(self, x: Value, out: int) -> Value:
        assert x.shape is not None and isinstance(x.shape[-1], int)
        y: Value = self.b.linear(x, self.w(out, x.shape[-1]), self.w(out))
        return y

    def flatten(self, x: Value) -> Value:
        assert x.shape is not None
        y: Value = self.b.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:])))  # type: ignore[arg-type]
        return y


def lay(net: Net, *outputs: Value, convention: Convention = FIRST, **kw: Any) -> tuple[Graph, LayoutReport]:
    """Run the pass on a clone; checks invariants and that the result is the source's up to the reported orders."""
    g = net.g
    g.outputs = list(outputs)
    laid = g.clone()
    report = assign(laid, convention, **kw)
    verify(laid, "layout")
    xs = [net.rng.standard_normal([d if isinstance(d, int) else 2 for d in v.shape or ()]).astype(np.float32) for v in g.inputs]
    got = run(laid, *(x.transpose(report.inputs[v.name]) for x, v in zip(xs, g.inputs)))
    for v, w, y in zip(g.outputs, run(g, *xs), got):
        np.testing.assert_allclose(y, w.transpose(report.outputs[v.name]), rtol=1e-4, atol=1e-4)
    assert [v.name for v in laid.outputs] == [v.name for v in g.outputs]
    return laid, report


def ops(g: Graph) -> list[str]:
    return [n.op for n in g]


# ---- folding into weights
@pytest.mark.parametrize("between", [(), ("relu",), ("identity", "sigmoid", "batch_norm", "mul", "leaky_relu")])
@pytest.mark.parametrize("io", ["target", "source"])
def test_flatten_then_linear_leaves_no_transpose(between: tuple[str, ...], io: str) -> None:
    net = Net()
    y = net.flatten(net.conv(net.x(5, 7, 3), 11))
    for name in between:
        if name == "batch_norm":
            y = net.norm(y)
        elif name == "mul":
            y = net.b.mul(y, net.w(5 * 7 * 11))
        else:
            y = net.b.op(name, y, **({"alpha": 0.3} if name == "leaky_relu" else {}))
    laid, report = lay(net, net.linear(y, 13), io=io)
    assert len(report.remaining) == (io == "source")  # only the input's own
    assert ops(laid).count("transpose") == (io == "source")
    assert "reshape" in ops(laid)


def test_linear_then_reshape_to_an_image_leaves_no_transpose() -> None:
    net = Net()
    y = net.b.relu(net.norm(net.linear(net.x(17), 5 * 7 * 3)))
    y = net.conv(net.b.reshape(y, shape=(N, 5, 7, 3)), 2)
    laid, report = lay(net, y)
    assert not report.remaining and "transpose" not in ops(laid)
    assert report.outputs == {y.name: (0, 3, 1, 2)} and report.inputs == {"x": (0, 1)}


def test_autoencoder_through_one_linear() -> None:
    net = Net()
    y = net.flatten(net.conv(net.x(5, 7, 3), 2))
    y = net.b.reshape(net.b.tanh(net.linear(y, 3 * 5 * 7)), shape=(N, 5, 7, 3))
    _laid, report = lay(net, net.conv(y, 2))
    assert not report.remaining


def test_flattened_branches_joined_before_linear() -> None:
    net = Net()
    x = net.x(5, 7, 3)
    a, c = net.flatten(net.conv(x, 2)), net.flatten(net.conv(x, 11, strides=(2, 2)))
    joined = net.b.concat(a, net.x(13, name="extra"), net.b.relu(c), axis=1)
    laid, report = lay(net, net.linear(joined, 3))
    assert not report.remaining and "transpose" not in ops(laid)


def test_flatten_that_is_an_output_is_converted_back_at_the_cheaper_place() -> None:
    net = Net()
    y = net.flatten(net.b.relu(net.conv(net.x(5, 7, 3), 11)))
    laid, report = lay(net, y)
    assert [r.perm for r in report.remaining] == [(0, 2, 3, 1)]
    assert laid.outputs[0].name == y.name and report.outputs[y.name] == (0, 1)


def test_flatten_feeding_linear_whose_matrix_is_computed_is_not_folded() -> None:
    net = Net()
    y = net.flatten(net.conv(net.x(5, 7, 3), 2))
    w = net.b.sigmoid(net.b.reshape(net.b.input("w", "float32", (3 * 70,)), shape=(3, 70)))
    _laid, report = lay(net, net.b.linear(y, w))
    assert len(report.remaining) == 1


def test_global_pooling_needs_nothing() -> None:
    net = Net()
    y = net.b.mean(net.norm(net.conv(net.x(5, 7, 3), 11)), axes=(1, 2))
    laid, report = lay(net, net.linear(y, 13))
    assert not report.remaining
    assert next(n for n in laid if n.op == "mean").attrs["axes"] == (2, 3)
    assert next(n for n in laid if n.op == "batch_norm").attrs["axis"] == 1


# ---- orders
def test_residual_network_with_gates_and_concat() -> None:
    net = Net()
    x = net.conv(net.x(8, 6, 3), 5)
    gate = net.b.sigmoid(net.b.mean(x, axes=(1, 2), keepdims=True))
    y = net.b.add(
        net.b.mul(x, gate), net.conv(net.b.pad(x, pads=((0, 0), (1, 0), (0, 1), (0, 0))), 5, pads=((0, 0), (0, 0)), k=2)
    )
    y = net.b.concat(y, net.b.softmax(x, axis=3), axis=3)
    _laid, report = lay(net, y)
    assert not report.remaining and report.outputs[y.name] == (0, 3, 1, 2)


def test_gate_from_a_vector_is_unsqueezed_not_transposed() -> None:
    net = Net()
    x = net.conv(net.x(8, 6, 3), 5)
    gate = net.b.max(x, axes=(0, 1, 2))  # (5,)
    laid, report = lay(net, net.b.mul(x, gate))
    assert not report.remaining and "unsqueeze" in ops(laid)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_any_number_of_spatial_axes(rank: int) -> None:
    net = Net()
    y = net.conv(net.b.relu(net.conv(net.x(*(5, 7, 4)[: rank - 2], 3), 2, k=2)), 11, k=1)
    _laid, report = lay(net, y)
    assert not report.remaining
    assert report.inputs["x"] == (0, rank - 1, *range(1, rank - 1)) == report.outputs[y.name]


def test_permute_of_the_model_is_absorbed() -> None:
    net = Net()
    x = net.b.transpose(net.x(3, 5, 7), perm=(0, 2, 3, 1))  # the author brings NCHW data into NHWC
    y = net.b.transpose(net.conv(x, 11), perm=(0, 3, 1, 2))
    laid, report = lay(net, net.b.relu(y))
    assert report.removed == 2 and "transpose" not in ops(laid)
    assert report.inputs == {"x": (0, 1, 2, 3)}


def test_permute_that_is_the_output_stays_as_identity_to_keep_its_name() -> None:
    net = Net()
    y = net.b.transpose(net.conv(net.x(5, 7, 3), 11), perm=(0, 3, 1, 2))
    laid, _report = lay(net, y)
    assert ops(laid) == ["conv", "identity"] and laid.outputs[0].name == y.name


def test_recurrent_after_convolution() -> None:
    net = Net()
    x = net.b.relu(net.conv(net.x(12, 8, 1), 3, strides=(1, 2)))  # (N, 12, 4, 3): 12 steps of 4*3 features
    x = net.b.reshape(x, shape=(N, 12, 12))
    y, h, _c = net.b.lstm(x, net.w(1, 20, 12), net.w(1, 20, 5), net.w(1, 20), hidden=5, layout="batch_major")
    z = net.linear(net.b.tanh(y), 7)
    laid, report = lay(net, z, net.b.identity(h))
    assert next(n for n in laid if n.op == "lstm").attrs["layout"] == "time_major"
    assert next(n for n in laid if n.op == "conv").attrs["layout"] == "channels_first"
    # (N, C, T, F) -> (T, N, F*C) cannot be a view, and the batch of an output stays its first axis
    assert [r.perm for r in report.remaining][1:] == [(1, 0, 2)] and len(report.remaining) == 2
    assert report.outputs[z.name] == (0, 1, 2)


def test_conv1d_and_recurrent_share_a_value() -> None:
    net = Net()
    x = net.conv(net.x(11, 3), 5)
    y, _ = net.b.gru(
        x, net.w(2, 6, 5), net.w(2, 6, 2), hidden=2, direction="bidirectional", reset_after=False, layout="batch_major"
    )
    _laid, report = lay(net, net.conv(net.b.relu(y), 7))
    assert [r.perm for r in report.remaining] == [(2, 0, 1), (1, 2, 0)]


def test_time_only() -> None:
    net = Net()
    x, mask = net.x(11, 3), net.b.input("mask", "float32", (N, 11))
    m = net.b.greater(mask, net.b.const(np.float32(0)))
    y, h = net.b.rnn(net.b.relu(x), net.w(1, 5, 3), net.w(1, 5, 5), net.w(1, 5), None, m, hidden=5, layout="batch_major")
    _laid, report = lay(net, y, h)  # the batch stays the first axis of inputs and outputs
    assert report.inputs == {"x": (0, 1, 2), "mask": (0, 1)} and report.outputs == {y.name: (0, 1, 2), h.name: (0, 1, 2)}
    assert len(report.remaining) == 3
    _laid, report = lay(net, y, h, io_overrides={"x": (1, 0, 2), "mask": (1, 0), y.name: (1, 0, 2)})  # unless asked for
    assert not report.remaining


def test_time_major_reaches_the_ids_of_an_embedding() -> None:
    net = Net()
    ids = net.b.cast(net.b.mul(net.b.abs(net.x(11)), net.b.const(np.float32(1.5))), to="int64")
    y, _ = net.b.rnn(net.b.embedding(ids, net.w(17, 3)), net.w(1, 5, 3), net.w(1, 5, 5), hidden=5, layout="batch_major")
    _, report = lay(net, y, io="source")
    assert report.remaining[0].value == "x" and report.remaining[0].elements == 11


def test_axes_last_breaks_a_tie() -> None:
    net = Net()
    y = net.conv(net.x(5, 7, 3), 11)
    y = net.linear(net.b.layer_norm(y, net.w(11), net.w(11), axes=(3,), epsilon=1e-3), 2)
    for wish, axes in ((False, (1,)), (True, (3,))):
        laid, report = lay(net, y, convention=Convention({"channels": "channels_first"}, axes_last=wish))
        assert next(n for n in laid if n.op == "layer_norm").attrs["axes"] == axes and len(report.remaining) == 1


# ---- policy
def test_io_source_keeps_names_and_shapes() -> None:
    net = Net()
    y = net.b.relu(net.conv(net.x(5, 7, 3), 11))
    laid, report = lay(net, y, io="source")
    assert [v.shape for v in laid.inputs] == [(N, 5, 7, 3)] and laid.outputs[0].shape == (N, 5, 7, 11)
    assert laid.find("x/to_channels_first") is not None
    assert len(report.remaining) == 2
    assert "graph input 'x'" in str(report) and "source order" in str(report)


def test_io_overrides_by_name() -> None:
    net = Net()
    x = net.x(5, 7, 3)
    y, z = net.conv(x, 11), net.conv(x, 2)
    laid, report = lay(net, y, z, io="target", io_overrides={z.name: "source", "x": (0, 3, 2, 1)})
    assert report.outputs == {y.name: (0, 3, 1, 2), z.name: (0, 1, 2, 3)}
    assert report.inputs["x"] == (0, 3, 2, 1) and laid.inputs[0].shape == (N, 3, 7, 5)
    assert {line.policy for line in report.io} == {"target", "source", "explicit"}


def test_explicit_order_of_an_input_that_nothing_else_moves() -> None:
    net = Net()
    y = net.b.softmax(net.x(5, 3), axis=1)
    laid, _ = lay(net, y, io_overrides={"x": (0, 2, 1)}, convention=Convention())
    assert laid.inputs[0].shape == (N, 3, 5)
    laid, _ = lay(net, y, io_overrides={y.name: (2, 0, 1)}, convention=Convention())
    assert laid.outputs[0].shape == (3, N, 5) and laid.outputs[0].name == y.name


@pytest.mark.parametrize(
    "kw",
    [
        {"io": "both"},
        {"io_overrides": {"nobody": "source"}},
        {"io_overrides": {"x": (0, 1)}},
        {"io_overrides": {"x": "upside down"}},
    ],
)
def test_bad_policy_is_refused_before_anything_changes(kw: dict[str, Any]) -> None:
    net = Net()
    net.g.outputs = [net.conv(net.x(5, 7, 3), 11)]
    with pytest.raises(UsageError):
        assign(net.g, FIRST, **kw)
    assert ops(net.g) == ["conv"] and next(iter(net.g)).attrs["layout"] == "channels_last"


def test_input_that_is_no_image_stays() -> None:
    net = Net()
    y = net.b.add(net.linear(net.x(5, 7, 3, name="tokens"), 3), net.w(3))
    z = net.conv(net.x(5, 7, 3), 2)
    _, report = lay(net, y, z)
    assert report.inputs == {"tokens": (0, 1, 2, 3), "x": (0, 3, 1, 2)}


def test_nothing_to_do_changes_nothing() -> None:
    net = Net()
    net.g.outputs = [net.b.relu(net.conv(net.x(3, 5, 7), 2, layout="channels_first"))]
    before = str(net.g)
    report = assign(net.g, FIRST)
    assert str(net.g) == before and report.changed_nodes == 0 and report.inputs == {"x": (0, 1, 2, 3)}


def test_ops_of_a_family_without_a_wish_may_have_either() -> None:
    net = Net()
    x = net.conv(net.x(5, 7, 3), 2)
    y = net.b.max_pool(net.b.relu(x), kernel=(2, 2), layout="channels_last")
    convention = Convention(ops={"conv": "channels_first"})
    laid, report = lay(net, y, convention=convention)
    assert next(n for n in laid if n.op == "max_pool").attrs["layout"] == "channels_first" and not report.remaining
    laid, report = lay(net, y, convention=Convention({"channels": "channels_first"}, ops={"max_pool": "channels_last"}))
    assert next(n for n in laid if n.op == "max_pool").attrs["layout"] == "channels_last" and len(report.remaining) == 1


def test_required_axis_is_brought_there() -> None:
    net = Net()
    y = net.b.relu(net.norm(net.x(5, 3)))
    laid, report = lay(net, y, convention=Convention(axis_required={"batch_norm": 1}))
    assert next(n for n in laid if n.op == "batch_norm").attrs["axis"] == 1 and report.inputs["x"] == (0, 2, 1)
    laid, report = lay(net, y, convention=Convention(axis_at={"batch_norm": 1}))
    assert not report.changed_nodes


@pytest.mark.parametrize("at", [1, 2])
def test_preference_breaks_a_tie(at: int) -> None:
    net = Net()
    x = net.norm(net.conv(net.x(5, 7, 3), 4), axis=1)
    y = net.b.trilu(x, upper=True, k=0)  # keeps the source order: the normalisation may be on either side
    laid, report = lay(net, y, convention=Convention({"channels": "channels_first"}, axis_at={"batch_norm": at}))
    assert next(n for n in laid if n.op == "batch_norm").attrs["axis"] == at and len(report.remaining) == 1


# ---- weights, names, regions, reports
def test_weight_used_in_both_orders_is_duplicated_as_a_view() -> None:
    net = Net()
    shared = net.w(1, 5, 7, 3, name="shared")
    y = net.b.add(net.conv(net.x(5, 7, 3), 3), shared)
    z = net.b.mul(net.b.input("other", "float32", (N, 5, 7, 3)), shared)
    laid, report = lay(net, y, net.linear(z, 2))
    assert report.duplicated == ["shared"]
    assert sorted(tuple(v.shape or ()) for k, v in laid.weights.items() if k.startswith("shared")) == [(1, 3, 5, 7), (1, 5, 7, 3)]
    assert all(v.trainable for k, v in laid.weights.items() if k.startswith("shared"))


def test_weight_keeps_its_name_when_all_uses_move() -> None:
    net = Net()
    b = net.w(3, name="scale")
    y = net.b.mul(net.conv(net.x(5, 7, 3), 3), b)
    laid, _ = lay(net, y)
    assert laid.weights["scale"].shape == (1, 3, 1, 1) and laid.weights["scale"].trainable


def test_report_names_the_op_that_forced_a_transpose() -> None:
    net = Net()
    with net.b.at(Origin("keras", "tri", "Lambda")):
        t = net.b.trilu(net.b.relu(net.conv(net.x(5, 7, 3), 2)), upper=True, k=0)
    _, report = lay(net, net.conv(net.b.sigmoid(t), 2))
    assert len(report.remaining) == 2
    for r in report.remaining:
        assert "trilu" in r.forced_by and "'tri' (Lambda)" in r.forced_by
        assert r.elements == 5 * 7 * 2
    assert report.elements == 2 * 5 * 7 * 2
    assert report.to_dict()["remaining"][0]["elements"] == 70


def test_origin_and_layers_follow() -> None:
    net = Net()
    permute, conv = net.g.scope("permute", "Permute"), net.g.scope("conv", "Conv2D")
    with net.b.within(permute):
        p = net.b.transpose(net.x(3, 5, 7), perm=(0, 2, 3, 1))
    with net.b.within(conv):
        y = net.conv(p, 2)
    net.g.set_results(permute, [p])
    net.g.set_results(conv, [y])
    laid, _ = lay(net, y, io="source")
    live = {id(v) for v in laid.values()}
    assert [x.name for x in laid.layers] == ["permute", "conv"] and laid.layers[0].outputs == laid.layers[1].inputs
    assert all(n.scope in (permute, conv) for n in laid)
    assert all(id(v) in live for layer in laid.layers for v in (*layer.outputs, *layer.inputs))
    assert all("layout" in n.origin.passes for n in laid if n.op == "transpose")


def test_bodies_of_control_flow_keep_the_order_of_their_ends() -> None:
    net = Net()
    x = net.x(5, 7, 3)
    body = Graph("body")
    inner = Builder(body)
    i = inner.input("i", "int64", ())
    cond = inner.input("c", "bool", ())
    s = inner.input("s", "float32", (N, 5, 7, 3))
    w = inner.weight(net.rng.standard_normal((3, 3, 3, 3)).astype(np.float32) * 0.3)
    body.outputs = [inner.identity(cond), inner.tanh(inner.conv(s, w, pads="same_upper", layout="channels_last"))]
    assert i.rank == 0
    trip, go = net.b.const(np.int64(2)), net.b.const(np.bool_(True))
    y = net.b.op("loop", trip, go, net.conv(x, 3), regions=[body], n_states=1)
    y = y[0] if isinstance(y, tuple) else y
    laid, report = lay(net, y)
    region = next(n for n in laid if n.op == "loop").regions[0]
    assert next(n for n in region if n.op == "conv").attrs["layout"] == "channels_first"
    assert len(report.regions) == 1 and len(report.regions[0].remaining) == 2
    assert "in a region" in str(report)


def test_unknown_rank_is_reported_not_guessed() -> None:
    g = Graph()
    b = Builder(g)
    x = b.input("x", "float32", None)
    g.outputs = [
        b.conv(
            x,
            b.weight(np.ones((2, 3, 3, 3), np.float32)),
            layout="channels_last",
            strides=(1, 1),
            dilations=(1, 1),
            pads="same_upper",
        )
    ]
    report = assign(g, FIRST)
    assert [u.op for u in report.unresolved] == ["conv"] and next(iter(g)).attrs["layout"] == "channels_last"


@pytest.mark.parametrize("name", ["conv", "relu", "no_such_op"])
def test_a_convention_that_requires_an_axis_of_an_op_without_one(name):
    g = Graph("g")
    g.outputs = [Builder(g).input("x", "float32", (2, 3))]
    with pytest.raises(UsageError, match=f"axis_required names '{name}', which is no op with one special axis"):
        assign(g, Convention(axis_required={name: 1}))
