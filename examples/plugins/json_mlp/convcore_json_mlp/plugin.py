"""A source: a small JSON format of dense layers. The hooks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from convcore.plugin import Framework, Identified, LoadRequest, hookimpl, read_head

if TYPE_CHECKING:
    from convcore.plugin import Graph

CONVCORE_API = (2, 0)


@hookimpl
def convcore_frameworks() -> list[Framework]:
    rules = "convcore_json_mlp.load:RULES"
    return [Framework("json_mlp", title="JSON MLP", distribution="convcore-json-mlp", suffixes=(".mlp.json",), rules=rules)]


@hookimpl
def convcore_identify(source: Any) -> Identified | None:
    head = read_head(source) if isinstance(source, (str, os.PathLike)) else None
    ours = head is not None and head.data.lstrip().startswith(b"{") and b'"mlp"' in head.data
    return Identified("json_mlp", 80, 'an object with "mlp"') if ours else None


@hookimpl
def convcore_load(framework: str, request: LoadRequest) -> Graph:
    from .load import load

    return load(request)
