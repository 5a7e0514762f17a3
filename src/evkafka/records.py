"""A record as Kafka has it: its address, what it carries, where a sent one was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    pass


class TopicPartition(NamedTuple):
    """A partition's address. Equal to, and hashed like, any other (topic, partition) tuple."""

    topic: str
    partition: int


class Record(Protocol):
    """One record as the client hands it out: read-only, keys and headers as they came."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...  # milliseconds since the epoch, -1 where there is none
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class RecordMetadata(NamedTuple):
    """Where a confirmed send stands in the log (the fields of aiokafka's own)."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    timestamp_type: int | None
    log_start_offset: int | None

    def __await__(self) -> Any:
        """Awaiting it gives itself: evkafka 0.7 returned a future, and its users wrote `await (await send())`."""
        import warnings

        warnings.warn(
            "the send has been confirmed already: the second await is not needed",
            DeprecationWarning,
            stacklevel=2,
        )
        return self
        yield  # makes this a generator, as __await__ must be


@dataclass(frozen=True, slots=True)
class OffsetReset:
    """A position that came from a rule instead of from a commit.

    Attributes:
        from_offset: the committed or fetched offset that was out of range, or past the cut; None where there was none.
        to_offset: the position found.
        reason: `no_commit` (the group's first time here), `new_partition` (it appeared after the group's
            start, so it is read from its beginning), `out_of_range` (retention passed the position), `truncated` (an
            unclean election cut the log before the position: it goes on where the logs part).
    """

    partition: TopicPartition
    from_offset: int | None
    to_offset: int
    reason: Literal["no_commit", "new_partition", "out_of_range", "truncated"]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record, or a batch, that the client itself cannot read (bad CRC, unknown codec, header not UTF-8).

    Attributes:
        offset: the position at which reading stops.
        next_offset: where reading could go on behind it.
    """

    partition: TopicPartition
    offset: int
    next_offset: int
    error: Exception
