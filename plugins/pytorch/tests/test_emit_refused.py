"""What no rule writes as PyTorch: each refusal on a node that has only that against it, and a neighbour that is written.

A refusal here is not the end: the op's body or another layout may do. So rules are asked for one node.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.emit.scribe import Scribe
from convcore.errors import UnsupportedError
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph, Origin
from convcore.plugin import NotExpressible
from convcore_pytorch.dialect import TorchDialect
from convcore_pytorch.rules import RULES

from .torch_kit import emit_model

N = Dim("N")
LAST, EPS = {"layout": "channels_last"}, {"epsilon": 1e-3}


def reason(op: str, *inputs: Any, **attrs: Any) -> str:
    """Why no rule writes the node; "" where one does. An input is a shape, (dtype, shape), ("?" is a
    dtype that is not known), an array (a weight) or None."""
    g = Graph("net")
    b = Builder(g)
    values = []
    for i, given in enumerate(inputs):
        if given is None or isinstance(given, np.ndarray):
            values.append(None if given is None else b.weight(given, f"w{i}") if given.shape else b.const(given))
        else:
            dtype, shape = given if given and isinstance(given[0], str) else ("float32", given)
            values.append(b.input(f"x{i}", None if dtype == "?" else dtype, shape))
    node = b.node(op, values, attrs)
    g.outputs = list(node.outputs[:1])
    scribe = Scribe(g, RULES, None, TorchDialect(), {}, lambda s: [])
    scribe.dialect.enter(scribe)
    scribe.node = node
    return RULES.apply_emit(scribe, node)


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


IMAGE, INT, TRUE = (2, 3, 5, 7), ("int64", (2, 3)), ("bool", (2, 3))
SMALL, QUERY, KEYS = {"kernel": (2, 2)}, (2, 3, 5, 7), (2, 3, 11, 7)
SEEN = ("bool", (5, 11))
HEADS = ((2, 5, 6), (2, 11, 6), (2, 11, 6), f32(6, 6), f32(6, 6), f32(6, 6), f32(6, 6))
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
STEPS: dict[str, tuple[Any, ...]] = {n: ((5, 2, 7), f32(1, g * 3, 7), f32(1, g * 3, 3)) for n, g in GATES.items()}
CASES: list[tuple[str, str, tuple[Any, ...], dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    # why, op, inputs and attributes that are refused, inputs and attributes that are not
    ("a slope that is not one per channel", "prelu", ((2, 3, 5), f32(3, 5)), {}, ((2, 3, 5), f32(3, 1)), {}),
    ("channels are last", "conv", ((2, 5, 7, 3), f32(11, 3, 2, 2)), LAST, (IMAGE, f32(11, 3, 2, 2)), {}),
    ("4 spatial axes", "conv", ((2, 3, 5, 5, 5, 5), f32(7, 3, 2, 2, 2, 2)), {}, ((2, 3, 5, 5, 5), f32(7, 3, 2, 2, 2)), {}),
    ("computed weights and no spatial axes", "conv", ((2, 3), (7, 3)), {}, ((2, 3), f32(7, 3)), {}),
    ("depends on a size that is not known", "conv", ((2, 3, None), f32(7, 3, 2)), {"pads": "same_upper", "strides": (2,)},
     ((2, 3, 5), f32(7, 3, 2)), {"pads": "same_upper", "strides": (2,)}),
    ("channels are last", "conv_transpose", ((2, 5, 7, 3), f32(3, 11, 2, 2)), LAST, (IMAGE, f32(3, 11, 2, 2)), {}),
    ("add elements that torch has not", "conv_transpose", (IMAGE, f32(3, 11, 2, 2)), {"pads": ((-3, 0), (0, 0))},
     (IMAGE, f32(3, 11, 2, 2)), {"pads": ((1, 0), (0, 0))}),
    ("output_padding=(2, 0) is not smaller", "conv_transpose", (IMAGE, f32(3, 11, 2, 2)), {"output_padding": (2, 0)},
     (IMAGE, f32(3, 11, 2, 2)), {"output_padding": (1, 0), "strides": (2, 2)}),
    ("0 spatial axes", "conv_transpose", ((2, 3), f32(3, 11)), {}, ((2, 3, 5), f32(3, 11, 2)), {}),
    ("of a size that is not known", "conv_transpose", ((2, 3, None), f32(3, 11, 2)), {"pads": "same_upper"},
     ((2, 3, N), f32(3, 11, 2)), {"pads": "same_upper"}),
    ("channels are last", "max_pool", ((2, 5, 7, 3),), {**SMALL, **LAST}, (IMAGE,), SMALL),
    ("4 spatial axes", "max_pool", ((2, 3, 5, 5, 5, 5),), {"kernel": (2, 2, 2, 2)}, ((2, 3, 5, 5, 5),), {"kernel": (2, 2, 2)}),
    ("a maximum of int64", "max_pool", (("int64", IMAGE),), SMALL, (IMAGE,), SMALL),
    ("a maximum of int32 with positions", "max_pool_with_indices", (("int32", IMAGE),), SMALL, (IMAGE,), SMALL),
    ("which would be counted in the padded input", "max_pool_with_indices", (IMAGE,), {**SMALL, "pads": ((1, 0), (0, 1))},
     (IMAGE,), {**SMALL, "pads": ((1, 1), (1, 1))}),
    ("places that may be equal", "max_unpool", (IMAGE, ("int64", IMAGE)), {**SMALL, "index_order": "plane"}, (), {}),
    ("places that are not those of a plane", "max_unpool", (IMAGE, ("int64", IMAGE)), SMALL, (), {}),
    ("truth values are not scattered", "scatter_elements", (TRUE, INT, TRUE), {"axis": 1}, (INT, INT, INT), {"axis": 1}),
    ("add of truth values", "scatter_nd", (TRUE, ("int64", (5, 1)), ("bool", (5, 3))), {"reduction": "add"},
     (INT, ("int64", (5, 1)), ("int64", (5, 3))), {"reduction": "add"}),
    ("places of uint8", "gather", ((2, 3), ("uint8", (5,))), {"axis": 0}, ((2, 3), ("int64", (5,))), {"axis": 0}),
    ("index vectors of N int64", "gather_nd", ((2, 3), ("int64", (5, N))), {}, ((2, 3), ("int64", (N, 2))), {}),
    ("truth values repeated at the edge", "pad", (TRUE,), {"pads": ((1, 1), (0, 0)), "mode": "edge"},
     (TRUE,), {"pads": ((1, 1), (0, 0))}),
    ("distinct truth values", "unique", (TRUE,), {}, (INT,), {}),
    ("no axes", "logsumexp", ((2, 3),), {"axes": ()}, ((2, 3),), {"axes": (1,)}),
    ("mean of int64", "mean", (INT,), {"axes": (1,)}, ((2, 3),), {"axes": (1,)}),
    ("are not the last of 3 axes", "layer_norm", ((2, 3, 5), f32(3), f32(3)), {"axes": (1,), **EPS},
     ((2, 3, 5), f32(5), f32(5)), {"axes": (2,), **EPS}),
    ("a size along axes=(1,) is not a known number", "layer_norm", ((2, N),), {"axes": (1,), **EPS},
     ((N, 2),), {"axes": (1,), **EPS}),
    ("are not the last of 3 axes", "rms_norm", ((2, 3, 5), f32(3)), {"axes": (1,), **EPS},
     ((2, 3, 5), f32(5)), {"axes": (2,), **EPS}),
    ("wants scale as a constant weight", "rms_norm", ((2, 3), (3,)), {"axes": (1,), **EPS},
     ((2, 3), f32(3)), {"axes": (1,), **EPS}),
    ("its weights are computed", "rnn", ((5, 2, 7), (1, 3, 7), (1, 3, 3)), {"hidden": 3}, STEPS["rnn"], {"hidden": 3}),
    ("activation=sigmoid", "rnn", STEPS["rnn"], {"hidden": 3, "activation": "sigmoid"},
     STEPS["rnn"], {"hidden": 3, "activation": "relu"}),
    ("its reset gate acts before the product", "gru", STEPS["gru"], {"hidden": 3, "reset_after": False},
     STEPS["gru"], {"hidden": 3, "reset_after": True}),
    ("clip=1.5", "lstm", STEPS["lstm"], {"hidden": 3, "clip": 1.5}, STEPS["lstm"], {"hidden": 3}),
    ("recurrent_activation=hard_sigmoid", "lstm", STEPS["lstm"], {"hidden": 3, "recurrent_activation": "hard_sigmoid"},
     STEPS["lstm"], {"hidden": 3}),
    ("softcap=2.0", "attention", (QUERY, KEYS, KEYS), {"softcap": 2.0}, (QUERY, KEYS, KEYS), {}),
    ("layout=heads_last", "attention", ((2, 5, 3, 7), (2, 11, 3, 7), (2, 11, 3, 7)), {"layout": "heads_last"},
     (QUERY, KEYS, KEYS), {}),
    ("a mask and causal at once", "attention", (QUERY, KEYS, KEYS, SEEN), {"causal": True},
     (QUERY, KEYS, KEYS), {"causal": True}),
    ("empty=nan", "attention", (QUERY, KEYS, KEYS, SEEN), {"empty": "nan"}, (QUERY, KEYS, KEYS, SEEN), {"empty": "zero"}),
    ("weights that are NaN count as 0", "attention", (QUERY, KEYS, KEYS), {"guard": True}, (QUERY, KEYS, KEYS), {}),
    ("weights that are NaN count as 0", "multi_head_attention", HEADS, {"heads": 3, "guard": True}, HEADS, {"heads": 3}),
    ("a mask, or fewer heads of keys", "multi_head_attention", (*HEADS, *(None,) * 4, ("bool", (5, 11))), {"heads": 3},
     (*HEADS, *(None,) * 5), {"heads": 3}),
    ("a mask, or fewer heads of keys", "multi_head_attention", HEADS, {"heads": 3, "causal": True}, HEADS,
     {"heads": 3, "kv_heads": 3}),
    ("some biases only", "multi_head_attention", (*HEADS, f32(6)), {"heads": 3}, (*HEADS, *(f32(6),) * 4), {"heads": 3}),
    ("weights that are computed", "multi_head_attention", (*HEADS[:3], (6, 6), *HEADS[4:]), {"heads": 3}, HEADS, {"heads": 3}),
    ("to another width than that of the query", "multi_head_attention", (*HEADS[:6], f32(5, 6)), {"heads": 3}, HEADS,
     {"heads": 3}),
    ("scale=0.5", "multi_head_attention", HEADS, {"heads": 3, "scale": 0.5}, HEADS, {"heads": 3, "scale": 2**-0.5}),
    ("float6_e2m3fn to int4", "cast", (("float6_e2m3fn", (2, 3)),), {"to": "int4"}, ((2, 3),), {"to": "int4"}),
    ("would be rounded twice", "cast", (("float64", (2, 3)),), {"to": "float8_e5m2"}, ((2, 3),), {"to": "float8_e5m2"}),
    ("bits of int4 read as", "bitcast", (("int4", (2, 3)),), {"to": "uint4"}, (("int8", (2, 3)),), {"to": "uint8"}),
    ("bits read as truth values", "bitcast", (("int8", (2, 3)),), {"to": "bool"}, (("bool", (2, 3)),), {"to": "uint8"}),
    ("a determinant of float16", "det", (("float16", (3, 3)),), {}, ((3, 3),), {}),
    ("the number of axes of 'x0' is not known", "slice", (("float32", None),), {"starts": (0,), "stops": (1,), "steps": (1,)},
     (), {}),
    ("places of a type that is not known", "take_along_axis", ((2, 3), ("?", (2, 1))), {"axis": 1}, ((2, 3), ("uint8", (2, 1))),
     {"axis": 1}),
    ("index vectors of 2 None", "gather_nd", ((2, 3), ("?", (5, 2))), {}, ((2, 3), ("int64", (5, 2))), {}),
    ("index vectors of 1 None", "scatter_nd", (INT, ("?", (5, 1)), ("int64", (5, 3))), {}, (INT, ("int64", (5, 1)), ("int64",
     (5, 3))), {}),
    *(("elements of a type that is not known", op, (("?", shape),), attrs, (shape,), attrs) for op, shape, attrs in (
        ("sign", (2, 3), {}), ("prod", (2, 3), {"axes": (1,)}), ("cumsum", (2, 3), {"axis": 1}), ("avg_pool", IMAGE, SMALL),
        ("resize", IMAGE, {"sizes": (5, 3), "mode": "linear", "coordinates": "asymmetric"}))),
    ("a maximum of None with positions", "max_pool_with_indices", (("?", IMAGE),), SMALL, (IMAGE,), SMALL),
    ("sum of None", "sum", (("?", (2, 3)),), {"axes": (1,)}, ((2, 3),), {"axes": (1,)}),
    ("sum of None", "dynamic_sum", (("?", (2, 3)), ("int64", (1,))), {}, ((2, 3), ("int64", (1,))), {}),
    ("None to int4", "cast", (("?", (2, 3)),), {"to": "int4"}, ((2, 3),), {"to": "int4"}),
    ("bits of None", "bitcast", (("?", (2, 3)),), {"to": "int32"}, ((2, 3),), {"to": "int32"}),
    ("4 axes of None", "resize", (("?", IMAGE),), {"sizes": (5, 3)}, (IMAGE,), {"sizes": (5, 3)}),
    ("channels are last", "roi_pool", (IMAGE, (5, 5)), {"output_size": (2, 2), "spatial_scale": 1.0, **LAST}, (IMAGE, (5, 5)),
     {"output_size": (2, 2), "spatial_scale": 1.0}),
    ("channels are last", "psroi_pool", ((2, 5, 7, 8), (5, 5)), {"group": 2, "spatial_scale": 1.0, **LAST}, ((2, 8, 5, 7),
     (5, 5)),
     {"group": 2, "spatial_scale": 1.0}),
    ("2.5 where a whole number must stand", "dynamic_one_hot", (INT, None, np.array(2.5, np.float32)), {},
     (INT, None, np.array(2, np.float32)), {}),
    ("mean of int64", "dynamic_mean", (INT, ("int64", (1,))), {}, ((2, 3), ("int64", (1,))), {}),
    ("how many axes it repeats is not known", "dynamic_tile", ((2, 3), ("int64", (N,))), {}, ((2, 3), ("int64", (2,))), {}),
    ("a Fourier transform of float16", "dynamic_dft_pairs", (("float16", (2, 5, 1)), ("int64", ())), {}, ((2, 5, 1), ("int64",
     ())), {}),
    ("how many axes its kernel has is not known", "dynamic_col2im", ((1, 4, 4), ("int64", (N,)), ("int64", (N,))), {},
     ((1, 4, 4), ("int64", (2,)), ("int64", (2,))), {}),
    ("sizes=(N, 5) is not made of numbers", "resize", ((2, 3, N),),
     {"sizes": (5,), "mode": "linear", "coordinates": "asymmetric"},
     ((2, 3, 7),), {"sizes": (5,), "mode": "linear", "coordinates": "asymmetric"}),
    ("of integers", "max_pool", (("int32", IMAGE),), {"kernel": (1, 1), "strides": (3, 5), "ceil_mode": "ceil_full"},
     (("int32", IMAGE),), {"kernel": (2, 2), "strides": (3, 5), "ceil_mode": "ceil_full"}),
    ("the size of spatial axis 1 is not known", "max_pool", ((2, 3, 5, None),),
     {"kernel": (3, 3), "strides": (2, 2), "ceil_mode": "ceil_full"},
     (IMAGE,), {"kernel": (3, 3), "strides": (2, 2), "ceil_mode": "ceil_full"}),
    ("index vectors of N int64", "scatter_nd", (INT, ("int64", (5, N)), ("int64", (5, 3))), {}, (INT, ("int64", (5, 1)),
     ("int64", (5, 3))), {}),
    ("its weights are computed", "lstm", ((5, 2, 7), f32(1, 12, 7), (1, 12, 3)), {"hidden": 3}, STEPS["lstm"], {"hidden": 3}),
    ("it has peephole", "lstm", (*STEPS["lstm"], *(None,) * 5, f32(1, 9)), {"hidden": 3}, STEPS["lstm"], {"hidden": 3}),
    ("from a cell state, under a mask", "lstm", (*STEPS["lstm"], None, None, (1, 5, 3), ("bool", (5, 2))), {"hidden": 3},
     (*STEPS["lstm"], None, None, (1, 5, 3)), {"hidden": 3}),
    ("size=2, axis=1", "lrn", (IMAGE,), {"size": 2, "axis": 1, "alpha": 0.1, "beta": 0.5, "bias": 1.0},
     (IMAGE,), {"size": 3, "axis": 1, "alpha": 0.1, "beta": 0.5, "bias": 1.0}),
    ("size=3, axis=2", "lrn", (IMAGE,), {"size": 3, "axis": 2, "alpha": 0.1, "beta": 0.5, "bias": 1.0}, (), {}),
    ("of float16", "lrn", (("float16", IMAGE),), {"size": 3, "axis": 1, "alpha": 0.1, "beta": 0.5, "bias": 1.0}, (), {}),
    ("2 axes", "lrn", ((2, 3),), {"size": 3, "axis": 1, "alpha": 0.1, "beta": 0.5, "bias": 1.0}, (), {}),
    ("pads=same_upper to 13 depends on a size", "conv_transpose", ((2, 3, N), f32(3, 5, 2)),
     {"pads": "same_upper", "output_shape": (13,)}, ((2, 3, 7), f32(3, 5, 2)), {"pads": "same_upper", "output_shape": (7,)}),
    ("a size is not known", "argmax", (("float32", (3, None)),), {"axis": 1, "last": True}, ((3, N),), {"axis": 1, "last": True}),
    *((f"{why}; sizes=(N, 5) is not made of numbers", "resize", ((2, 3, N),), {"sizes": (5,), **more}, ((2, 3, 7),),
       {"sizes": (5,), **more}) for why, more in (
        ("antialias", {"mode": "linear", "antialias": True}), ("exclude_outside", {"mode": "cubic", "exclude_outside": True}),
        ("nearest by align_corners, ceil", {"coordinates": "align_corners", "nearest": "ceil"}),
        ("nearest by asymmetric, round_prefer_ceil", {"coordinates": "asymmetric", "nearest": "round_prefer_ceil"}),
        ("cubic with a=-0.75 over 1 axes", {"mode": "cubic"}),
        ("linear by asymmetric", {"mode": "linear", "coordinates": "asymmetric"}))),
    ("cubic with a=-0.5 over 2 axes", "resize", ((2, 3, N, 7),), {"sizes": (5, 3), "mode": "cubic", "cubic_a": -0.5},
     (IMAGE,), {"sizes": (5, 3), "mode": "cubic", "cubic_a": -0.5}),
    ("an axis that keeps its size", "adaptive_avg_pool", ((2, 3, 5),), {"output_size": (None,)},
     (IMAGE,), {"output_size": (None, 3)}),
    ("it has axes", "tile", ((2, 3),), {"repeats": (N, 1)}, ((N, 3),), {"repeats": (N, 1)}),
    ("pads=((Dim('N'), 0),)", "conv_transpose", ((2, 3, 5), f32(3, 11, 2)), {"pads": ((N, 0),)},
     ((2, 3, 5), f32(3, 11, 2)), {"pads": ((1, 0),)}),
    ("pads=((1, Dim('N')),)", "conv_transpose", ((2, 3, 5), f32(3, 11, 2)), {"pads": ((1, N),)},
     ((2, 3, 5), f32(3, 11, 2)), {"pads": ((0, 1),)}),
    ("is not the size of any input", "expand", ((2, 1),), {"shape": (2, N)}, ((N, 1),), {"shape": (N, 3)}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "op", "inputs", "attrs", "fine", "others"), CASES, ids=[f"{c[1]}-{c[0][:30]}" for c in CASES])
def test_refused_and_its_neighbour(why: str, op: str, inputs: Any, attrs: Any, fine: Any, others: Any) -> None:
    assert why in reason(op, *inputs, **attrs)
    if fine:
        assert reason(op, *fine, **others) == ""


def graph_reason(make: Any) -> str:
    g = Graph("net")
    g.outputs = list(make(Builder(g, origin=Origin("test", "layer", "Layer"))))
    with pytest.raises(UnsupportedError) as e:
        emit_model(g)
    return str(e.value)


def parts_that_train(b: Any) -> Any:
    q = b.input("q", "float32", (2, 5, 6))
    ws = [b.weight(f32(6, 6), f"w{i}", trainable=i != 1, role="parameter") for i in range(4)]
    yield b.node("multi_head_attention", [q, q, q, *ws], {"heads": 2}).outputs[0]


def regions_that_are_not_written(b: Any) -> Any:
    regions = []
    for name in ("then", "other"):
        r = Graph(name)
        inner = Builder(r, origin=Origin("test", name, "Layer"))
        r.outputs = list(inner.max_pool_with_indices(inner.input("v", "float32", IMAGE), kernel=(2, 2), pads=((1, 0), (0, 1))))[
            :1
        ]
        regions.append(r)
    made = b.op("if", b.input("c", "bool", ()), b.input("x", "float32", IMAGE), regions=regions)
    yield from made if isinstance(made, tuple) else (made,)


def whole_numbers_put_back(b: Any) -> Any:
    """Places of a pool of floats; what is put there are integers."""
    made = b.max_pool_with_indices(b.input("x", "float32", IMAGE), kernel=(2, 2), strides=(2, 2), index_order="plane")
    whole = b.cast(made[0], to="int64")
    yield b.op("max_unpool", whole, made[1], kernel=(2, 2), strides=(2, 2), index_order="plane", output_shape=(5, 7))


def test_whole_numbers_are_not_unpooled() -> None:
    g = Graph("net")
    b = Builder(g)
    g.outputs = list(whole_numbers_put_back(b))
    node = next(n for n in g if n.op == "max_unpool")
    scribe = Scribe(g, RULES, None, TorchDialect(), {}, lambda s: [])
    scribe.dialect.enter(scribe)
    scribe.node = node
    assert "elements of int64" in RULES.apply_emit(scribe, node)


def test_what_only_programs_hold_is_no_function() -> None:
    """A plugin's row that reads an operator of ATen is no row that writes it."""
    for type, fine in (("aten.relu", False), ("torch.relu", True), ("F.relu", True), ("my.aten.relu", True)):
        g = Graph("net")
        scribe = Scribe(g, RULES, None, TorchDialect(), {}, lambda s: [])
        scribe.dialect.enter(scribe)
        if fine:
            assert scribe.dialect.check(scribe, type, [], {}) == ()
            continue
        with pytest.raises(NotExpressible, match=r"aten\.relu is no function of Python"):
            scribe.dialect.check(scribe, type, [], {})


def test_what_several_nodes_are_refused_for() -> None:
    said = graph_reason(regions_that_are_not_written)
    assert "2 problems" in said and "'then'" in said and "'other'" in said and said.count("counted in the padded input") == 2


def test_parts_of_a_parameter_that_do_not_all_train_stay_apart() -> None:
    """Whole layers of attention are not written then, but what they are made of."""
    g = Graph("net")
    g.outputs = list(parts_that_train(Builder(g)))
    model = emit_model(g).model()
    assert sorted(p.requires_grad for p in model.parameters()) == [False, True, True, True]


def test_types_without_a_tag(tmp_path: Path) -> None:
    g = Graph("net")
    b = Builder(g)
    x = b.input("x", "complex128", (2, 3))
    g.outputs = [b.add(x, b.weight(np.ones(3, np.complex128), "w"))]
    with pytest.raises(
        UnsupportedError, match=r"'weights' \(tensor\): is complex128, which \.safetensors files have no tag for"
    ) as e:
        emit_model(g, tmp_path / "net.py")
    assert e.value.problems[0].hint == "write .pth" and not list(tmp_path.iterdir())
