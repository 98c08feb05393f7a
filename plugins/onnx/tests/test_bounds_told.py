"""Bounds of what is read and written, from both sides: tensors by the attribute they stand in, windows of all sizes."""

from __future__ import annotations

import io
import itertools
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import emit_model, load_model

from convcore.build.builder import Builder
from convcore.build.opaque import opaque_problems
from convcore.errors import BadFileError, ConvcoreError, UnsupportedError, UsageError
from convcore.interpreter import Interpreter
from convcore.ir.dims import Dim
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.ir.tensors import ArrayTensor
from convcore.plugin import TEXT, NotExpressible
from convcore_onnx import attributes, structure, typecheck, write
from convcore_onnx.rules.attention import _far_from_lowest


def one(kind: str, inputs: list[str], *, opset: int = 18, functions: Any = (), domain: str = "", **attrs: Any) -> Any:
    """A model of one node "n" of floats x (2, 3, 5), unchecked."""
    node = helper.make_node(kind, inputs, ["y"], "n", domain=domain, **attrs)
    info = [helper.make_tensor_value_info("x", 1, [2, 3, 5])]
    graph = helper.make_graph([node], "g", info, [helper.make_empty_tensor_value_info("y")])
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=imports, functions=functions, ir_version=10)


def why(model: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return "; ".join(f"{p.layer} ({p.type}): {p.why}" for p in opaque_problems(load_model(model)))
        except ConvcoreError as e:
            return str(e)


# ---- tensors that stand in attributes
SHORT = TensorProto(data_type=1, dims=[2, 3], raw_data=b"\0" * 23)
NEGATIVE = TensorProto(data_type=1, dims=[-2])
FEW = TensorProto(data_type=1, dims=[2], float_data=[1.0])
OUTSIDE = TensorProto(data_type=1, dims=[2], data_location=1)
WORD = TensorProto(data_type=8, dims=[1], string_data=[b"\xff"])


@pytest.mark.parametrize(
    ("tensor", "said"),
    [(SHORT, " is float32[2, 3] (24 bytes) but holds 23 bytes"), (NEGATIVE, " has the shape [-2]"),
     (FEW, " is float32[2] but holds 1 elements"), (WORD, ": string 0 is not UTF-8"),
     (OUTSIDE, ": external data in None, but the model was not read from a file")],
)  # fmt: skip
@pytest.mark.parametrize("named", ["", "c"])
def test_a_tensor_in_an_attribute_is_named_by_it(tensor: Any, said: str, named: str) -> None:
    """Tensors of constants have no name of their own, or the exporter's."""
    value = TensorProto()
    value.CopyFrom(tensor)
    value.name = named
    assert why(one("Constant", [], value=value)) == f"the attribute 'value' of node 'n' (Constant){said}"
    nameless = one("Constant", [], value=value)
    nameless.graph.node[0].name = ""
    assert why(nameless) == f"the attribute 'value' of node 'y' (Constant){said}"
    assert why(one("ConstantOfShape", ["x"], value=value)) == f"the attribute 'value' of node 'n' (ConstantOfShape){said}"
    inner = one("Constant", [], value=value).graph
    del inner.input[:]
    branch = one("If", ["x"], then_branch=inner, else_branch=inner)
    assert why(branch).startswith("the attribute 'value' of node ") and why(branch).endswith(f"(Constant){said}")


def test_sparse_tensors_and_lists_in_attributes_are_named() -> None:
    values, indices = (helper.make_tensor("", t, [1], [v]) for t, v in ((1, 2.0), (7, 6)))
    sparse = helper.make_sparse_tensor(values, indices, [2, 3])
    where = "the attribute 'sparse_value' of node 'n' (Constant)"
    assert why(one("Constant", [], sparse_value=sparse)) == f"{where}: indices do not fit 1 values of [2, 3]"
    for part, name in (("values", "values"), ("indices", "indices")):
        bad = onnx.SparseTensorProto()
        bad.CopyFrom(sparse)
        getattr(bad, part).dims[:] = [-1]
        assert why(one("Constant", [], sparse_value=bad)) == f"{where}: its {name} has the shape [-1]"
    many = one("Own", ["x"], domain="own")
    many.graph.node[0].attribute.append(onnx.AttributeProto(name="all", type=9, tensors=[FEW]))
    assert "the attribute 'all' of node 'n' (Own): tensor 0 is float32[2] but holds 1 elements" in why(many)
    del many.graph.node[0].attribute[:]
    many.graph.node[0].attribute.append(onnx.AttributeProto(name="all", type=12, sparse_tensors=[sparse]))
    assert "the attribute 'all' of node 'n' (Own): tensor 0: indices do not fit" in why(many)
    del many.graph.node[0].attribute[:]
    odd = onnx.AttributeProto.FromString(b"\n\x03odd\xa0\x01\x63")  # name, and 99 as type, of which proto2 makes an unknown field
    many.graph.node[0].attribute.append(odd)
    assert "odd" not in why(many)


def test_a_function_s_tensor_is_named_by_the_function() -> None:
    imports = [helper.make_opsetid("", 18)]
    body = [helper.make_node("Constant", [], ["c"]), helper.make_node("Add", ["a", "c"], ["b"])]
    body[0].attribute.append(onnx.AttributeProto(name="value", type=4, ref_attr_name="held"))
    f = helper.make_function("own", "F", ["a"], ["b"], body, imports)
    f.attribute_proto.append(onnx.AttributeProto(name="held", type=4, t=FEW))
    said = why(one("F", ["x"], functions=[f], domain="own"))
    assert said == "the attribute 'held' of function 'F' is float32[2] but holds 1 elements"


def test_a_sparse_weight_of_a_branch_that_is_inlined() -> None:
    """A condition that is known leaves one branch, whose nodes join the graph."""
    values, indices = helper.make_tensor("w", 1, [2], [2.0, 3.0]), helper.make_tensor("i", 7, [2], [0, 4])
    branch = helper.make_graph([helper.make_node("Add", ["x", "w"], ["r"])], "b", [], [helper.make_empty_tensor_value_info("r")])
    branch.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))
    model = one("If", ["k"], then_branch=branch, else_branch=branch)
    model.graph.initializer.append(helper.make_tensor("k", 9, [], [True]))
    x = np.zeros((2, 3, 5), "f4")
    np.testing.assert_array_equal(Interpreter(load_model(model)).run([x])[0], x + np.array([2, 0, 0, 0, 3], "f4"))


