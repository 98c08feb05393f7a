"""Moving tensors around: reshape, pad, split, expand, blocks, constants; against onnxruntime and PyTorch, sizes against numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcore.build.builder import Builder
from convcore.errors import ShapeError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore.testing import CheckFailed, run_body, run_op

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(19)
X = RNG.standard_normal((2, 3, 5, 7)).astype(np.float32)
T = torch.from_numpy(X)
N = Dim("N")


def same(a, b):
    b = np.asarray(b)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


@pytest.fixture
def b():
    return Builder(Graph())


def test_views():
    same(run_op("reshape", X, shape=(14, 15))[0], T.reshape(14, 15))
    same(run_op("transpose", X, perm=(2, 0, 3, 1))[0], T.permute(2, 0, 3, 1))
    same(run_op("unsqueeze", X, axes=(0, -1))[0], T[None, ..., None])
    same(run_op("squeeze", X[:, :1, :, :1], axes=(1, -1))[0], T[:, 0, :, 0])
    same(run_op("concat", X, X[:, :1], axis=1)[0], torch.cat([T, T[:, :1]], 1))
    for y, t in zip(run_op("split", X, axis=-1, sizes=(2, 4, 1)), torch.split(T, (2, 4, 1), -1)):
        same(y, t)


@settings(max_examples=80, deadline=None)
@given(st.permutations([2, 3, 5, 7]), st.lists(st.integers(0, 3), max_size=3))
def test_reshape_of_named_sizes(sizes, merged):
    """Any grouping of axes, one of them named: the attribute is evaluated to what numpy computes."""
    b = Builder(Graph())
    x = b.input("x", "float32", (N, *sizes[1:]))
    groups = [[]]
    for i in range(4):
        groups[-1].append(i)
        if i in merged:
            groups.append([])
    shape = []
    for g in groups:
        n = 1
        for i in g:
            n = n * (N if i == 0 else sizes[i])
        shape.append(n)
    b.graph.outputs = [b.reshape(x, shape=shape)]
    a = np.arange(np.prod(sizes), dtype=np.float32).reshape(sizes)
    from convcore.interpreter import run

    y = run(b.graph, a)[0]
    same(y, a.reshape([int(np.prod([sizes[i] for i in g])) for g in groups]))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(onnx_run, mode):
    pads = ((0, 0), (2, 1), (0, 3), (1, 0))
    flat = np.array([p[0] for p in pads] + [p[1] for p in pads])
    inputs = [X, flat, np.float32(1.5)] if mode == "constant" else [X, flat]
    value = {"value": 1.5} if mode == "constant" else {}
    same(run_op("pad", X, pads=pads, mode=mode, **value)[0], onnx_run("Pad", inputs, mode=mode)[0])


def test_negative_pads_crop(onnx_run):
    pads = ((0, 0), (-1, 2), (1, -3), (0, -1))
    flat = np.array([p[0] for p in pads] + [p[1] for p in pads])
    same(run_op("pad", X, pads=pads)[0], onnx_run("Pad", [X, flat])[0])


def test_symmetric_pad_repeats_the_edge():
    x = np.array([[1, 2, 3]], np.float32)
    assert run_op("pad", x, pads=((0, 0), (2, 1)), mode="symmetric")[0].tolist() == [[2, 1, 1, 2, 3, 3]]
    assert run_op("pad", x, pads=((0, 0), (2, 1)), mode="reflect")[0].tolist() == [[3, 2, 1, 2, 3, 2]]


def test_copies(onnx_run):
    x = X[:, :1]
    same(run_op("expand", x, shape=(2, 3, 5, 7))[0], T[:, :1].expand(2, 3, 5, 7))
    same(run_op("expand", X[0, :, :1], shape=(11, 3, 5, 7))[0], T[0, :, :1].expand(11, 3, 5, 7))
    same(run_op("tile", X, repeats=(1, 2, 1, 3))[0], onnx_run("Tile", [X, np.array([1, 2, 1, 3])])[0])
    for run in (run_op, run_body):
        same(run("repeat", X, repeats=3, axis=2)[0], T.repeat_interleave(3, 2))
        same(run("flip", X, axes=(1, 3))[0], T.flip(1, 3))
    same(run_op("roll", X, shifts=(2, -1), axes=(3, 1))[0], torch.roll(T, (2, -1), (3, 1)))


def test_stack_and_unstack():
    for axis in (0, 2, -1):
        for run in (run_op, run_body):
            same(run("stack", X, X + 1, X * 2, axis=axis)[0], torch.stack([T, T + 1, T * 2], axis))
    for run in (run_op, run_body):
        for y, t in zip(run("unstack", X, axis=2), torch.unbind(T, 2)):
            same(y, t)


def test_shapes_known_at_run_time(onnx_run):
    for shape, zero in (([5, -1], True), ([0, -1, 7], True), ([2, 0, 35], True)):
        s = np.array(shape)
        same(run_op("dynamic_reshape", X, s, zero_copies=zero)[0], onnx_run("Reshape", [X, s])[0])
    for shape in ([11, 1, 1, 1, 7], [5, 7], [1]):
        s = np.array(shape)
        same(run_op("dynamic_expand", X, s)[0], onnx_run("Expand", [X, s])[0])
    with pytest.raises(CheckFailed):
        run_op("dynamic_reshape", X, np.array([-1, -1]))
    s = np.array([2, 3])
    same(run_op("dynamic_fill", s, value=0.5)[0], torch.full((2, 3), 0.5))


# ---- blocks


@pytest.mark.parametrize("run", [run_op, run_body])
def test_blocks(onnx_run, run):
    deep = RNG.standard_normal((2, 20, 3, 7)).astype(np.float32)
    wide = RNG.standard_normal((2, 5, 6, 14)).astype(np.float32)
    for mode in ("DCR", "CRD"):
        same(run("depth_to_space", deep, block=2, mode=mode)[0], onnx_run("DepthToSpace", [deep], blocksize=2, mode=mode)[0])
    same(run("depth_to_space", deep, block=2, mode="CRD")[0], torch.pixel_shuffle(torch.from_numpy(deep), 2))
    same(run("space_to_depth", wide, block=2)[0], onnx_run("SpaceToDepth", [wide], blocksize=2)[0])
    same(run("space_to_depth", wide, block=2, mode="CRD")[0], torch.pixel_unshuffle(torch.from_numpy(wide), 2))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_channels_last(mode):
    deep = RNG.standard_normal((2, 20, 3, 7)).astype(np.float32)
    y = run_op("depth_to_space", deep, block=2, mode=mode)[0]
    last = run_op("depth_to_space", np.moveaxis(deep, 1, -1), block=2, mode=mode, layout="channels_last")[0]
    same(np.moveaxis(last, -1, 1), y)
    same(run_op("space_to_depth", last, block=2, mode=mode, layout="channels_last")[0], np.moveaxis(deep, 1, -1))


@pytest.mark.parametrize("run", [run_op, run_body])
def test_shuffle_channels(run):
    x = RNG.standard_normal((2, 6, 5, 7)).astype(np.float32)
    same(run("shuffle_channels", x, groups=3, axis=1)[0], torch.nn.ChannelShuffle(3)(torch.from_numpy(x)))
    same(
        run("shuffle_channels", np.moveaxis(x, 1, -1), groups=3, axis=-1)[0],
        np.moveaxis(torch.nn.ChannelShuffle(3)(torch.from_numpy(x)).numpy(), 1, -1),
    )


# ---- constants


def test_sizes_as_data(onnx_run):
    for start, end in ((0, None), (-2, None), (1, 3), (1, -1), (0, 9)):
        kw = {} if end is None else {"end": end}
        same(run_op("shape_of", X, start=start, **kw)[0], onnx_run("Shape", [X], start=start, **kw)[0])
    for run in (run_op, run_body):
        same(run("size_of", X)[0], onnx_run("Size", [X])[0])
    assert run_op("dim_value", value=7)[0] == 7


def test_ranges(onnx_run):
    cases = [(3, 17, 4), (7, -4, -3), (0, 0, 1), (5, 2, 1)]
    for start, limit, delta in cases:
        args = [np.array(v, np.int64) for v in (start, limit, delta)]
        same(run_op("range", *args)[0], onnx_run("Range", args)[0])
    for start, limit, delta in ((0.5, 3.0, 0.75), (1.0, -2.0, -0.5), (0.0, 1.0, 0.1)):
        args = [np.float32(v) for v in (start, limit, delta)]
        np.testing.assert_allclose(run_op("range", *args)[0], onnx_run("Range", args)[0], rtol=1e-6)


def test_range_to_a_size(b):
    limit, zero, one = b.dim_value(value=N + 2), b.const(np.int64(0)), b.const(np.int64(1))
    assert b.range(zero, limit, one).shape == (N + 2,)
    assert b.range(zero, limit, b.const(np.int64(2))).shape == ((N + 3) // 2,)
    assert b.range(one, b.const(np.int64(8)), b.const(np.int64(3))).shape == (3,)
    assert b.range(zero, b.input("n", "int64", ()), one).shape == (None,)


def test_eyes(onnx_run):
    x = np.zeros((3, 5), np.float32)
    for k in (-1, 0, 2):
        same(run_op("eye_like", x, k=k)[0], onnx_run("EyeLike", [x], k=k)[0])
        same(run_op("eye", rows=3, columns=5, k=k)[0], onnx_run("EyeLike", [x], k=k)[0])


def test_fill():
    same(run_op("fill", shape=(2, 3), value=True, dtype="bool")[0], np.ones((2, 3), bool))
    same(run_op("fill", shape=(2,), value=2**62 + 1, dtype="int64")[0], np.full(2, 2**62 + 1))
    with pytest.raises(ShapeError, match="not an integer"):
        run_op("fill", shape=(2,), value=0.5, dtype="int64")


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(onnx_run, axis):
    ids = RNG.integers(-7, 9, (2, 3))
    values = np.array([-1.5, 2.5], np.float32)
    want = onnx_run("OneHot", [ids, np.array(7), values], axis=axis)[0]
    same(run_op("one_hot", ids, values, depth=7, axis=axis, wrap_negative=True)[0], want)
    attrs = {"on_value": 2.5, "off_value": -1.5, "wrap_negative": True}
    same(run_op("one_hot", ids, depth=7, axis=axis, **attrs)[0], want)


def test_one_hot_of_ids_outside_is_off():
    y = run_op("one_hot", np.array([-1, 0, 2, 3]), depth=3)[0]
    assert y.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    same(
        run_op("one_hot", np.array([1, 0, 2]), depth=3, dtype="int64")[0], torch.nn.functional.one_hot(torch.tensor([1, 0, 2]), 3)
    )


# ---- named sizes and refusals


def test_named_sizes(b):
    x = b.input("x", "float32", (N, 3, 2 * Dim("H")))
    assert b.concat(x, x, axis=2).shape == (N, 3, 4 * Dim("H"))
    assert b.pad(x, pads=((0, 0), (1, 2), (0, 1))).shape == (N, 6, 2 * Dim("H") + 1)
    assert b.tile(x, repeats=(1, 2, 3)).shape == (N, 6, 6 * Dim("H"))
    assert b.repeat(x, repeats=2, axis=0).shape == (2 * N, 3, 2 * Dim("H"))
    y = b.input("y", "float32", (N, 4, 2 * Dim("H"), 6))
    assert b.space_to_depth(y, block=2).shape == (N, 16, Dim("H"), 3)
    assert b.unstack(x, axis=1)[0].shape == (N, 2 * Dim("H"))


def test_refusals(b):
    x = b.input("x", "float32", (2, 3, 5))
    for why, op, kw in [
        ("30 elements against 31", "reshape", {"shape": (31,)}),
        ("negative size", "reshape", {"shape": (-1, 5)}),
        ("not a permutation", "transpose", {"perm": (0, 0, 1)}),
        ("has size 3", "squeeze", {"axes": (1,)}),
        ("4 != 3|3 != 4", "split", {"axis": 1, "sizes": (2, 2)}),
        ("does not expand", "expand", {"shape": (2, 4, 5)}),
        ("one entry|repeats for", "tile", {"repeats": (2,)}),
        ("shifts for", "roll", {"shifts": (1, 2), "axes": (0,)}),
        ("reflecting", "pad", {"pads": ((0, 0), (3, 0), (0, 0)), "mode": "reflect"}),
        ("cannot be cropped", "pad", {"pads": ((0, 0), (-2, -2), (0, 0))}),
        ("do not divide", "shuffle_channels", {"groups": 2, "axis": 1}),
        ("4", "depth_to_space", {"block": 2}),
        ("name one twice", "unsqueeze", {"axes": (0, 0)}),
    ]:
        with pytest.raises(ShapeError, match=why):
            b.op(op, x, **kw)
    with pytest.raises(ShapeError, match="axis 1: 3 != 4"):
        b.concat(x, b.input("y", "float32", (2, 4, 5)), axis=0)
    with pytest.raises(ShapeError, match="dtypes"):
        b.stack(x, b.input("z", "int32", (2, 3, 5)), axis=0)
    with pytest.raises(ShapeError, match="at least one"):
        b.concat(axis=0)
