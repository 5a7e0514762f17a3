"""The flexible encodings of the Kafka protocol (KIP-482): compact lengths, nullable structs, tagged fields, ids.

aiokafka has compact types too. They accept bytes that are no message (a truncated tagged field, null in a field that
has no null), raise errors of several kinds for others, and encode tagged fields wrongly
(aiokafka-defects.md#flexible-encodings). Here a field that is not declared nullable is never None, unknown tagged
fields are skipped, and `FlexibleResponse.decode` raises one kind of error for everything that is malformed.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from io import BytesIO
from typing import Any, Self

from aiokafka import errors as kafka
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Response
from aiokafka.protocol.types import CompactArray, CompactString, Int8, Schema, UnsignedVarInt32

NO_TAGS = b"\x00"


class VarUInt(AbstractType[int]):
    """An unsigned number of up to 32 bits, seven bits per byte."""

    @classmethod
    def encode(cls, value: int) -> bytes:
        encoded: bytes = UnsignedVarInt32.encode(value)
        return encoded

    @classmethod
    def decode(cls, data: BytesIO) -> int:
        value = 0
        for shift in range(0, 35, 7):
            [byte] = _read_bytes(data, 1)
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise ValueError("a variable-length number has more than five bytes")


class Uuid(AbstractType[uuid.UUID]):
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=_read_bytes(data, 16))

    @classmethod
    def repr(cls, value: uuid.UUID) -> str:
        return str(value)


class Text(CompactString):
    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__()
        self.nullable = nullable

    def encode(self, value: str | None) -> bytes:
        _refuse_unexpected_null(value is None, self.nullable)
        encoded: bytes = super().encode(value)
        return encoded

    def decode(self, data: BytesIO) -> str | None:
        length = VarUInt.decode(data) - 1
        _refuse_unexpected_null(length < 0, self.nullable)
        return _read_bytes(data, length).decode() if length >= 0 else None


class Items(CompactArray):
    """An array of one type, or of structs with these fields."""

    def __init__(self, *of: Any, nullable: bool = False) -> None:
        self.array_of = Fields(*of) if isinstance(of[0], tuple) else of[0]
        self.nullable = nullable

    def encode(self, items: Sequence[Any] | None) -> bytes:
        _refuse_unexpected_null(items is None, self.nullable)
        encoded: bytes = super().encode(items)
        return encoded

    def decode(self, data: BytesIO) -> list[Any] | None:
        length = VarUInt.decode(data) - 1
        _refuse_unexpected_null(length < 0, self.nullable)
        if length > _count_remaining_bytes(data):  # every element has a byte at least
            raise ValueError(f"an array of {length} elements in {_count_remaining_bytes(data)} bytes")
        return [self.array_of.decode(data) for _ in range(length)] if length >= 0 else None


class Fields(Schema):
    """A struct: its fields, then tagged fields. None are written; those of newer brokers are skipped."""

    def encode(self, item: Sequence[Any]) -> bytes:
        encoded: bytes = super().encode(item)
        return encoded + NO_TAGS

    def decode(self, data: BytesIO) -> tuple[Any, ...]:
        values: tuple[Any, ...] = super().decode(data)
        TaggedFields.decode(data)
        return values


class NullableFields(Fields):
    """A struct that may be null."""

    def encode(self, item: Sequence[Any] | None) -> bytes:
        return b"\xff" if item is None else b"\x01" + super().encode(item)

    def decode(self, data: BytesIO) -> Any:
        return super().decode(data) if Int8.decode(data) >= 0 else None


class TaggedFields(AbstractType[dict[int, bytes]]):
    """The tagged fields at the end of a struct: number of the field -> its bytes."""

    @classmethod
    def encode(cls, value: dict[int, bytes]) -> bytes:
        encoded = [VarUInt.encode(len(value))]
        for tag, content in sorted(value.items()):
            encoded += [VarUInt.encode(tag), VarUInt.encode(len(content)), content]
        return b"".join(encoded)

    @classmethod
    def decode(cls, data: BytesIO) -> dict[int, bytes]:
        tags: dict[int, bytes] = {}
        last = -1
        for _ in range(VarUInt.decode(data)):
            tag = VarUInt.decode(data)
            if tag <= last:
                raise ValueError(f"tagged field {tag} after {last}")
            tags[tag] = _read_bytes(data, VarUInt.decode(data))
            last = tag
        return tags


class FlexibleResponse(Response):
    """An answer in a flexible version."""

    @classmethod
    def decode(cls, data: BytesIO | bytes) -> Self:
        """Decode it.

        Raises:
            KafkaProtocolError: it is malformed.
        """
        try:
            return cls(*cls.SCHEMA.decode(BytesIO(data) if isinstance(data, bytes) else data))
        except ValueError as error:
            raise kafka.KafkaProtocolError(f"{cls.__name__} is malformed: {error}") from error


def _read_bytes(data: BytesIO, size: int) -> bytes:
    taken = data.read(size)
    if len(taken) != size:
        raise ValueError(f"it ends {size - len(taken)} bytes early")
    return taken


def _count_remaining_bytes(data: BytesIO) -> int:
    return data.getbuffer().nbytes - data.tell()


def _refuse_unexpected_null(is_null: bool, nullable: bool) -> None:
    if is_null and not nullable:
        raise ValueError("null in a field that is not nullable")
