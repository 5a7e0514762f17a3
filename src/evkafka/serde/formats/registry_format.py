"""What the three formats have in common: a value is read by the schema that it was written with, and an event is
written by a schema that the registry has.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, get_args

from evkafka.exceptions import ConfigError, RegistryRefused, SchemaNotFound
from evkafka.records import Record
from evkafka.serde.annotations import bytes_or_str_type
from evkafka.serde.decoding import Decoder, decoder_for_schema_values
from evkafka.serde.formats.framing import (
    ID_BYTES,
    SCHEMA_ID_HEADER,
    Frame,
    frame_prefix,
    read_frame,
    read_schema_id_header,
)
from evkafka.serde.formats.interface import DecodeValue, Encode, FormatError, Outgoing, Schema, StoredSchema
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.schema_cache import Key

SubjectNames = Literal["topic", "record", "topic-record"]
"""How a sender's subject is named: `TOPIC-value`, the record's full name, or `TOPIC-NAME`."""

MOST_READERS = 1000
"""For how many schemas a decoder keeps its compiled readers."""

Names = Callable[[bytes, Frame], str | None]
"""Gives the full name of a value's record or message."""

Read = Callable[[bytes, Frame], Any]
"""Reads a value by the schema that it was compiled for. May raise any exception for a value that does not fit."""

T = TypeVar("T")

Compiled = tuple[Callable[[bytes, Frame], T], Frame]
"""What was compiled for a schema, and where it and the data are in its values."""


@dataclass(frozen=True, slots=True)
class Described:
    """The schema of a payload type.

    Attributes:
        name: the record's or message's full name.
        compile: given the schema by which events are written, returns what encodes one, without the schema's id.
    """

    schema: Schema
    name: str
    compile: Callable[[StoredSchema], Encode]


@dataclass(frozen=True, slots=True)
class Planned:
    """Where the schema of an event is, or will be, in the registry.

    Attributes:
        schema: None if the event is written by the latest schema of the subject.
    """

    subject: str
    schema: Schema | None


class Language(Protocol):
    """A schema language.

    Attributes:
        media_type: of values.
    """

    name: str
    media_type: str

    @property
    def type(self) -> str:
        """As registries name it: AVRO, JSON or PROTOBUF."""

    def compile_reader(self, stored: StoredSchema, annotation: Any, json: Decoder | None) -> Read:
        """Compile a reader for payloads of this type; for dicts, lists and scalars without `json`.

        Raises:
            FormatError: the schema cannot be used.
        """

    def compile_value_schema_name_reader(self, stored: StoredSchema) -> Names:
        """A function that gives the full name of a value's record or message.

        Raises:
            FormatError: the schema cannot be used. The function may raise it for a value, too.
        """

    def generate_schema_from_type(self, annotation: Any) -> Described:
        """The schema of a payload type, generated from it.

        Raises:
            Undescribed: the type cannot be described; the text names the field.
        """

    def describe_type_if_without_own_schema(self, annotation: Any) -> Described | None:
        """For payload types without a schema of their own: any that the registry has is used. None for others."""


