"""Functions of single elements that are one op here: torch's function and ATen's operators in one row each."""

from __future__ import annotations

from typing import Any

from convcore.plugin import A

from .base import COMPLEX, FLOAT, NUMBER, RULES, aten

# ---- fractions: ATen turns integers into them
for _op, _more in {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh", "cos": "",
    "cosh": "", "erf": "special_erf", "erfc": "special_erfc", "exp": "", "exp2": "special_exp2", "expm1": "special_expm1",
    "log": "", "log10": "", "log1p": "special_log1p", "log2": "", "reciprocal": "", "rsqrt": "", "sin": "", "sinh": "",
    "sqrt": "", "tan": "", "lgamma": "special_gammaln", "digamma": "special_digamma special_psi", "erfinv": "special_erfinv",
}.items():  # fmt: skip
    RULES.op(f"torch.{_op}", _op, "input=x", types=FLOAT, also=aten(f"{_op} {_more}", "self:input", "float"))
for _op in ("erfcx", "log_ndtr"):
    RULES.op(f"torch.special.{_op}", _op, "input=x", types=FLOAT, also=aten(f"special_{_op}", "self:input", "float"))

# ---- integers stay what they are (ATen's rounding of them, and what does nothing to truth values: see arithmetic.py)
for _op, _more in {"ceil": "", "floor": "", "round": "", "trunc": "fix"}.items():
    RULES.op(f"torch.{_op}", _op, "input=x", types=FLOAT, also=aten(f"{_op} {_more}", "self:input"))
for _op, _more in {"abs": "absolute", "neg": "negative", "square": ""}.items():
    RULES.op(f"torch.{_op}", _op, "input=x", types=NUMBER if _op == "abs" else COMPLEX, also=aten(f"{_op} {_more}", "self:input"))

# ---- truth values
for _op in ("isfinite", "isinf", "isnan"):
    RULES.op(f"torch.{_op}", _op, "input=x", also=aten(_op, "self:input", "float"))
RULES.op("torch.logical_not", "not", "input=x", types={"x": "bool"}, also=aten("logical_not", "self:input", "truth"))
RULES.op("torch.bitwise_not", "bitwise_not", "input=x", types={"x": "int"}, also=aten("bitwise_not", "self:input"))
for _call in aten("bitwise_not", "self:input"):
    RULES.op(_call, "not", "input=x", types={"x": "bool"})

# ---- two operands, one of which may be a number for ATen
_TWO = "self:input, other"
_BOTH = "input=x, other=y"
for _op in ("and", "or", "xor"):
    RULES.op(
        f"torch.logical_{_op}", _op, _BOTH, alike=("dtype",), types={"x": "bool"}, also=aten(f"logical_{_op}", _TWO, "truth"),
    )  # fmt: skip
    _names = " ".join(f"{k}.{o}" for k in (f"bitwise_{_op}", f"__{_op}__") for o in ("Tensor", "Scalar"))
    RULES.op(
        f"torch.bitwise_{_op}", f"bitwise_{_op}", _BOTH, alike=("dtype",), types={"x": "int"}, also=aten(_names, _TWO, "alike"),
    )  # fmt: skip
    for _call in aten(_names, _TWO, "alike"):
        RULES.op(_call, _op, _BOTH, types={"x": "bool"})
for _op, _torch, _names in (
    ("shift_left", "bitwise_left_shift", "bitwise_left_shift.Tensor bitwise_left_shift.Tensor_Scalar __lshift__.Scalar"),
    ("shift_right", "bitwise_right_shift", "bitwise_right_shift.Tensor bitwise_right_shift.Tensor_Scalar __rshift__.Scalar"),
):
    RULES.op(f"torch.{_torch}", _op, _BOTH, alike=("dtype",), types={"x": "int"}, also=aten(_names, _TWO, "alike"))
for _op, _bool, _names in (("maximum", "or", "maximum max.other"), ("minimum", "and", "minimum min.other")):
    RULES.op(f"torch.{_op}", _op, _BOTH, alike=("dtype",), types=NUMBER, also=aten(_names, _TWO, "alike"))
    for _call in aten(_names, _TWO, "alike"):
        RULES.op(_call, _bool, _BOTH, types={"x": "bool"})
RULES.op("torch.atan2", "atan2", _BOTH, alike=("dtype",), types=FLOAT, also=aten("atan2 arctan2", _TWO, "fractions"))
RULES.op(
    "torch.fmod", "fmod", _BOTH, alike=("dtype",), types=NUMBER, also=aten("fmod.Tensor fmod.Scalar", _TWO, "alike"),
)  # fmt: skip

# ---- Python's operators are written, of operands of one type: these are exact
_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "pow": "**", "floor_div": "//", "floor_mod": "%", "equal": "==", "not_equal": "!=",
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
_EITHER: dict[str, Any] = {"numbers": {"x": "y", "y": "x"}, "direction": "emit"}
_FRACTION = ("float", "complex64", "complex128")
for _op, _sign in _SIGNS.items():
    RULES.op(_sign, _op, "x, y", alike=("dtype",), types=COMPLEX if _sign[0] in "+-*/%" else {}, **_EITHER)
RULES.op("/", "div", "x, y", alike=("dtype",), types={"x": _FRACTION}, **_EITHER)
RULES.op(
    "torch.div", "div", _BOTH, alike=("dtype",), types={"x": "int"}, when={"rounding_mode": "trunc"}, numbers={"y": "x"},
    direction="emit",
)  # fmt: skip
RULES.op("torch.where", "where", "condition, input=x, other=y", **_EITHER)
RULES.op(".to", "cast", "input=x", to=A("dtype", at=1), direction="emit")

# ---- read only
_COMPARED = {
    "equal": "eq", "not_equal": "ne not_equal", "less": "lt less", "less_equal": "le less_equal", "greater": "gt greater",
    "greater_equal": "ge greater_equal",
}  # fmt: skip
for _op, _names in _COMPARED.items():
    _names = " ".join(f"{k}.{o}" for k in _names.split() for o in ("Tensor", "Scalar"))
    for _call in aten(_names, _TWO, "compared" if "equal" in (_op, _op[4:]) else "ordered"):
        RULES.op(_call, _op, _BOTH)
for _call in aten("floor_divide floor_divide.Scalar", _TWO, "alike"):
    RULES.op(_call, "floor_div", _BOTH)
for _call in aten("remainder.Tensor remainder.Scalar", _TWO, "alike"):
    RULES.op(_call, "floor_mod", _BOTH)
