"""A reader without a group, with a bound: what it reads was written by anybody, and may unpack to gigabytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from evkafka.exceptions import BrokerError
from evkafka.runtime.kafka.options import connection_options
from evkafka.runtime.kafka.reaching import Reaching
from evkafka.runtime.kafka.unpacking import TooLargeUnpacked, unpacked
from evkafka.settings import ConnectionSettings

MOST_UNPACKED = 64 * 1024 * 1024
"""As `max_decompressed_bytes` by default."""

_OFFSET, _LENGTH, _PRODUCER = struct.Struct(">q"), struct.Struct(">i"), struct.Struct(">qhi")
_HEAD = 12  # base offset and length
_MAGIC_AT, _CRC_AT, _ATTRIBUTES_AT, _LAST_DELTA_AT, _FIRST_TIME_AT, _PRODUCER_AT = 16, 17, 21, 23, 27, 43
_TRANSACTIONAL = 0x10

Address = tuple[str, int, int]


class Reader(AIOKafkaConsumer):  # type: ignore[misc]  # the client library is untyped
    """AIOKafkaConsumer, bounded. A batch that unpacks to more than `MOST_UNPACKED` bytes is one record, whose value
    says so.

    Args:
        shows_too_large: such a record is handed out, to a person who looks; otherwise it is an error.
    """

    def __init__(self, connection: ConnectionSettings, *, shows_too_large: bool, **more: Any) -> None:
        options = connection_options(connection)
        super().__init__(**options, enable_auto_commit=False, **more)
        self._client = _BoundedClient(**options)
        self._shows_too_large = shows_too_large

    async def getmany(self, *partitions: Any, **more: Any) -> Any:
        """
        Raises:
            BrokerError: a record among them is too large, and none that is to be shown.
        """
        batches = await super().getmany(*partitions, **more)
        if (too_large := self._client.too_large) and not self._shows_too_large:
            for record in (one for records in batches.values() for one in records):
                if (record.topic, record.partition, record.offset) in too_large:
                    address = f"{record.topic}[{record.partition}]@{record.offset}"
                    raise BrokerError(f"{address} cannot be read: {record.value.decode()}")
        return batches


class _BoundedClient(Reaching):
    """Attributes:
    too_large: where a batch was replaced by a record that says so.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.too_large: set[Address] = set()

    async def send(self, node_id: Any, request: Any, **more: Any) -> Any:
        answer = await super().send(node_id, request, **more)
        if isinstance(request, FetchRequest):
            asked = {(topic, row[0]): row[1] for topic, rows in request.topics for row in rows}
            answer.topics = [
                (topic, [(*row[:-1], self._bounded(topic, row[0], row[-1], asked)) for row in rows])
                for topic, rows in answer.topics
            ]
        return answer

    def _bounded(self, topic: str, partition: int, raw: bytes | None, asked: Mapping[tuple[str, int], int]) -> Any:
        if not raw:
            return raw
        batches, at = [], 0
        while at + _HEAD <= len(raw):
            end = at + _HEAD + max(_LENGTH.unpack_from(raw, at + 8)[0], 0)
            batch = raw[at:end]
            if end <= len(raw) and len(batch) > _ATTRIBUTES_AT and _is_too_large(batch):
                offset = max(_OFFSET.unpack_from(batch)[0], asked.get((topic, partition), 0))
                batch = _in_its_place(batch, offset)
                self.too_large.add((topic, partition, offset))
            batches.append(batch)
            at = end
        return b"".join(batches)


def _is_too_large(batch: bytes) -> bool:
    try:
        unpacked(batch, MOST_UNPACKED)
    except TooLargeUnpacked:
        return True
    except Exception:  # damaged: the client says so when it comes to it
        return False
    return False


def _in_its_place(batch: bytes, offset: int) -> bytes:
    """A batch of one record at this offset, whose value says what was not unpacked. It ends where the other one did."""
    (base,) = _OFFSET.unpack_from(batch)
    new = batch[_MAGIC_AT] >= 2
    attributes = batch[_ATTRIBUTES_AT + 1] if new else 0
    producer, epoch, sequence = _PRODUCER.unpack_from(batch, _PRODUCER_AT) if new else (-1, -1, -1)
    time_ms = _OFFSET.unpack_from(batch, _FIRST_TIME_AT)[0] if new else -1
    said = f"not shown: a batch of {len(batch)} bytes unpacks to more than {MOST_UNPACKED}"
    builder: Any = DefaultRecordBatchBuilder(
        2, 0, int(bool(attributes & _TRANSACTIONAL)), producer, epoch, sequence, len(said) + 200
    )
    builder.append(offset - base, time_ms, None, said.encode(), [])
    made = bytearray(builder.build())
    _OFFSET.pack_into(made, 0, base)
    if new:
        made[_LAST_DELTA_AT : _LAST_DELTA_AT + 4] = batch[_LAST_DELTA_AT : _LAST_DELTA_AT + 4]
    struct.pack_into(">I", made, _CRC_AT, calc_crc32c(bytes(made[_ATTRIBUTES_AT:])))
    return bytes(made)
