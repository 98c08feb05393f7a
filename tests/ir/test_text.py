"""The text form and the file format read back exactly what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convcore.build.builder import Builder
from convcore.build.verify import problems, verify
from convcore.errors import BadFileError, OutputError
from convcore.interpreter import run
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType, type_of
from convcore.ir.graph import Graph, Origin
from convcore.ir.serialize import load, save
from convcore.ir.tensors import as_tensor, moves_of
from convcore.ir.text import parse_text, to_text
from convcore.opset import all_ops


def _graph() -> Graph:
    g = Graph('odd "name"')
    b = Builder(g)
    n = Dim("batch")
    x = b.input("x", "float32", (n, 5, 7))
    w = b.weight(np.random.default_rng(0).standard_normal((3, 7)).astype("f4"), "fc/kernel:0", trainable=True, source="a b")
    outer = g.scope("a/b", "Functional", {"trainable": False, "rates": [0.5, None]})
    fc = g.scope("fc", "Dense", {"units": 3}, parent=outer)
    again = g.scope("a/b", "Functional", call=1)
    with b.at(Origin("keras", "fc", "Dense"), fc):
        y = b.linear(x, w)
        z = b.clip(b.reshape(y, shape=(n, 15)), min=-1.5)
        parts = b.split(z, axis=1, sizes=(7, 8))
        half = b.cast(parts[1], to="float16")
    with b.at(Origin("keras", "öther, layer (2)", "X").by("fuse").by("fold"), again):
        odd = b.neg(parts[0])
    g.outputs = [odd, half]
    g.set_results(fc, [y])
    g.set_results(outer, [y, half])
    g.set_results(again, [odd])
    g.metadata = {"kind": "functional", "notes": ["a"], "version": "2.1"}
    return g


def test_text_round_trip_is_exact():
    g = _graph()
    text = to_text(g)
    back = parse_text(text, {k: v.tensor for k, v in g.weights.items() if v.tensor is not None})
    assert to_text(back) == text
    verify(back)
    x = np.random.default_rng(1).standard_normal((2, 5, 7)).astype("f4")
    for a, b in zip(run(g, x), run(back, x)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", sorted(all_ops()))
def test_every_op_round_trips(name: str, tmp_path: Path):
    decl = all_ops()[name]
    if not decl.samples or decl.regions:
        pytest.skip("no plain sample")
    for sample in decl.samples:
        g = Graph("g")
        b = Builder(g)
        arrays = sample.arrays()
        ins = [
            None if a is None else b.input(f"x{i}", type_of(a), None if type_of(a).is_container else a.shape)
            for i, a in enumerate(arrays)
        ]
        node = b.node(name, ins, sample.attrs)
        g.outputs = list(node.outputs)
        tensors: list = []
        text = to_text(g, tensors)
        back = parse_text(text, {}, tensors)
        assert to_text(back) == text
        for k, v in node.attrs.items():
            got = back.nodes[0].attrs[k]
            assert type(got) is type(v) and (got == v or (v != v and got != got)), (k, v, got)


def test_file_round_trip_is_exact(tmp_path: Path):
    g = _graph()
    save(g, tmp_path / "m.ccir")
    back = load(tmp_path / "m.ccir")
    assert to_text(back) == to_text(g)
    for name, v in g.weights.items():
        a, b = v.tensor.numpy(), back.weights[name].tensor.numpy()
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_file_is_plain_safetensors(tmp_path: Path):
    from safetensors.numpy import load_file

    g = _graph()
    save(g, tmp_path / "m.ccir")
    arrays = load_file(tmp_path / "m.ccir")
    np.testing.assert_array_equal(arrays["fc/kernel:0"], g.weights["fc/kernel:0"].tensor.numpy())


def test_weights_without_values_say_so():
    back = parse_text(to_text(_graph()))
    with pytest.raises(BadFileError, match="fc/kernel:0"):
        back.weights["fc/kernel:0"].tensor.numpy()


@pytest.mark.parametrize("cut", [0, 4, 8, 100, 400, -1])
def test_truncated_files_are_refused(tmp_path: Path, cut: int):
    save(_graph(), tmp_path / "m.ccir")
    data = (tmp_path / "m.ccir").read_bytes()
    (tmp_path / "t.ccir").write_bytes(data[:cut])
    with pytest.raises(BadFileError):
        load(tmp_path / "t.ccir")


@pytest.mark.parametrize(
    "change",
    [("linear(%x", "linear(%nowhere"), ("%fc/reshape:0 =", "%x ="), ("(7, 8)", "(7, 8"), ("graph", "grph"), ("output", "outptu")],
)
def test_damaged_text_is_refused(change: tuple[str, str]):
    text = to_text(_graph())
    assert change[0] in text
    with pytest.raises(BadFileError):
        parse_text(text.replace(*change, 1))


def test_unwritable_targets(tmp_path: Path):
    with pytest.raises(OutputError):
        save(_graph(), tmp_path)
    with pytest.raises(OutputError):
        save(_graph(), tmp_path / "none" / "m.ccir")
    assert list(tmp_path.iterdir()) == []


def test_verifier_finds_what_is_broken():
    g = _graph()
    assert problems(g) == []
    g.outputs[0].producer.attrs["bogus"] = 1
    assert any("bogus" in p for p in problems(g))
    g = _graph()
    node = g.nodes[1]
    node.outputs[0].shape = (3, 4)
    assert any("shape" in p for p in problems(g))
    g = _graph()
    g.detach(g.nodes[0])
    assert any("before it is defined" in p for p in problems(g))


@pytest.mark.parametrize("value", [np.float64(0.1), np.float64(1e-30), np.float64("-inf"), np.float32(0.5), np.int64(3)])
def test_numpy_numbers_among_attributes_are_numbers(value: object):
    """numpy.float64 is a float whose repr ("np.float64(0.1)") is none."""
    g = _graph()
    g.nodes[0].attrs["extra"] = value
    text = to_text(g)
    back = parse_text(text)
    assert back.nodes[0].attrs["extra"] == value
    assert to_text(back) == text


def test_weights_that_lie_otherwise_than_in_the_source(tmp_path: Path) -> None:
    """A file keeps what the source has and what was done to it; of a weight that was computed it keeps the result."""
    w = np.arange(15, dtype=np.float32).reshape(5, 3)
    g = Graph("turned")
    x = g.add_input("x", DType.FLOAT32, (2, 5))
    turned = g.add_weight("fc/w", as_tensor(w).transpose((1, 0)), trainable=True, source="fc.weight")
    added = g.add_weight("add/b", as_tensor(w[0]).map(lambda a: a * 2).reshape((1, 3)), source="b")
    b = Builder(g)
    g.outputs.append(b.add(b.linear(x, turned), added))
    text = str(g)
    assert '"fc.weight" of [[5, 3], [["transpose", [1, 0]]]]' in text and str(parse_text(text)) == text
    save(g, tmp_path / "g.ccir")
    back = load(tmp_path / "g.ccir")
    assert str(back) == text
    for v in (turned, added):
        assert v.tensor is not None
        np.testing.assert_array_equal(back.weights[v.name].tensor.numpy(), v.tensor.numpy())
    base, steps = moves_of(back.weights["fc/w"].tensor)
    np.testing.assert_array_equal(base.numpy(), w)
    assert [(t.kind, tuple(t.arg)) for t in steps] == [("transpose", (1, 0))]
    bad = "[[5, 3], []]", '[[5, 3], [["map", [1, 0]]]]', "[[-5, 3], []]", '[[5, 3], [["transpose", [1, 1]]]]', "[5]", "7"
    for wrong in bad:
        with pytest.raises(BadFileError):
            parse_text(text.replace('[[5, 3], [["transpose", [1, 0]]]]', wrong))
