"""What a commit says beside its offset: the text in its metadata. Pure.

It outlives the process and moves with the partition: which offsets beyond the committed one are finished, how often
unfinished ones were tried, how far the partition's owner was, and the rate of dead letters. Brokers take 4096 bytes of
it by default (offset.metadata.max.bytes).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from evkafka.records import TopicPartition
from evkafka.runtime.completed_offsets import (
    OffsetRange,
    decode_attempts,
    decode_ranges,
    encode_attempts,
    encode_ranges,
    text_length_of_ranges,
)
from evkafka.runtime.dead_letters.rate import PREFIX as RATE_PREFIX

NAME, VERSION = "evkafka-offsets", 1
PREFIX = f"{NAME}/{VERSION}"

NONE = "-"


class Ownership(Enum):
    """How far the owner of the partition was when it committed. Read by its next owner."""

    OPEN = "open"  # it got past the offset that it began at, or has given the partition back in order
    BEGUN = "begun"  # it began at this offset, and has not got past it
    ALONE = "alone"  # it handles one record alone, because that may have ended the process before


@dataclass(frozen=True, slots=True)
class OwnerMark:
    """What an owner of a partition writes about itself.

    Attributes:
        deaths: `BEGUN`: how many owners in a row have died at this offset, if this one does too. `ALONE`: how often the
            record has ended its process, if it does so again.
        offset: `ALONE`: the record that is handled; None for `OPEN` and `BEGUN`.
        owner: identifies the owner; empty for `OPEN`.
    """

    ownership: Ownership = Ownership.OPEN
    deaths: int = 0
    offset: int | None = None
    owner: str = ""


OPEN = OwnerMark()


@dataclass(frozen=True, slots=True)
class CommitMetadata:
    """What a commit says beside its offset.

    Attributes:
        base: the committed offset.
        topic_id: of the topic; empty if the brokers have no topic ids.
        epoch: the highest leader epoch of the records that its owners have read; -1 if unknown. A record with a higher
            one was written later: if this says something about its offset, the log was truncated, and it is another
            record.
        finished: offsets from the base on that are finished.
        attempts: how often unfinished offsets have been tried.
        mark: how far its owner was.
        rate: the rate of dead letters, as its own text; empty without dead letters.
    """

    base: int
    topic_id: str = ""
    epoch: int = -1
    finished: Sequence[OffsetRange] = ()
    attempts: Mapping[int, int] = field(default_factory=dict)
    mark: OwnerMark = OPEN
    rate: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it says nothing about offsets."""
        return not self.finished and not self.attempts and self.mark == OPEN

    @property
    def suspect_offset(self) -> int:
        """The first offset that its owner may have died at."""
        return self.base if self.mark.offset is None else self.mark.offset

    def as_text(self, limit: int, place: str) -> str:
        """The text, with at most so many characters: what does not fit is left out: the shortest ranges,
        and the last attempts.

        What is left out is handled again, or counted from 1; never is an unfinished offset taken for finished.

        Args:
            place: what it is about, see `group_and_partition_text_for_checksum`.
        """
        if self.is_plain:  # earlier versions of EVKafka understand this
            return self.rate if len(self.rate) <= limit else ""
        head, rate, left = self._encode_head_and_rate(limit)
        if left < 2 * len(NONE):
            return ""
        finished = encode_ranges(self.base, self.finished, left - len(NONE))
        attempts = encode_attempts(self.base, self.attempts, left - len(finished or NONE))
        body = f"{head} {finished or NONE} {attempts or NONE} {rate}"
        return f"{PREFIX} {_checksum(body, place)} {body}"

    def fits_into(self, limit: int) -> bool:
        """Whether all finished offsets fit into a text of so many characters."""
        if not self.finished:
            return True
        _, _, left = self._encode_head_and_rate(limit)
        return text_length_of_ranges(self.base, self.finished) <= left - len(NONE)

    def _encode_head_and_rate(self, limit: int) -> tuple[str, str, int]:
        """The text's first part, the rate in it, and how many characters are left beside them."""
        mark = self.mark
        offset = NONE if mark.offset is None else mark.offset
        state = f"{mark.ownership.value}:{mark.deaths}:{offset}:{mark.owner}"
        head = f"{self.base} {self.topic_id or NONE} {self.epoch} {state}"
        rate = self.rate.replace(" ", ",") or NONE
        left = limit - len(f"{PREFIX} {'0' * 8} {head}   ")
        if len(rate) + 2 * len(NONE) > left:
            rate = NONE
        return head, rate, left - len(rate)


