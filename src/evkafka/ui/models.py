"""What the page is answered, as it goes over the wire. Times are in seconds, moments in milliseconds since the epoch;
what is not known is None, never 0.

| path | |
| --- | --- |
| `GET ui/api/events` | a stream of `Snapshot`, one a second |
| `GET ui/api/letters?topic&q&closed` | `Letters` |
| `GET ui/api/topics` | `Topics` |
| `GET ui/api/records?topic&partition&limit&(offset or at_ms)` | `Records`; without either, the newest |
| `GET ui/api/config` | `Config` |
| `GET ui/api/check` | `Checks` |
| `POST ui/api/pause`, `resume`, `seek` | `{consumer, topic, partition, offset}` -> `Done` |
| `POST ui/api/letters/replay` | `{topic, places or ids, to: "handler" or "topic", dry_run}` -> `Report` |
| `POST ui/api/letters/drop` | `{topic, places or ids, reason}` -> `Report` |

What cannot be done is answered with a status of 400 or more, and `Refusal`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Kind = Literal["good", "warn", "bad", ""]
"""How something is shown."""


class Refusal(TypedDict):
    error: str


class Address(TypedDict):
    topic: str
    partition: int
    offset: int


# ---------------------------------------------------------------------------- live


class Now(TypedDict):
    handled_per_s: float
    handled: int
    failed_per_s: float
    failed: int
    lag: int | None
    lag_s: float | None
    p50_s: float | None
    p95_s: float | None
    in_flight: int
    oldest_s: float | None
    dead_lettered: int


class History(TypedDict):
    """A value for each second; all lists are of one length."""

    at_s: list[int]
    handled_per_s: list[float]
    failed_per_s: list[float]
    lag: list[int | None]
    p50_s: list[float | None]
    p95_s: list[float | None]


class Problem(TypedDict):
    """`first` is what to do about it first, `screen` where."""

    kind: Kind
    where: str
    what: str
    first: str
    screen: str


class PartitionRow(TypedDict):
    topic: str
    partition: int
    position: int | None
    committed: int | None
    end: int | None
    high_watermark: int | None
    lag: int | None
    pending: int
    oldest: int | None
    oldest_age_s: float | None
    paused: bool
    state: str
    kind: Kind
    why: str


class AttemptRow(Address):
    event_type: str | None
    endpoint: str
    attempt: int
    age_s: float
    overran: bool


class ConsumerRow(TypedDict):
    name: str
    group_id: str | None
    topics: list[str]
    state: str
    kind: Kind
    reasons: list[str]
    notes: list[str]
    lag: int | None
    lag_s: float | None
    handled_per_s: float
    partitions: list[PartitionRow]
    rebuilds: int
    attempts: list[AttemptRow]


class EventRow(TypedDict):
    """`event_type` is None of a default endpoint, or where one callable takes all."""

    consumer: str
    event_type: str | None
    endpoint: str
    handled: int
    handled_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    failed: int
    last_error: str | None
    last_error_at_ms: int | None


class UnmatchedRow(TypedDict):
    consumer: str
    event_type: str | None
    reason: str
    records: int


class ErrorGroup(TypedDict):
    """Errors of one class at one endpoint."""

    id: str
    type: str
    message: str
    endpoint: str
    event_type: str | None
    consumer: str
    count: int
    first_ms: int
    last_ms: int
    traceback: str
    records: list[Address]


class OpenLetters(TypedDict):
    """Until they have been `counted`, `open` tells of those alone that this process has written."""

    open: int
    counted: bool


class Snapshot(TypedDict):
    at_ms: int
    now: Now
    history: History
    problems: list[Problem]
    consumers: list[ConsumerRow]
    events: list[EventRow]
    unmatched: list[UnmatchedRow]
    errors: list[ErrorGroup]
    letters: OpenLetters


# ---------------------------------------------------------------------------- asked for


class Text(TypedDict):
    """Bytes as text. `kind` says what they were; `cut` that the whole is longer; `masked` that fields are hidden."""

    text: str
    kind: Literal["json", "text", "hex"]
    cut: bool
    size: int
    masked: bool


class LetterRow(Address):
    """`place` names this letter alone, in orders; `id` the record that failed, and several letters may have it."""

    id: str
    place: str
    status: str
    failed_at_ms: int
    event_type: str | None
    error_type: str
    error_message: str
    origin: Address | None
    attempts: int | None
    replays: int
    timestamp_ms: int
    key: Text | None
    value: Text | None
    traceback: str
    headers: list[tuple[str, str | None]]


class Letters(TypedDict):
    topics: list[str]
    topic: str | None
    letters: list[LetterRow]


class TopicRow(TypedDict):
    topic: str
    partitions: list[int]


class Topics(TypedDict):
    topics: list[TopicRow]


class RecordRow(Address):
    timestamp_ms: int
    event_type: str | None
    key: Text | None
    value: Text | None
    headers: list[tuple[str, str | None]]


class Records(TypedDict):
    """`first` and `end`: the first offset that the partition still has, and the one behind its last record."""

    first: int
    end: int
    records: list[RecordRow]


class ConfigKey(TypedDict):
    name: str
    value: str
    source: Literal["set", "default"]
    masked: bool


class ConfigPart(TypedDict):
    name: str
    keys: list[ConfigKey]


class Config(TypedDict):
    parts: list[ConfigPart]


class Check(TypedDict):
    name: str
    result: Literal["ok", "note", "warn", "bad"]
    sentence: str
    fix: str | None
    command: str | None


class Checks(TypedDict):
    at_ms: int
    checks: list[Check]


# ---------------------------------------------------------------------------- done


class Done(TypedDict):
    done: str


class FailedLetter(TypedDict):
    id: str
    place: str
    why: str


class Report(TypedDict):
    chosen: int
    done: int
    failed: list[FailedLetter]
