"""Element types of which torch has few operations: casts to 8 bits and fewer, unsigned integers, and what tensors of them become.

The judge is numpy with ml_dtypes (the interpreter), and torch where its modules are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcore
from convcore.build.builder import Builder
from convcore.errors import UnsupportedError
from convcore.interpreter import Interpreter
from convcore.ir.dtypes import DType
from convcore.ir.graph import Graph
from convcore.model import Model

from .code_record import with_functions
from .test_emit_refused import reason
from .torch_kit import emit_model

torch = pytest.importorskip("torch")
from convcore_pytorch.runtime import open_runtime

FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
SMALL = ("int4", "uint4", "int2", "uint2", "float4_e2m1fn")
HALVES = np.arange(65536, dtype=np.uint16).view(np.float16)
HALVES = np.concatenate([HALVES[np.isfinite(HALVES)].astype(np.float32), np.asarray([np.nan, np.inf, -np.inf], np.float32)])
NEAR = np.concatenate([np.nextafter(HALVES[:-3], np.float32(s)) for s in (np.inf, -np.inf)])
WIDE = np.concatenate([HALVES, NEAR, HALVES[:-3] * np.float32(1e30)])


def ran(op: str, *inputs: np.ndarray, **attrs: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the module and the interpreter give."""
    g = Graph(op)
    b = Builder(g)
    node = b.node(op, [b.input(f"x{i}", DType.of(a.dtype), a.shape) for i, a in enumerate(inputs)], attrs)
    g.outputs = list(node.outputs)
    with np.errstate(all="ignore"):
        want = Interpreter(g).run(list(inputs))
    runtime = open_runtime(with_functions(emit_model(g).model()))
    assert runtime is not None
    return runtime.run(list(inputs)), want


def equal(got: Any, want: Any) -> bool:
    with np.errstate(all="ignore"):
        return got.dtype == want.dtype and np.array_equal(got.astype(np.float64), want.astype(np.float64), equal_nan=True)


@pytest.mark.parametrize("to", FLOAT8)
@pytest.mark.parametrize("saturate", [True, False])
def test_floats_of_8_bits(to: str, saturate: bool) -> None:
    """All float16 numbers, their neighbours in float32, and what is far too large."""
    (got,), (want,) = ran("cast", WIDE, to=to, saturate=saturate)
    assert equal(got, want)
    whole = np.arange(-70000, 70000, dtype=np.int32)
    (got,), (want,) = ran("cast", whole, to=to, saturate=saturate)
    assert equal(got, want)
    back = np.arange(256, dtype=np.uint8).view(DType(to).numpy)
    for dtype in ("float32", "float16", "bfloat16", "float64", "bool"):
        (got,), (want,) = ran("cast", back, to=dtype)
        assert equal(got, want), dtype


@pytest.mark.parametrize("rounding", ["up", "down", "nearest"])
@pytest.mark.parametrize("saturate", [True, False])
def test_powers_of_two(rounding: str, saturate: bool) -> None:
    bits = np.arange(0, 1 << 32, 65521, dtype=np.uint64).astype(np.uint32).view(np.float32)
    edges = np.float32(2.0) ** np.arange(-149, 128, dtype=np.float32)
    x = np.concatenate([bits, edges, edges * np.float32(1.5), np.nextafter(edges * np.float32(1.5), np.float32(0))])
    (got,), (want,) = ran("cast", x, to="float8_e8m0fnu", rounding=rounding, saturate=saturate)
    assert equal(got, want)