# ---- windows
def windows() -> list[tuple[str, dict[str, Any], int]]:
    """Poolings of one axis: 120 of all of these sizes, of which each edge of a condition is one."""
    rng = random.Random(11)
    found = []
    for n, k, s, d, pads in itertools.product(range(1, 9), (1, 2, 3), (1, 2, 3, 4), (1, 2), ((0, 0), (1, 0), (0, 1), (1, 1))):
        for mode in ("floor", "ceil", "ceil_full"):
            reach = d * (k - 1) + 1
            if reach > n + sum(pads) or max(pads) >= k or (mode == "ceil_full" and pads != (0, 0)):
                continue
            found.append(({"kernel": (k,), "strides": (s,), "dilations": (d,), "pads": (pads,), "ceil_mode": mode}, n))
    ops = ("max_pool", "avg_pool", "avg_pool with", "lp_pool")
    return [(ops[i % 4], window, n) for i, (window, n) in enumerate(rng.sample(found, 240))]


@pytest.mark.parametrize("opset", [10, 18, 22])
def test_windows_of_all_sizes(opset: int) -> None:
    """Written and run by onnxruntime; what it, or the standard of that time, has no form for is written as other operators."""
    ort = pytest.importorskip("onnxruntime")
    g = Graph("g")
    b = Builder(g)
    given = {n: b.input(f"x{n}", "float32", (1, 2, n)) for n in range(1, 9)}
    for op, window, n in windows():
        if "avg" in op and window["ceil_mode"] == "ceil_full" and window["strides"] > window["kernel"]:
            continue  # a mean of nothing
        if opset < 19 and window["dilations"] != (1,) and op != "max_pool":
            continue
        more: dict[str, Any] = {"count_include_pad": True} if "with" in op else {"p": 3.0} if op == "lp_pool" else {}
        g.outputs.append(b.op(op.split()[0], given[n], layout="channels_first", **window, **more))
    feeds = {f"x{n}": np.random.default_rng(n).normal(size=(1, 2, n)).astype("f4") for n in given}
    want = Interpreter(g).run(feeds)
    made = emit_model(g, opset)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for node, a, w in zip(g.outputs, session.run(None, feeds), want):
        np.testing.assert_allclose(a, w, rtol=1e-5, atol=1e-6, err_msg=str(node.producer.attrs if node.producer else ""))


def kinds(make: Callable[[Builder, Any], Any], shape: Any = (1, 2, 6, 10), opset: int = 18) -> list[str]:
    g = Graph("g")
    b = Builder(g)
    g.outputs = [make(b, b.input("x", "float32", shape))]
    return [n.op_type for n in emit_model(g, opset).graph.node]


def test_norms_of_windows_that_onnx_has() -> None:
    """p is a whole number there, and runtimes disagree where sizes are rounded up."""
    for p, has in ((1.0, True), (2.0, True), (3.0, True), (2.5, False), (0.5, False)):
        made = kinds(lambda b, x, p=p: b.lp_pool(x, kernel=(2, 3), p=p))
        assert (made == ["LpPool"]) is has and ("AveragePool" in made) is not has
    assert "LpPool" not in kinds(lambda b, x: b.lp_pool(x, kernel=(2, 4), strides=(2, 4), p=2.0, ceil_mode="ceil"))
    assert "LpPool" in kinds(lambda b, x: b.lp_pool(x, kernel=(2, 2), dilations=(2, 1), p=2.0), opset=18)
    with pytest.raises(UnsupportedError, match="dilations need opset 18"):
        kinds(lambda b, x: b.lp_pool(x, kernel=(2, 2), dilations=(2, 1), p=2.0), opset=17)
    with pytest.raises(UnsupportedError, match="dilations need opset 19"):
        kinds(lambda b, x: b.avg_pool(x, kernel=(2, 2), dilations=(2, 1)), opset=18)
    with pytest.raises(UnsupportedError, match="dilations need opset 10"):
        kinds(lambda b, x: b.max_pool(x, kernel=(2, 2), dilations=(2, 1)), opset=9)


def test_a_norm_was_a_float_in_the_first_opset() -> None:
    for p, said in ((2.5, ""), (3.0, ""), (0.0, "must be positive"), (float("inf"), "must be positive")):
        found = why(one("LpPool", ["x"], opset=1, p=p, kernel_shape=[2]))
        assert (said in found) if said else not found


