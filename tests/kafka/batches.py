"""Record batches as bytes, whole and damaged."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from aiokafka.record._crc32c import crc as crc32c
from aiokafka.record.default_records import DefaultRecordBatchBuilder

Headers = Sequence[tuple[str, bytes | None]]


def batch(
    *values: bytes | None,
    first: int = 0,
    headers: Headers = (),
    key: bytes | None = b"k",
    codec: int = 0,
    producer: int = -1,
    transactional: bool = False,
) -> bytes:
    """One batch of format 2, its records at consecutive offsets from `first`."""
    builder: Any = DefaultRecordBatchBuilder(
        2, codec, is_transactional=int(transactional), producer_id=producer, producer_epoch=0, base_sequence=0,
        batch_size=10_000_000,
    )  # fmt: skip
    for index, value in enumerate(values):
        builder.append(index, 1_700_000_000_000 + index, key, value, list(headers))
    return struct.pack(">q", first) + bytes(builder.build())[8:]


def with_crc(raw: bytes) -> bytes:
    """The batch with a correct checksum."""
    return raw[:17] + struct.pack(">I", crc32c(raw[21:])) + raw[21:]


def with_codec(raw: bytes, codec: int) -> bytes:
    """The batch, marked with a codec that is not its own."""
    (attributes,) = struct.unpack_from(">h", raw, 21)
    return with_crc(raw[:21] + struct.pack(">h", attributes & ~7 | codec) + raw[23:])


def with_bad_header(raw: bytes, name: bytes) -> bytes:
    """The batch with the first header of this name replaced by one that is not UTF-8."""
    return with_crc(raw.replace(name, b"\xff" * len(name), 1))


def with_flipped_bit(raw: bytes) -> bytes:
    """The batch with a wrong checksum."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def control(*, first: int, producer: int, commit: bool) -> bytes:
    """The control batch that ends a transaction."""
    key = struct.pack(">hh", 0, 1 if commit else 0)
    raw = batch(b"\x00\x00\x00\x00\x00\x00", first=first, key=key, producer=producer, transactional=True)
    (attributes,) = struct.unpack_from(">h", raw, 21)
    return with_crc(raw[:21] + struct.pack(">h", attributes | 0x20) + raw[23:])
