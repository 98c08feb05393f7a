"""ATen's arithmetic: element by element, with torch's promotion of types (:func:`..context.promoted`)."""

from __future__ import annotations

from typing import Any, Literal

from convcore.plugin import DType, NotExpressible, Value

from ..context import AtenNode, TorchContext, dtype_of, promoted
from ..files.elements import BY_CODE
from .base import RULES, alike, aten, fractions, truth

# ---------------------------------------------------------------- one operand
_NOTHING = (
    "alias", "detach", "lift_fresh", "lift_fresh_copy", "lift", "contiguous", "positive", "detach_copy", "alias_copy",
    "resolve_conj", "resolve_neg", "cpu",
)  # fmt: skip


@RULES.load(*(f"aten.{n}" for n in _NOTHING))
def nothing(g: TorchContext, n: AtenNode) -> Value:
    return n.tensor("self")


@RULES.load("aten.abs", "aten.absolute", "aten.square", "aten.floor", "aten.ceil", "aten.trunc", "aten.fix", "aten.round")
def unchanged(g: TorchContext, n: AtenNode) -> Value:
    """Whole numbers rounded, truth values, the size of complex numbers: beside the rows of ``elementwise.py``."""
    x = n.tensor("self")
    if x.dtype is DType.BOOL and n.type == "aten.square":  # a power, which is of integers
        return g.cast(x, DType.INT64)
    rounds = n.type not in ("aten.abs", "aten.absolute", "aten.square")
    if x.dtype is DType.BOOL or (x.dtype is not None and x.dtype.is_int and rounds):
        return x
    if n.type in ("aten.abs", "aten.absolute") and x.dtype in (DType.COMPLEX64, DType.COMPLEX128):
        return g.b.sqrt(g.b.add(g.b.square(g.b.real(x)), g.b.square(g.b.imag(x))))
    raise NotExpressible(f"of {x.dtype}", "unsupported_dtype")


for _call in aten("clone", "self:input"):
    RULES.op(_call, "identity", "input=x")


@RULES.load("aten.sign", "aten.sgn")
def sign(g: TorchContext, n: AtenNode) -> Value:
    """0 of nan."""
    x = n.tensor("self")
    if x.dtype is DType.BOOL:
        return x
    y = g.b.sign(x)
    return g.b.where(g.b.isnan(x), g.b.like(x, 0), y) if x.dtype is not None and x.dtype.is_float else y


@RULES.load("aten.round.decimals", "aten.special_round")
def round_decimals(g: TorchContext, n: AtenNode) -> Value:
    """Times a power of ten, rounded, and back (ATen/native/cpu/UnaryOpsKernel.cpp, round_decimals_kernel)."""
    x, decimals = n.tensor("self"), int(n.number("decimals"))
    if x.dtype is None or not x.dtype.is_float:
        if decimals < 0:
            raise NotExpressible("rounds whole numbers to powers of ten")
        return x
    if decimals == 0:
        return g.b.round(x)
    power = g.b.like(x, 10.0 ** abs(decimals))
    if decimals > 0:
        return g.b.div(g.b.round(g.b.mul(x, power)), power)
    return g.b.mul(g.b.round(g.b.div(x, power)), power)


@RULES.load("aten.signbit")
def signbit(g: TorchContext, n: AtenNode) -> Value:
    return negative(g, n.tensor("self"))


def negative(g: TorchContext, x: Value) -> Value:
    """Whether the sign is set: of a zero that of its reciprocal; nan counts as positive, whose sign means nothing."""
    if x.dtype is DType.BOOL:
        return g.b.and_(x, g.b.not_(x))
    below = g.b.less(x, g.b.like(x, 0))
    if x.dtype is None or not x.dtype.is_float:
        return below
    zero = g.b.equal(x, g.b.like(x, 0))
    one = g.b.reciprocal(g.b.where(zero, x, g.b.like(x, 1)))
    return g.b.or_(below, g.b.less(one, g.b.like(x, 0)))


