"""Ways of writing that samples of single ops do not show: control flow that exports, masked recurrent layers, attention."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph, Origin
from convcore.testing.samples import same
from convcore_pytorch.emit import written_here
from convcore_pytorch.functions import HELPERS, helpers_of
from convcore_pytorch.runtime import open_runtime

from .code_record import with_functions
from .torch_kit import emit_model

torch = pytest.importorskip("torch")

FLOAT = DType.FLOAT32
NUMBERS = np.random.default_rng(3)


def built(name: str = "net") -> tuple[Graph, Builder]:
    g = Graph(name)
    return g, Builder(g, origin=Origin("test", name, name))


def agrees(g: Graph, feeds: list[Any], out: Path | None = None) -> Any:
    """The module of a graph, which computes what the interpreter computes."""
    want = Interpreter(g).run(feeds)
    made = emit_model(g.clone(), out)
    model = made.model()
    got = open_runtime(with_functions(model)).run(feeds)
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert not same(a, np.asarray(b), 1e-4, 1e-5), same(a, np.asarray(b), 1e-4, 1e-5)
    return model


def exported(model: Any, feeds: list[Any], dynamic: Any) -> None:
    """The exported program gives what the module gives, also for another batch."""
    tensors = tuple(torch.from_numpy(np.array(a)) for a in feeds)
    program = torch.export.export(model, tensors, dynamic_shapes=dynamic, strict=False)
    other = tuple(torch.cat([t, t[:1]]) if d else t for t, d in zip(tensors, dynamic))
    for given in (tensors, other):
        want, got = model(*given), program.module()(*given)
        for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (got, want)), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_relu_of_integers() -> None:
    g, b = built()
    x = b.input("x", DType.INT32, (2, 3))
    g.outputs = [b.relu(x)]
    agrees(g, [np.array([[-3, 0, 2], [7, -1, 5]], np.int32)])


def test_branches_are_an_if_and_export() -> None:
    g, b = built()
    x, test = b.input("x", FLOAT, (Dim("N"), 3)), b.input("c", DType.BOOL, ())
    regions = []
    for fn in ("neg", "exp"):
        r = Graph(fn)
        inner = Builder(r)
        r.outputs = [inner.op(fn, inner.input("v", FLOAT, (Dim("N"), 3)))]
        regions.append(r)
    g.outputs = list(b.op("if", test, x, regions=regions))
    feeds = [NUMBERS.normal(size=(5, 3)).astype(np.float32), np.array(False)]
    model = agrees(g, feeds)
    agrees(g, [feeds[0], np.array(True)])
    exported(model, feeds, ({0: torch.export.Dim("N")}, None))


@pytest.mark.parametrize("counted", [True, False])
def test_loops_stack_rows_or_export_as_one(counted: bool) -> None:
    g, b = built()
    x = b.input("x", FLOAT, (Dim("N"), 3))
    n = b.const(4, "int64") if counted else b.input("n", DType.INT64, ())
    r = Graph("body")
    inner = Builder(r)
    inner.input("i", DType.INT64, ())
    go, h = inner.input("go", DType.BOOL, ()), inner.input("h", FLOAT, (Dim("N"), 3))
    r.outputs = [inner.identity(go), inner.op("sin", h), *([inner.op("cos", h)] if counted else [])]
    out = b.op("loop", n, None, x, regions=[r], n_states=1)
    g.outputs = list(out) if isinstance(out, tuple) else [out]
    feeds = [NUMBERS.normal(size=(5, 3)).astype(np.float32), *([] if counted else [np.array(3)])]
    model = agrees(g, feeds)
    exported(model, feeds, ({0: torch.export.Dim("N")}, *([] if counted else [None])))


def recurrent(op: str, gates: int, mask: Any, **attrs: Any) -> tuple[Graph, list[Any]]:
    g, b = built(op)
    d = 2 if attrs.get("direction") == "bidirectional" else 1
    x = b.input("x", FLOAT, (Dim("N"), 5, 7) if attrs.get("layout") != "time_major" else (5, Dim("N"), 7))
    w = [b.weight(NUMBERS.normal(size=s).astype(np.float32), n, trainable=True, role="parameter")
         for n, s in (("w", (d, gates * 3, 7)), ("r", (d, gates * 3, 3)), ("b", (d, gates * 3)))]  # fmt: skip
    named = {"mask": None, "lengths": None}
    if mask.dtype == bool:
        named["mask"] = b.input("mask", DType.BOOL, (Dim("N"), 5) if mask.shape[0] == 11 else (5, Dim("N")))
    else:
        named["lengths"] = b.input("lengths", DType.INT64, (Dim("N"),))
    more = {"reset_after": True} if op == "gru" else {}
    rest = [None] * {"lstm": 2, "gru": 2, "rnn": 1}[op]
    made = b.op(op, x, *w, *rest, named["mask"], named["lengths"], hidden=3, **more, **attrs)
    g.outputs = [made[0]] if op == "lstm" else list(made)[:2]
    shape = (11, 5, 7) if attrs.get("layout") != "time_major" else (5, 11, 7)
    return g, [NUMBERS.normal(size=shape).astype(np.float32), mask]


MASK = NUMBERS.uniform(size=(11, 5)) > 0.4
MASK[0], MASK[1] = False, True
LENGTHS = np.array([5, 0, 1, 2, 3, 4, 5, 1, 2, 0, 3])


@pytest.mark.parametrize("op, gates", [("lstm", 4), ("gru", 3), ("rnn", 1)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("given", ["mask", "zeros", "time", "lengths"])
def test_masks_keep_the_layer(op: str, gates: int, direction: str, given: str, tmp_path: Path) -> None:
    """Steps that count are moved to the front: the layer of torch stays, whatever the mask."""
    attrs: dict[str, Any] = {"direction": direction}
    mask: Any = LENGTHS if given == "lengths" else MASK
    if given == "zeros":
        attrs["zero_output_for_mask"] = True
    if given == "time":
        attrs["layout"], mask = "time_major", MASK.T.copy()
    g, feeds = recurrent(op, gates, mask, **attrs)
    out = tmp_path / "net.py"
    model = agrees(g, feeds, out)
    text = out.read_text()
    assert text.count(f"nn.{op.upper()}(") == (2 if direction == "bidirectional" else 1) and "scan(" not in text
    assert any(p.requires_grad for p in model.parameters())
    if given == "mask":
        exported(model, feeds, ({0: torch.export.Dim("N")},) * 2)


def layer(heads: int, widths: tuple[int, int, int], bias: bool = True, **attrs: Any) -> tuple[Graph, list[Any]]:
    g, b = built("attn")
    e, k, v = widths
    xs = [b.input(n, FLOAT, (Dim("N"), t, w)) for n, t, w in (("q", 3, e), ("k", 5, k), ("v", 5, v))]

    def weight(name: str, shape: tuple[int, ...]) -> Any:
        return b.weight(NUMBERS.normal(size=shape).astype(np.float32), name, trainable=True, role="parameter")

    ws = [weight(n, s) for n, s in (("wq", (e, e)), ("wk", (e, k)), ("wv", (e, v)), ("wo", (e, e)))]
    bs = [weight(n, (e,)) if bias else None for n in ("bq", "bk", "bv", "bo")]
    made = b.op("multi_head_attention", *xs, *ws, *bs, heads=heads, **attrs)
    g.outputs = list(made) if isinstance(made, tuple) else [made]
    return g, [NUMBERS.normal(size=(7, t, w)).astype(np.float32) for t, w in ((3, e), (5, k), (5, v))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("widths", [(6, 6, 6), (6, 11, 13)])
@pytest.mark.parametrize("weights", [False, True])
def test_layers_of_attention(bias: bool, widths: tuple[int, int, int], weights: bool) -> None:
    g, feeds = layer(2, widths, bias, weights=weights)
    model = agrees(g, feeds)
    (name,) = [n for n, m in model.named_children() if isinstance(m, torch.nn.MultiheadAttention)]
    packed = [f"{name}.in_proj_weight"] if widths[1] == 6 else [f"{name}.{p}_proj_weight" for p in "qkv"]
    assert set(packed) <= set(model.state_dict())


def test_attention_is_scaled_dot_product(tmp_path: Path) -> None:
    g, b = built()
    q, k = b.input("q", FLOAT, (Dim("N"), 6, 5, 7)), b.input("k", FLOAT, (Dim("N"), 3, 5, 7))
    g.outputs = list(b.op("attention", q, k, k, causal=True))
    agrees(g, [NUMBERS.normal(size=(2, h, 5, 7)).astype(np.float32) for h in (6, 3)], tmp_path / "net.py")
    assert "F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True)" in (tmp_path / "net.py").read_text()


def test_places_of_the_largest_are_asked_for_or_not(tmp_path: Path) -> None:
    """torch.topk takes any of equal elements, which does not matter for the elements themselves."""
    for read, function in ((0, "torch.topk("), (1, "torch.sort(")):
        g, b = built()
        x = b.input("x", FLOAT, (Dim("N"), 7))
        g.outputs = [b.topk(x, k=3)[read]]
        agrees(g, [NUMBERS.integers(0, 3, (11, 7)).astype(np.float32)], tmp_path / "net.py")
        assert function in (tmp_path / "net.py").read_text()


def test_backward_slices_of_sizes_that_are_not_known() -> None:
    for start, stop, step in ((-1, None, -1), (4, 1, -2), (-2, -5, -1), (9, None, -3), (3, -4, -1)):
        g, b = built()
        x = b.input("x", FLOAT, (Dim("N"), 3))
        g.outputs = [b.slice(x, starts=(start, 0), stops=(stop, None), steps=(step, 1))]
        for n in (2, 5, 7):
            agrees(g, [NUMBERS.normal(size=(n, 3)).astype(np.float32)])


def test_functions_come_with_what_they_call(tmp_path: Path) -> None:
    assert "overlap" in "".join(helpers_of("x = nms(boxes, scores, 3, 0.5)")) and not helpers_of("x = self.nms(y)\nz.scan(1)")
    g, b = built()
    boxes, scores = b.input("boxes", FLOAT, (1, 5, 4)), b.input("scores", FLOAT, (1, 2, 5))
    g.outputs = [b.op("nms", boxes, scores, max_per_class=3, iou_threshold=0.5)]
    out = tmp_path / "net.py"
    agrees(g, [NUMBERS.uniform(size=s).astype(np.float32) for s in ((1, 5, 4), (1, 2, 5))], out)
    defined = set(re.findall(r"^def (\w+)", out.read_text(), re.M))
    assert {"nms", "overlap"} <= defined and defined - {"load"} <= HELPERS and "scan" not in defined
    assert written_here(out) is not None


def refusal(op: str, *inputs: tuple[DType, tuple[Any, ...]], **attrs: Any) -> str:
    g = Graph("net")
    b = Builder(g, origin=Origin("test", "layer", "Layer"))
    made = b.op(op, *(b.input(f"x{i}", d, s) for i, (d, s) in enumerate(inputs)), **attrs)
    g.outputs = list(made) if isinstance(made, tuple) else [made]
    with pytest.raises(UnsupportedError) as e:
        emit_model(g)
    return str(e.value)


def test_what_is_refused_says_why() -> None:
    N, pads = Dim("N"), ((1, 0), (0, 1))
    pooled = {"kernel": (2, 2), "pads": pads}
    for text, made in {
        "with positions, which would be counted": refusal("max_pool_with_indices", (FLOAT, (1, 2, 5, 7)), **pooled),
        "a maximum of int64": refusal("max_pool", (DType.INT64, (1, 2, 5, 7)), kernel=(2, 2)),
        "'x0' is uint64": refusal("cumsum", (DType.UINT64, (3,)), axis=0),
        "without trip count and condition": refusal_of_loop(),
        "sizes=(N) is not made of numbers": refusal("pad", (FLOAT, (N, 3)), pads=((1, 1), (0, 0)), mode="edge"),
    }.items():
        assert text in made, made


def refusal_of_loop() -> str:
    r = Graph("body")
    inner = Builder(r)
    inner.input("i", DType.INT64, ())
    go, h = inner.input("go", DType.BOOL, ()), inner.input("h", FLOAT, (3,))
    r.outputs = [inner.identity(go), inner.op("sin", h)]
    g, b = built()
    g.outputs = [b.op("loop", None, None, b.input("x", FLOAT, (3,)), regions=[r], n_states=1)]
    with pytest.raises(UnsupportedError) as e:
        emit_model(g)
    return str(e.value)


def test_cell_states_under_a_mask_are_a_scan(tmp_path: Path) -> None:
    """No layer of torch gives the last cell state of steps that are not the last; the layer's body does."""
    g, feeds = recurrent("lstm", 4, MASK)
    (node,) = [n for n in g if n.op == "lstm"]
    g.outputs = [node.outputs[2]]
    agrees(g, feeds, tmp_path / "net.py")
    assert "nn.LSTM(" not in (tmp_path / "net.py").read_text()


