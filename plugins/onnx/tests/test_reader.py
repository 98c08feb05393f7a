"""Files: every way to store a tensor, large ones left in the file, external data confined, damage refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_kit import load_model

from convcore.build.opaque import opaque_problems
from convcore.errors import BadFileError
from convcore.interpreter import Interpreter
from convcore.ir.tensors import ArrayTensor, MappedTensor

rng = np.random.default_rng(11)


def add_model(*tensors: Any, dtype: int = 1, shape: Any = (2, 3), sparse: Any = ()) -> onnx.ModelProto:
    """y = x + the sum of the initializers."""
    nodes, last = [], "x"
    for i, t in enumerate((*tensors, *sparse)):
        name = t.name if isinstance(t, TensorProto) else t.values.name
        nodes.append(helper.make_node("Add", [last, name], [f"y{i}"]))
        last = f"y{i}"
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", dtype, shape)], [helper.make_tensor_value_info(last, dtype, shape)],
        list(tensors), sparse_initializer=list(sparse),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(tmp_path: Path, model: Any, name: str = "m.onnx") -> str:
    path = tmp_path / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return str(path)


def run(source: Any, *arrays: Any) -> list[Any]:
    return Interpreter(load_model(source)).run(list(arrays))


def big(shape: tuple[int, ...] = (59, 61)) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


def test_large_raw_data_stays_in_the_file(tmp_path: Path) -> None:
    a, b, c = big(), big(), np.float32(3).reshape(1)
    tensors = [numpy_helper.from_array(v, n) for v, n in ((a, "a"), (c, "c"), (b, "b"))]
    path = saved(tmp_path, add_model(*tensors, shape=[59, 61]))
    graph = load_model(path)
    held = {k: v.tensor for k, v in graph.weights.items()}
    assert isinstance(held["a"], MappedTensor) and isinstance(held["b"], MappedTensor) and isinstance(held["c"], ArrayTensor)
    for name, want in (("a", a), ("b", b), ("c", c)):
        np.testing.assert_array_equal(held[name].numpy(), want)
    x = big()
    np.testing.assert_allclose(run(path, x)[0], x + a + c + b, rtol=1e-6)


def test_packed_float_data_is_mapped_too(tmp_path: Path) -> None:
    a = big()
    t = TensorProto(name="a", dims=a.shape, data_type=1, float_data=a.ravel())
    graph = load_model(saved(tmp_path, add_model(t, shape=[59, 61])))
    assert isinstance(graph.weights["a"].tensor, MappedTensor)
    np.testing.assert_array_equal(graph.weights["a"].tensor.numpy(), a)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
              "uint64", "bool", "complex64", "complex128"],
)  # fmt: skip
def test_every_dtype_in_both_forms(dtype: str, raw: bool) -> None:
    from convcore.ir.dtypes import DType

    nd = DType(dtype).numpy
    a = np.array([[0, 1, 2], [3, 5, 7]]).astype(nd)
    code = helper.np_dtype_to_tensor_dtype(nd)
    t = TensorProto(name="a", dims=a.shape, data_type=code)
    if raw:
        t.raw_data = a.tobytes()
    else:
        t = helper.make_tensor("a", code, a.shape, a.ravel())
    graph = load_model(add_model(t, dtype=code))
    got = graph.weights["a"].tensor.numpy()
    assert got.dtype == nd
    np.testing.assert_array_equal(got.astype(np.complex128), a.astype(np.complex128))


SMALL = {
    "float8_e4m3fn": "FLOAT8E4M3FN", "float8_e4m3fnuz": "FLOAT8E4M3FNUZ", "float8_e5m2": "FLOAT8E5M2", "uint2": "UINT2",
    "float8_e5m2fnuz": "FLOAT8E5M2FNUZ", "float8_e8m0fnu": "FLOAT8E8M0", "float4_e2m1fn": "FLOAT4E2M1", "int4": "INT4",
    "uint4": "UINT4", "int2": "INT2",
}  # fmt: skip


@pytest.mark.parametrize("form", ["raw", "typed", "external", "file"])
@pytest.mark.parametrize("dtype", SMALL)
def test_types_below_8_bits_are_unpacked_and_packed(dtype: str, form: str, tmp_path: Path) -> None:
    """Judged by the standard's own helpers; an odd number of elements leaves part of a byte empty."""
    from convcore.ir.dtypes import DType
    from convcore_onnx.tensors import packed

    nd = DType(dtype).numpy
    a = np.array([[0, 1, -2, 1, 0], [1, -1, -2, 0, 1], [1, 1, 0, -1, -2]]).astype(np.float32).astype(nd)
    t = numpy_helper.from_array(a, "a")
    if form == "typed":
        raw = t.raw_data
        t.ClearField("raw_data")
        t.int32_data.extend(raw)
    model = add_model(t, dtype=getattr(TensorProto, SMALL[dtype]))
    source: Any = model
    if form == "file":
        source = saved(tmp_path, model)
    if form == "external":
        onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="m.data")
        source = tmp_path / "m.onnx"
    got = load_model(source).weights["a"].tensor
    assert got.dtype == dtype and got.nbytes == a.size
    np.testing.assert_array_equal(got.numpy().astype(np.float32), a.astype(np.float32))
    assert packed(got).numpy().tobytes() == numpy_helper.from_array(a).raw_data


