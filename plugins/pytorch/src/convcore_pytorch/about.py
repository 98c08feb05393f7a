"""What a live module says about itself: classes and preprocessing, as transformers and timm note them in their models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["about_module"]

_TIMM = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")


def about_module(module: Any, images: Sequence[str]) -> dict[str, Any]:
    """Labels and preprocessing under the keys of ``convcore.plugin.about``; ``images`` are the names of inputs with four axes.

    transformers: ``config.id2label``, whose default ``LABEL_0``, ``LABEL_1`` ... names nothing; timm: ``pretrained_cfg``
    (``timm.models._builder``), whose ``mean`` and ``std`` are of images of 0..1. Its ``license`` is that of the weights timm has
    for the architecture; the module does not say whether it holds these, so none is told.
    """
    out: dict[str, Any] = {}
    by_number = getattr(getattr(module, "config", None), "id2label", None)
    if isinstance(by_number, Mapping):
        names = {str(k): str(v) for k, v in by_number.items()}
        keys = [str(i) for i in range(len(names))]
        if set(keys) == set(names) and not all(re.fullmatch(r"LABEL_\d+", v) for v in names.values()):
            out["labels"] = [names[k] for k in keys]
    timm = getattr(module, "pretrained_cfg", None)
    if not isinstance(timm, Mapping):
        return out
    if isinstance(timm.get("label_names"), (list, tuple)) and timm["label_names"]:
        out["labels"] = [str(x) for x in timm["label_names"]]
    if len(images) == 1 and timm.get("mean"):
        facts = {k: _plain(timm[k]) for k in _TIMM if timm.get(k) is not None}
        out["preprocessing"] = {images[0]: {**facts, "order": "RGB", "formula": "(x / 255 - mean) / std"}}
    return out


def _plain(x: Any) -> Any:
    return list(x) if isinstance(x, (list, tuple)) else x if isinstance(x, (int, float, str)) else str(x)