def test_axes_that_may_not_be_one_are_unpacked() -> None:
    """torch's squeeze would keep an axis of another size without a word."""
    g, b = built()
    x = b.input("x", FLOAT, (Dim("N"), 3, 1, Dim("M")))
    g.outputs = [b.squeeze(x, axes=(0, 2, 3))]
    model = agrees(g, [NUMBERS.normal(size=(1, 3, 1, 1)).astype(np.float32)])
    with pytest.raises(ValueError, match="unpack"):
        model(torch.ones(2, 3, 1, 1))


def test_conditions_on_sizes_are_decided_while_exporting() -> None:
    """Their branches may differ in the number of axes, which torch.cond does not allow."""
    g, b = built()
    x = b.input("x", FLOAT, (3, Dim("N")))
    size = b.gather(b.shape_of(x), b.const([-1], "int64"), axis=0)
    test = b.reshape(b.equal(size, b.const([1], "int64")), shape=())
    regions = []
    for fn in ("squeeze", "exp"):
        r = Graph(fn)
        inner = Builder(r)
        v = inner.input("v", FLOAT, (3, Dim("N")))
        r.outputs = [inner.squeeze(v, axes=(1,)) if fn == "squeeze" else inner.exp(v)]
        regions.append(r)
    g.outputs = list(b.op("if", test, x, regions=regions))
    for n in (1, 5):
        feeds = [NUMBERS.normal(size=(3, n)).astype(np.float32)]
        exported(agrees(g, feeds), feeds, (None,))