def test_errors_of_models_are_of_files() -> None:
    with pytest.raises(BadFileError, match="node 'n'"):
        load_model(one("Constant", [], value=SHORT))


# ---- what an operator takes and gives
F32, F64, I64, BF16 = DType.FLOAT32, DType.FLOAT64, DType.INT64, DType.BFLOAT16
TYPES: list[tuple[str, int, list[Any], dict[str, Any], Any]] = [
    # operator, opset, types of its inputs, attributes, and the types of its results or why not
    ("Add", 18, [F32, F32], {}, [F32]), ("Add", 18, [F32, F64], {}, "Add takes no float64 as B beside float32"),
    ("Add", 18, [None, F64], {}, [F64]), ("Add", 18, [], {}, [None]),
    ("Relu", 13, [DType.INT32], {}, r"Relu takes no int32 as X before opset 14 \(opset=14\)"),
    ("Relu", 18, [DType.BOOL], {}, "Relu takes no bool as X$"), ("Relu", 14, [DType.INT32], {}, [DType.INT32]),
    ("Gelu", 18, [F32], {}, r"Gelu needs opset 20 \(opset=20\)"), ("Gelu", 20, [F32], {}, [F32]),
    ("NoSuch", 18, [F32], {}, "NoSuch does not exist in opset 18"),
    ("Cast", 18, [F32], {"to": DType.INT4}, "Cast gives no int4 in opset 18"),
    ("Cast", 21, [F32], {"to": DType.INT4}, [DType.INT4]),
    ("Cast", 18, [F32], {"to": 7}, [I64]), ("Cast", 18, [F32], {"to": 99}, [None]),
    ("Concat", 18, [F32, F32, F32], {}, [F32]), ("Concat", 18, [F32, F32, F64], {}, "Concat takes no float64 as inputs beside"),
    ("Shape", 18, [F32], {}, [I64]), ("Greater", 18, [F32, F32], {}, [DType.BOOL]), ("TopK", 18, [F64, I64], {}, [F64, I64]),
    ("TopK", 18, [F64, F64], {}, "TopK takes no float64 as K$"), ("Where", 18, [DType.BOOL, F32, F32], {}, [F32]),
    ("Loop", 18, [I64, DType.BOOL, F32, F64], {}, [F32]), ("Relu", 18, [F32, F64], {}, [F32]),
    ("SequenceConstruct", 18, [F32, F32], {}, [F32.sequence]), ("SequenceAt", 18, [F32.sequence, I64], {}, [F32]),
    ("SequenceAt", 18, [None, I64], {}, [None]), ("SequenceConstruct", 18, [None], {}, [None]),
    ("SequenceEmpty", 18, [], {}, [F32.sequence]), ("SequenceEmpty", 18, [], {"dtype": 7}, [I64.sequence]),
    ("Optional", 18, [F32], {}, [F32.optional]), ("OptionalGetElement", 18, [F32.optional], {}, [F32]),
    ("ConstantOfShape", 18, [I64], {}, [None]), ("BitCast", 26, [F32], {"to": DType.INT32}, [DType.INT32]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "opset", "given", "attrs", "want"), TYPES, ids=[f"{i} {t[0]}" for i, t in enumerate(TYPES)])
def test_types_that_an_operator_takes(kind: str, opset: int, given: Any, attrs: Any, want: Any) -> None:
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip("the installed onnx is older")
    if isinstance(want, str):
        with pytest.raises(NotExpressible, match=want):
            typecheck.result_types(kind, opset, given, attrs)
    else:
        assert typecheck.result_types(kind, opset, given, attrs) == want


def test_what_an_opset_can_give() -> None:
    assert typecheck.gives("ConstantOfShape", 18, F32) and not typecheck.gives("ConstantOfShape", 18, BF16)
    assert typecheck.gives("ConstantOfShape", 20, BF16) and not typecheck.gives("NoSuch", 18, F32)
    assert typecheck.gives("Shape", 18, I64) and not typecheck.gives("Shape", 18, F32)
    assert typecheck.same_operator("Relu", 14, 18) and not typecheck.same_operator("Relu", 13, 18)
    assert not typecheck.same_operator("Relu", None, 18) and not typecheck.same_operator("NoSuch", 14, 18)
    assert typecheck.text_type("tensor(float)") is F32 and typecheck.text_type("seq(tensor(int64))") is I64.sequence
    assert typecheck.text_type("optional(seq(tensor(double)))") is F64.sequence.optional and typecheck.text_type("odd") is None


# ---- what is written
def number(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


@pytest.mark.parametrize("n", [0, 1, 127, 128, 129, 16383, 16384, 1 << 40])
def test_numbers_of_seven_bits_each(n: int) -> None:
    assert write._varint(n) == number(n)


WEIGHT = ArrayTensor(np.arange(6, dtype="f4").reshape(2, 3))
VALUES: list[tuple[Any, str, Any]] = [
    (True, "INT", 1), (3, "INT", 3), (np.int64(4), "INT", 4), (DType.FLOAT64, "INT", 11), (2.5, "FLOAT", 2.5),
    (np.float32(1.5), "FLOAT", 1.5), ("text", "STRING", b"text"), (b"\xff", "STRING", b"\xff"),
    ([1, np.int64(2)], "INTS", [1, 2]),
    ((), "INTS", []), ([1.5, 2, np.float32(3)], "FLOATS", [1.5, 2, 3]), (["a", b"b"], "STRINGS", [b"a", b"b"]),
    (WEIGHT, "TENSOR", WEIGHT.numpy()), (ArrayTensor(np.array(["é"], object)), "TENSOR", np.array(["é"], object)),
    (ArrayTensor(np.arange(3, dtype=">i2")), "TENSOR", np.arange(3)),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "want"), VALUES, ids=range(len(VALUES)))