@pytest.mark.parametrize("to", SMALL)
def test_types_below_8_bits(to: str) -> None:
    """Whole parts keep their low bits, as numbers of more bits do; floats of 4 bits are the nearest."""
    x = HALVES[np.abs(HALVES) < 300] if "float" not in to else WIDE
    (got,), (want,) = ran("cast", x, to=to)
    assert equal(got, want)
    for dtype in ("int8", "uint8", "int32", "int64", "bool"):
        (got,), (want,) = ran("cast", np.arange(-130, 300).astype(dtype), to=to)
        assert equal(got, want), dtype
    every = np.arange(256).astype(np.uint8).astype(np.int8).astype(DType(to).numpy)
    for dtype in ("float32", "int64", *SMALL[:4]):
        if "float" not in to or dtype == "float32":
            (got,), (want,) = ran("cast", every, to=dtype)
            assert equal(got, want), dtype
    (got,), (want,) = ran("transpose", every.reshape(8, 32), perm=(1, 0))
    assert equal(got, want)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_integers_without_sign(dtype: str) -> None:
    """Over the whole range of a type, where everything wraps and the highest bit is a number's."""
    rng = np.random.default_rng(0)
    top = int(np.iinfo(dtype).max)
    edges = np.asarray([0, 1, top, top - 1, top // 2, top // 2 + 1, 5], dtype)
    x = np.concatenate([edges, rng.integers(0, top, 94, dtype, endpoint=True)])
    y = np.roll(x, 3)
    over = np.where(y == 0, y + 1, y)
    for op in ("add", "sub", "mul", "bitwise_and", "bitwise_or", "bitwise_xor", "maximum", "minimum", "equal", "not_equal"):
        assert all(map(equal, *ran(op, x, y))), op
    for op in ("less", "less_equal", "greater", "greater_equal"):
        assert all(map(equal, *ran(op, x, y))) and all(map(equal, *ran(op, x, x))), op
    for op in ("div", "floor_div", "floor_mod", "fmod"):
        assert all(map(equal, *ran(op, x, over))) and all(map(equal, *ran(op, x, over[::-1].copy()))), op
    by = (np.arange(len(x)) % (8 * x.itemsize)).astype(dtype)
    for op in ("shift_left", "shift_right"):
        assert all(map(equal, *ran(op, x, by))), op
        assert all(map(equal, *ran(op, x, np.maximum(x, np.asarray(8 * x.itemsize, dtype))))), op
    for op in ("bitwise_not", "neg"):
        assert all(map(equal, *ran(op, x))), op
    if dtype != "uint64":
        for op, more in (
            ("sum", {}),
            ("prod", {}),
            ("max", {}),
            ("topk", {"k": 5}),
            ("argmax", {"axis": 0}),
            ("flip", {"axes": (0,)}),
        ):
            assert all(map(equal, *ran(op, x, **more))), op
    real = x.astype(np.float64)
    assert all(map(equal, *ran("cast", real[real < top / 2], to=dtype))) and all(map(equal, *ran("cast", x, to="float64")))


def quantised() -> Graph:
    """Weights of 4 and 8 bits, a tensor quantised and back, and one that is given out as it is held."""
    g = Graph("net")
    b = Builder(g)
    rng = np.random.default_rng(1)
    x = b.input("x", "float32", (5, 7))
    w = b.weight(rng.integers(-8, 8, (7, 3)).astype(DType.INT4.numpy), "w")
    v = b.weight(rng.normal(size=(5, 3)).astype(DType.FLOAT8_E5M2.numpy), "v")
    y = b.matmul(x, b.cast(b.reshape(w, shape=(7, 3)), to="float32"))
    q = b.quantize(y, b.const(0.3), b.const(3, "uint4"), axis=None, dtype="uint4")
    g.outputs = [
        q,
        b.dequantize(q, b.const(0.3), b.const(3, "uint4"), axis=None),
        b.concat(v, b.cast(y, to="float8_e5m2"), axis=0),
        w,
    ]
    return g


@pytest.mark.parametrize("file", ["net.py", None])
def test_files_hold_them(tmp_path: Path, file: str | None) -> None:
    x = np.random.default_rng(2).normal(size=(5, 7)).astype(np.float32) * 3
    want = Interpreter(quantised()).run([x])
    made = convcore.convert(Model(quantised()), "pytorch", file and tmp_path / file)
    assert made.report.ok
    runtime = made.model and open_runtime(made.model)
    assert runtime is not None and all(map(equal, runtime.run([x]), want))
    if file:
        text = (tmp_path / file).read_text()
        assert "uint4 as uint8 [5, 3]" in text and "torch.float8_e5m2" in text
        stored = (tmp_path / "net.safetensors").read_bytes()
        assert b'"F8_E5M2"' in stored and b'"I8"' in stored


def test_what_has_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no storage class of its own"):
        emit_model(quantised(), tmp_path / "net.pth")
    assert not list(tmp_path.iterdir())
    assert "rounded twice" in reason("cast", ("float64", (2, 3)), to="float8_e5m2")
    assert not reason("cast", (2, 3), to="float8_e5m2")
    assert "string to float32" in reason("cast", ("string", (2, 3)), to="float32")
    assert "torch.flip takes no float8_e5m2" in reason("flip", ("float8_e5m2", (2, 3)), axes=(0,))
    assert "torch.flip takes no uint64" in reason("flip", ("uint64", (2, 3)), axes=(0,)) and not reason("flip", (2, 3), axes=(0,))
    assert "bits of int4 read as uint4" in reason("bitcast", ("int4", (2, 3)), to="uint4")
    assert not reason("bitcast", ("uint16", (2, 3)), to="int16")
    assert "'x0' is float8_e5m2" in reason(
        "scatter_nd", ("float8_e5m2", (5,)), ("int64", (2, 1)), ("float8_e5m2", (2,)), reduction="max"
    )


@pytest.mark.parametrize("to", [*FLOAT8, "float8_e8m0fnu"])
def test_casts_are_read_as_torch_computes_them(to: str) -> None:
    class Cast(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, x: Any) -> Any:
            return x.to(getattr(torch, to)).float()

    finite = WIDE[np.isfinite(WIDE)]
    x = np.stack([finite, finite * np.float32(1e-30), np.full_like(finite, np.inf)], 1)
    model = convcore.load(Cast().eval(), example_inputs=(torch.zeros(5, 3),))
    (got,) = Interpreter(model.graph).run([x])
    want = Cast()(torch.from_numpy(x)).numpy()
    if to == "float8_e4m3fn":  # NaN before 2.13
        got, want = (np.where(np.abs(x) > 464, 0, a) for a in (got, want))
        assert any("float8_e4m3fn" in n for n in model.graph.metadata["notes"])
    assert equal(got, want)


FLOATS = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.parametrize("of_x", FLOATS)
@pytest.mark.parametrize("of_w", FLOATS)
def test_norms_whose_weights_are_of_another_type(of_x: str, of_w: str) -> None:
    """Written where torch runs them."""
    x, w = torch.zeros(2, 3, dtype=getattr(torch, of_x)), torch.ones(3, dtype=getattr(torch, of_w))
    norms = torch.nn.functional
    for run in (
        lambda: norms.layer_norm(x, (3,), w, w),
        lambda: norms.batch_norm(x, w, w, w, w),
        lambda: norms.group_norm(x, 3, w, w),
    ):
        try:
            run()
            runs = True
        except RuntimeError:
            runs = False
        weights = np.ones(3, DType(of_w).numpy)
        why = reason("layer_norm", (of_x, (2, 3)), weights, weights, axes=(1,), epsilon=1e-3)
        assert (f"torch has no norm of {of_x} whose weights are {of_w}" in why) is not runs and (why == "") is runs


STORED = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "uint16", "uint32", "uint64")


@pytest.mark.parametrize("dtype", STORED)
def test_functions_that_move_elements_of_fewer_types(dtype: str) -> None:
    x, at = (dtype, (3, 5)), ("int64", (3, 1))
    assert reason("take_along_axis", x, at, axis=1) == f"torch.gather takes no {dtype}"
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.gather(torch.zeros(3, 5).to(getattr(torch, dtype)), 1, torch.zeros(3, 1, dtype=torch.int64))
    assert reason("transpose", x, perm=(1, 0)) == "" and reason("take_along_axis", (3, 5), at, axis=1) == ""
