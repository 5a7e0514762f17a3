"""Records, their addresses, and the positions of a consumer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio


class TopicPartition(NamedTuple):
    """A topic and a partition of it. Equal to any other tuple of these values."""

    topic: str
    partition: int


class Record(Protocol):
    """One record, read-only. Key, value and headers are the bytes that were received."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # milliseconds since the epoch; -1 if it has none
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def first_header(record: Record, name: str) -> bytes | None:
    """The first header of this name; None if the record has none, or if it is null."""
    return next((value for header, value in record.headers if header == name), None)


class RecordMetadata(NamedTuple):
    """The address of a confirmed record, with the attributes of aiokafka's class of this name."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    timestamp_type: int | None
    log_start_offset: int | None

    @property
    def topic_partition(self) -> TopicPartition:
        """Topic and partition as one value. aiokafka's class has it as a field."""
        return TopicPartition(self.topic, self.partition)

    def __await__(self) -> Any:
        """Returns itself: evkafka 0.7 returned a future, and its users wrote `await (await send())`."""
        import warnings

        warnings.warn(
            "the send has already been confirmed: the second await is not needed",
            DeprecationWarning,
            stacklevel=2,
        )
        return self
        yield  # makes this a generator function, which __await__ must be


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """A position that was set by a reset rule, and not by a commit.

    Attributes:
        from_offset: the committed or fetched offset that was out of range or truncated; None if there was none.
        to_offset: the new position.
        reason: `no_commit` (the group has never committed here), `new_partition` (the partition was added after the
            group's start, so it is read from its beginning), `out_of_range` (the records were deleted by retention),
            `retention` (the same, and the group has finished records after the committed offset: reading continues
            with the first record that is left), `truncated` (an unclean election has truncated the log before the
            position: reading continues where the logs diverge).
    """

    partition: TopicPartition
    from_offset: int | None
    to_offset: int
    reason: Literal["no_commit", "new_partition", "out_of_range", "retention", "truncated"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record, or a record batch, that the client cannot read (bad CRC, unknown codec, header not UTF-8).

    Attributes:
        offset: the position at which reading stops.
        next_offset: the offset after it, from which reading could continue.
    """

    partition: TopicPartition
    offset: int
    next_offset: int
    error: Exception


class NotReady(BaseException):
    """Raised in place of an attempt: what is needed to decode the record is still being asked for.

    It is no outcome. The record waits, no attempt is counted, and it is dispatched again. Users never see it.

    Attributes:
        ready: done once the record can be dispatched again.
    """

    def __init__(self, ready: asyncio.Future[None]) -> None:
        super().__init__()
        self.ready = ready
