"""`evkafka send`: sends events to a topic. With an app, its endpoints check them first."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evkafka.cli.connection import FoundCluster, consumer_reads_topic
from evkafka.cli.options import EventOptions, name_value_pairs
from evkafka.cli.output import print_json
from evkafka.cli.position import look_up_partition_and_replica_counts
from evkafka.cli.suggestions import nearest_name
from evkafka.config.settings import ProducerSettings
from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import ConfigError, EVKafkaError
from evkafka.kafka.cluster import KafkaCluster
from evkafka.records import RecordMetadata
from evkafka.runtime.ports import OutgoingRecord
from evkafka.serde.cloudevents.event import TYPE_HEADER as CLOUDEVENTS_TYPE_HEADER
from evkafka.serde.cloudevents.writing import add_missing_specversion_id_and_source
from evkafka.serde.decode_errors import decode_error_text
from evkafka.serde.decoding import Decoder
from evkafka.serde.formats.interface import ValueFormat
from evkafka.service.json_to_topic_format import EncodeJson, PayloadFault, Target, create_json_to_topic_format_encoder
from evkafka.service.plan import DeclaredConsumer

Headers = tuple[tuple[str, bytes | None], ...]

BATCH_EVENTS = 1000

SOURCE = "/evkafka/send"
"""The source of the CloudEvents that the command sends."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event to send.

    Attributes:
        source: where it was read, for errors: `line 7 of FILE`.
    """

    value: bytes | None
    event_type: str | None
    key: bytes | None
    headers: Headers
    partition: int | None
    source: str


class NotTaken(EVKafkaError):
    """An endpoint of the app refuses the payload; nothing was sent."""


def send(
    found: FoundCluster, topic: str, events: Sequence[Event], *, check: bool, create: bool, dry_run: bool, as_json: bool
) -> None:
    """Send all events, or none if the app refuses one.

    Raises:
        ConfigError: there is no such topic, or no endpoint for an event type; or the registry has no schema for it.
        NotTaken: an endpoint refuses a payload, or it does not fit the schema.
        RegistryError: the schema registry cannot be asked.
        DeliveryError, BrokerError: the brokers did not confirm an event.
    """
    if check and found.app is not None:
        _check_events(found, topic, events)
    events = asyncio.run(_encode_events(found, topic, events))
    if dry_run:
        print_json({"dry_run": True, "events": len(events)}) if as_json else print(f"{len(events)} would be sent")
        return
    confirmed = asyncio.run(_send_and_await_confirmations(found, topic, events, create=create))
    if as_json:
        print_json([{"topic": one.topic, "partition": one.partition, "offset": one.offset} for one in confirmed])
    elif len(confirmed) == 1:
        [one] = confirmed
        print(f"sent to {one.topic}[{one.partition}]@{one.offset}")
    else:
        print(f"{len(confirmed)} sent to {topic}")


async def _send_and_await_confirmations(
    found: FoundCluster, topic: str, events: Sequence[Event], *, create: bool
) -> list[RecordMetadata]:
    if not create:
        await look_up_partition_and_replica_counts(found.connection, topic, otherwise="--create creates it")
    sink = KafkaCluster().sink(ProducerSettings(connection=replace(found.connection, request_timeout_s=40.0)))
    await sink.start()
    try:
        confirmed: list[RecordMetadata] = []
        for first in range(0, len(events), BATCH_EVENTS):
            sent = [
                await sink.queue_record(
                    OutgoingRecord(
                        topic,
                        event.value,
                        event.key,
                        event.partition,
                        headers=list(event.headers),  # the client takes no other sequence
                        event_type=event.event_type,
                    ),
                    timeout_s=30.0,
                )
                for event in events[first : first + BATCH_EVENTS]
            ]
            confirmed += [await future for future in sent]
        return confirmed
    finally:
        await sink.stop(timeout_s=5.0)


# ---------------------------------------------------------------------------- checked by the app


def _check_events(found: FoundCluster, topic: str, events: Sequence[Event]) -> None:
    endpoints = _endpoints_of_topic(found, topic)
    if endpoints is None:
        return  # an app callable accepts everything
    for event in events:
        endpoint = endpoints.get(event.event_type or "") or endpoints.get("")
        if endpoint is None:
            raise ConfigError(_no_endpoint_text(topic, event.event_type, [name for name in endpoints if name]))
        _check_payload(endpoint, endpoint.resolve_decoder(), event)


def _endpoints_of_topic(found: FoundCluster, topic: str) -> dict[str, Endpoint] | None:
    """The endpoints of the consumers that read this topic, by event type; the default endpoint is at "".

    None if one of the consumers has an app callable.
    """
    assert found.app is not None
    readers = [one for one in found.app.consumers.values() if consumer_reads_topic(one, topic)]
    if not readers:
        names = sorted({one.name for declared in found.app.consumers.values() for one in declared.settings.topics})
        raise ConfigError(
            f"no consumer of this app reads {topic!r}; they read {', '.join(map(repr, names)) or 'no topic by name'}."
            " --no-check sends it anyway"
        )
    endpoints: dict[str, Endpoint] = {}
    for declared in readers:
        if declared.endpoints is None:
            return None
        endpoints |= {"" if one.is_default else one.event_type: one for one in declared.endpoints}
        for one in declared.settings.topics:
            # The topic declares an event type: its records need no header.
            if one.name == topic and one.event_type in endpoints:
                endpoints.setdefault("", endpoints[one.event_type])
    return endpoints


def _no_endpoint_text(topic: str, event_type: str | None, known: Sequence[str]) -> str:
    names = ", ".join(map(repr, sorted(known)))
    if event_type is None:
        return f"--type is missing; at {topic!r} this app takes {names}. --no-check sends it without a type"
    near = nearest_name(event_type, known)
    hint = f"it takes {names}." if near is None else f"did you mean {near!r}?"
    return f"no endpoint of this app takes {event_type!r} at {topic!r}: {hint} --no-check sends it anyway"


def _check_payload(endpoint: Endpoint, decoder: Decoder, event: Event) -> None:
    if event.value is None:
        if not decoder.admits_none:
            raise NotTaken(f"{event.source}: {endpoint.name} takes no tombstone; --no-check sends it anyway")
        return
    try:
        decoder.from_bytes(event.value)
    except Exception as error:  # a validator may raise anything
        why = decode_error_text(error, decoder.names())
        raise NotTaken(
            f"{event.source} is not the {decoder.expected} that {endpoint.name} expects: {why};"
            " nothing was sent. --no-check sends it anyway"
        ) from error


# ---------------------------------------------------------------------------- values with a schema


async def _encode_events(found: FoundCluster, topic: str, events: Sequence[Event]) -> Sequence[Event]:
    """The events, with JSON values encoded in the format that the app's consumer reads from the topic."""
    readers = found.app.consumers.values() if found.app is not None else ()
    declared = next((one for one in readers if consumer_reads_topic(one, topic) and one.formats() is not None), None)
    formats = declared.formats() if declared is not None else None
    value_format = formats.format_of_topic(topic) if formats is not None else None
    if declared is None or value_format is None:
        return events
    encoders: dict[str | None, EncodeJson] = {}
    try:
        return [await _encode_event(declared, value_format, topic, event, encoders) for event in events]
    finally:
        await value_format.close()