def test_weights_made_of_weights_are_made_once() -> None:
    g, b = built()
    x = b.input("x", FLOAT, (Dim("N"), 3))
    w = b.weight(NUMBERS.normal(size=(3, 5)).astype(np.float32), "w", trainable=True, role="parameter")
    g.outputs = [b.linear(x, b.transpose(w, perm=(1, 0)), None)]
    model = agrees(g, [NUMBERS.normal(size=(2, 3)).astype(np.float32)])
    assert [(type(m).__name__, [p.requires_grad for p in m.parameters()]) for m in model.children()] == [("Linear", [True])]


def test_a_weight_used_as_it_is_stays_one() -> None:
    """A table that is also the last layer, turned: two parameters would train apart."""
    g, b = built()
    ids = b.input("ids", DType.INT64, (Dim("N"), 3))
    w = b.weight(NUMBERS.normal(size=(7, 5)).astype(np.float32), "w", trainable=True, role="parameter")
    h = b.embedding(ids, w)
    g.outputs = [b.matmul(h, b.transpose(w, perm=(1, 0)))]
    model = agrees(g, [NUMBERS.integers(0, 7, (2, 3))])
    assert len({p.data_ptr() for p in model.parameters()}) == 1 and len(list(model.parameters())) == 1


def test_channels_come_first_in_what_keras_had_last(tmp_path: Path) -> None:
    import convcore
    from convcore.model import Model

    g, b = built()
    x = b.input("image", FLOAT, (Dim("N"), 7, 11, 3))
    w = b.weight(NUMBERS.normal(size=(5, 3, 1, 1)).astype(np.float32), "w", trainable=True, role="parameter")
    g.outputs = [b.conv(x, w, layout="channels_last")]
    for asked, shape in ((None, (2, 3, 7, 11)), ("source", (2, 7, 11, 3))):
        made = convcore.convert(Model(g.clone()), "pytorch", tmp_path / "net.py", io_layout=asked)
        text = (tmp_path / "net.py").read_text()
        assert made.model(torch.ones(shape)).shape[0] == 2
        said = any("channels come first in 'image'" in n for n in made.report.notes)
        assert said == (asked is None) == ("NCHW (NHWC in the source)" in text)


