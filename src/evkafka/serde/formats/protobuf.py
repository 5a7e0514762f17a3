"""Protobuf. Endpoints may take the generated class, or any type that pydantic can create from the message's fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Literal

from evkafka.exceptions import ConfigError
from evkafka.serde.annotations import annotation_text, unwrap_aliases, without_none
from evkafka.serde.decoding import Decoder
from evkafka.serde.encoding import dumper_for
from evkafka.serde.formats.fields import field_names_of_models_in_annotation, undescribable_type_error
from evkafka.serde.formats.framing import Frame
from evkafka.serde.formats.interface import Encode, FormatError, Schema, StoredSchema
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.registry_format import Described, Names, Read, RegistryFormat, SubjectNames

if TYPE_CHECKING:
    from evkafka.serde.formats.proto_messages import Messages


UNKNOWN_FIELD = re.compile(r"has no field named \"(\w+)\"")
WRONG_FIELD = re.compile(r"Failed to parse (\w+) field")
"""Parts of protobuf's messages that name a field."""


class Protobuf(RegistryFormat):
    """Values in Protobuf, with their schema's id and the message's place in it in front, as Confluent's serializers
    write them.

    Args:
        registry: where the schemas are.
        subject: where a sender's schemas are in it: "topic" (default) for `TOPIC-value`, "record" for the message's
            full name, "topic-record" for `TOPIC-NAME`.
        fallback: "json": values without a schema's id are JSON, as in a topic that is being migrated. Default None:
            they cannot be decoded.
        auto_register: senders register a schema that the registry does not have. Default False: the app does not start.
        schema: senders write by the schema of the generated class ("model", default), or by the "latest" schema of the
            subject.

    Raises:
        ConfigError: an argument is invalid, or protobuf is not installed.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        subject: SubjectNames = "topic",
        fallback: Literal["json"] | None = None,
        auto_register: bool = False,
        schema: Literal["model", "latest"] = "model",
    ) -> None:
        try:
            import google.protobuf  # noqa: F401 - only whether it is there
        except ModuleNotFoundError:
            raise ConfigError("Protobuf needs protobuf: pip install 'evkafka[protobuf]'") from None
        super().__init__(
            ProtobufLanguage(),
            registry,
            subject=subject,
            fallback=fallback,
            auto_register=auto_register,
            schema=schema,
        )


class ProtobufLanguage:
    """Protobuf schemas. See `Language`."""

    name = "Protobuf"
    media_type = "application/protobuf"
    type: Literal["PROTOBUF"] = "PROTOBUF"

    # ------------------------------------------------------------------ reading

    def compile_reader(self, stored: StoredSchema, annotation: Any, json: Decoder | None) -> Read:
        from evkafka.serde.formats.proto_messages import Messages, is_message_class

        messages, kind = Messages(stored), without_none(unwrap_aliases(annotation))
        if is_message_class(kind):
            return _class_reader(messages, kind)
        return _plain_reader(messages, field_names_of_models_in_annotation(annotation), json)

    def compile_value_schema_name_reader(self, stored: StoredSchema) -> Names:
        from evkafka.serde.formats.proto_messages import Messages

        messages = Messages(stored)
        first = messages.name_at_indexes((0,))

        def name_of(value: bytes, frame: Frame) -> str | None:
            if frame.rest is None and value[frame.start : frame.start + 1] == b"\0":
                return first
            return messages.name_at_indexes(_locate_message(value, frame)[0])

        return name_of

    # ------------------------------------------------------------------ writing

    def generate_schema_from_type(self, annotation: Any) -> Described:
        from google.protobuf import descriptor_pb2

        from evkafka.serde.formats.proto_messages import encode_indexes, is_message_class
        from evkafka.serde.formats.proto_text import proto_text_of

        kind = without_none(unwrap_aliases(annotation))
        if not is_message_class(kind):
            raise undescribable_type_error(
                annotation_text(kind),
                "its schema in Protobuf is unknown; use the generated class, or write by the subject's latest schema:"
                ' Protobuf(registry, schema="latest")',
            )
        file = descriptor_pb2.FileDescriptorProto()
        kind.DESCRIPTOR.file.CopyToProto(file)
        if foreign := [name for name in file.dependency if not name.startswith("google/")]:
            raise undescribable_type_error(
                annotation_text(kind),
                f"its file imports {', '.join(foreign)}, which is a schema of its own: register it and write by the"
                ' subject\'s latest schema: Protobuf(registry, schema="latest")',
            )
        prefix = encode_indexes(_indexes_of(kind.DESCRIPTOR))

        def compile_(stored: StoredSchema) -> Encode:
            return _class_writer(kind, prefix if stored.schema.text == text else _index_prefix_in_schema(stored, kind))

        text = proto_text_of(file)
        return Described(Schema(text, "PROTOBUF"), str(kind.DESCRIPTOR.full_name), compile_)

    def describe_type_if_without_own_schema(self, annotation: Any) -> Described | None:
        from evkafka.serde.formats.proto_messages import is_message_class

        if is_message_class(without_none(unwrap_aliases(annotation))):
            return None
        dump = dumper_for(annotation)
        return Described(Schema("", "PROTOBUF"), "", lambda stored: _first_message_writer(stored, dump))


def _locate_message(value: bytes, frame: Frame) -> tuple[tuple[int, ...], int]:
    """Which message of the schema a value is, and where it begins."""
    from evkafka.serde.formats.proto_messages import read_indexes

    if frame.rest is None:
        return read_indexes(value, frame.start)
    return (read_indexes(frame.rest, 0)[0] if frame.rest else (0,)), frame.start


# ---------------------------------------------------------------------------- readers


def _class_reader(messages: Messages, kind: Any) -> Read:
    """Reads the generated class. The value must be of that message, in any version of its schema."""
    wanted = kind.DESCRIPTOR.full_name
    is_first = messages.name_at_indexes((0,)) == wanted

    def read(value: bytes, frame: Frame) -> Any:
        at = frame.start
        if is_first and frame.rest is None and value[at : at + 1] == b"\0":  # the file's first message, as most are
            return parse_message(kind, value[at + 1 :], frame)
        indexes, start = _locate_message(value, frame)
        name = messages.name_at_indexes(indexes)
        if name != wanted:
            raise FormatError(f"it is a message of type {name}, not {wanted}")
        return parse_message(kind, value[start:], frame)

    return read


def _plain_reader(messages: Messages, names: Collection[str], json: Decoder | None) -> Read:
    from evkafka.serde.formats.proto_messages import message_to_dict

    from_object: Callable[[Any], Any] | None = json.from_object if json is not None else None

    def name_of(field: Any) -> str:
        """As in the .proto file, unless the type knows only its name in JSON."""
        return str(field.json_name if field.name not in names and field.json_name in names else field.name)

    def read(value: bytes, frame: Frame) -> Any:
        indexes, start = _locate_message(value, frame)
        plain = message_to_dict(parse_message(messages.class_at_indexes(indexes), value[start:], frame), name_of)
        return plain if from_object is None else from_object(plain)

    return read


def parse_message(kind: Any, content: bytes, frame: Frame) -> Any:
    try:
        return kind.FromString(content)
    except Exception as error:  # protobuf's DecodeError, and others of its C code
        fault = FormatError(f"its bytes do not fit schema {frame.key}: {type(error).__name__}")
    raise fault  # outside of the `except`: the error may contain the value


# ---------------------------------------------------------------------------- writers


def _class_writer(kind: Any, prefix: bytes) -> Encode:
    def encode(event: Any) -> bytes:
        if not isinstance(event, kind):
            raise TypeError(f"expected {kind.__name__}, got {type(event).__name__}")
        try:
            return prefix + bytes(event.SerializeToString())
        except Exception as error:  # protobuf's EncodeError: a required field is missing
            raise FormatError(f"it cannot be written: {error}") from None

    return encode


def _index_prefix_in_schema(stored: StoredSchema, kind: Any) -> bytes:
    """Where the message is in a schema that is not the class's own."""
    from evkafka.serde.formats.proto_messages import Messages, encode_indexes

    indexes = Messages(stored).indexes_of(kind.DESCRIPTOR.full_name)
    if indexes is None:
        raise FormatError(f"it has no message {kind.DESCRIPTOR.full_name}")
    return encode_indexes(indexes)


