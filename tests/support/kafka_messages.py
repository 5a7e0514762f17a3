"""Kafka's own description of its messages (JSON files in its jar), and a codec that follows it alone."""

from __future__ import annotations

import functools
import json
import re
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from hypothesis import strategies as st

from evkafka.broker.jars import KAFKA_VERSION
from evkafka.broker.maven import cache_dir

INTEGERS = {"int8": 1, "int16": 2, "int32": 4, "int64": 8}


@dataclass(frozen=True)
class Field:
    """A field of a message in one version. `kind` is a name of Kafka's, or the fields of a struct."""

    name: str
    kind: str | tuple[Field, ...]
    is_array: bool
    nullable: bool


@dataclass(frozen=True)
class Message:
    fields: tuple[Field, ...]
    is_flexible: bool


@functools.cache
def message(name: str, version: int) -> Message:
    """A message in one version, without its tagged fields. The jar must have been downloaded (mark `kafka`)."""
    jar = cache_dir() / f"kafka-{KAFKA_VERSION}" / f"kafka-clients-{KAFKA_VERSION}.jar"
    with zipfile.ZipFile(jar) as files:
        text = files.read(f"common/message/{name}.json").decode()
    described = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    assert _holds(described["validVersions"], version), f"Kafka has no {name} v{version}"
    structs = {one["name"]: one["fields"] for one in described.get("commonStructs", ())}
    fields = _fields(described["fields"], structs, version)
    return Message(fields, _holds(described["flexibleVersions"], version))


def _fields(described: Sequence[Mapping[str, Any]], structs: Mapping[str, Any], version: int) -> tuple[Field, ...]:
    return tuple(
        _field(one, structs, version)
        for one in described
        if _holds(one["versions"], version) and not _holds(one.get("taggedVersions", "none"), version)
    )


def _field(one: Mapping[str, Any], structs: Mapping[str, Any], version: int) -> Field:
    kind = one["type"].removeprefix("[]")
    struct = one.get("fields") or structs.get(kind)
    return Field(
        name=re.sub(r"(?<!^)(?=[A-Z])", "_", one["name"]).lower(),
        kind=_fields(struct, structs, version) if struct else kind,
        is_array=one["type"].startswith("[]"),
        nullable=_holds(one.get("nullableVersions", "none"), version),
    )


def _holds(versions: str, version: int) -> bool:
    if versions == "none":
        return False
    least, _, most = versions.rstrip("+").partition("-")
    return int(least) <= version and (versions.endswith("+") or version <= int(most or least))


# ---------------------------------------------------------------------------- flexible encoding


def encode(fields: Sequence[Field], values: Sequence[Any], tags: Mapping[int, bytes]) -> bytes:
    """A struct in the flexible encoding. It and all structs inside end with these tagged fields."""
    ending = b"".join(varint(tag) + varint(len(content)) + content for tag, content in sorted(tags.items()))
    body = b"".join(_encode_field(field, value, tags) for field, value in zip(fields, values, strict=True))
    return body + varint(len(tags)) + ending


def _encode_field(field: Field, value: Any, tags: Mapping[int, bytes]) -> bytes:
    if not field.is_array:
        return _encode(field.kind, value, tags, nullable=field.nullable)
    if value is None:
        return varint(0)
    return varint(len(value) + 1) + b"".join(_encode(field.kind, one, tags) for one in value)


def _encode(kind: Any, value: Any, tags: Mapping[int, bytes], *, nullable: bool = False) -> bytes:
    match kind:
        case "string":
            return varint(0) if value is None else varint(len(value.encode()) + 1) + value.encode()
        case "uuid":
            return bytes(value.bytes)
        case "bool":
            return bytes([value])
        case str():
            return int(value).to_bytes(INTEGERS[kind], "big", signed=True)
        case _ if not nullable:
            return encode(kind, value, tags)
        case _:
            return b"\xff" if value is None else b"\x01" + encode(kind, value, tags)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def decode(fields: Sequence[Field], data: bytes) -> tuple[Any, ...]:
    """Read a struct without tagged fields. All bytes must belong to it."""
    stream = BytesIO(data)
    values = _decode_struct(fields, stream)
    assert not stream.read()
    return values


def _decode_struct(fields: Sequence[Field], stream: BytesIO) -> tuple[Any, ...]:
    values = tuple(_decode_field(field, stream) for field in fields)
    assert _read_varint(stream) == 0
    return values


def _decode_field(field: Field, stream: BytesIO) -> Any:
    if not field.is_array:
        return _decode(field.kind, stream, nullable=field.nullable)
    length = _read_varint(stream) - 1
    return None if length < 0 else [_decode(field.kind, stream) for _ in range(length)]


def _decode(kind: Any, stream: BytesIO, *, nullable: bool = False) -> Any:
    match kind:
        case "string":
            length = _read_varint(stream) - 1
            return None if length < 0 else stream.read(length).decode()
        case "uuid":
            return uuid.UUID(bytes=stream.read(16))
        case "bool":
            return stream.read(1) == b"\x01"
        case str():
            return int.from_bytes(stream.read(INTEGERS[kind]), "big", signed=True)
        case _:
            return None if nullable and stream.read(1) == b"\xff" else _decode_struct(kind, stream)


def _read_varint(stream: BytesIO) -> int:
    value, shift = 0, 0
    while True:
        [byte] = stream.read(1)
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


# ---------------------------------------------------------------------------- random values


def values(fields: Sequence[Field]) -> st.SearchStrategy[Any]:
    """Values of a struct with these fields: tuples, with lists for arrays."""
    return st.tuples(*map(_values_of, fields))


def _values_of(field: Field) -> st.SearchStrategy[Any]:
    one = _one_value(field.kind)
    strategy = st.lists(one, max_size=3) if field.is_array else one
    return st.none() | strategy if field.nullable else strategy


def _one_value(kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case "string":
            return st.text(max_size=200)
        case "uuid":
            return st.uuids()
        case "bool":
            return st.booleans()
        case str():
            most = 2 ** (8 * INTEGERS[kind] - 1)
            return st.integers(-most, most - 1)
        case _:
            return values(kind)
