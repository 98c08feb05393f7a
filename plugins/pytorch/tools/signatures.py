"""Writes src/convcore_pytorch/aten.txt from the installed torch: one schema a line, in the order of torch's registry by name.

    python plugins/pytorch/tools/signatures.py [--out FILE]

Left out: `out=` variants, backward and foreach operators, and those of special libraries and layouts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

OUT = Path(__file__).resolve().parents[1] / "src/convcore_pytorch/aten.txt"
SKIPPED = [
    "_foreach",
    "_fused",
    "cudnn",
    "_cudnn",
    "miopen",
    "mkldnn",
    "_mkldnn",
    "mps",
    "_mps",
    "_sparse",
    "sparse",
    "quantize",
    "_quant",
    "q_",
    "fbgemm",
    "_nested",
    "nested",
    "_cslt",
    "_test",
    "_weight_int",
    "_mixed",
    "_thnn_",
    "_scaled_mm",
    "_scaled_grouped",
    "_flash",
    "_efficient",
    "_use_",
    "_cufft",
    "_transform_bias",
    "_coalesce",
    "rename",
    "refine_",
    "align_",
    "to_sparse",
    "to_mkldnn",
    "_to_sparse",
    "_int_mm",
    "_dyn_quant",
    "_wrapped",
    "from_file",
    "save",
    "set_",
    "_make_",
    "fake_quantize",
]


def lines() -> list[str]:
    """The table."""
    kept = []
    for schema in torch._C._jit_get_all_schemas():
        space, _, name = schema.name.partition("::")
        if space != "aten" or schema.overload_name.endswith("out") or any(a.is_out for a in schema.arguments):
            continue
        if "backward" in name or name.startswith(tuple(SKIPPED)) or "..." in str(schema).partition("(")[2][:4]:
            continue
        kept.append((name, str(schema).partition("::")[2]))
    return [text for _, text in sorted(kept, key=lambda item: item[0])]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    args.out.write_text(f"# torch {torch.__version__}\n" + "\n".join(lines()) + "\n", encoding="utf-8")
