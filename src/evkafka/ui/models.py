"""The answers of the page's API, as JSON.

Durations are in seconds, times in milliseconds since the epoch. Unknown values are None, never 0.

| path | |
| --- | --- |
| `GET ui/api/events` | a stream of `PageSnapshot`, one per second |
| `GET ui/api/letters?topic&status&q&event_type&error&skip&limit&within&before&at` | `DeadLetterList` |
| `GET ui/api/topics` | `TopicList` |
| `GET ui/api/records?topic&partition&limit&key&q&(offset, at_ms or cursor)` | `Records`; without the last, the newest |
| `GET ui/api/history?span&consumer&topic&partition` | `TimeSeries`; of a partition `PartitionTimeSeries` |
| `GET ui/api/config` | `Config` |
| `GET ui/api/check` | `SelfCheckResult` |
| `POST ui/api/unlock` | `{}` -> `ActionResult`: the token is right |
| `POST ui/api/pause`, `resume`, `seek` | `{consumer, topic, partition, offset}` -> `ActionResult` |
| `POST ui/api/letters/replay` | `{topic, filter, places or ids, to: "handler" or "topic", dry_run}` -> `ReplayResult` |
| `POST ui/api/letters/drop` | `{topic, filter, places or ids, reason}` -> `ReplayResult` |

Without a `topic`, a list is of the one to which `consumer` writes the dead letters of the topic `source`; without those
either, of the first one with open dead letters.

`status` is open (the default), replayed, dropped or all. A `filter` selects all open dead letters that match it: it has
the fields `q`, `event_type` and `error` of a list, and its `within`, so that it selects none that came after the list.

Errors have a status of 400 or more, and the answer is `ErrorAnswer`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Kind = Literal["good", "warn", "bad", ""]
"""How a state or problem is shown."""


class ErrorAnswer(TypedDict):
    error: str


class RecordAddress(TypedDict):
    topic: str
    partition: int
    offset: int


# ---------------------------------------------------------------------------- the stream


class CurrentFigures(TypedDict):
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


class TimeSeries(TypedDict):
    """One value per step of `step_s` seconds; all lists have the same length. `at_s` are the beginnings of the steps,
    since the epoch."""

    step_s: int
    at_s: list[int]
    handled_per_s: list[float | None]
    failed_per_s: list[float | None]
    lag: list[float | None]
    p50_s: list[float | None]
    p95_s: list[float | None]


class PartitionTimeSeries(TypedDict):
    """The same of a partition; `read_per_s` are offsets that its position has passed."""

    step_s: int
    at_s: list[int]
    read_per_s: list[float | None]
    lag: list[float | None]


class Problem(TypedDict):
    """`key` is the same while the problem lasts; `for_s` how long it has, if known. `first` is the first thing to do
    about it; `screen` the address of the screen for that, with its parameters, and `link` the text of the link."""

    key: str
    kind: Kind
    where: str
    what: str
    for_s: float | None
    first: str
    screen: str
    link: str


class PartitionRow(TypedDict):
    """`oldest_age_s` is the age of the oldest unfinished record, or of the next one to read; `stuck_s` how long it has
    been the oldest unfinished one; `error` the id of its error."""

    topic: str
    partition: int
    position: int | None
    committed: int | None
    end: int | None
    high_watermark: int | None
    lag: int | None
    pending: int
    done_ahead: int
    oldest: int | None
    oldest_age_s: float | None
    stuck_s: float | None
    failed_attempts: int
    error: str | None
    paused: bool
    state: str
    kind: Kind
    why: str


class AttemptRow(RecordAddress):
    event_type: str | None
    endpoint: str
    attempt: int
    age_s: float
    overran: bool


class ConsumerRow(TypedDict):
    name: str
    group_id: str | None
    group_protocol: str | None
    group_epoch: int | None
    transactions: str | None
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
    """`event_type` is None for a default endpoint, and for an app callable that takes all records."""

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
    """Errors of one class at one endpoint.

    `counts` are the errors of each of the last 60 minutes. `dead_lettered` of its records became dead letters.
    """

    id: str
    type: str
    message: str
    endpoint: str
    event_type: str | None
    consumer: str
    count: int
    first_ms: int
    last_ms: int
    counts: list[int]
    traceback: str
    records: list[RecordAddress]
    dead_lettered: int


class OpenDeadLetters(TypedDict):
    """If `counted` is False, `open` has only the dead letters that this process has written.

    `topics` has the open ones of each topic that has any; the largest ones if there are many topics.
    """

    open: int
    counted: bool
    topics: dict[str, int]


class ProcessRow(TypedDict):
    """This process. `cpu_percent` is in percent of one core, over at least the last five seconds."""

    pid: int
    app_version: str
    evkafka_version: str
    python_version: str
    uptime_s: float
    cpu_percent: float | None
    memory_bytes: int | None


class PageSnapshot(TypedDict):
    at_ms: int
    now: CurrentFigures
    history: TimeSeries
    problems: list[Problem]
    consumers: list[ConsumerRow]
    events: list[EventRow]
    unmatched: list[UnmatchedRow]
    errors: list[ErrorGroup]
    letters: OpenDeadLetters
    process: ProcessRow


# ---------------------------------------------------------------------------- answers to questions


class PayloadText(TypedDict):
    """Bytes as text: `kind` is their format, `cut` is True if there is more, `masked` if fields are hidden."""

    text: str
    kind: Literal["json", "text", "hex"]
    cut: bool
    size: int
    masked: bool


class DeadLetterRow(RecordAddress):
    """`place` identifies this dead letter; `id` the record that failed, which may have several dead letters."""

    id: str
    place: str
    status: str
    failed_at_ms: int
    event_type: str | None
    error_type: str
    error_message: str
    origin: RecordAddress | None
    attempts: int | None
    replays: int
    timestamp_ms: int
    key: PayloadText | None
    value: PayloadText | None
    traceback: str
    headers: list[tuple[str, str | None]]


class DeadLetterCounts(TypedDict):
    open: int
    replayed: int
    dropped: int


class DeadLetterGroup(TypedDict):
    """Dead letters with one class of error and one event type. `message` is that of the newest.

    `error` is the text that selects this error, in a list and on the command line; None if it cannot be shown.
    """

    error_type: str
    event_type: str | None
    error: str | None
    message: str
    dead_letters: int
    first_ms: int
    last_ms: int


class DeadLetterList(TypedDict):
    """`counts` are those that match, by status; `open` is all open ones. `other` of them are in none of the groups.

    `within` is the part of the topic that was searched: give it to the next page, and to an action on all that match.
    `older` records before it were not searched: give it as `before` to search those.
    """

    topics: list[str]
    topic: str | None
    letters: list[DeadLetterRow]
    counts: DeadLetterCounts
    open: int
    groups: list[DeadLetterGroup]
    other: int
    within: str
    older: int


class TopicRow(TypedDict):
    topic: str
    partitions: list[int]


class TopicList(TypedDict):
    topics: list[TopicRow]


class RecordRow(RecordAddress):
    timestamp_ms: int
    event_type: str | None
    key: PayloadText | None
    value: PayloadText | None
    headers: list[tuple[str, str | None]]


class RecordRange(TypedDict):
    """A partition has the offsets from `first` to before `end`; those from `begin` to before `stop` were searched."""

    partition: int
    first: int
    end: int
    begin: int
    stop: int


class Records(TypedDict):
    """The oldest record first. `older` and `newer` are the cursors of the pages before and after; None if nothing is.

    All records up to `reached_ms` (of the newest ones: down to it) were searched; None if no record is left, or
    if a limit ended the search before each partition had shown a record.
    """

    partitions: list[RecordRange]
    reached_ms: int | None
    older: str | None
    newer: str | None
    records: list[RecordRow]


class ConfigKey(TypedDict):
    name: str
    value: str
    source: Literal["set", "default"]
    masked: bool


class ConfigSection(TypedDict):
    name: str
    keys: list[ConfigKey]


class Config(TypedDict):
    parts: list[ConfigSection]


class CheckRow(TypedDict):
    name: str
    result: Literal["ok", "note", "warn", "bad"]
    sentence: str
    fix: str | None
    command: str | None


class SelfCheckResult(TypedDict):
    at_ms: int
    checks: list[CheckRow]


# ---------------------------------------------------------------------------- results of actions


class ActionResult(TypedDict):
    done: str


class FailedDeadLetter(TypedDict):
    id: str
    place: str
    why: str


class ReplayResult(TypedDict):
    """`failed` has the first of the `failed_count` dead letters that failed."""

    chosen: int
    done: int
    failed: list[FailedDeadLetter]
    failed_count: int