@pytest.mark.parametrize("code", [TensorProto.FLOAT6E2M3, TensorProto.FLOAT6E3M2])
def test_types_of_six_bits_are_refused_by_name(code: int) -> None:
    t = TensorProto(name="a", dims=[4], data_type=code, raw_data=b"\x11\x11\x11")
    problems = opaque_problems(load_model(add_model(t)))
    assert any("initializer 'a'" in p.why and "float6" in p.why for p in problems)


def test_sparse_initializers_become_dense() -> None:
    values = numpy_helper.from_array(np.array([2, 3, 5], np.float32), "s")
    flat = numpy_helper.from_array(np.array([0, 2, 4], np.int64))
    pairs = numpy_helper.from_array(np.array([[0, 0], [0, 2], [1, 1]], np.int64))
    for indices in (flat, pairs):
        sparse = helper.make_sparse_tensor(values, indices, [2, 3])
        got = run(add_model(sparse=[sparse]), np.zeros((2, 3), np.float32))[0]
        np.testing.assert_array_equal(got, [[2, 0, 3], [0, 5, 0]])
    wrong = numpy_helper.from_array(np.array([0, 2, 6], np.int64))
    with pytest.raises(BadFileError, match="sparse"):
        load_model(add_model(sparse=[helper.make_sparse_tensor(values, wrong, [2, 3])]))


def test_truncation_anywhere_is_a_bad_file(tmp_path: Path) -> None:
    raw = add_model(numpy_helper.from_array(big(), "a"), shape=[59, 61]).SerializeToString()
    for n in (0, 1, 7, 40, len(raw) // 2, len(raw) - 1):
        with pytest.raises(BadFileError):
            load_model(saved(tmp_path, raw[:n]))


@pytest.mark.parametrize(
    "raw", [b"not a model", b"\0" * 1000, b"PK\x03\x04" + b"\0" * 50, b"\x3b" * 3000, b"\x3a\xff\xff\xff\xff\x7f", b"\x08\x07"]
)
def test_garbage_is_a_bad_file(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(BadFileError):
        load_model(saved(tmp_path, raw))


def test_sizes_that_disagree(tmp_path: Path) -> None:
    for t in (
        TensorProto(name="a", dims=[1 << 40, 1 << 20], data_type=1, raw_data=b"\0" * 8),
        TensorProto(name="a", dims=[2, 3], data_type=1, raw_data=b"\0" * 5000),
        TensorProto(name="a", dims=[2, 3], data_type=1, float_data=[1, 2]),
        TensorProto(name="a", dims=[-2, 3], data_type=1, raw_data=b""),
    ):
        with pytest.raises(BadFileError, match="'a'"):
            load_model(saved(tmp_path, add_model(t)))


# ---- external data
def external(location: str, offset: str = "0", length: str | None = None, shape: Any = (2, 3), **more: str) -> TensorProto:
    t = TensorProto(name="w", dims=shape, data_type=1, data_location=TensorProto.EXTERNAL)
    entries = {"location": location, "offset": offset, **({} if length is None else {"length": length}), **more}
    for key, value in entries.items():
        e = t.external_data.add()
        e.key, e.value = key, value
    return t


def test_external_data(tmp_path: Path) -> None:
    w = big((2, 3))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"\7" * 12 + w.tobytes())
    path = saved(tmp_path, add_model(external("sub/w.bin", "12", "24")))
    assert isinstance(load_model(path).weights["w"].tensor, MappedTensor)
    x = big((2, 3))
    np.testing.assert_array_equal(run(path, x)[0], x + w)


def test_external_data_outside_or_odd_is_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "model", tmp_path / "secret"
    inside.mkdir()
    outside.mkdir()
    (outside / "s.bin").write_bytes(b"\0" * 24)
    (inside / "ok.bin").write_bytes(b"\0" * 24)
    (inside / "copy.bin").write_bytes(b"\0" * 24)
    os.link(outside / "s.bin", inside / "hard.bin")
    os.symlink(outside / "s.bin", inside / "soft.bin")
    os.symlink(outside, inside / "dirlink")
    os.mkfifo(inside / "fifo")
    cases = [
        external("../secret/s.bin"), external("sub/../../secret/s.bin"), external(str(outside / "s.bin")), external("soft.bin"),
        external("hard.bin"), external("dirlink/s.bin"), external("fifo"), external("..\\secret\\s.bin"), external(""),
        external("missing.bin"), external("m.onnx"), external("."), external("ok.bin", "-8"), external("ok.bin", "8"),
        external("ok.bin", "0", str(1 << 50)), external("ok.bin", "x"), external("ok.bin", basepath="/etc"),
        external("/dev/zero"), external("ok.bin\0"),
    ]  # fmt: skip
    for t in cases:
        with pytest.raises(BadFileError, match="external data"):
            load_model(saved(inside, add_model(t)))
    load_model(saved(inside, add_model(external("ok.bin"))))


def test_external_data_of_a_live_model_is_refused() -> None:
    with pytest.raises(BadFileError, match="not read from a file"):
        load_model(add_model(external("w.bin")))
