"""ATen's operators that make tensors out of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from convcore.plugin import Dim, DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, promoted
from ..files.program import ElementType
from .base import RULES


def filled(g: TorchContext, n: AtenNode, shape: Any, value: Any, dtype: DType | None) -> Value:
    if isinstance(value, (Value, Dim)):
        return g.b.expand(g.scalar(value, dtype), shape=tuple(shape))
    value = bool(value) if dtype is DType.BOOL else int(value) if dtype is not None and dtype.is_int else value
    return g.b.fill(shape=tuple(shape), value=value, dtype=dtype or DType.FLOAT32)


@RULES.load(
    "aten.zeros", "aten.ones", "aten.full", "aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.new_zeros",
    "aten.new_ones",
    "aten.new_full", "aten.scalar_tensor", "aten.empty.memory_format", "aten.empty_like", "aten.new_empty",
    "aten.empty_strided", "aten.new_empty_strided", "aten.empty_permuted",
)  # fmt: skip
def fills(g: TorchContext, n: AtenNode) -> Value:
    """What is empty is filled with zeros: no program reads it before it is written (as an output it is refused)."""
    base = n.type.split(".")[1]
    value: Any = 1 if "ones" in base else 0
    if "full" in base:
        value = n.arg("fill_value")
    if base == "scalar_tensor":
        value = n.arg("s")
    shape: Any = () if base == "scalar_tensor" else n.shape("self") if base.endswith("_like") else n.sizes("size")
    dtype = n.element("dtype") or n.dtype
    if dtype is None:
        own = n.tensor("self").dtype if "self" in n.arguments else None
        dtype = own or (promoted([value]) if "full" in base else DType.FLOAT32)
    n.skip("self", "stride", "physical_layout")
    y = filled(g, n, shape, value, dtype)
    if "empty" in base:
        g.unwritten.add(y)
    return y


@RULES.load("aten.arange", "aten.arange.start", "aten.arange.start_step")
def arange(g: TorchContext, n: AtenNode) -> Value:
    start = n.arg("start") if "start" in n.arguments else 0
    step = n.arg("step") if "step" in n.arguments else 1
    end = n.arg("end")
    dtype = n.element("dtype") or n.dtype or promoted([start, end, step])
    if all(isinstance(v, (int, float)) for v in (start, end, step)) and dtype is not None:
        if not np.isfinite([start, end]).all() or np.isnan(step) or (dtype.is_int and np.isinf(step)):
            raise NotExpressible(f"goes from {start} to {end} in steps of {step}", "raises")
        if dtype is DType.INT64:  # cut off before they are counted, of smaller integers after it (RangeFactories.cpp, torch 2.13)
            start, end, step = int(start), int(end), int(step)
        if step == 0 or (end - start) / step < 0:
            raise NotExpressible(f"goes from {start} to {end} in steps of {step}", "raises")
        count = int(np.ceil((end - start) / step))
        if dtype.is_int:
            start, step = int(start), int(step)
        made = start + step * np.arange(count, dtype=np.int64 if isinstance(start, int) and isinstance(step, int) else np.float64)
        return g.b.const(made.astype(dtype.numpy), dtype)
    return g.b.range(*(g.scalar(v, dtype) for v in (start, end, step)))


@RULES.load("aten.linspace", "aten.logspace")
def linspace(g: TorchContext, n: AtenNode) -> Value:
    a, b, count = n.number("start"), n.number("end"), n.count("steps", least=0)
    dtype = n.element("dtype") or n.dtype or DType.FLOAT32
    if n.type == "aten.linspace":  # from both ends, as ATen's kernel does
        i, step = np.arange(count), (b - a) / (count - 1) if count > 1 else 0.0
        made = np.where(i < count // 2, a + step * i, b - step * (count - 1 - i)) if count > 1 else np.full(count, float(a))
    else:
        made = n.number("base") ** np.linspace(a, b, count)
    return g.b.const(np.asarray(made).astype(dtype.numpy), dtype)  # whole numbers are cut off


_COSINES = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}
"""a - b cos t + c cos 2t (ATen/native/TensorFactories.cpp)."""


@RULES.load(*(
    f"aten.{k}_window{o}" for k in ("hann", "hamming", "blackman", "bartlett", "kaiser")
    for o in ("", ".periodic", *((".periodic_alpha", ".periodic_alpha_beta") if k == "hamming" else ()),
              *((".beta",) if k == "kaiser" else ()))
))  # fmt: skip
def window(g: TorchContext, n: AtenNode) -> Value:
    """A periodic one is a symmetric one of one more element, without the last."""
    count, kind = n.count("window_length", least=0), n.type.split(".")[1].partition("_")[0]
    periodic = bool(n.number("periodic")) if "periodic" in n.arguments else True
    dtype = n.element("dtype") or n.dtype or DType.FLOAT32
    more: dict[str, float] = {k: float(n.number(k)) for k in ("alpha", "beta") if k in n.arguments}
    if count == 1:
        return g.b.const(np.ones(1, dtype.numpy), dtype)
    at = np.arange(count) / (count if periodic else count - 1)
    if kind == "bartlett":
        made = 1 - np.abs(2 * at - 1)
    elif kind == "kaiser":
        beta = more.get("beta", 12.0)
        made = np.i0(beta * np.sqrt(1 - (2 * at - 1) ** 2)) / np.i0(beta)
    else:
        a, b, *rest = _COSINES[kind]
        given = (more.get("alpha", a), more.get("beta", b), *rest)
        made = sum((-1) ** i * w * np.cos(2 * np.pi * i * at) for i, w in enumerate(given))
    return g.b.const(np.asarray(made).astype(dtype.numpy), dtype)


@RULES.load("aten.eye", "aten.eye.m")
def eye(g: TorchContext, n: AtenNode) -> Value:
    rows = n.size("n")
    return g.b.eye(
        rows=rows, columns=n.size("m") if "m" in n.arguments else rows, dtype=n.element("dtype") or n.dtype or DType.FLOAT32
    )


@RULES.load("aten.tril_indices", "aten.triu_indices")
def triangle_indices(g: TorchContext, n: AtenNode) -> Value:
    make = np.tril_indices if "tril" in n.type else np.triu_indices
    made = np.stack(make(n.number("row"), n.number("offset"), n.number("col")))
    dtype = n.arg("dtype")  # int64 is the schema's default, which is a name there
    return g.b.const(made, n.dtype or (n.element("dtype") if isinstance(dtype, ElementType) else None) or DType.INT64)


@RULES.load(
    "aten.rand", "aten.randn", "aten.rand_like", "aten.randn_like", "aten.randint", "aten.randperm", "aten.bernoulli",
    "aten.bernoulli.p", "aten.multinomial", "aten.normal.Tensor_Tensor", "aten.randint.low", "aten.randint_like",
    "aten.bernoulli.Tensor", "aten.bernoulli.float", "aten.normal", "aten.normal.Tensor_float", "aten.normal.float_Tensor",
    "aten.normal.float_float", "aten.uniform", "aten.exponential", "aten.cauchy", "aten.geometric",
    "aten.log_normal", "aten.poisson", "aten.binomial", "aten._standard_gamma", "aten._sample_dirichlet", "aten.random",
    "aten.random.to",
)  # fmt: skip
def random(g: TorchContext, n: AtenNode) -> Value:
    raise NotExpressible("draws random numbers, so that no two runs are the same", "random")
