"""Makes the modules beside this file again, seeded, without their weights: ``python examples/generated/make.py [NAME ...]``.

Needs keras, torchvision, timm and transformers beside the plugins; models have random weights, as only the code is of interest.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
HERE = Path(__file__).parent


def resnet50_keras() -> tuple[Any, dict[str, Any]]:
    import keras

    return keras.applications.ResNet50(weights=None), {}


def mobilenetv3_keras() -> tuple[Any, dict[str, Any]]:
    import keras

    return keras.applications.MobileNetV3Small(weights=None, include_preprocessing=False), {}


def bilstm_tagger() -> tuple[Any, dict[str, Any]]:
    """Words to tags: an embedding whose zeros mask, a bidirectional LSTM, a dense layer."""
    import keras

    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(5000, 64, mask_zero=True, name="embedding")(tokens)
    x = keras.layers.Bidirectional(keras.layers.LSTM(64, return_sequences=True), name="encoder")(x)
    tags = keras.layers.Dense(17, activation="softmax", name="tags")(x)
    return keras.Model(tokens, tags, name="tagger"), {}


def resnet50_torch() -> tuple[Any, dict[str, Any]]:
    import torch
    import torchvision

    return torchvision.models.resnet50().eval(), {"example_inputs": torch.randn(2, 3, 224, 224)}


def resnet50_onnx() -> tuple[Any, dict[str, Any]]:
    import onnx
    import torch
    import torchvision

    model = torchvision.models.resnet50().eval()
    for name, buffer in model.named_buffers():  # with statistics of its own no bias is equal to another
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    file = Path(tempfile.mkdtemp()) / "resnet50.onnx"
    axes = {"x": {0: "batch"}}
    torch.onnx.export(model, (torch.randn(2, 3, 224, 224),), str(file), dynamo=False,
                      input_names=["x"], output_names=["y"], dynamic_axes=axes)  # fmt: skip
    return onnx.load(file), {"class_name": "ResNet50"}


def vit() -> tuple[Any, dict[str, Any]]:
    import timm
    import torch

    return timm.create_model("vit_tiny_patch16_224").eval(), {"example_inputs": torch.randn(2, 3, 224, 224)}


def gpt2() -> tuple[Any, dict[str, Any]]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    size = {"vocab_size": 211, "n_positions": 64, "n_embd": 48, "n_layer": 3, "n_head": 4}
    config = GPT2Config(**size, use_cache=False, attn_implementation="sdpa")
    return GPT2LMHeadModel(config).eval(), {"example_inputs": torch.randint(0, 211, (2, 12))}


MODELS = {f.__name__: f for f in (resnet50_keras, resnet50_onnx, resnet50_torch, mobilenetv3_keras, bilstm_tagger, vit, gpt2)}


def main(names: list[str]) -> None:
    import torch

    import convcore

    for name in names or MODELS:
        torch.manual_seed(0)
        source, given = MODELS[name]()
        out = Path(tempfile.mkdtemp()) / f"{name}.py"
        convcore.convert(source, "pytorch", out, check=False, **given)
        text = out.read_text(encoding="utf-8")
        (HERE / out.name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}: {len(text.splitlines())} lines\n")


if __name__ == "__main__":
    main(sys.argv[1:])
