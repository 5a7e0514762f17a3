"""Decodes fetched bytes to records; a record that cannot be read costs only its own offset.

aiokafka decodes records one by one in a generator. An error in it loses the records that the same call decoded before,
and comes again with every poll (aiokafka-defects.md#unreadable-records). Here a poll's share of a batch is decoded at
once; if that fails, the batch is decoded record by record.

No more of a batch is decoded than a poll asks for. With five hundred partitions and the rest of a batch decoded for
each, the garbage collector would have to look at a hundred thousand waiting records again and again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

from evkafka.kafka.consumer.checksum import is_intact
from evkafka.kafka.consumer.decompression import TooLargeUnpacked, decompress, is_compressed
from evkafka.runtime.leader_epochs import UNKNOWN, EpochStart

_LENGTH = struct.Struct(">i")
_BASE_OFFSET = struct.Struct(">q")
_EPOCH = struct.Struct(">i")  # after the head, before the byte with the format version
_TIMESTAMP = struct.Struct(">q")
_FIRST_TIMESTAMP = 27  # its position, after head, epoch, format, checksum, attributes and last offset
_HEAD = 12  # base offset and length, which the length does not include
_NEW = tuple.__new__


class KafkaRecord(NamedTuple):
    """One record, with every field of aiokafka's ConsumerRecord that is not deprecated.

    Decoding a batch takes 0.41 us of CPU time per record (with one header, from the fetched bytes); aiokafka's
    generator of dataclasses takes 0.75.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def serialized_value_size(self) -> int:
        """The value's size in bytes; -1 for a null value."""
        return len(self.value) if self.value is not None else -1

    @property
    def serialized_key_size(self) -> int:
        """The key's size in bytes; -1 for a null key."""
        return len(self.key) if self.key is not None else -1


class Damage(NamedTuple):
    """Reading stops at `offset`, and can continue at `next_offset`."""

    offset: int
    next_offset: int
    error: Exception


