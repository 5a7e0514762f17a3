"""Where a record says by which schema its value was written.

Two forms are read. In the common one the value begins with a magic byte 0 and the schema's id in four bytes. In the
newer one a header has the magic byte 1 and the schema's GUID, and the value has nothing in front. Protobuf adds which
message of the schema it is, in the same place. Senders write the common form.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from evkafka.records import Record
from evkafka.serde.formats.interface import FormatError
from evkafka.serde.formats.schema_cache import Key

SCHEMA_ID_HEADER = "__value_schema_id"

ID_MAGIC, GUID_MAGIC = 0, 1
ID_BYTES, GUID_BYTES = 5, 17
"""With the magic byte."""


class Frame(NamedTuple):
    """A value's schema, and where its content begins.

    Attributes:
        start: the first byte of the value after the schema's id.
        rest: what follows the GUID in the header; None if the value itself has the schema's id.
    """

    key: Key
    start: int
    rest: bytes | None


def read_schema_id_header(record: Record) -> bytes | None:
    """The header with the schema of its value, if it has one."""
    for name, value in record.headers:
        if name == SCHEMA_ID_HEADER:
            return value
    return None


def read_frame(value: bytes, header: bytes | None) -> Frame | None:
    """The frame of a value; None if neither the header nor a magic byte says that there is one.

    Raises:
        FormatError: it is cut off.
    """
    if header is not None:
        key, size = _parse_schema_key(header, f"its header {SCHEMA_ID_HEADER}")
        return Frame(key, 0, header[size:])
    if value[:1] not in (b"\0", b"\1"):
        return None
    key, size = _parse_schema_key(value, "it")
    return Frame(key, size, None)


def _parse_schema_key(framed: bytes, place: str) -> tuple[Key, int]:
    match framed[:1]:
        case b"\0" if len(framed) >= ID_BYTES:
            return int.from_bytes(framed[1:ID_BYTES]), ID_BYTES
        case b"\1" if len(framed) >= GUID_BYTES:
            return str(UUID(bytes=framed[1:GUID_BYTES])), GUID_BYTES
        case _:
            raise FormatError(f"{place} does not begin with the id of a schema")


def frame_prefix(schema_id: int) -> bytes:
    """What a value of this schema begins with."""
    return bytes([ID_MAGIC]) + schema_id.to_bytes(4)
