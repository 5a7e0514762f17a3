"""Writes the text of a .proto file for a generated class, as registries keep it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2

FIELD = descriptor_pb2.FieldDescriptorProto
LABELS = {FIELD.LABEL_OPTIONAL: "optional ", FIELD.LABEL_REQUIRED: "required ", FIELD.LABEL_REPEATED: "repeated "}
SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FIELD.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}


def proto_text_of(file: Any) -> str:
    """The text of a file's description (a FileDescriptorProto)."""
    is_proto3 = file.syntax == "proto3"
    lines = [f'syntax = "{file.syntax or "proto2"}";']
    if file.package:
        lines.append(f"package {file.package};")
    for number, name in enumerate(file.dependency):
        public = "public " if number in file.public_dependency else ""
        lines.append(f'import {public}"{name}";')
    for message in file.message_type:
        lines += ["", *_message_lines(message, is_proto3)]
    for enum in file.enum_type:
        lines += ["", *_enum_lines(enum)]
    return "\n".join(lines) + "\n"


def _message_lines(message: Any, is_proto3: bool) -> Iterator[str]:
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    yield f"message {message.name} {{"
    for nested in message.nested_type:
        if nested.name not in maps:
            yield from _indent(_message_lines(nested, is_proto3))
    for enum in message.enum_type:
        yield from _indent(_enum_lines(enum))
    for field in message.field:
        if not field.HasField("oneof_index") or field.proto3_optional:
            yield f"  {_field_label(field, is_proto3, maps)}{_field_type(field, maps)} {field.name} = {field.number};"
    for index, oneof in enumerate(message.oneof_decl):
        members = [
            field
            for field in message.field
            if field.HasField("oneof_index") and field.oneof_index == index and not field.proto3_optional
        ]
        if members:
            yield f"  oneof {oneof.name} {{"
            yield from (f"    {_field_type(field, maps)} {field.name} = {field.number};" for field in members)
            yield "  }"
    yield "}"


def _enum_lines(enum: Any) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    if enum.options.allow_alias:
        yield "  option allow_alias = true;"
    yield from (f"  {value.name} = {value.number};" for value in enum.value)
    yield "}"


def _field_label(field: Any, is_proto3: bool, maps: Any) -> str:
    if _map_entry_of(field, maps) is not None:
        return ""
    if is_proto3 and field.label == FIELD.LABEL_OPTIONAL and not field.proto3_optional:
        return ""
    return LABELS[field.label]


def _field_type(field: Any, maps: Any) -> str:
    entry = _map_entry_of(field, maps)
    if entry is not None:
        key, value = entry.field
        return f"map<{_field_type(key, {})}, {_field_type(value, {})}>"
    return SCALARS.get(field.type) or str(field.type_name)


def _map_entry_of(field: Any, maps: Any) -> Any:
    return maps.get(field.type_name.rpartition(".")[2]) if field.type == FIELD.TYPE_MESSAGE else None


def _indent(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