class FetchedRecords:
    """The records of one fetch and one partition that have not been handed out.

    Args:
        max_decompressed_bytes: the largest size that one batch may decompress to.

    Attributes:
        position: the offset of the next record to hand out.
        damage: why the rest cannot be read, once the records before it have been handed out.
        exhausted: whether no record is left.
        epoch_starts: changes of the leader epoch in the batches opened so far; the reader of this list clears it.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        raw: bytes,
        *,
        position: int,
        aborted: Sequence[tuple[int, int]],
        read_committed: bool,
        check_crcs: bool,
        max_decompressed_bytes: int,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.position = position
        self.damage: Damage | None = None
        self.exhausted = False
        self.epoch_starts: list[EpochStart] = []
        self._raw = raw
        self._memory: Any = MemoryRecords(raw)
        self._begin = self._at = 0  # where the current batch begins in `raw`, and where the next one does
        self._batch: Any = None  # the current one
        self._left: Iterator[Any] = iter(())  # its records that are not decoded yet
        self._aborted = list(aborted)  # (producer, first offset) of aborted transactions, in order of offsets
        self._aborting: set[int] = set()  # producers whose records are aborted at this point of the log
        self._read_committed = read_committed
        self._check_crcs = check_crcs
        self._max_decompressed_bytes = max_decompressed_bytes
        self._ready: list[KafkaRecord] = []
        self._next = 0  # index in `_ready`
        self._after = position  # the position after the records in `_ready`

    def take(self, max_records: int) -> list[KafkaRecord]:
        """The next records, in order; `position` moves past them."""
        taken: list[KafkaRecord] = []
        while max_records > 0:
            if self._next >= len(self._ready):
                self.position = max(self.position, self._after)
                if self.damage is not None or not self._decode_more(max_records):
                    self.exhausted = True
                    break
                continue
            takes_all = self._next == 0 and max_records >= len(self._ready)
            part = self._ready if takes_all else self._ready[self._next : self._next + max_records]
            self._next += len(part)
            max_records -= len(part)
            self.position = part[-1].offset + 1
            taken = taken + part if taken else part
        if self._next >= len(self._ready):
            self.position = max(self.position, self._after)
        return taken

    @property
    def next_fetched_timestamp_ms(self) -> int | None:
        """The next record's timestamp in milliseconds; the first of its batch if the record is not decoded yet."""
        if self._next < len(self._ready):
            return self._ready[self._next].timestamp
        if self._batch is not None:
            first: int | None = getattr(self._batch, "first_timestamp", None)
            return first
        begin = self._at
        if len(self._raw) < begin + _FIRST_TIMESTAMP + 8 or self._raw[begin + _HEAD + 4] < 2:
            return None
        return int(_TIMESTAMP.unpack_from(self._raw, begin + _FIRST_TIMESTAMP)[0])

    def _decode_more(self, max_records: int) -> bool:
        """Decode records of the current batch, or open the next batch. Return False if there is none."""
        self._ready, self._next = [], 0
        if self._batch is None and not self._memory.has_next():
            return False
        try:
            if self._batch is None:
                self._open_batch()
            else:
                self._decode_batch_into_ready_records(max_records)
        except MemoryError:
            raise
        except Exception as error:  # codecs and parsers may raise anything, and one batch must not cost another
            self._decode_up_to_damage(self._batch, self._raw[self._begin : self._at], error)
            self._batch = None
        return True

    def _open_batch(self) -> None:
        begin = self._begin = self._at
        self._at = begin + _HEAD + _LENGTH.unpack_from(self._raw, begin + 8)[0]
        batch = self._batch = self._memory.next_batch()
        if self._check_crcs and not is_intact(batch, self._raw, begin, self._at):
            raise CorruptRecordException("invalid CRC: the batch is corrupt")
        epoch = leader_epoch_of_batch(self._raw, begin)
        if epoch != UNKNOWN and (not self.epoch_starts or self.epoch_starts[-1].epoch != epoch):
            self.epoch_starts.append(EpochStart(batch.base_offset, epoch))
        if self._is_control_or_aborted_batch(batch):
            self._end_batch()
            return
        if is_compressed(self._raw, begin):  # else the batch is not copied
            plain = decompress(self._raw[begin : self._at], self._max_decompressed_bytes)
            batch = self._batch = MemoryRecords(plain).next_batch()
        self._left = chain(batch)  # a batch can be iterated only once, and each slice would start it again

    def _end_batch(self) -> None:
        self._after = max(self.position, self._batch.next_offset)
        self._batch = None

    def _decode_batch_into_ready_records(self, max_records: int) -> None:
        topic, partition, batch = self.topic, self.partition, self._batch
        decoded = islice(self._left, max_records)
        if batch.producer_id is not None:  # format 2; older ones have no producer id
            kind = batch.timestamp_type  # the same for all its records
            # Neighbours often have equal headers: one shared tuple leaves the garbage collector fewer objects.
            last: list[tuple[str, bytes | None]] | None = None
            headers: tuple[tuple[str, bytes | None], ...] = ()
            records = []
            for r in decoded:
                if (found := r.headers) != last:
                    last, headers = found, tuple(found)
                records.append(
                    _NEW(KafkaRecord, (topic, partition, r.offset, r.timestamp, kind, r.key, r.value, headers))
                )
        else:
            records = [
                _NEW(
                    KafkaRecord,
                    (topic, partition, r.offset, r.timestamp, r.timestamp_type, r.key, r.value, tuple(r.headers)),
                )
                for r in decoded
            ]
        if len(records) < max_records:
            self._end_batch()
        else:
            self._after = max(self.position, records[-1].offset + 1)
        if records and records[0].offset < self.position:
            # A fetch begins with the batch that contains the requested offset, not with the record.
            records = [record for record in records if record.offset >= self.position]
        self._ready = records

    def _is_control_or_aborted_batch(self, batch: Any) -> bool:
        """Control batches hold no records, and a reader of committed records skips aborted ones."""
        producer = batch.producer_id
        if self._read_committed and producer is not None:
            while self._aborted and self._aborted[0][1] <= batch.base_offset:
                self._aborting.add(self._aborted.pop(0)[0])
            if batch.is_control_batch:
                if _ends_in_abort(batch):
                    self._aborting.discard(producer)
            elif batch.is_transactional and producer in self._aborting:
                return True
        return bool(batch.is_control_batch)

    # ------------------------------------------------------------------ damaged batches

    def _decode_up_to_damage(self, batch: Any, raw: bytes, error: Exception) -> None:
        """Keep the records before the one that cannot be read, and find out where reading can continue."""
        next_offset = self._offset_after_batch(raw)
        if batch is None or batch.producer_id is None or _is_crc_error(error) or isinstance(error, TooLargeUnpacked):
            # After a wrong checksum no byte can be trusted; a batch that is too large is not decompressed.
            self.damage = Damage(self.position, next_offset, error)
        else:
            self._ready, self.damage = self._decode_until_first_damage(raw, next_offset)
        self._after = next_offset if self.damage is None else self.position
        if self._ready and self.damage is not None:
            self._after = self._ready[-1].offset + 1

    def _decode_until_first_damage(self, raw: bytes, next_offset: int) -> tuple[list[KafkaRecord], Damage | None]:
        """Decode record by record. Each is preceded by its length, so a damaged one does not hide the next."""
        records: list[KafkaRecord] = []
        position = self.position
        try:
            batch = _DefaultRecordBatchPy(decompress(raw, self._max_decompressed_bytes))
            batch._maybe_uncompress()  # raises for an unknown codec, which `decompress` left as it was
            buffer = batch._buffer
            for _ in range(batch._num_records):
                offset, end = _offset_and_end_of_next_record(batch)
                if not 0 < end <= len(buffer) or offset >= next_offset:
                    raise CorruptRecordException(
                        f"a record's length or offset lies outside its batch ({end}, {offset})"
                    )
                if offset < self.position:
                    batch._pos = end
                    continue
                try:
                    r = batch._read_msg()
                except (ValueError, IndexError, CorruptRecordException) as error:
                    return records, Damage(offset, offset + 1, error)
                records.append(
                    KafkaRecord(
                        self.topic,
                        self.partition,
                        r.offset,
                        r.timestamp,
                        r.timestamp_type,
                        r.key,
                        r.value,
                        tuple(r.headers),
                    )
                )
                position = offset + 1
        except MemoryError:
            raise
        except Exception as error:  # of the codec, or of impossible lengths: the rest of the batch is lost
            return records, Damage(position, next_offset, error)
        return records, None

    def _offset_after_batch(self, raw: bytes) -> int:
        """The offset after a batch that cannot be read: that of the next batch, or what the batch's own head says."""
        if self._at + _HEAD <= len(self._raw):
            following = int(_BASE_OFFSET.unpack_from(self._raw, self._at)[0])
            if following > self.position:
                return following
        if len(raw) >= 27 and raw[16] >= 2:
            claimed = int(_BASE_OFFSET.unpack_from(raw, 0)[0]) + int(_LENGTH.unpack_from(raw, 23)[0]) + 1
            if self.position < claimed <= self.position + len(raw) + 1_000_000:
                return claimed
        return self.position + 1


def leader_epoch_of_batch(raw: bytes, begin: int = 0) -> int:
    """The leader epoch of the batch that begins here; UNKNOWN if its format has none, or it is incomplete."""
    if len(raw) < begin + _HEAD + 5 or raw[begin + _HEAD + 4] < 2:
        return UNKNOWN
    return int(_EPOCH.unpack_from(raw, begin + _HEAD)[0])


def _offset_and_end_of_next_record(batch: Any) -> tuple[int, int]:
    """The offset of the next record, and where it ends in the batch's buffer."""
    length, pos = decode_varint(batch._buffer, batch._pos)
    end = pos + length
    for _ in range(2):  # attributes, time
        _, pos = decode_varint(batch._buffer, pos)
    delta, _ = decode_varint(batch._buffer, pos)
    return batch.base_offset + delta, end


def _ends_in_abort(batch: Any) -> bool:
    try:
        control = next(iter(batch))
    except StopIteration:
        return False
    return bool(ControlRecord.parse(control.key) == ABORT_MARKER)


def _is_crc_error(error: Exception) -> bool:
    return isinstance(error, CorruptRecordException) and "CRC" in str(error)