class Undescribed(TypeError):
    """A payload type that cannot be described in a schema language; the text names the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """Where a sender's schemas are in the registry, and what happens to one that is not there.

    Attributes:
        names: how subjects are named.
        auto_register: register what is missing.
        latest: write by the latest version of the subject, in place of the payload type's own schema.
    """

    names: SubjectNames
    auto_register: bool
    latest: bool

    def subject_of(self, topic: str, record_name: str) -> str:
        match self.names:
            case "topic":
                return f"{topic}-value"
            case "record":
                return record_name
            case "topic-record":
                return f"{topic}-{record_name}"


class RegistryFormat:
    """A format whose schemas are in a registry. Its subclasses are what users declare; each has its `Language`.

    Attributes:
        incompatibility_hint: a sentence about a pitfall of the schema language, for errors.
    """

    incompatibility_hint = ""

    def __init__(
        self,
        language: Language,
        registry: SchemaRegistry,
        *,
        subject: SubjectNames,
        fallback: Literal["json"] | None,
        auto_register: bool,
        schema: Literal["model", "latest"],
    ) -> None:
        self.registry = registry
        self.language = language
        self.fallback = fallback
        self._check_arguments(subject, fallback, schema)
        if not isinstance(auto_register, bool):
            raise ConfigError(f"{self.name}: auto_register is True or False")
        self.subjects = Subjects(subject, auto_register, schema == "latest")

    def _check_arguments(self, subject: object, fallback: object, schema: object) -> None:
        if not isinstance(self.registry, SchemaRegistry):
            raise ConfigError(f'{self.name} needs a registry: {self.name}(SchemaRegistry("http://localhost:8081"))')
        if subject not in get_args(SubjectNames):
            raise ConfigError(f"{self.name}: subject is 'topic', 'record' or 'topic-record'")
        if fallback not in (None, "json"):
            raise ConfigError(f"{self.name}: fallback is None or 'json'")
        if schema not in ("model", "latest"):
            raise ConfigError(f"{self.name}: schema is 'model' or 'latest'")

    @property
    def name(self) -> str:
        return self.language.name

    @property
    def media_type(self) -> str:
        """See `ValueFormat.media_type`."""
        return self.language.media_type

    def __repr__(self) -> str:
        return f"{self.name}({self.registry!r})"

    # ------------------------------------------------------------------ reading

    def decoder(self, annotation: Any, json: Decoder) -> DecodeValue:
        """See `ValueFormat.decoder`."""
        kind = bytes_or_str_type(annotation)
        if kind is bytes:  # the value as it is
            return lambda value, _: json.from_bytes(value)
        if kind is str:
            return self._build_decoder(annotation, decoder_for_schema_values(annotation, json), json.from_bytes)
        return self._build_decoder(annotation, json, json.from_bytes)

    def decoder_to_plain_objects(self) -> DecodeValue:
        """See `ValueFormat.decoder_to_plain_objects`."""
        return self._build_decoder(None, None, json.loads)

    def _build_decoder(self, annotation: Any, json: Decoder | None, from_json: Callable[[bytes], Any]) -> DecodeValue:
        """
        Args:
            from_json: decodes values without a schema's id.
        """
        return self._build_reader(lambda stored: self.language.compile_reader(stored, annotation, json), from_json)

    def _build_reader(
        self, compile_: Callable[[StoredSchema], Callable[[bytes, Frame], T]], without_schema: Callable[[bytes], T]
    ) -> Callable[[bytes, Record], T]:
        """A function that reads values with what `compile_` returns for their schema; it is kept for the next value of
        that schema.

        It raises NotReady while the schema is being asked for, and FormatError for a value that cannot be decoded.

        Args:
            without_schema: reads values without a schema's id, which are JSON.
        """
        # By the bytes that values, or headers, begin with: the magic byte and the id.
        by_prefix: dict[bytes, Compiled[T]] = {}
        by_header: dict[bytes, Compiled[T]] = {}

        def compiled(value: bytes, header: bytes | None) -> Compiled[T] | None:
            frame = read_frame(value, header)
            if frame is None and self.fallback is None:
                raise FormatError(
                    "it does not begin with the magic byte 0 and a schema's id; if some records of the topic are JSON,"
                    f' add fallback="json" to {self.name}(...)'
                )
            if frame is None:
                return None
            kept, key = (by_prefix, value[: frame.start]) if header is None else (by_header, header)
            found = kept.get(key)
            if found is None:
                found = compile_(self._schema_of_frame(frame)), frame
                if len(kept) >= MOST_READERS:
                    kept.clear()
                kept[key] = found
            return found

        def read_value(value: bytes, record: Record) -> T:
            header = None
            for name, content in record.headers:  # as `read_schema_id_header`, without a call
                if name == SCHEMA_ID_HEADER:
                    header = content
                    break
            found = by_prefix.get(value[:ID_BYTES]) if header is None else by_header.get(header)
            if found is None:
                found = compiled(value, header)
            if found is None:
                return without_schema(value)
            read, frame = found
            return read(value, frame)

        return read_value

    def _schema_of_frame(self, frame: Frame) -> StoredSchema:
        stored = self.registry.get_known_or_ask(frame.key)
        if stored.schema.type != self.language.type:
            raise FormatError(f"its schema {frame.key} is of type {stored.schema.type}, not {self.language.type}")
        return stored

    def schema_name_reader(self) -> Callable[[Record], str | None]:
        """See `ValueFormat.schema_name_reader`."""
        read_name = self._build_reader(self.language.compile_value_schema_name_reader, lambda _: None)
        return lambda record: read_name(record.value, record) if record.value is not None else None

    def is_record_schema_known(self, record: Record) -> bool:
        """See `ValueFormat.is_record_schema_known`."""
        key = _schema_key_of_record(record)
        return key is None or self.registry.store.has_answer(key)

    def future_done_when_record_schema_known(self, record: Record) -> asyncio.Future[None] | None:
        """See `ValueFormat.future_done_when_record_schema_known`."""
        key = _schema_key_of_record(record)
        return None if key is None else self.registry.future_done_when_schema_known(key)

    # ------------------------------------------------------------------ writing

    def plan_schema(self, event: Outgoing) -> Planned:
        """Where the event's schema is, or will be, in the registry.

        Raises:
            ConfigError: its type cannot be described by a schema.
        """
        described, by_latest = self._event_schema_and_whether_by_latest(event)
        return Planned(self._subject_of(event, described), None if by_latest else described.schema)

    def _event_schema_and_whether_by_latest(self, event: Outgoing) -> tuple[Described, bool]:
        """The schema of its payload type, and whether it is written by the latest schema of the subject instead."""
        by_registered = self.language.describe_type_if_without_own_schema(event.annotation)
        if by_registered is not None:
            return by_registered, True
        try:
            return self.language.generate_schema_from_type(event.annotation), self.subjects.latest
        except Undescribed as error:
            raise ConfigError(f"{event.place}: {error}") from error

    def _subject_of(self, event: Outgoing, described: Described) -> str:
        if self.subjects.names != "topic" and not described.name:
            raise ConfigError(
                f"{event.place}: its payload has no schema with a name, which subject={self.subjects.names!r} needs;"
                " use a pydantic model, a dataclass or a TypedDict"
            )
        return self.subjects.subject_of(event.topic, described.name)

    async def encoder(self, event: Outgoing) -> Encode:
        """See `ValueFormat.encoder`."""
        described, by_latest = self._event_schema_and_whether_by_latest(event)
        if by_latest:
            return await self._compile_encoder_by_latest_schema(event, described)
        subject = self._subject_of(event, described)
        stored = StoredSchema(await self._find_or_register_schema(event, subject, described), described.schema)
        self.registry.store.add(stored)
        return _encoder_with_schema_id_prefix(stored, described.compile(stored))

    async def encoder_by_latest_else_own_schema(self, event: Outgoing) -> Encode:
        """See `ValueFormat.encoder_by_latest_else_own_schema`."""
        try:
            return await self.encoder_by_latest_schema(event)
        except ConfigError:
            return await self.encoder(event)

    async def encoder_by_latest_schema(self, event: Outgoing) -> Encode:
        """See `ValueFormat.encoder_by_latest_schema`."""
        described, _ = self._event_schema_and_whether_by_latest(event)
        return await self._compile_encoder_by_latest_schema(event, described)

    async def encode(self, event: Any, *, topic: str) -> bytes:
        """An event as a value of a topic, for records that no Sender sends: those of an outbox, or of a test.

        Args:
            event: a pydantic model, a dataclass; a dict is written by the latest schema of the subject.

        Raises:
            ConfigError, RegistryError: the registry has no such schema, or cannot be asked.
            TypeError, ValueError: the event does not fit it.
        """
        kind, encoders = type(event), self.registry.encoder_cache
        encode = encoders.get((self, topic, kind))
        if encode is None:
            topic = str.__str__(topic)  # a member of a `(str, Enum)` is formatted as its name
            encode = encoders[self, topic, kind] = await self.encoder(Outgoing(kind.__name__, topic, "", kind))
        return encode(event)

    async def _compile_encoder_by_latest_schema(self, event: Outgoing, described: Described) -> Encode:
        subject = self._subject_of(event, described)
        try:
            stored = await self.registry.latest(subject)
        except SchemaNotFound as error:
            raise ConfigError(
                f"{event.place}: it is written by the latest schema of subject {subject!r}, but there is none: {error}"
            ) from error
        if stored.schema.type != self.language.type or not isinstance(stored.key, int):
            raise ConfigError(f"{event.place}: subject {subject!r} is of type {stored.schema.type}, not {self.name}")
        self.registry.store.add(stored)
        try:
            return _encoder_with_schema_id_prefix(stored, described.compile(stored))
        except FormatError as error:
            raise ConfigError(f"{event.place}: schema {stored.key} of subject {subject!r}: {error}") from error

    async def _find_or_register_schema(self, event: Outgoing, subject: str, described: Described) -> int:
        """The id of the event's schema in the registry."""
        schema = described.schema
        try:
            return await self.registry.fetch_schema_id(subject, schema)
        except SchemaNotFound:
            pass
        if self.subjects.auto_register or self.registry.is_replaced:
            try:
                return await self.registry.register(subject, schema)
            except RegistryRefused as error:
                compare = "compare it with the version that is there: `evkafka schemas check MODULE:APP`"
                raise ConfigError(f"{event.place}: {error}; {compare}\n{schema.text}") from error
        raise ConfigError(await self._missing_schema_text(event, subject, schema))

    async def _missing_schema_text(self, event: Outgoing, subject: str, schema: Schema) -> str:
        try:
            faults = await self.registry.incompatibilities(subject, schema)
        except SchemaNotFound:
            faults = []
        command = "`evkafka schemas register MODULE:APP`"
        what = f"its schema is not in subject {subject!r} of schema registry {self.registry.urls_text}"
        if not faults:
            return f"{event.place}: {what}; register it with {command}, or set auto_register=True:\n{schema.text}"
        reasons = "".join(f"\n- {one}" for one in faults)
        hint = f"\n{self.incompatibility_hint}" if self.incompatibility_hint else ""
        return (
            f"{event.place}: {what}, and is incompatible with the version that is there; change the payload's type so"
            f" that {command} accepts it:{reasons}{hint}\n{schema.text}"
        )

    # ------------------------------------------------------------------ its registry

    @property
    def is_asking(self) -> bool:
        """See `ValueFormat.is_asking`."""
        return self.registry.is_asking

    def registry_unavailable_reason(self) -> str:
        """See `ValueFormat.registry_unavailable_reason`."""
        return self.registry.unavailable_reason()

    async def close(self) -> None:
        """See `ValueFormat.close`."""
        await self.registry.close()


def _schema_key_of_record(record: Record) -> Key | None:
    """The key of the schema of a record's value; None if there is none, or if it is cut off: then decoding raises."""
    if record.value is None:
        return None
    try:
        frame = read_frame(record.value, read_schema_id_header(record))
    except FormatError:
        return None
    return None if frame is None else frame.key


def _encoder_with_schema_id_prefix(stored: StoredSchema, encode: Encode) -> Encode:
    assert isinstance(stored.key, int)
    prefix = frame_prefix(stored.key)
    return lambda event: prefix + encode(event)
