"""Compressed batches, unpacked up to a bound: a megabyte on the wire may hold gigabytes.

The client unpacks a batch whole, however large it becomes. Here it is unpacked before the client sees it, and the
client gets the same batch uncompressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import cramjam

_LENGTH = struct.Struct(">i")
_ATTRIBUTES = struct.Struct(">h")
_MAGIC_AT, _ATTRIBUTES_AT, _RECORDS_AT = 16, 21, 61  # in a batch of format 2
_OLD_ATTRIBUTES_AT, _OLD_TIMESTAMP = 17, 8  # in a message of format 0 or 1; only format 1 has a timestamp
_UNCOUNTED = 12  # base offset and length, which a batch's length does not count
_CODEC = 0x07

_XERIAL = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
"""Begins a stream of snappy blocks, each behind its length, as Java's producer writes it."""

_FIRST_GUESS, _LEAST_BUFFER, _LARGER = 16, 16_384, 8
"""How large a buffer is tried first, as a multiple of the packed bytes, and how much larger the next one is."""

_ZEROS_PAST_GZIP = b"\x00"


class DecompressedTooLarge(ValueError):
    """A batch unpacks to more than it may."""


def unpacked(batch: bytes, most: int) -> bytes:
    """The batch, uncompressed; itself where it is not compressed.

    Batches of the formats before 2 are unpacked, and given back as they are: the client unpacks them again.

    Raises:
        DecompressedTooLarge: it would be larger than `most` bytes.
        Exception: whatever a codec raises for bytes that it did not write.
    """
    if batch[_MAGIC_AT] < 2:
        _unpack_old(batch, most)
        return batch
    (attributes,) = _ATTRIBUTES.unpack_from(batch, _ATTRIBUTES_AT)
    codec = attributes & _CODEC
    if codec not in _CODECS:
        return batch  # not compressed; or by a codec that the client does not know either, and says so
    records = _CODECS[codec](batch[_RECORDS_AT:], most)
    return b"".join(
        (
            batch[:8],
            _LENGTH.pack(_RECORDS_AT - _UNCOUNTED + len(records)),
            batch[_UNCOUNTED:_ATTRIBUTES_AT],
            _ATTRIBUTES.pack(attributes & ~_CODEC),
            batch[_ATTRIBUTES_AT + 2 : _RECORDS_AT],
            records,
        )
    )


def _unpack_old(message: bytes, most: int) -> None:
    codec = message[_OLD_ATTRIBUTES_AT] & _CODEC
    if codec not in _CODECS:
        return
    at = _OLD_ATTRIBUTES_AT + 1 + (_OLD_TIMESTAMP if message[_MAGIC_AT] == 1 else 0)
    at += 4 + max(_LENGTH.unpack_from(message, at)[0], 0)  # the key
    length = _LENGTH.unpack_from(message, at)[0]
    _CODECS[codec](message[at + 4 : at + 4 + length], most)


def _gunzip(packed: bytes, most: int) -> bytearray:
    records = bytearray()
    while packed:  # one member after the other, as gzip allows
        member = zlib.decompressobj(wbits=31)
        records += member.decompress(packed, most + 1 - len(records))
        if len(records) > most:
            del records  # an error keeps this frame, and what is in it
            _too_large(packed, most)
        if not member.eof:
            raise EOFError("gzip: the stream ends too early")
        packed = member.unused_data.lstrip(_ZEROS_PAST_GZIP)
    return records


def _unsnappy(packed: bytes, most: int) -> bytes:
    """Snappy's own header says how large a block becomes."""
    if not packed.startswith(_XERIAL):
        blocks = [packed]
    else:
        blocks, at = [], len(_XERIAL)
        while at < len(packed):
            length = _LENGTH.unpack_from(packed, at)[0]
            if length < 0:
                raise ValueError(f"snappy: a block of {length} bytes")
            blocks.append(packed[at + 4 : at + 4 + length])
            at += 4 + length
    if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > most:
        _too_large(packed, most)
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _unlz4(packed: bytes, most: int) -> memoryview:
    return _into_a_buffer(cramjam.lz4, packed, most)


def _unzstd(packed: bytes, most: int) -> memoryview:
    return _into_a_buffer(cramjam.zstd, packed, most)


def _into_a_buffer(codec: Any, packed: bytes, most: int) -> memoryview:
    """How large it becomes is not known before: into a buffer, and where that is too small, into a larger one. A fresh
    buffer costs as much memory as is written to it."""
    size = min(max(len(packed) * _FIRST_GUESS, _LEAST_BUFFER), most)
    while True:
        records = bytearray(size)
        try:
            length = codec.decompress_into(packed, records)
        except cramjam.DecompressionError as error:
            del records  # an error keeps this frame, and what is in it
            if "whole buffer" not in str(error):
                raise
            if size == most:
                _too_large(packed, most)
            size = min(size * _LARGER, most)
        else:
            return memoryview(records)[:length]


def _too_large(packed: bytes, most: int) -> NoReturn:
    raise DecompressedTooLarge(
        f"{len(packed)} bytes unpack to more than max_decompressed_bytes, {most}; raise that where the batch is meant"
        " to be so large"
    )


_CODECS: Mapping[int, Callable[[bytes, int], bytes | bytearray | memoryview]] = {
    1: _gunzip,
    2: _unsnappy,
    3: _unlz4,
    4: _unzstd,
}
