"""What consumers and senders need of a format, and the values that are passed between formats and the registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from evkafka.records import Record
from evkafka.serde.decode_errors import ShowableError
from evkafka.serde.decoding import Decoder

SchemaType = Literal["AVRO", "JSON", "PROTOBUF"]

DecodeValue = Callable[[bytes, Record], Any]
"""Decodes a value, which is the record's own or what a middleware has put in its place.

Raises:
    NotReady: its schema is still being asked for.
    FormatError: it is not of this format, or not of its schema.
"""

Encode = Callable[[Any], bytes]
"""Encodes an event. Raises TypeError or ValueError if that is not possible."""


class FormatError(ShowableError):
    """A value that is not of its format, or an event that cannot be written in it. Its text may be shown: it contains
    nothing of the value."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another schema that a schema uses.

    Attributes:
        name: the name by which it is used there.
        subject, version: where the registry has it.
    """

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, as it is sent to a registry."""

    text: str
    type: SchemaType
    references: tuple[Reference, ...] = ()

    @property
    def parsed_json_or_text(self) -> Any:
        """What a JSON document shows of it: the JSON of its text; of Protobuf, which is no JSON, the text."""
        return self.text if self.type == "PROTOBUF" else json.loads(self.text)


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """A schema that a registry has.

    Attributes:
        key: its id, or its GUID as text.
        used: the schemas that it refers to, directly and through others, each before those that use it, with the names
            by which they are used.
    """

    key: int | str
    schema: Schema
    used: tuple[tuple[str, Schema], ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event as its sender has declared it.

    Attributes:
        place: the declaration in errors.
        annotation: its payload's type.
    """

    place: str
    topic: str
    event_type: str
    annotation: Any


@runtime_checkable
class ValueFormat(Protocol):
    """A format of values: how the records of a topic are decoded, and the events of a sender are encoded."""

    @property
    def name(self) -> str:
        """Its name in messages: `Avro`."""

    @property
    def media_type(self) -> str:
        """The media type of its values."""

    def decoder(self, annotation: Any, json: Decoder) -> DecodeValue:
        """The decoder for payloads of this type, compiled once for each schema that occurs.

        Args:
            json: the decoder of the same payload for JSON.
        """

    def decoder_to_plain_objects(self) -> DecodeValue:
        """A decoder without a type: it gives dicts, lists and scalars, for those who browse a topic."""

    def schema_name_reader(self) -> Callable[[Record], str | None]:
        """A function that gives the name of a record's schema, with its namespace; None if it has none.

        It raises NotReady while the schema is being asked for, and FormatError for a value that cannot be decoded.
        """

    def is_record_schema_known(self, record: Record) -> bool:
        """Whether decoding the record would not raise NotReady. From any thread."""

    def future_done_when_record_schema_known(self, record: Record) -> asyncio.Future[None] | None:
        """Ask for the schema of the record's value, unless it is known. The future is done once it is; None if there is
        nothing to wait for."""

    async def encoder(self, event: Outgoing) -> Encode:
        """The encoder for an event. Called at the start of its producer.

        Raises:
            ConfigError: its type cannot be described by a schema, or the registry has no such schema.
            RegistryError: the registry cannot be asked.
        """

    async def encoder_by_latest_else_own_schema(self, event: Outgoing) -> Encode:
        """The same for records that a test or a command writes: by the latest schema of the subject, if there is one.

        Raises:
            ConfigError, RegistryError: as `encoder`.
        """

    async def encoder_by_latest_schema(self, event: Outgoing) -> Encode:
        """The same, only by the latest schema of the subject: nothing is ever registered.

        Raises:
            ConfigError, RegistryError: as `encoder`.
        """

    @property
    def is_asking(self) -> bool:
        """Whether a request for a schema is under way."""

    def registry_unavailable_reason(self) -> str:
        """Why schemas cannot be asked for at the moment, as far as it is known; empty if they can."""

    async def close(self) -> None:
        """Close its connections. Idempotent; it may be used again afterwards."""
