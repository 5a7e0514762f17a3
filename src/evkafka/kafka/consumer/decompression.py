"""Decompresses batches up to a limit: a megabyte on the network may decompress to gigabytes.

aiokafka decompresses a batch whole, however large it becomes (aiokafka-defects.md#unbounded-decompression). Here it is
decompressed first, and aiokafka's parser gets the same batch uncompressed.
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
_HEAD = 12  # base offset and length, which the length does not include
_CODEC = 0x07

_XERIAL = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
"""The start of a stream of snappy blocks, each preceded by its length, as Java's producer writes it."""

_FIRST_RATIO, _MIN_BUFFER, _GROWTH = 16, 16_384, 8
"""The first buffer's size as a multiple of the compressed size, its least size, and how much larger the next one is."""

_GZIP_PADDING = b"\x00"


class TooLargeUnpacked(ValueError):
    """A batch decompresses to more bytes than allowed. The name is part of messages that users see."""


def is_compressed(data: bytes, at: int) -> bool:
    """Whether the batch that begins here is compressed, or names a codec that nobody knows."""
    flags = at + (_OLD_ATTRIBUTES_AT if data[at + _MAGIC_AT] < 2 else _ATTRIBUTES_AT + 1)
    return bool(data[flags] & _CODEC)


def decompress(batch: bytes, max_bytes: int) -> bytes:
    """Return the batch uncompressed; the same object if it is not compressed.

    Batches of formats before 2 are only checked, and returned as they are: aiokafka decompresses them.

    Raises:
        TooLargeUnpacked: it would be larger than `max_bytes`.
        Exception: any error of a codec, for damaged bytes.
    """
    if batch[_MAGIC_AT] < 2:
        _check_size_of_old_format(batch, max_bytes)
        return batch
    (attributes,) = _ATTRIBUTES.unpack_from(batch, _ATTRIBUTES_AT)
    codec = attributes & _CODEC
    if codec not in _CODECS:
        return batch  # not compressed, or an unknown codec, which aiokafka reports
    records = _CODECS[codec](batch[_RECORDS_AT:], max_bytes)
    return b"".join(
        (
            batch[:8],
            _LENGTH.pack(_RECORDS_AT - _HEAD + len(records)),
            batch[_HEAD:_ATTRIBUTES_AT],
            _ATTRIBUTES.pack(attributes & ~_CODEC),
            batch[_ATTRIBUTES_AT + 2 : _RECORDS_AT],
            records,
        )
    )


def _check_size_of_old_format(message: bytes, max_bytes: int) -> None:
    codec = message[_OLD_ATTRIBUTES_AT] & _CODEC
    if codec not in _CODECS:
        return
    at = _OLD_ATTRIBUTES_AT + 1 + (_OLD_TIMESTAMP if message[_MAGIC_AT] == 1 else 0)
    at += 4 + max(_LENGTH.unpack_from(message, at)[0], 0)  # the key
    length = _LENGTH.unpack_from(message, at)[0]
    _CODECS[codec](message[at + 4 : at + 4 + length], max_bytes)


def _decompress_gzip(packed: bytes, max_bytes: int) -> bytearray:
    records = bytearray()
    while packed:  # gzip allows several members, one after the other
        member = zlib.decompressobj(wbits=31)
        records += member.decompress(packed, max_bytes + 1 - len(records))
        if len(records) > max_bytes:
            del records  # the exception keeps this frame and its variables alive
            _raise_too_large(packed, max_bytes)
        if not member.eof:
            raise EOFError("gzip: the stream is truncated")
        packed = member.unused_data.lstrip(_GZIP_PADDING)
    return records


def _decompress_snappy(packed: bytes, max_bytes: int) -> bytes:
    """A snappy block begins with its decompressed size."""
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
    if sum(map(cramjam.snappy.decompress_raw_len, blocks)) > max_bytes:
        _raise_too_large(packed, max_bytes)
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def _decompress_lz4(packed: bytes, max_bytes: int) -> memoryview:
    return _decompress_into_growing_buffer(cramjam.lz4, packed, max_bytes)


def _decompress_zstd(packed: bytes, max_bytes: int) -> memoryview:
    return _decompress_into_growing_buffer(cramjam.zstd, packed, max_bytes)


def _decompress_into_growing_buffer(codec: Any, packed: bytes, max_bytes: int) -> memoryview:
    """Decompress into a buffer, and into a larger one if that is too small: the size is not known before.

    A new buffer costs only the memory that is written to.
    """
    size = min(max(len(packed) * _FIRST_RATIO, _MIN_BUFFER), max_bytes)
    while True:
        records = bytearray(size)
        try:
            length = codec.decompress_into(packed, records)
        except cramjam.DecompressionError as error:
            del records  # the exception keeps this frame and its variables alive
            if "whole buffer" not in str(error):
                raise
            if size == max_bytes:
                _raise_too_large(packed, max_bytes)
            size = min(size * _GROWTH, max_bytes)
        else:
            return memoryview(records)[:length]


def _raise_too_large(packed: bytes, max_bytes: int) -> NoReturn:
    raise TooLargeUnpacked(
        f"{len(packed)} bytes unpack to more than max_decompressed_bytes, {max_bytes}; raise it if the batch is meant"
        " to be that large"
    )


_CODECS: Mapping[int, Callable[[bytes, int], bytes | bytearray | memoryview]] = {
    1: _decompress_gzip,
    2: _decompress_snappy,
    3: _decompress_lz4,
    4: _decompress_zstd,
}