@RULES.load("aten.frac")
def frac(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.b.sub(x, g.b.trunc(x))


@RULES.load("aten.deg2rad", "aten.rad2deg")
def degrees(g: TorchContext, n: AtenNode) -> Value:
    x = g.float(n.tensor("self"), n.dtype)
    factor = 0.017453292519943295769236907684886 if n.type.endswith("deg2rad") else 57.295779513082320876798154814105
    return g.b.mul(x, g.b.like(x, factor))


@RULES.load("aten.logit", "aten.special_logit")
def logit(g: TorchContext, n: AtenNode) -> Value:
    x = g.float(n.tensor("self"), n.dtype)
    if n.arg("eps") is not None:
        eps = n.number("eps")
        x = g.b.clip(x, min=eps, max=1 - eps)
    return g.b.log(g.b.div(x, g.b.sub(g.b.like(x, 1), x)))


@RULES.load("aten.sinc", "aten.special_sinc")
def sinc(g: TorchContext, n: AtenNode) -> Value:
    x = g.float(n.tensor("self"), n.dtype)
    y = g.b.mul(x, g.b.like(x, 3.14159265358979323846))
    zero = g.b.equal(x, g.b.like(x, 0))
    return g.b.where(zero, g.b.like(x, 1), g.b.div(g.b.sin(y), g.b.where(zero, g.b.like(x, 1), y)))


# ---------------------------------------------------------------- two operands
def pair(g: TorchContext, n: AtenNode, *, floating: bool = False, other: str = "other") -> list[Value]:
    """Both operands in the type torch computes in."""
    return (fractions if floating else alike)(g, n, [n.arg("self" if "self" in n.arguments else "input"), n.arg(other)])


def product_of(g: TorchContext, n: AtenNode, name: str, a: Value, b: Value) -> Value:
    """``mul`` or ``div``. A number behind it that half precision does not hold (``(1 - mask) * -1e9``) is no infinity: torch
    takes it in float32 (ATen/native/cpu/BinaryOpsKernel.cpp, binary_kernel_reduced_floating_point_vec_opmath_support)."""
    dtype, other = a.dtype, n.arg("other")
    if dtype in (DType.FLOAT16, DType.BFLOAT16) and _overflows(other, dtype):
        a, b = g.operands(DType.FLOAT32, n.arg("self" if "self" in n.arguments else "input"), other)
    y: Value = g.b.op(name, a, b)
    return g.cast(y, dtype)


def _overflows(v: Any, dtype: DType) -> bool:
    if isinstance(v, Value):
        v = v.tensor.numpy().reshape(-1)[0].item() if v.tensor is not None and v.rank == 0 else 0
    most = 65504.0 if dtype is DType.FLOAT16 else 3.3895e38
    return isinstance(v, (int, float)) and most < abs(v) < float("inf")


def scaled(g: TorchContext, v: Value, alpha: Any) -> Value:
    return v if alpha == 1 and not isinstance(alpha, Value) else g.b.mul(v, g.scalar(alpha, v.dtype))


@RULES.load("aten.add.Tensor", "aten.add.Scalar", "aten.sub.Tensor", "aten.sub.Scalar", "aten.subtract.Tensor")
def add(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n)
    if a.dtype is DType.BOOL:
        if n.type.startswith("aten.sub"):
            raise NotExpressible("subtracts bool")
        return g.b.or_(a, b)
    b = scaled(g, b, n.arg("alpha"))
    return g.b.add(a, b) if ".add" in n.type else g.b.sub(a, b)


@RULES.load("aten.rsub.Tensor", "aten.rsub.Scalar")
def rsub(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n)
    return g.b.sub(b, scaled(g, a, n.arg("alpha")))


@RULES.load("aten.mul.Tensor", "aten.mul.Scalar", "aten.multiply.Tensor")
def mul(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n)
    return g.b.and_(a, b) if a.dtype is DType.BOOL else product_of(g, n, "mul", a, b)


@RULES.load("aten.div.Tensor", "aten.div.Scalar", "aten.true_divide.Tensor", "aten.divide.Tensor", "aten.true_divide.Scalar")
def div(g: TorchContext, n: AtenNode) -> Value:
    return product_of(g, n, "div", *pair(g, n, floating=True))


@RULES.load("aten.div.Tensor_mode", "aten.div.Scalar_mode", "aten.divide.Tensor_mode")
def div_mode(g: TorchContext, n: AtenNode) -> Value:
    mode = n.arg("rounding_mode")
    a, b = pair(g, n, floating=mode is None)
    if mode is None:
        return g.b.div(a, b)
    if mode == "floor":
        return g.b.floor_div(a, b)
    if a.dtype is not None and not a.dtype.is_float:  # exact: (a - fmod(a, b)) / b
        return g.b.floor_div(g.b.sub(a, g.b.fmod(a, b)), b)
    return g.b.trunc(g.b.div(a, b))


@RULES.load("aten.pow.Tensor_Scalar", "aten.pow.Tensor_Tensor", "aten.pow.Scalar", "aten.float_power.Tensor_Scalar")
def power(g: TorchContext, n: AtenNode) -> Value:
    e = n.arg("exponent")
    a, b = pair(g, n, other="exponent")
    if n.type.startswith("aten.float_power"):  # ATen/native/Pow.cpp
        if a.dtype in (DType.COMPLEX64, DType.COMPLEX128):
            raise NotExpressible(f"of {a.dtype}", "unsupported_dtype")
        a, b = g.operands(DType.FLOAT64, n.arg("self"), e)
    if isinstance(e, (int, float)) and e == 2 and a.dtype is not None and a.dtype.is_float:
        return g.b.square(a)
    if isinstance(e, (int, float)) and e == 0.5:
        return g.b.sqrt(a)
    if a.dtype is not None and a.dtype.is_int and not (isinstance(e, int) and e >= 0):
        return whole_power(g, a, b)
    return g.b.pow(a, b)


def whole_power(g: TorchContext, a: Value, b: Value) -> Value:
    """Of whole numbers: to a power below 0 what is left is 1 of 1, 1 or -1 of -1, and 0 (ATen/native/Pow.h, powi)."""
    zero, one = g.b.like(b, 0), g.b.like(b, 1)
    y = g.b.pow(a, g.b.maximum(b, zero))
    odd = g.b.not_equal(g.b.floor_mod(b, g.b.like(b, 2)), zero)
    signed = g.b.where(odd, g.b.neg(one), one)
    below = g.b.where(g.b.equal(a, one), one, g.b.where(g.b.equal(a, g.b.neg(one)), signed, zero))
    return g.b.where(g.b.less(b, zero), below, y)


@RULES.load("aten.fmax", "aten.fmin")
def fmax(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n)
    if a.dtype is DType.BOOL:
        return g.b.or_(a, b) if n.type == "aten.fmax" else g.b.and_(a, b)
    v: Value = g.b.op("maximum" if n.type == "aten.fmax" else "minimum", a, b)
    if a.dtype is None or not a.dtype.is_float:
        return v
    return g.b.where(g.b.isnan(a), b, g.b.where(g.b.isnan(b), a, v))


@RULES.load("aten.xlogy.Tensor", "aten.special_xlogy", "aten.xlogy.Scalar_Other", "aten.xlogy.Scalar_Self")
def xlogy(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n, floating=True)
    zero = g.b.and_(g.b.equal(a, g.b.like(a, 0)), g.b.not_(g.b.isnan(b)))
    return g.b.where(zero, g.b.like(a, 0), g.b.mul(a, g.b.log(b)))


@RULES.load("aten.hypot")
def hypot(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n)
    return g.b.sqrt(g.b.add(g.b.square(a), g.b.square(b)))


@RULES.load("aten.copysign.Tensor", "aten.copysign.Scalar")
def copysign(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n, floating=True)
    size = g.b.abs(a)
    return g.b.where(negative(g, b), g.b.neg(size), size)


@RULES.load("aten.logaddexp", "aten.logaddexp2")
def logaddexp(g: TorchContext, n: AtenNode) -> Value:
    a, b = pair(g, n)
    high, gap = g.b.maximum(a, b), g.b.neg(g.b.abs(g.b.sub(a, b)))
    if n.type == "aten.logaddexp":
        tail = g.b.log1p(g.b.exp(gap))
    else:
        tail = g.b.log2(g.b.add(g.b.like(a, 1), g.b.exp2(gap)))
    return g.b.where(
        g.b.equal(a, b), g.b.add(a, g.b.like(a, 0.6931471805599453 if n.type == "aten.logaddexp" else 1.0)), g.b.add(high, tail)
    )


# ---------------------------------------------------------------- three operands
@RULES.load("aten.addcmul", "aten.addcdiv")
def addc(g: TorchContext, n: AtenNode) -> Value:
    x, a, b = n.tensor("self"), n.tensor("tensor1"), n.tensor("tensor2")
    dtype = n.dtype or promoted([x, a, b])
    x, a, b = g.operands(dtype, x, a, b)
    y = g.b.mul(a, b) if n.type == "aten.addcmul" else g.b.div(a, b)
    return g.b.add(x, scaled(g, y, n.arg("value")))


@RULES.load("aten.lerp.Tensor", "aten.lerp.Scalar")
def lerp(g: TorchContext, n: AtenNode) -> Value:
    a, b = n.tensor("self"), n.tensor("end")
    return g.b.add(a, g.b.mul(g.scalar(n.arg("weight"), a.dtype), g.b.sub(b, a)))


@RULES.load("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(g: TorchContext, n: AtenNode) -> Value:
    a, b = n.arg("self"), n.arg("other")
    x, y = g.operands(n.dtype or promoted([a, b]), a, b)
    return g.b.where(truth(g, n.tensor("condition")), x, y)


@RULES.load("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.b.where(n.tensor("mask"), filler(g, n, n.arg("value"), x.dtype), x)


def filler(g: TorchContext, n: AtenNode, value: Any, dtype: DType | None) -> Value:
    """A number as the elements of a tensor: a fraction put into integers is cut off, as C does it."""
    if isinstance(value, float) and dtype is not None and dtype.is_int:
        value = int(value)
    if isinstance(value, (int, float)) and dtype is DType.BOOL:
        value = bool(value)
    return g.scalar(value, dtype)


@RULES.load("aten.clamp", "aten.clip", "aten.clamp_min", "aten.clamp_max", "aten.hardtanh")
def clamp(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    low, high = (
        (n.number(name) if name in n.arguments and n.arg(name) is not None else None)
        for name in (("min_val", "max_val") if n.type == "aten.hardtanh" else ("min", "max"))
    )
    if n.type != "aten.hardtanh":  # which keeps the type
        x = g.cast(x, n.dtype or promoted([x, *(v for v in (low, high) if v is not None)]))
    if x.dtype is not None and x.dtype.is_int:  # bounds of hardtanh are cut off
        low, high = (None if v is None else int(v) for v in (low, high))
    if low is not None and high is not None and low > high:  # every element becomes the upper bound, nan stays
        return g.b.minimum(g.b.maximum(x, g.scalar(low, x.dtype)), g.scalar(high, x.dtype))
    if x.dtype is not None and x.dtype.is_float:
        return g.b.clip(x, min=low, max=high)
    if low is not None:
        x = g.b.maximum(x, g.scalar(low, x.dtype))
    return x if high is None else g.b.minimum(x, g.scalar(high, x.dtype))


@RULES.load("aten.clamp.Tensor", "aten.clip.Tensor", "aten.clamp_min.Tensor", "aten.clamp_max.Tensor")
def clamp_tensor(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    bounds = [n.optional(k) if k in n.arguments else None for k in ("min", "max")]
    kept = n.dtype or promoted([x, *(b for b in bounds if b is not None)])
    dtype = DType.INT32 if kept is DType.BOOL else kept  # truth values as numbers, and back
    x = g.cast(x, dtype)
    if bounds[0] is not None:
        x = g.b.maximum(x, g.cast(bounds[0], dtype))
    x = x if bounds[1] is None else g.b.minimum(x, g.cast(bounds[1], dtype))
    return g.cast(x, kept)


@RULES.load("aten.nan_to_num")
def nan_to_num(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    if x.dtype is None or not x.dtype.is_float:
        return x
    import numpy as np

    if x.dtype is DType.BFLOAT16:
        raise NotExpressible("the largest bfloat16 is not written as a constant")
    info = np.finfo(x.dtype.numpy)
    most = float(info.max) if n.arg("posinf") is None else n.number("posinf")
    least = float(info.min) if n.arg("neginf") is None else n.number("neginf")
    nan = 0.0 if n.arg("nan") is None else n.number("nan")
    y = g.b.where(g.b.isnan(x), g.b.like(x, nan), x)
    y = g.b.where(g.b.isinf_signed(x, positive=True, negative=False), g.b.like(x, most), y)
    return g.b.where(g.b.isinf_signed(x, positive=False, negative=True), g.b.like(x, least), y)


# ---------------------------------------------------------------- types
@RULES.load(
    "aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy", "aten.to.prim_dtype", "prims.convert_element_type"
)
def to(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    n.skip("copy", "device", "layout", "memory_format", "non_blocking", "pin_memory")
    return convert(g, x, n.element("dtype"))


@RULES.load("aten.to.prim_Device")
def to_device(g: TorchContext, n: AtenNode) -> Value:
    """TorchScript's, whose dtype is c10's number or None."""
    n.skip("device", "non_blocking", "copy")
    code = n.arg("dtype")
    if code is not None and (isinstance(code, bool) or code not in BY_CODE):
        raise NotExpressible(f"dtype={code!r} is not read", "unsupported_dtype")
    return convert(g, n.tensor("self"), None if code is None else dtype_of(BY_CODE[code].name))


@RULES.load("aten.to.other", "aten.type_as")
def to_other(g: TorchContext, n: AtenNode) -> Value:
    return convert(g, n.tensor("self"), n.tensor("other").dtype)


def convert(g: TorchContext, x: Value, dtype: DType | None) -> Value:
    if dtype is DType.BOOL and x.dtype is not DType.BOOL:
        return truth(g, x)
    if dtype is None or x.dtype is dtype or not dtype.is_small:
        return g.cast(x, dtype)
    if dtype is DType.FLOAT8_E4M3FN:  # held to the range by torch 2.13; NaN before
        g.note("casts to float8_e4m3fn limit what is too large, as torch 2.13 does; torch 2.6 makes NaN of it")
    rounding: Literal["nearest", "up"] = "nearest" if dtype is DType.FLOAT8_E8M0FNU else "up"
    return g.b.cast(x, to=dtype, saturate=dtype is DType.FLOAT8_E4M3FN, rounding=rounding)


@RULES.load("aten.copy")
def copy(g: TorchContext, n: AtenNode) -> Value:
    x, y = n.tensor("self"), n.tensor("src")
    y = convert(g, y, x.dtype)
    shape = n.shape("self")
    return g.b.identity(y) if y.shape == shape else g.b.expand(y, shape=shape)


@RULES.load("aten.fill.Scalar", "aten.fill.Tensor")
def fill(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.b.expand(filler(g, n, n.arg("value"), x.dtype), shape=n.shape("self"))


@RULES.load("aten.zero")
def zero(g: TorchContext, n: AtenNode) -> Value:
    x = n.tensor("self")
    return g.b.fill(shape=n.shape("self"), value=0, dtype=x.dtype)
