"""Protobuf messages: the classes of a registry's schema, which of them a value is, and messages as plain objects."""

from __future__ import annotations

import base64
import datetime as dt
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from evkafka.serde.formats.interface import FormatError, Schema, StoredSchema
from evkafka.serde.formats.proto_source import parse_proto_file

MOST_INDEXES = 50

WELL_KNOWN: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Timestamp": lambda one: one.ToDatetime(dt.UTC),
    "google.protobuf.Duration": lambda one: one.ToTimedelta(),
    "google.protobuf.Struct": MessageToDict,
    "google.protobuf.Value": MessageToDict,
    "google.protobuf.ListValue": MessageToDict,
    **{
        f"google.protobuf.{name}Value": lambda one: one.value
        for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
    },
}
"""Messages of protobuf itself that are values, in Python's own types."""


# ---------------------------------------------------------------------------- the classes of a schema


class Messages:
    """The messages of one schema.

    Raises:
        FormatError: it cannot be used.
    """

    def __init__(self, stored: StoredSchema) -> None:
        self._key = stored.key
        pool = descriptor_pool.DescriptorPool()
        try:
            for name, used in stored.used:
                _add_file(pool, _parse_file(used, name))
            file = _parse_file(stored.schema, f"{stored.key}.proto")
            _add_file(pool, file)
            self._file = pool.FindFileByName(file.name)
        except FormatError as error:
            raise FormatError(f"schema {stored.key} cannot be used: {error}") from None
        except Exception as error:  # what protobuf raises for names that do not exist, for example
            raise FormatError(f"schema {stored.key} cannot be used: {type(error).__name__}: {error}") from error
        self._classes: dict[tuple[int, ...], Any] = {}

    def class_at_indexes(self, indexes: tuple[int, ...]) -> Any:
        """The class of the message with these indexes: the first of the file, then of its nested messages."""
        found = self._classes.get(indexes)
        if found is None:
            found = self._classes[indexes] = message_factory.GetMessageClass(self._descriptor_at_indexes(indexes))
        return found

    def name_at_indexes(self, indexes: tuple[int, ...]) -> str | None:
        """The full name of the message with these indexes; None for the first message of a file without any."""
        if not self._file.message_types_by_name and indexes == (0,):
            return None
        return str(self.class_at_indexes(indexes).DESCRIPTOR.full_name)

    def _descriptor_at_indexes(self, indexes: tuple[int, ...]) -> Any:
        first, *rest = indexes
        try:
            descriptor = list(self._file.message_types_by_name.values())[first]
            for index in rest:
                descriptor = descriptor.nested_types[index]
        except IndexError:
            raise FormatError(f"schema {self._key} has no message number {list(indexes)}") from None
        return descriptor

    def indexes_of(self, full_name: str) -> tuple[int, ...] | None:
        """Where a message is in the schema; None if it is not there."""
        outer = enumerate(self._file.message_types_by_name.values())
        rest: list[tuple[tuple[int, ...], Any]] = [((index,), one) for index, one in outer]
        while rest:
            indexes, descriptor = rest.pop()
            if descriptor.full_name == full_name:
                return indexes
            rest += [((*indexes, index), one) for index, one in enumerate(descriptor.nested_types)]
        return None


def _parse_file(schema: Schema, name: str) -> Any:
    """A schema's file. Some producers register protobuf's own description of it, in base64, in place of its text."""
    try:
        content = base64.b64decode(schema.text, validate=True)
        file = descriptor_pb2.FileDescriptorProto.FromString(content)
    except (ValueError, RuntimeError, DecodeError):
        return parse_proto_file(schema.text, name)
    file.name = name
    return file


def _add_file(pool: Any, file: Any) -> None:
    for name in file.dependency:
        _add_bundled_file(pool, name)
    pool.Add(file)


def _add_bundled_file(pool: Any, name: str) -> None:
    """Add a file that protobuf (or googleapis-common-protos) has as a module, with those that it imports."""
    try:
        pool.FindFileByName(name)
    except KeyError:
        pass
    else:
        return
    if not name.startswith("google/"):
        raise FormatError(f"it imports {name}, which is not among its references")
    try:
        module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    except ModuleNotFoundError:
        raise FormatError(f"it imports {name}, which is not installed") from None
    for used in module.DESCRIPTOR.dependencies:
        _add_bundled_file(pool, used.name)
    pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)


# ---------------------------------------------------------------------------- which message a value is


def read_indexes(content: bytes, start: int) -> tuple[tuple[int, ...], int]:
    """The message's indexes in front of a value, and where the message begins.

    Raises:
        FormatError: they are cut off, or too many.
    """
    count, at = _read_varint(content, start)
    if count == 0:
        return (0,), at
    if not 0 < count <= MOST_INDEXES:
        raise FormatError("it does not say which message of its schema it is")
    indexes = []
    for _ in range(count):
        index, at = _read_varint(content, at)
        indexes.append(index)
    if min(indexes) < 0:
        raise FormatError("it does not say which message of its schema it is")
    return tuple(indexes), at


def encode_indexes(indexes: Sequence[int]) -> bytes:
    if list(indexes) == [0]:
        return b"\0"
    return b"".join(map(_encode_zigzag, (len(indexes), *indexes)))


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """A number in protobuf's zigzag form, and the position after it."""
    number = shift = 0
    while at < len(content) and shift < 35:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), at
    raise FormatError("it does not say which message of its schema it is")


def _encode_zigzag(number: int) -> bytes:
    number <<= 1
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


# ---------------------------------------------------------------------------- messages as plain objects

Name = Callable[[Any], str]
"""Gives a field's name for payloads."""


def message_to_dict(message: Message, name_of: Name) -> dict[str, Any]:
    """A message as a dict: enums by their names, times and wrappers as Python has them. Fields that the value does not
    have are left out, if their type tells that apart."""
    plain: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            item = field.message_type.fields_by_name["value"]
            plain[name_of(field)] = {key: _field_to_plain(item, one, name_of) for key, one in value.items()}
        elif field.is_repeated:
            plain[name_of(field)] = [_field_to_plain(field, one, name_of) for one in value]
        else:
            plain[name_of(field)] = _field_to_plain(field, value, name_of)
    return plain


def _field_to_plain(field: Any, value: Any, name_of: Name) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        return value
    convert = WELL_KNOWN.get(field.message_type.full_name)
    return convert(value) if convert is not None else message_to_dict(value, name_of)


def is_message_class(kind: Any) -> bool:
    """Whether it is a generated class."""
    return isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