async def _encode_event(
    declared: DeclaredConsumer,
    value_format: ValueFormat,
    topic: str,
    event: Event,
    encoders: dict[str | None, EncodeJson],
) -> Event:
    """The event, encoded. `encoders` keeps one for each event type, so that the registry is asked once."""
    if event.value is None or event.value[:1] == b"\0":  # a value that is encoded already
        return event
    encode = encoders.get(event.event_type)
    if encode is None:
        endpoint = declared.handler.find_endpoint(event.event_type) if declared.handler is not None else None
        target = Target(event.source, topic, event.event_type, endpoint)
        encode = encoders[event.event_type] = await create_json_to_topic_format_encoder(
            value_format.encoder_by_latest_else_own_schema, target
        )
    try:
        return replace(event, value=encode(event.value))
    except PayloadFault as error:
        raise NotTaken(f"{event.source} cannot be written in {value_format.name}: {error}; nothing was sent") from error


# ---------------------------------------------------------------------------- read from the command line


def read_events(options: EventOptions, type_header: str) -> list[Event]:
    """Read the events from an argument, a file or stdin.

    Raises:
        ConfigError: there is nothing to send, or it cannot be read.
    """
    headers = tuple((name, text.encode()) for name, text in name_value_pairs("--header", options.header))
    return list(_EventReader(options, type_header, headers).read_all())


