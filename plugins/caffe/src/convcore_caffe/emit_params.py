"""The parameters of a layer as the message that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .files import Message
from .files.schema import message_type
from .layer_spec import params_of, spec_of

__all__ = ["params_message"]


def params_message(type_: str, fields: Mapping[str, Any]) -> dict[str, Message]:
    """{field of LayerParameter: message} for a layer's parameters; empty where there are none."""
    if not fields:
        return {}
    declared = message_type("LayerParameter").by_name
    field = next(f for f in params_of(type_) if f in declared)
    m = Message(declared[field].type)
    for name, value in spec_of(type_).shortest(fields).items():
        if m.schema.by_name[name].repeated and not isinstance(value, (list, tuple)):
            value = [value]
        m.set(name, value)
    return {field: m}