def test_values_of_attributes(value: Any, kind: str, want: Any) -> None:
    a = onnx.AttributeProto(name="k")
    write._attribute(a, value, SimpleNamespace(name="n", type="T"))
    assert onnx.AttributeProto.AttributeType.Name(a.type) == kind
    got = helper.get_attribute_value(a)
    if kind == "TENSOR":
        held = numpy_helper.to_array(got)
        np.testing.assert_array_equal(
            np.asarray([s.decode() for s in got.string_data], object) if got.data_type == 8 else held, want
        )
    else:
        assert (list(got) if isinstance(want, list) else got) == want


def test_a_value_that_has_no_form() -> None:
    with pytest.raises(NotExpressible, match=r"node 'n' \(T\): attribute k=\{\} has no ONNX form"):
        write._attribute(onnx.AttributeProto(name="k"), {}, SimpleNamespace(name="n", type="T"))


def weights(*sizes: int) -> Graph:
    """The product of x by vectors of so many floats, joined."""
    g = Graph("g")
    b = Builder(g)
    x = b.input("x", "float32", (1,))
    g.outputs = [b.mul(x, b.weight(np.arange(n, dtype="f4"), f"w{i}")) for i, n in enumerate(sizes)]
    return g


def test_small_tensors_stay_in_the_model(tmp_path: Path) -> None:
    """Below 1024 bytes; the others lie at whole pages, zeros between them."""
    assert (write.LIMIT, write.SMALL, write.ALIGNMENT) == (2**31 - 2**20, 1024, 4096)
    made = emit_model(weights(255, 256, 1025, 300), out=tmp_path / "m.onnx", external_data="always")
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    held = {t.name: {e.key: e.value for e in t.external_data} for t in proto.graph.initializer}
    at = {"w1": 0, "w2": 4096, "w3": 12288}
    sizes = {"w1": 1024, "w2": 4100, "w3": 1200}
    assert held == {
        "w0": {},
        **{k: {"location": "m.onnx.data", "offset": str(at[k]), "length": str(n)} for k, n in sizes.items()},
    }
    data = (tmp_path / "m.onnx.data").read_bytes()
    assert len(data) == 12288 + 1200 and not any(data[1024:4096]) and not any(data[4096 + 4100 : 12288])
    assert [Path(p).name for p in made.paths] == ["m.onnx", "m.onnx.data"]
    alone = emit_model(weights(255), out=tmp_path / "s.onnx", external_data="always")
    assert [Path(p).name for p in alone.paths] == ["s.onnx"] and not (tmp_path / "s.onnx.data").exists()