@pytest.mark.parametrize(("x", "weights", "module"), [("float32", "float16", False), ("float16", "float32", True)])
@pytest.mark.parametrize("op", ["batch_norm", "group_norm", "layer_norm", "instance_norm"])
def test_norms_whose_weights_are_of_another_type(op: str, x: str, weights: str, module: bool) -> None:
    """torch has those of half precision with weights of float32; others are written as their parts."""
    g, b = built()
    data = b.input("x", DType(x), (2, 6, 5))
    n = 5 if op == "layer_norm" else 6
    held = [
        b.weight((NUMBERS.random(n) + 0.5).astype(weights), f"w{i}", role="buffer" if i > 1 else "parameter") for i in range(4)
    ]
    given = {"layer_norm": {"axes": (2,)}, "group_norm": {"groups": 2, "axis": 1}}.get(op, {"axis": 1})
    g.outputs = [b.op(op, data, *held[: 4 if op == "batch_norm" else 2], epsilon=1e-3, **given)]
    feed = NUMBERS.normal(size=(2, 6, 5)).astype(x)
    want = Interpreter(g).run([feed])[0]
    model = emit_model(g.clone(), None).model()
    assert any("Norm" in type(m).__name__ for m in model.modules()) == module
    np.testing.assert_allclose(model(torch.from_numpy(feed)).numpy(), want, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("op", ["sum", "mean", "max", "min", "l1_norm", "l2_norm"])
def test_over_all_axes_of_an_unknown_number(op: str) -> None:
    """torch takes no axes for all; what keeps them needs their number."""
    g, b = built()
    g.outputs = [b.op(op, b.input("x", FLOAT, None), axes=None)]
    for shape in ((3,), (2, 3, 5)):
        agrees(g, [NUMBERS.normal(size=shape).astype(np.float32)])
    g, b = built()
    g.outputs = [b.op(op, b.input("x", FLOAT, None), axes=None, keepdims=True)]
    with pytest.raises(UnsupportedError, match="number of axes of 'x' is not known"):
        emit_model(g)
