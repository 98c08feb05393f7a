"""Casts in front of Transposes: onnxruntime 1.24 to 1.32 end the process where a MatMul reads the cast of a Transpose.

Its matmul_transpose_fusion.cc reorders the two, and nchwc_transformer.cc then follows a null pointer
(https://github.com/microsoft/onnxruntime/issues/28392, and run here with 1.32.0: float32 and float64, from any type).
"""

from __future__ import annotations

from convcore.plugin import Block, DType, Plan, PlanCall, Ref

__all__ = ["casts_first"]


def casts_first(plan: Plan) -> None:
    """Write the Transpose of a Cast for a Cast of a Transpose that a MatMul reads; the numbers are the same. Regions too."""
    _in_block(plan, plan.root)


def _in_block(plan: Plan, block: Block) -> None:
    multiplied = {a for c in block.calls if c.type == "MatMul" for a in c.args}
    calls: list[PlanCall] = []
    for call in block.calls:
        for region in call.kwargs.values():
            if isinstance(region, Block):
                _in_block(plan, region)
        if call.type == "Cast" and not call.kept and call.results[0] in multiplied:
            calls += _first(plan, call)
        calls.append(call)
    block.calls = calls


def _first(plan: Plan, call: PlanCall) -> list[PlanCall]:
    """The Cast that comes before the Transpose that ``call`` is from now on; none where it casts something else."""
    (x,), dtype = call.args, call.results[0].dtype
    before = x.call if isinstance(x, Ref) else None
    if before is None or before.type != "Transpose" or before.kept or dtype not in (DType.FLOAT32, DType.FLOAT64):
        return []
    source = before.args[0]
    ref = Ref(None, 0, dtype, source.shape, name=plan.names.fresh(f"{call.name}/first/out"))
    cast = PlanCall("Cast", (source,), call.kwargs, (ref,), plan.call_names.fresh(f"{call.name}/first"), call.source, call.node)
    ref.call, cast.path = cast, call.path
    call.target, call.args, call.kwargs = "Transpose", (ref,), before.kwargs
    return [cast]
