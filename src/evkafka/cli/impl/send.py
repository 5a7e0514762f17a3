"""`evkafka send`: records into a topic, checked by the app's endpoint where an app is named."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evkafka.cli.connection import FoundCluster, reads
from evkafka.cli.output import print_json
from evkafka.config.settings import ProducerSettings
from evkafka.endpoints.endpoint import Endpoint
from evkafka.exceptions import ConfigError, EVKafkaError
from evkafka.kafka.admin.topics import topic_shapes
from evkafka.kafka.cluster import KafkaCluster
from evkafka.records import RecordMetadata
from evkafka.serde.decode_errors import decode_fault
from evkafka.serde.decoding import Decoder

Headers = tuple[tuple[str, bytes | None], ...]

MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be sent.

    Attributes:
        source: where it came from, for errors: `line 7`.
    """

    value: bytes | None
    event_type: str | None
    key: bytes | None
    headers: Headers
    partition: int | None
    source: str


class NotTaken(EVKafkaError):
    """The app's endpoint would not take the payload; nothing was sent."""


def send(
    found: FoundCluster,
    topic: str,
    events: Sequence[Event],
    *,
    check: bool,
    create: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send them all, or none where one is not what the app takes.

    Raises:
        ConfigError: there is no such topic, or no endpoint for a type.
        NotTaken: a payload is not what the endpoint asks for.
        DeliveryError, BrokerError: it was not confirmed.
    """
    if check and found.app is not None:
        _check_all(found, topic, events)
    if dry_run:
        print_json({"dry_run": True, "events": len(events)}) if as_json else print(f"{len(events)} would be sent")
        return
    confirmed = asyncio.run(_send(found, topic, events, create=create))
    if as_json:
        told = [{"topic": one.topic, "partition": one.partition, "offset": one.offset} for one in confirmed]
        print_json(told)
    elif len(confirmed) == 1:
        [one] = confirmed
        print(f"sent to {one.topic}[{one.partition}]@{one.offset}")
    else:
        print(f"{len(confirmed)} sent to {topic}")


async def _send(found: FoundCluster, topic: str, events: Sequence[Event], *, create: bool) -> list[RecordMetadata]:
    if not create:
        await _must_exist(found, topic)
    sink = KafkaCluster().sink(ProducerSettings(connection=replace(found.connection, request_timeout_s=40.0)))
    await sink.start()
    try:
        confirmed: list[RecordMetadata] = []
        for first in range(0, len(events), MOST_AT_ONCE):
            sent = [
                await sink.send(
                    topic,
                    value=event.value,
                    key=event.key,
                    partition=event.partition,
                    timestamp_ms=None,
                    headers=list(event.headers),  # the client takes no other sequence
                    event_type=event.event_type,
                    timeout_s=30.0,
                )
                for event in events[first : first + MOST_AT_ONCE]
            ]
            confirmed += [await future for future in sent]
        return confirmed
    finally:
        await sink.stop(timeout_s=5.0)


async def _must_exist(found: FoundCluster, topic: str) -> None:
    import difflib

    shapes = await topic_shapes(found.connection)
    if topic not in shapes:
        near = difflib.get_close_matches(topic, shapes, n=1)
        servers = ",".join(found.connection.bootstrap_servers)
        hint = f"did you mean {near[0]!r}?" if near else "--create makes it"
        raise ConfigError(f"there is no topic {topic!r} at {servers}: {hint}")


# ---------------------------------------------------------------------------- what the app takes


def _check_all(found: FoundCluster, topic: str, events: Sequence[Event]) -> None:
    endpoints = _endpoints(found, topic)
    if endpoints is None:
        return  # an app callable takes whatever comes
    for event in events:
        endpoint = endpoints.get(event.event_type or "") or endpoints.get("")
        if endpoint is None:
            raise ConfigError(_no_endpoint(topic, event.event_type, [name for name in endpoints if name]))
        _check(endpoint, endpoint.resolve(), event)


def _endpoints(found: FoundCluster, topic: str) -> dict[str, Endpoint] | None:
    """Event type -> endpoint, "" for the default one, of all of the app's consumers that read this topic."""
    assert found.app is not None
    readers = [one for one in found.app.consumers.values() if reads(one, topic)]
    if not readers:
        names = sorted({one.name for declared in found.app.consumers.values() for one in declared.settings.topics})
        raise ConfigError(
            f"no consumer of this app reads {topic!r}; they read {', '.join(map(repr, names)) or 'no topic by name'}."
            " --no-check sends it all the same"
        )
    endpoints: dict[str, Endpoint] = {}
    for declared in readers:
        if declared.endpoints is None:
            return None
        endpoints |= {"" if one.is_default else one.event_type: one for one in declared.endpoints}
        for one in declared.settings.topics:
            # Records of this topic need no header: they all have one type.
            if one.name == topic and one.event_type in endpoints:
                endpoints.setdefault("", endpoints[one.event_type])
    return endpoints


def _no_endpoint(topic: str, event_type: str | None, known: Sequence[str]) -> str:
    import difflib

    names = ", ".join(map(repr, sorted(known)))
    if event_type is None:
        return f"which event type? --type says it; at {topic!r} this app takes {names}. --no-check sends it without"
    near = difflib.get_close_matches(event_type, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it takes {names}."
    return f"no endpoint of this app takes {event_type!r} at {topic!r}: {hint} --no-check sends it all the same"


def _check(endpoint: Endpoint, decoder: Decoder, event: Event) -> None:
    if event.value is None:
        if not decoder.admits_none:
            raise NotTaken(f"{event.source}: {endpoint.name} takes no tombstone; --no-check sends it all the same")
        return
    try:
        decoder.from_bytes(event.value)
    except Exception as error:  # a validator may raise anything
        why = decode_fault(error, decoder.names())
        raise NotTaken(
            f"{event.source} is not the {decoder.expected} that {endpoint.name} asks for: {why};"
            " nothing was sent. --no-check sends it all the same"
        ) from error


# ---------------------------------------------------------------------------- where events come from


@dataclass(frozen=True, slots=True)
class Source:
    """What the command line says of the events.

    Attributes:
        payload: as an argument; `-` for stdin, `@FILE` for a file.
        file: a file to read, `-` for stdin.
        lines: each line is a payload.
        records: each line is an object with type, key, headers and value, as `evkafka tail --json` prints them.
        key_field: the payload's field that is the key.
    """

    payload: str | None = None
    file: str | None = None
    lines: bool = False
    records: bool = False
    event_type: str | None = None
    key: str | None = None
    key_field: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    partition: int | None = None
    tombstone: bool = False


def events_of(source: Source, type_header: str) -> list[Event]:
    """
    Raises:
        ConfigError: there is nothing to send, or it cannot be read.
    """
    return list(_events(source, type_header))


def _events(source: Source, type_header: str) -> Iterator[Event]:
    if source.tombstone:
        if source.payload is not None or source.file is not None:
            raise ConfigError("--tombstone has no payload: leave the other one out")
        yield _event(source, type_header, None, "the tombstone")
        return
    text, name = _text(source)
    if not (source.lines or source.records):
        # A file's last line break belongs to the file, not to the payload.
        yield _event(source, type_header, text.removesuffix(b"\n"), name)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            where = f"line {number} of {name}"
            yield (
                _record(source, type_header, line, where)
                if source.records
                else _event(source, type_header, line, where)
            )


def _text(source: Source) -> tuple[bytes, str]:
    payload, file = source.payload, source.file
    if payload is not None and file is not None:
        raise ConfigError("a payload and --file: say one of them")
    if payload is not None and payload[:1] == "@":
        file, payload = payload[1:], None
    if payload is not None and payload != "-":
        return payload.encode(), "the payload"
    if payload == "-" or file == "-" or (file is None and not sys.stdin.isatty()):
        return sys.stdin.buffer.read(), "stdin"
    if file is None:
        raise ConfigError("what shall be sent? A payload as an argument, --file FILE, or - for stdin")
    try:
        return Path(file).read_bytes(), file
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error


def _event(source: Source, type_header: str, value: bytes | None, where: str) -> Event:
    headers = [(name, text.encode()) for name, text in source.headers]
    if source.event_type is not None:
        headers.insert(0, (type_header, source.event_type.encode()))
    key = None if source.key is None else source.key.encode()
    if source.key_field is not None and value is not None:
        key = _key(value, source.key_field, where)
    return Event(value, source.event_type, key, tuple(headers), source.partition, where)


def _key(value: bytes, field: str, where: str) -> bytes:
    try:
        told = json.loads(value)
    except ValueError as error:
        raise ConfigError(f"{where} is no JSON, so it has no field {field!r}: {error}") from error
    if not isinstance(told, dict) or field not in told:
        raise ConfigError(f"{where} has no field {field!r} to take the key from")
    found = told[field]
    return (found if isinstance(found, str) else json.dumps(found)).encode()


def _record(source: Source, type_header: str, line: bytes, where: str) -> Event:
    try:
        told: Any = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where} is no JSON: {error}") from error
    if not isinstance(told, dict) or "value" not in told:
        raise ConfigError(
            f'{where} is no record: write {{"type": ..., "key": ..., "value": ...}}, as `tail --json` does'
        )
    event_type = told.get("type") or source.event_type
    try:
        headers = [(str(name), _bytes(value)) for name, value in told.get("headers", ())]
        key = _bytes(told.get("key"))
        value = _value(told["value"])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} is no record: {error}") from error
    headers = [(name, value) for name, value in headers if name != type_header or event_type is None]
    if event_type is not None:
        headers.insert(0, (type_header, str(event_type).encode()))
    own = [(name, text.encode()) for name, text in source.headers]
    return Event(value, event_type, key, (*headers, *own), source.partition, where)


def _bytes(told: Any) -> bytes | None:
    match told:
        case None:
            return None
        case str():
            return told.encode()
        case {"base64": str(text)}:
            return base64.b64decode(text)
        case _:
            return json.dumps(told).encode()


def _value(told: Any) -> bytes | None:
    """JSON as JSON, text as text, as `tail --json` told them apart."""
    return _bytes(told) if told is None or isinstance(told, str) or _is_base64(told) else json.dumps(told).encode()


def _is_base64(told: Any) -> bool:
    match told:
        case {"base64": str(), **rest}:
            return not rest
        case _:
            return False
