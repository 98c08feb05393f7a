"""The schema's tables as protobuf message classes, in a pool of their own: no other user of protobuf meets them.

Fields without a wire number and enum values below 0 (see ``schema``) exist in the text form only: they are declared with
numbers from :data:`TEXT_ONLY` up, which are never written to a binary file and are unknown fields in one. Required fields are
declared optional: what is missing is told with its line by ``checks``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .message import Message
from .schema import enum_names, enum_values, message_names, message_type

__all__ = ["TEXT_ONLY", "decode_error", "fill", "holds_blobs", "message_class", "unknown_fields"]

TEXT_ONLY = 400_000_000
_PACKED = {("BlobShape", "dim"), *(("BlobProto", n) for n in ("data", "diff", "double_data", "double_diff"))}


@cache
def _pool() -> Any:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Declared
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

    file = FileDescriptorProto(name="convcore_caffe.proto", package="caffe", syntax="proto2")
    for name in enum_names():  # values share the scope around their enum, and forks repeat them: a scope for each
        values = {v: n if n >= 0 else TEXT_ONLY - n for v, n in enum_values(name).items()}
        enum = file.message_type.add(name=f"{name}Scope").enum_type.add(name=name)
        if len(set(values.values())) < len(values):
            enum.options.allow_alias = True
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name in message_names():
        message = file.message_type.add(name=name)
        for i, f in enumerate(message_type(name).by_name.values()):
            field = message.field.add(name=f.name, number=f.number or TEXT_ONLY + i)
            field.label = Declared.LABEL_REPEATED if f.repeated else Declared.LABEL_OPTIONAL
            field.type = getattr(Declared, f"TYPE_{f.kind.upper()}")
            if f.kind in ("message", "enum"):
                field.type_name = f".caffe.{f.type}" if f.kind == "message" else f".caffe.{f.type}Scope.{f.type}"
            if (name, f.name) in _PACKED:
                field.options.packed = True
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def message_class(name: str) -> Any:
    """The protobuf class of a message of the schema."""
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(_pool().FindMessageTypeByName(f"caffe.{name}"))


@cache
def decode_error() -> type[Exception]:
    """What protobuf raises for bytes that are no message."""
    from google.protobuf.message import DecodeError

    return DecodeError


@cache
def _unknown_field_set() -> Any:
    from google.protobuf.unknown_fields import UnknownFieldSet

    return UnknownFieldSet


def unknown_fields(message: Any) -> Any:
    """The fields of a parsed message that the schema has no number for: ``field_number``, ``wire_type`` and ``data`` of each."""
    return _unknown_field_set()(message)


@cache
def holds_blobs(name: str) -> bool:
    """Whether weights lie somewhere inside a message of the schema (itself a BlobProto included)."""
    return name == "BlobProto" or any(f.kind == "message" and holds_blobs(f.type) for f in message_type(name).by_name.values())


def fill(into: Any, message: Message, name: str, value: Any, *, text: bool) -> None:
    """Set one field of a protobuf message to what ``message`` gives for it; what is text only is left out, or kept (``text``)."""
    field = message.schema.by_name[name]
    values = value if field.repeated else [value]
    if field.kind == "enum":
        numbers = enum_values(field.type)
        values = [numbers[v] if numbers[v] >= 0 else TEXT_ONLY - numbers[v] for v in values if text or numbers[v] >= 0]
    if not (field.number or text):
        return
    if field.kind == "message":
        for item in values:
            nested = getattr(into, name).add() if field.repeated else getattr(into, name)
            nested.SetInParent()
            for inner, given in item.fields():
                fill(nested, item, inner, given, text=text)
    elif field.repeated:
        getattr(into, name).extend(values)
    elif values:
        setattr(into, name, values[0])
