"""What no rule writes as PyTorch: each refusal on a node that has only that against it, and a neighbour that is written.

A refusal here is not the end: the op's body or another layout may do. So rules are asked for one node.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.emit.scribe import Scribe
from convcore.ir.dims import Dim
from convcore.ir.graph import Graph
from convcore_pytorch.dialect import TorchDialect
from convcore_pytorch.rules import RULES

N = Dim("N")
LAST, EPS = {"layout": "channels_last"}, {"epsilon": 1e-3}


def reason(op: str, *inputs: Any, **attrs: Any) -> str:
    """Why no rule writes the node; "" where one does. An input is a shape, (dtype, shape), an array (a weight) or None."""
    g = Graph("net")
    b = Builder(g)
    values = []
    for i, given in enumerate(inputs):
        if given is None or isinstance(given, np.ndarray):
            values.append(None if given is None else b.weight(given, f"w{i}"))
        else:
            dtype, shape = given if given and isinstance(given[0], str) else ("float32", given)
            values.append(b.input(f"x{i}", dtype, shape))
    node = b.node(op, values, attrs)
    g.outputs = list(node.outputs)
    scribe = Scribe(g, RULES, None, TorchDialect(), {}, lambda s: [])
    scribe.dialect.enter(scribe)
    scribe.node = node
    return RULES.apply_emit(scribe, node)


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


IMAGE, INT, TRUE = (2, 3, 5, 7), ("int64", (2, 3)), ("bool", (2, 3))
SMALL, QUERY, KEYS = {"kernel": (2, 2)}, (2, 3, 5, 7), (2, 3, 11, 7)
SEEN = ("bool", (5, 11))
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
    ("is not the size of any input", "expand", ((2, 1),), {"shape": (2, N)}, ((N, 1),), {"shape": (N, 3)}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "op", "inputs", "attrs", "fine", "others"), CASES, ids=[f"{c[1]}-{c[0][:30]}" for c in CASES])
def test_refused_and_its_neighbour(why: str, op: str, inputs: Any, attrs: Any, fine: Any, others: Any) -> None:
    assert why in reason(op, *inputs, **attrs)
    if fine:
        assert reason(op, *fine, **others) == ""
