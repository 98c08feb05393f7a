"""Linear layers."""

from __future__ import annotations

from convcore.plugin import A, Given, Rank, Size, W

from .base import RULES, aten

RULES.op(
    "torch.nn.Linear", "linear", "input=x", w=W("weight"), b=W("bias", optional=True), in_features=Size("w", 1),
    out_features=Size("w", 0), bias=Given("b"), also=aten("linear", "input, weight, bias?"),
)  # fmt: skip
RULES.op("F.linear", "linear", "input=x, weight=w, bias=b", direction="emit")
RULES.op("torch.einsum", "einsum", "operands=xs*", equation=A("equation", at=0), alike=("dtype",), direction="emit")
RULES.op("torch.matmul", "matmul", "input=a, other=b", alike=("dtype",))
for _call in aten("matmul linalg_matmul", "self:a, other:b"):
    RULES.op(_call, "matmul", "a, b")
for _name, _other, _a, _b in (("mm", "mat2", 2, 2), ("bmm", "mat2", 3, 3), ("mv", "vec", 2, 1), ("dot", "tensor", 1, 1),
                              ("vdot", "other", 1, 1)):  # fmt: skip
    for _call in aten(_name, f"self:a, {_other}:b", "conjugate" if _name == "vdot" else ""):
        RULES.op(_call, "matmul", "a, b", rank=(Rank(_a, "a"), Rank(_b, "b")))