class _EventReader:
    """Makes events of the options and of the text that they name."""

    def __init__(self, options: EventOptions, type_header: str, headers: Headers) -> None:
        self._options = options
        self._type_header = type_header
        self._headers = headers

    def read_all(self) -> Iterator[Event]:
        options = self._options
        if options.tombstone:
            if options.payload is not None or options.file is not None:
                raise ConfigError("--tombstone and a payload cannot be combined")
            yield self._create_event_from_options(None, "the tombstone")
            return
        text, name = self._read_input_and_its_name()
        if not (options.lines or options.records):
            # A file's last line break belongs to the file, not to the payload.
            yield self._create_event_from_options(text.removesuffix(b"\n"), name)
            return
        event_of = self._parse_record_line if options.records else self._create_event_from_options
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield event_of(line, f"line {number} of {name}")

    def _read_input_and_its_name(self) -> tuple[bytes, str]:
        """The text that has the events, and its name for errors."""
        payload, file = self._options.payload, self._options.file
        if payload is not None and file is not None:
            raise ConfigError("a payload and --file cannot be combined")
        if payload is not None and payload[:1] == "@":
            file, payload = payload[1:], None
        if payload is not None and payload != "-":
            return payload.encode(), "the payload"
        if payload == "-" or file == "-" or (file is None and not sys.stdin.isatty()):
            return sys.stdin.buffer.read(), "stdin"
        if file is None:
            raise ConfigError("give a payload as an argument, with --file FILE, or - for stdin")
        try:
            return Path(file).read_bytes(), file
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error

    def _create_event_from_options(self, value: bytes | None, source: str) -> Event:
        options, headers = self._options, self._headers
        if options.event_type is not None:
            headers = ((self._type_header, options.event_type.encode()), *headers)
        headers = self._add_envelope_headers(headers)
        key = None if options.key is None else options.key.encode()
        if options.key_field is not None and value is not None:
            key = _key_of_field(value, options.key_field, source)
        return Event(value, options.event_type, key, headers, options.partition, source)

    def _parse_record_line(self, line: bytes, source: str) -> Event:
        """An event of a line of JSON with type, key, headers and value."""
        try:
            record: Any = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{source} is not JSON: {error}") from error
        if not isinstance(record, dict) or "value" not in record:
            raise ConfigError(
                f'{source} is not a record: write {{"type": ..., "key": ..., "value": ...}}, as `tail --json` does'
            )
        event_type = record.get("type") or self._options.event_type
        try:
            headers = [(str(name), _json_value_to_bytes(value)) for name, value in record.get("headers", ())]
            key = _json_value_to_bytes(record.get("key"))
            value = _tail_json_value_to_bytes(record["value"])
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{source} is not a record: {error}") from error
        if event_type is not None:
            headers = [(name, value) for name, value in headers if name != self._type_header]
            headers.insert(0, (self._type_header, str(event_type).encode()))
        all_headers = self._add_envelope_headers((*headers, *self._headers))
        return Event(value, event_type, key, all_headers, self._options.partition, source)

    def _add_envelope_headers(self, headers: Headers) -> Headers:
        """The headers with those that a consumer of CloudEvents requires."""
        if self._type_header != CLOUDEVENTS_TYPE_HEADER:
            return headers
        return tuple(add_missing_specversion_id_and_source(list(headers), source=SOURCE))


def _key_of_field(payload: bytes, field: str, source: str) -> bytes:
    try:
        fields = json.loads(payload)
    except ValueError as error:
        raise ConfigError(f"{source} is not JSON, so it has no field {field!r}: {error}") from error
    if not isinstance(fields, dict) or field not in fields:
        raise ConfigError(f"{source} has no field {field!r} for the key")
    key = fields[field]
    return (key if isinstance(key, str) else json.dumps(key)).encode()


def _json_value_to_bytes(value: Any) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            return value.encode()
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case _:
            return json.dumps(value).encode()


def _tail_json_value_to_bytes(value: Any) -> bytes | None:
    """The bytes of a value as `tail --json` prints it: an object that has more than `base64` is JSON."""
    match value:
        case {"base64": str(), **rest} if rest:
            return json.dumps(value).encode()
        case _:
            return _json_value_to_bytes(value)
