"""Which models: ``names.txt``, by group."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NO_TRANSPOSE", "entries", "without_transposes"]

NO_TRANSPOSE = (
    "resnet", "resnext", "wide_resnet", "res2net", "res2next", "seres", "legacy_seres", "shufflenet", "densenet", "mobilenet_v",
    "mobilenetv2", "mobilenetv3", "efficientnet", "vgg", "inception_v", "googlenet", "convnext", "hrnet", "regnet", "unet",
)  # fmt: skip
"""Beginnings of the names of models in whose Keras files there must be no transpose (issue 8; the UNet is in ``sources.py``)."""


def without_transposes(name: str) -> bool:
    return name.startswith(NO_TRANSPOSE)


def entries(group: str) -> list[tuple[str, int]]:
    """(name, size of its images) of every model of a group."""
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    words = text.partition(f"[{group}]\n")[2].partition("\n[")[0]
    words = " ".join(line for line in words.splitlines() if not line.startswith("#"))
    return [(name, int(size or 64)) for name, _, size in (w.partition("@") for w in words.split())]