def test_how_large_a_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 bytes are counted for what stands around each tensor."""
    g = weights(500, 501)
    model = emit_model(g.clone())
    del model.graph.initializer[:]
    whole = len(model.graph.SerializeToString()) + 4 * 1001 + 2 * 256
    for limit, fits in ((whole + 1, True), (whole, False)):
        monkeypatch.setattr(write, "LIMIT", limit)
        assert len(emit_model(g.clone(), out=tmp_path / f"{limit}.onnx").paths) == (1 if fits else 2)
        if fits:
            emit_model(g.clone(), out=tmp_path / f"n{limit}.onnx", external_data="never")
        else:
            with pytest.raises(UsageError, match="the model exceeds the 2 GiB an ONNX file may have; allow external_data"):
                emit_model(g.clone(), out=tmp_path / f"n{limit}.onnx", external_data="never")
    for limit, fits in ((4 * 1001 + 1, True), (4 * 1001, False)):
        monkeypatch.setattr(write, "LIMIT", limit)
        if fits:
            emit_model(g.clone())
        else:
            with pytest.raises(UsageError, match="2 GiB a ModelProto may have"):
                emit_model(g.clone())


def test_a_tensor_writes_what_it_declares() -> None:
    file = io.BytesIO()
    write._write_tensor(file, SimpleNamespace(nbytes=3, write_to=lambda f: f.write(b"123")))
    with pytest.raises(UsageError, match="a tensor declared with 4 bytes wrote 3"):
        write._write_tensor(file, SimpleNamespace(nbytes=4, write_to=lambda f: f.write(b"123")))


# ---- wiring
def info(**kind: Any) -> Any:
    return helper.make_tensor_value_info("v", 1, [2]) if not kind else onnx.ValueInfoProto(name="v", type=onnx.TypeProto(**kind))


def test_declared_types() -> None:
    dim: Any = lambda text: f"<{text}>"  # noqa: E731
    free: Any = lambda i: f"free{i}"  # noqa: E731
    told = helper.make_tensor_value_info("v", 1, ["N", 3, None, "?", "unk__7", "-1", "unk__x", 0])
    told.type.tensor_type.shape.dim[7].dim_value = -1
    assert structure.declared_type(told, dim, free) == (
        F32, ("<N>", 3, "free2", "free3", "free4", "free5", "<unk__x>", "free7"), ""
    )  # fmt: skip
    assert structure.declared_type(onnx.ValueInfoProto(name="v"), dim, free) == (None, None, "")
    assert structure.declared_type(helper.make_tensor_value_info("v", 1, None), dim, free) == (F32, None, "")
    odd = helper.make_tensor_value_info("v", 99, [1])
    assert structure.declared_type(odd, dim, free) == (None, (1,), "its element type 99 is not supported")
    none = helper.make_tensor_value_info("v", 0, [1])
    assert structure.declared_type(none, dim, free) == (None, (1,), "")
    tensor = helper.make_tensor_type_proto(1, [2])
    seq, opt = helper.make_sequence_type_proto(tensor), helper.make_optional_type_proto(tensor)
    for kind, want in ((seq, F32.sequence), (opt, F32.optional), (helper.make_optional_type_proto(seq), F32.sequence.optional)):
        assert structure.declared_type(helper.make_value_info("v", kind), dim, free) == (want, None, "")
    for kind in (
        helper.make_sequence_type_proto(seq),
        helper.make_sequence_type_proto(opt),
        helper.make_optional_type_proto(opt),
    ):
        said = structure.declared_type(helper.make_value_info("v", kind), dim, free)
        name = "sequence" if kind.HasField("sequence_type") else "optional"
        assert said == (None, None, f"it is a {name} of a kind that is not supported")
    sparse = helper.make_sparse_tensor_type_proto(1, [2])
    assert structure.declared_type(helper.make_value_info("v", sparse), dim, free)[2].startswith(
        "it is a sparse_tensor of a kind"
    )


@pytest.mark.parametrize("version, fits", [(0, True), (1, True), ((1 << 31) - 1, True), (1 << 31, False), (-1, False)])
def test_versions_of_operator_sets(version: int, fits: bool) -> None:
    imports = [helper.make_opsetid("own", version), helper.make_opsetid("ai.onnx", 18)]
    if fits:
        assert structure.opsets_of(imports, "the model") == {"own": version, "": 18}
    else:
        with pytest.raises(BadFileError, match=f"the model imports version {version} of the operator set 'own'"):
            structure.opsets_of(imports, "the model")


def test_names_of_sizes_are_expressions_in_files_of_ours_only() -> None:
    assert structure.read_dim("a-b", False) == Dim("a-b") and structure.read_dim("a - b", True) == Dim("a") - Dim("b")
    assert structure.read_dim("batch", True) == Dim("batch") == structure.read_dim("batch", False)
    assert structure.read_dim("a b ??", True) == Dim("a b ??")


def node(kind: str, ins: list[str], outs: list[str]) -> Any:
    return helper.make_node(kind, ins, outs, f"n_{outs[0] if outs else ''}")


def test_nodes_in_the_order_they_run() -> None:
    nodes = [node("C", ["b"], ["c"]), node("D", ["x"], ["d", ""]), node("B", ["a", ""], ["b"]), node("A", ["x"], ["a"])]
    read = structure.names_read(nodes)
    assert [n.op_type for n in structure.ordered(nodes, read, lambda n: n == "x", "g")] == ["D", "A", "B", "C"]
    nodes.append(node("E", ["c", "f"], ["e"]))
    nodes.append(node("F", ["e"], ["f"]))
    with pytest.raises(BadFileError, match=r"g: cycle through 'n_e' \(E\), 'n_f' \(F\)$"):
        structure.ordered(nodes, structure.names_read(nodes), lambda n: n == "x", "g")
    many = [node("R", [f"v{(i + 1) % 6}"], [f"v{i}"]) for i in range(6)]
    with pytest.raises(BadFileError, match=r"'n_v0' \(R\), 'n_v1' \(R\), 'n_v2' \(R\), 'n_v3' \(R\)$"):
        structure.ordered(many, structure.names_read(many), lambda n: False, "g")


# ---- attributes of files that do not state their types
def every_kind() -> list[Any]:
    tensor, graph = helper.make_tensor("t", 1, [1], [2.5]), one("Relu", ["x"]).graph
    sparse = helper.make_sparse_tensor(helper.make_tensor("v", 1, [1], [2.0]), helper.make_tensor("i", 7, [1], [3]), [5])
    kind = helper.make_tensor_type_proto(1, [2])
    values = (1.5, 3, "s", tensor, graph, [1.5, 2.5], [3, 4], ["a", "b"], [tensor], [graph], sparse, [sparse], kind, [kind])
    return [helper.make_attribute("k", v) for v in values]


def test_the_kind_of_an_attribute_is_seen_by_what_it_holds() -> None:
    """AttributeProto.AttributeType (onnx.proto): files of IR version 1 give none."""
    seen = set()
    for a in every_kind():
        stated = a.type
        assert attributes.attribute_kind(a) == stated
        a.ClearField("type")
        assert attributes.attribute_kind(a) == stated
        seen.add(stated)
    assert seen == set(range(1, 15)) and attributes.attribute_kind(onnx.AttributeProto(name="k")) == 7


def test_the_value_of_each_kind() -> None:
    got = [attributes.value(a, a.type, "where", "scope", "", "of node 'n' (T)") for a in every_kind()]
    assert got[:3] == [1.5, 3, "s"] and got[5:8] == [(1.5, 2.5), (3, 4), ("a", "b")]
    assert got[3].numpy().tolist() == [2.5] and [t.numpy().tolist() for t in got[8]] == [[2.5]]
    assert got[10].numpy().tolist() == [0, 0, 0, 2, 0] and [t.numpy().tolist() for t in got[11]] == [[0, 0, 0, 2, 0]]
    assert [(g.scope, g.where, g.proto.name) for g in (got[4], *got[9])] == [("scope", "where", "g")] * 2
    assert got[12].tensor_type.elem_type == 1 and [t.tensor_type.elem_type for t in got[13]] == [1]
    with pytest.raises(BadFileError, match=r"the attribute 'k' of node 'n' \(T\) has the unknown type 15"):
        attributes.value(every_kind()[0], 15, "where", "scope", "", "of node 'n' (T)")


def test_values_as_they_are_shown() -> None:
    """An attribute as JSON-like data; floats as short as they are the same float32."""
    tensor = attributes.value(every_kind()[3], 4, None, None, "", "")
    sub = attributes.value(every_kind()[4], 5, None, None, "", "")
    assert attributes.plain((1, 2.5, "a", True, None)) == [1, 2.5, "a", True, None] and attributes.plain(b"\xffa") == "\\xffa"
    assert attributes.plain(sub) == "graph g" and attributes.plain([tensor]) == [str(tensor)]
    for v in (0.01, 0.1, 1e30, 1.5):
        assert attributes.short_float(float(np.float32(v))) == v
    assert str(attributes.short_float(-0.0)) == "-0.0"


def test_sizes_that_onnx_holds() -> None:
    """``int64 dim_value``."""
    for n, fits in ((1 << 61, True), (1 << 62, False)):
        g = Graph("g")
        b = Builder(g)
        g.outputs = [b.tile(b.input("x", "float32", (n,)), repeats=(2,))]
        if fits:
            assert emit_model(g).graph.output[0].type.tensor_type.shape.dim[0].dim_value == 2 * n
        else:
            with pytest.raises(UnsupportedError, match=f"its size {2 * n} does not fit ONNX"):
                emit_model(g)


@pytest.mark.parametrize("n, known", [(1 << 20, True), ((1 << 20) + 1, False)])
def test_how_many_numbers_of_a_mask_are_looked_at(n: int, known: bool) -> None:
    b = Builder(Graph("g"))
    v = b.weight(np.lib.stride_tricks.as_strided(np.zeros(1, "f4"), (n,), (0,)), "w")
    assert _far_from_lowest(v, float(np.finfo("f4").min)) is known


@pytest.mark.parametrize("share, far", [(1 / 64, True), (1 / 63, False)])
def test_how_far_from_the_lowest_a_mask_is(share: float, far: bool) -> None:
    low = float(np.finfo("f4").min)
    b = Builder(Graph("g"))
    assert _far_from_lowest(b.weight(np.full(2, low * share, "f4"), "w"), low) is far


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "float32", "float64"])
def test_quotients_rounded_down(dtype: str) -> None:
    """Of every sign, by an infinite number and by zero, as numpy has them."""
    ort = pytest.importorskip("onnxruntime")
    kind = np.dtype(dtype)
    x = np.array([7, -7, 6, -6, 0, 5, 1, -1], dtype if kind.kind != "u" else "int64").astype(kind)
    y = np.array([2, 2, -3, 4, -5, 5, -2, 3], "int64").astype(kind)
    if kind.kind == "u":
        x, y = np.abs(x), np.maximum(np.abs(y), 1)
    if kind.kind == "f":
        x = np.concatenate([x, np.array([3, -3, 3, -3, 0.5, -0.5], kind)])
        y = np.concatenate([y, np.array([np.inf, np.inf, -np.inf, -np.inf, 0.25, 0.75], kind)])
    for op, want in (("floor_div", np.floor_divide(x, y)), ("floor_mod", None if kind.kind == "f" else np.mod(x, y))):
        if want is None or (dtype in ("int8", "uint8") and op == "floor_div"):
            continue
        g = Graph("g")
        b = Builder(g)
        g.outputs = [b.op(op, b.input("x", dtype, x.shape), b.input("y", dtype, y.shape))]
        session = ort.InferenceSession(emit_model(g).SerializeToString(), providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {"x": x, "y": y})[0], want)


BOUNDS: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    # what it is, sizes or the like of its inputs, attributes, and the shape of its result (a text: why not)
    ("Flatten", (), {"axis": 0}, (1, 30)), ("Flatten", (), {"axis": -3}, (1, 30)), ("Flatten", (), {"axis": 3}, (30, 1)),
    ("Flatten", (), {"axis": -4}, "axis=-1 is out of"),
    ("Reshape", ([0, -1],), {}, (2, 15)), ("Reshape", ([-1, -1],), {}, "more than one -1"),
    ("Reshape", ([-2, 15],), {}, "a size -2"),
    ("Reshape", ([4, -1],), {}, "30 elements do not divide by 4"), ("Reshape", ([0, 0, 0],), {}, (2, 3, 5)),
    ("Expand", ([4, 1, 1, 1],), {}, (4, 2, 3, 5)), ("Expand", ([3],), {}, "3|5"), ("Expand", ([1],), {}, (2, 3, 5)),
    ("Slice", ([0], [1], [0]), {}, (1, 3, 5)), ("Slice", ([0], [1], [-1]), {}, (2, 3, 1)), ("Slice", ([0], [1], [3]), {}, "of 3"),
    ("Slice", ([0], [1], [-4]), {}, "of 3"), ("Slice", ([0, 0], [1], [0]), {}, "2 starts, 1 ends and 2 steps"),
    ("Slice", ([0, 0], [1, 1], [0, 0]), {}, "2 values for the axes"),
    ("Slice", ([0, 0], [1, 1], [0]), {}, "2 values for the axes"),
    ("Slice", ([-9], [-2147483647], [2], [-1]), {}, (2, 3, 1)), ("Slice", ([0], [2147483647], [2]), {}, (2, 3, 5)),
    ("Slice", ([4], [-2147483648], [2], [-1]), {}, (2, 3, 5)), ("Slice", ([-1], [-9], [2], [-2]), {}, (2, 3, 3)),
    ("Squeeze", (), {}, (2, 3, 5)), ("Unsqueeze", ([0, -1],), {}, (1, 2, 3, 5, 1)), ("Trilu", (np.int64(1),), {}, (2, 3, 5)),
    ("Trilu", (np.array([1, 2]),), {}, "must hold one number, it has 2|one"), ("Tile", ([1, 2, 3],), {}, (2, 6, 15)),
    ("Pad", ([0, 1, 0, 0, 0, 2],), {}, (2, 4, 7)), ("Pad", ([1, 1], np.float32(0), [2]), {}, (2, 3, 7)),
    ("Pad", ([1, 1], np.float32(0), [3]), {}, "of 3"), ("Pad", ([1, 1], np.array([1, 2], "f4"), [2]), {}, "value is one number"),
    ("Pad", ([1, 1], np.array([1], "f4"), [2]), {}, (2, 3, 7)),
    ("Pad", ([0, 1, 0, 0, 0, 2],), {"mode": "odd"}, "odd"), ("Split", ([1, 2],), {"axis": 1}, "2 sizes for 1 outputs"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more", "attrs", "want"), BOUNDS, ids=[f"{i} {x[0]}" for i, x in enumerate(BOUNDS)])
def test_positions_and_axes(kind: str, more: Any, attrs: dict[str, Any], want: Any) -> None:
    model = one(kind, ["x", *(f"i{k}" for k in range(len(more)))], **attrs)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), f"i{k}") for k, v in enumerate(more))
    said = why(model)
    if isinstance(want, str):
        assert any(w in said for w in want.split("|")), said
        return
    assert not said
    graph = load_model(model)
    assert graph.outputs[0].shape == want
    ort = pytest.importorskip("onnxruntime")
    x = np.arange(30, dtype="f4").reshape(2, 3, 5)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(Interpreter(graph).run([x])[0], session.run(None, {"x": x})[0])


# ---- what is not known
def test_two_sizes_that_depend_on_the_data() -> None:
    """One is what is left of the elements, two are told when it runs."""
    ints = [helper.make_tensor_value_info(n, 7, [1]) for n in "ab"]
    for names, op in ((["a", "b", "five"], "dynamic_reshape"), (["a", "three", "five"], "reshape")):
        nodes = [helper.make_node("Concat", names, ["s"], axis=0), helper.make_node("Reshape", ["x", "s"], ["y"], "n")]
        model = one("Relu", ["x"])
        model.graph.input.extend(ints)
        model.graph.initializer.extend(numpy_helper.from_array(np.array([n]), k) for k, n in (("three", 3), ("five", 5)))
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        graph = load_model(model)
        assert not opaque_problems(graph) and op in [n.op for n in graph]
        x = np.arange(30, dtype="f4").reshape(2, 3, 5)
        feeds = {"x": x, "a": np.array([2]), "b": np.array([3])}
        got = Interpreter(graph).run({v.name: feeds[v.name] for v in graph.inputs})[0]
        np.testing.assert_array_equal(got, x)


def test_what_follows_an_operator_that_nobody_knows() -> None:
    """Its type is not known, nor that of what is made of it: the one problem is the operator."""
    held = [numpy_helper.from_array(np.ones(3, "f4"), n) for n in ("s", "b", "m", "v")]
    for kind, more in (("BatchNormalization", ["s", "b", "m", "v"]), ("Gelu", []), ("LayerNormalization", ["s"]), ("Mod", ["t"]),
                       ("CastLike", []), ("Trilu", []), ("Gemm", ["s"])):  # fmt: skip
        model = one("Relu", ["x"], opset=20)
        model.opset_import.append(helper.make_opsetid("own", 1))
        del model.graph.node[:]
        other = ["x"] if kind == "CastLike" else []
        model.graph.node.append(helper.make_node("Mine", ["x"], ["t"], "m", domain="own"))
        ins = [*other, "t", *more] if kind == "CastLike" else ["t", *more]
        model.graph.node.append(helper.make_node(kind, ins, ["y"], "n"))
        model.graph.initializer.extend(t for t in held if t.name in more)
        assert [p.type for p in opaque_problems(load_model(model))] == ["own.Mine"], kind


def test_a_definition_inside_a_function_takes_what_its_caller_gives() -> None:
    """Made for each call: attributes of the node and those of the function that it refers to."""
    info = helper.make_tensor_value_info
    body = helper.make_node("NegativeLogLikelihoodLoss", ["a", "t"], ["b"], ignore_index=1)
    body.attribute.append(onnx.AttributeProto(name="reduction", type=3, ref_attr_name="how"))
    f = helper.make_function("own", "F", ["a", "t"], ["b"], [body], [helper.make_opsetid("", 18)], ["how"])
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("f4")
    t = np.array([0, 1, 2, 1])
    for how in ("sum", "mean", "none"):
        graph = helper.make_graph([helper.make_node("F", ["x", "t"], ["y"], "n", domain="own", how=how)], "g",
                                  [info("x", 1, [4, 3]), info("t", 7, [4])],
                                  [helper.make_empty_tensor_value_info("y")])  # fmt: skip
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        loaded = load_model(helper.make_model(graph, opset_imports=imports, functions=[f], ir_version=8))
        assert not opaque_problems(loaded)
        each = np.where(t == 1, 0, -x[np.arange(4), t])
        want = {"sum": each.sum(), "mean": each.sum() / 2, "none": each}[how]
        np.testing.assert_allclose(Interpreter(loaded).run({"x": x, "t": t})[0], want, rtol=1e-5)


def test_texts_of_a_node_that_are_seldom(tmp_path: Path) -> None:
    """Also what nodes hardly ever have is looked at."""
    for field in ("name", "overload", "metadata_props"):
        model = one("Relu", ["x"])
        node = model.graph.node[0]
        if field == "metadata_props":
            node.metadata_props.add(key="k", value="x" * (TEXT + 1))
        else:
            setattr(node, field, "x" * (TEXT + 1))
        path = tmp_path / f"{field}.onnx"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(BadFileError, match=f"of {TEXT + 1:,} characters"):
            load_model(path)


SYMBOLIC: list[tuple[str, Callable[[Builder, Any], Any]]] = [
    ("pads=(u, 0, 0, 0) is not made of integers", lambda b, x: b.max_pool(x, kernel=(2, 2), pads=((Dim("u"), 0), (0, 0)))),
    ("pads=((0, 0), (0, u)) is symbolic",
     lambda b, x: b.conv(x, b.weight(np.ones((5, 2, 2, 2), "f4"), "w"), pads=((0, 0), (0, Dim("u"))))),
    ("kernel_shape is not a known number", lambda b, x: b.conv(x, b.input("w", "float32", (5, 2, Dim("k"), 2)))),
]  # fmt: skip


@pytest.mark.parametrize(("said", "make"), SYMBOLIC, ids=range(len(SYMBOLIC)))
def test_attributes_hold_numbers(said: str, make: Any) -> None:
    with pytest.raises(UnsupportedError) as caught:
        kinds(make)
    assert said in str(caught.value)


def test_names_that_a_subgraph_takes_from_outside() -> None:
    """An input that is left out, "", is none; nor is what it makes, holds or is given."""
    held = helper.make_tensor("w", 1, [1], [2.0])
    nodes = [node("Clip", ["a", "", "top"], ["b"]), node("Add", ["b", "w"], ["c"]), node("Add", ["c", "given"], ["d"])]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("given", 1, [1])],
                              [helper.make_empty_tensor_value_info(o) for o in ("d", "out")], [held])  # fmt: skip
    assert structure.free_names(graph, 0) == ["a", "top", "out"]
    choice = helper.make_node("If", ["c"], ["r"], then_branch=graph, else_branch=graph)
    outer = helper.make_graph([choice, node("X", ["q"], ["a"])], "o", [], [])
    assert structure.free_names(outer, 0) == ["c", "top", "out", "q"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_ids_of_every_type(dtype: str) -> None:
    """Gather takes int32 and int64; of uint64 not all have one."""
    table = np.arange(15, dtype="f4").reshape(5, 3)

    def make(b: Builder, x: Any) -> Any:
        return b.embedding(b.input("ids", dtype, (4,)), b.weight(table, "t"))

    if dtype == "uint64":
        with pytest.raises(UnsupportedError, match="ids of type uint64"):
            kinds(make)
    else:
        assert kinds(make) == (["Gather"] if dtype in ("int32", "int64") else ["Cast", "Gather"])


def test_a_cast_of_anything_else_stays_where_it_is() -> None:
    """Only of a Transpose does the cast come first (casts.py)."""
    w = np.ones((5, 7), "f4")
    for name, make in (("Relu", lambda b, x: b.relu(x)), ("Transpose", lambda b, x: b.transpose(x, perm=(1, 0)))):
        made = kinds(lambda b, x, make=make: b.matmul(b.cast(make(b, x), to="float64"), b.const(w.astype("f8"))), (5, 5))
        assert made == (["Relu", "Cast", "MatMul"] if name == "Relu" else ["Cast", "Transpose", "MatMul"])


@pytest.mark.parametrize("axis, fits", [(-3, False), (0, False), (1, True), (2, True), (-1, True), (3, False)])
def test_axes_of_a_cache_that_is_written_to(axis: int, fits: bool) -> None:
    """TensorScatter: any axis but that of the batch."""
    if onnx.defs.onnx_opset_version() < 24:
        pytest.skip("the installed onnx is older")
    said = why(one("TensorScatter", ["x", "x"], opset=24, axis=axis))
    assert (said == "") if fits else (f"along axis {axis + 3 if axis < 0 else axis} of 3 axes" in said)
