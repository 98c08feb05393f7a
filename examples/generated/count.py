"""Lines of code of the modules beside this file, and of the same nets where people wrote them: ``python examples/generated/count.py``.

Blank lines, comments and docstrings do not count. Of our files everything counts, the loader of weights too; of the libraries'
the classes and functions that make the net. Needs torchvision, timm and transformers.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESNET = {"torchvision.models.resnet": "conv3x3 conv1x1 Bottleneck ResNet _resnet resnet50"}
THEIRS = {
    "resnet50_torch": RESNET,
    "resnet50_onnx": RESNET,
    "resnet50_keras": RESNET,
    "mobilenetv3_keras": {
        "torchvision.models.mobilenetv3": "InvertedResidualConfig InvertedResidual MobileNetV3 _mobilenet_v3_conf _mobilenet_v3 "
        "mobilenet_v3_small",
        "torchvision.ops.misc": "ConvNormActivation Conv2dNormActivation SqueezeExcitation",
        "torchvision.models._utils": "_make_divisible",
    },
    "vit": {
        "timm.models.vision_transformer": "Block VisionTransformer _create_vision_transformer vit_tiny_patch16_224",
        "timm.layers.attention": "Attention",
        "timm.layers.mlp": "Mlp",
        "timm.layers.patch_embed": "PatchEmbed",
    },
    "gpt2": {
        "transformers.models.gpt2.modeling_gpt2": "GPT2Attention GPT2MLP GPT2Block GPT2Model GPT2LMHeadModel",
        "transformers.pytorch_utils": "Conv1D",
        "transformers.activations": "NewGELUActivation",
    },
    "bilstm_tagger": {},
}
"""What makes the same net in the libraries: definitions by module."""


def code_lines(text: str) -> int:
    """Lines with code: no blank ones, comments or docstrings."""
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            first = node.body[0]
            told.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for n, line in lines if n not in told and line.strip() and not line.strip().startswith("#"))


def theirs(parts: dict[str, str]) -> int:
    count = 0
    for module, names in parts.items():
        found = importlib.import_module(module)
        count += sum(code_lines(inspect.cleandoc("\n" + inspect.getsource(getattr(found, n)))) for n in names.split())
    return count


def main() -> None:
    sys.stdout.write("| net | lines | the library's | ratio |\n|---|---|---|---|\n")
    for name, parts in THEIRS.items():
        ours, other = code_lines((HERE / f"{name}.py").read_text(encoding="utf-8")), theirs(parts)
        ratio = f"{other} | {ours / other:.2f}" if other else " |"
        sys.stdout.write(f"| {name} | {ours} | {ratio} |\n")


if __name__ == "__main__":
    main()