def _first_message_writer(stored: StoredSchema, dump: Callable[[Any], Any]) -> Encode:
    """Writes the first message of the schema."""
    from google.protobuf.json_format import ParseDict
    from google.protobuf.json_format import ParseError as Misfit
    from pydantic_core import to_jsonable_python

    from evkafka.serde.formats.proto_messages import Messages

    kind = Messages(stored).class_at_indexes((0,))

    def encode(event: Any) -> bytes:
        plain = to_jsonable_python(dump(event), bytes_mode="base64", exclude_none=True)
        try:
            return b"\0" + bytes(ParseDict(plain, kind()).SerializeToString())
        except Misfit as error:
            fault = FormatError(f"it does not fit schema {stored.key}: {_value_misfit_text(error)}")
        raise fault  # outside of the `except`: the error contains the value

    return encode


def _value_misfit_text(error: Exception) -> str:
    """Which field does not fit, without its value."""
    if (unknown := UNKNOWN_FIELD.search(str(error))) is not None:
        return f"the message has no field {unknown[1]}"
    if (wrong := WRONG_FIELD.search(str(error))) is not None:
        return f"field {wrong[1]} has another type"
    return "a field has another type"


def _indexes_of(descriptor: Any) -> list[int]:
    """Where a message is in its file: the number of the outermost one, then those of the nested ones."""
    indexes: list[int] = []
    while descriptor.containing_type is not None:
        siblings = [one.full_name for one in descriptor.containing_type.nested_types]
        indexes.insert(0, siblings.index(descriptor.full_name))
        descriptor = descriptor.containing_type
    siblings = [one.full_name for one in descriptor.file.message_types_by_name.values()]
    return [siblings.index(descriptor.full_name), *indexes]