class MetadataLimit:
    """How much metadata a commit may have, as far as is known: the brokers may take less than configured.

    Attributes:
        max_bytes: 0 for none.
        is_halved: whether the brokers have refused metadata before.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.is_halved = False

    def halve_after_refusal(self, refused: int) -> None:
        """The brokers have refused metadata of this length."""
        self.max_bytes = min(self.max_bytes, refused) // 2
        self.is_halved = True


def group_and_partition_text_for_checksum(group: str, partition: TopicPartition) -> str:
    """Which partition of which group a text is about. It goes into the checksum: a text that was copied to another
    partition or another group says nothing there."""
    return f"{group} {partition.topic} {partition.partition}"


class Unusable(Exception):
    """The text does not say anything about these offsets."""


def has_finished_offsets_after(commit: tuple[int, str] | None, base: int, place: str) -> bool:
    """Whether this commit, of an offset and its metadata, is at the base and names finished offsets after it. The
    topic's id is not compared: it may not be known yet."""
    try:
        return commit is not None and bool(parse_metadata_or_raise(commit[1], base, None, place).finished)
    except Unusable:
        return False


def parse_metadata_or_raise(text: str, base: int, topic_id: str | None, place: str) -> CommitMetadata:
    """Read the metadata of a commit.

    Args:
        base: the committed offset.
        topic_id: the topic's id now; empty if unknown; None accepts each.
        place: what it should be about, see `group_and_partition_text_for_checksum`.

    Raises:
        Unusable: it is not ours, damaged, of another version, or belongs to another offset, another partition or group,
            or another topic of this name. Then none of it may be used.
    """
    if not text or text.startswith(f"{RATE_PREFIX} "):
        return CommitMetadata(base, rate=text)
    prefix, _, rest = text.partition(" ")
    name, _, version = prefix.partition("/")
    if name != NAME:
        raise Unusable("another program has written it")
    if version != str(VERSION):
        raise Unusable(f"another version of EVKafka has written it ({version})")
    checksum, _, body = rest.partition(" ")
    if checksum != _checksum(body, place):
        raise Unusable("it is damaged, or belongs to another partition or group")
    try:
        found = _parse_body(body)
    except (ValueError, binascii.Error) as error:
        raise Unusable(f"it is damaged: {error}") from error
    if found.base != base:
        raise Unusable(f"it belongs to offset {found.base}")
    if topic_id is not None and found.topic_id != topic_id:
        raise Unusable("it belongs to an earlier topic of this name, or the topic's id is not known")
    return found


def _parse_body(body: str) -> CommitMetadata:
    base_text, topic_id, epoch, mark, finished, attempts, rate = body.split(" ")
    base = int(base_text)
    return CommitMetadata(
        base,
        "" if topic_id == NONE else topic_id,
        int(epoch),
        () if finished == NONE else decode_ranges(base, finished),
        {} if attempts == NONE else decode_attempts(base, attempts),
        _parse_owner_mark(mark),
        "" if rate == NONE else rate.replace(",", " "),
    )


def _parse_owner_mark(text: str) -> OwnerMark:
    ownership, deaths, offset, owner = text.split(":")
    return OwnerMark(Ownership(ownership), int(deaths), None if offset == NONE else int(offset), owner)


def _checksum(body: str, place: str) -> str:
    return f"{binascii.crc32(f'{place} {body}'.encode()):08x}"
