"""Values with a schema as plain objects, for those who browse a topic: whatever their format is, the schema says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from evkafka.exceptions import ConfigError, RegistryError
from evkafka.records import Record
from evkafka.serde.cloudevents.reading import structured_event_type
from evkafka.serde.decode_errors import decode_error_text
from evkafka.serde.formats.avro import AvroLanguage
from evkafka.serde.formats.framing import read_frame, read_schema_id_header
from evkafka.serde.formats.interface import FormatError
from evkafka.serde.formats.json_schema import JsonSchemaLanguage
from evkafka.serde.formats.protobuf import ProtobufLanguage
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.registry_format import Language, Names, Read
from evkafka.serde.formats.schema_cache import Key

LANGUAGES: dict[str, Callable[[], Language]] = {
    "AVRO": lambda: AvroLanguage(None),
    "PROTOBUF": ProtobufLanguage,
    "JSON": lambda: JsonSchemaLanguage(validates=False),
}

MOST_SCHEMAS = 1000

READ_S = 5.0
"""How long all values of one call may take; after that the others are shown as they are."""


@dataclass(frozen=True, slots=True)
class PlainRecord:
    """A record whose value is JSON, decoded from the value that it has in its topic.

    Attributes:
        schema_name: the name of its schema.
        fault: why the value could not be decoded; then it is the original one.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    schema_name: str | None = None
    fault: str = ""


def event_type_without_type_header(record: Record) -> str | None:
    """The event type of a record without a header for it: the name of its value's schema, or that of a CloudEvent in
    structured mode."""
    schema_name = record.schema_name if isinstance(record, PlainRecord) else None
    return schema_name if schema_name is not None else structured_event_type(record)


class PlainReader:
    """Decodes records with the schemas of one registry, of any format. For one event loop."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._compiled: dict[Key, tuple[Read, Names]] = {}

    async def convert_record_values_to_json(self, records: Sequence[Record]) -> list[Record]:
        """The records, with their values as JSON. A record without a value, or whose value has no schema, is left as it
        is; so is a value that cannot be decoded, with the `fault`."""
        read: list[Record] = []
        until_s = asyncio.get_running_loop().time() + READ_S
        for record in records:
            try:
                async with asyncio.timeout_at(until_s):
                    read.append(await self._convert_record_value_to_json(record))
            except TimeoutError:
                read.append(_copy_record_with_fault(record, "its schema registry does not answer"))
            except (RegistryError, ConfigError) as error:
                read.append(_copy_record_with_fault(record, str(error)))
            except Exception as error:  # a value of any producer, in any library: the other values are shown
                read.append(_copy_record_with_fault(record, decode_error_text(error)))
        return read

    async def _convert_record_value_to_json(self, record: Record) -> Record:
        value = record.value
        frame = None if value is None else read_frame(value, read_schema_id_header(record))
        if value is None or frame is None:
            return record
        compiled = self._compiled.get(frame.key)
        if compiled is None:
            stored = await self._registry.schema(frame.key)
            if stored.schema.type not in LANGUAGES:
                raise FormatError(f"its schema {frame.key} is of type {stored.schema.type}")
            language = LANGUAGES[stored.schema.type]()
            try:
                compiled = (
                    language.compile_reader(stored, None, None),
                    language.compile_value_schema_name_reader(stored),
                )
            except ModuleNotFoundError as error:
                raise ConfigError(f"its schema is of type {stored.schema.type}, which needs {error.name}") from None
            if len(self._compiled) >= MOST_SCHEMAS:
                self._compiled.clear()
            self._compiled[frame.key] = compiled
        read, names = compiled
        plain, name = read(value, frame), names(value, frame)
        return _copy_record_with_value(record, _json_bytes_of_plain_value(plain), name, "")

    async def close(self) -> None:
        await self._registry.close()


@asynccontextmanager
async def open_record_decoder(
    registry: SchemaRegistry | None,
) -> AsyncIterator[Callable[[Sequence[Record]], Awaitable[Sequence[Record]]]]:
    """A function that replaces the values of records by JSON; without a registry it returns them as they are."""
    if registry is None:
        yield _return_unchanged
        return
    reader = PlainReader(registry)
    try:
        yield reader.convert_record_values_to_json
    finally:
        await reader.close()


async def _return_unchanged(records: Sequence[Record]) -> Sequence[Record]:
    return records


def _json_bytes_of_plain_value(plain: Any) -> bytes:
    return to_json(plain, bytes_mode="base64", inf_nan_mode="strings", fallback=str)


def _copy_record_with_fault(record: Record, fault: str) -> Record:
    return _copy_record_with_value(record, record.value, None, fault)


def _copy_record_with_value(record: Record, value: bytes | None, schema_name: str | None, fault: str) -> PlainRecord:
    return PlainRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        value,
        record.headers,
        schema_name,
        fault,
    )
