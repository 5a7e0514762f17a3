"""The delivery table as data: what an endpoint does with a record, under which policy, and the expected outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from evkafka import DeadLetter, Request, Retry, Skip

QUICK = {"backoff_ms": 20, "max_backoff_ms": 50, "jitter": 0}

End = Literal["done", "dead", "stop", "waits"]

GOOD, BAD = b'{"number": 1}', b"{no json"


@dataclass(frozen=True)
class Row:
    """One row. The record under test is the second of three; the first and the third are handled without a failure.

    Attributes:
        name: what the record or its endpoint does.
        end: `done`: it is committed. `dead`: it is a dead letter, and committed. `stop`: the app has ended and it
            is not committed. `waits`: it is retried forever, and blocks only its lane.
        attempts: how often the endpoint is called with it.
        act: what the endpoint does with it, given the request.
        policy: `on_error`, in addition to short waits.
        keys: other configuration keys of the consumer.
        value, event_type: of the record.
    """

    name: str
    end: End
    attempts: int
    act: Callable[[Request], Any] = lambda _: None
    policy: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    value: bytes | None = GOOD
    event_type: str | None = "E"


def raises(error: BaseException | type[BaseException], *, until: int = 1_000_000) -> Callable[[Request], Any]:
    """Raise the error in each attempt before `until`."""

    def act(request: Request) -> None:
        if request.attempt < until:
            raise error

    return act


def returns(value: object, *, until: int = 1_000_000) -> Callable[[Request], Any]:
    return lambda request: value if request.attempt < until else None


def hang(request: Request) -> Any:
    """Wait forever."""
    return asyncio.Event().wait()


def at_end(then: str, max_attempts: int | None = 3) -> dict[str, Any]:
    return {"then": then} | ({"max_attempts": max_attempts} if max_attempts is not None else {})


def on_retry(act: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Fail in the first attempt, and call `act` in the later ones, which are in a retry topic."""

    def later(request: Request) -> Any:
        if request.attempt == 1:
            raise ERROR
        return act(request)

    return later


FINAL = {"non_retryable": [KeyError]}
ERROR = RuntimeError("the endpoint's")
TIERS = {"retry_topics": [30, 60]}

TABLE = [
    # the endpoint returns
    Row("returns nothing", "done", 1),
    Row("returns a value", "done", 1, returns("whatever")),
    # no endpoint for its type, no type, no value
    *(
        Row(f"{name}, unmatched={unmatched}", end, 0, keys={"unmatched": unmatched}, value=value, event_type=event_type)
        for name, value, event_type in [
            ("no endpoint", GOOD, "Other"),
            ("no type", GOOD, None),
            ("a tombstone", None, "E"),
        ]
        for unmatched, end in [("skip", "done"), ("dead_letter", "dead"), ("stop", "stop")]
    ),
    # the endpoint raises, or overruns its time limit
    Row("raises, without end", "waits", 3, raises(ERROR)),
    Row("raises twice", "done", 3, raises(ERROR, until=3)),
    Row("raises, to the policy's end: skip", "done", 3, raises(ERROR), at_end("skip")),
    Row("raises, to the policy's end: dead_letter", "dead", 3, raises(ERROR), at_end("dead_letter")),
    Row("raises, to the policy's end: stop", "stop", 3, raises(ERROR), at_end("stop")),
    Row("raises what is non_retryable: skip", "done", 1, raises(KeyError("k")), at_end("skip", None) | FINAL),
    Row("raises what is non_retryable: dead_letter", "dead", 1, raises(KeyError("k")), at_end("dead_letter") | FINAL),
    Row("raises what is non_retryable: stop", "stop", 1, raises(KeyError("k")), at_end("stop", None) | FINAL),
    Row("raises its own CancelledError once", "done", 2, raises(asyncio.CancelledError, until=2)),
    Row("overruns, to the policy's end: dead_letter", "dead", 2, hang, at_end("dead_letter", 2)),
    Row("overruns, without end", "waits", 3, hang),
    # the value cannot be decoded
    Row("is no JSON, without end", "waits", 0, value=BAD),
    Row("is no JSON: skip", "done", 0, policy=at_end("skip"), value=BAD),
    Row("is no JSON: dead_letter", "dead", 0, policy=at_end("dead_letter"), value=BAD),
    Row("is no JSON: stop", "stop", 0, policy=at_end("stop"), value=BAD),
    # outcomes
    Row("returns Skip", "done", 1, returns(Skip("why"))),
    Row("raises Skip", "done", 1, raises(Skip("why"))),
    Row("returns the class Skip", "done", 1, returns(Skip)),
    Row("raises the class Skip", "done", 1, raises(Skip)),
    Row("returns Retry twice", "done", 3, returns(Retry(after_ms=10), until=3)),
    Row("raises Retry twice", "done", 3, raises(Retry(), until=3)),
    Row("raises the class Retry twice", "done", 3, raises(Retry, until=3)),
    Row("returns Retry, which counts as an attempt", "dead", 2, returns(Retry(after_ms=10)), at_end("dead_letter", 2)),
    Row("returns DeadLetter", "dead", 1, returns(DeadLetter("why"))),
    Row("raises DeadLetter", "dead", 1, raises(DeadLetter("why"))),
    Row("returns the class DeadLetter", "dead", 1, returns(DeadLetter)),
    Row("raises the class DeadLetter", "dead", 1, raises(DeadLetter)),
    Row("raises DeadLetter, whatever `then` says", "dead", 1, raises(DeadLetter("why")), at_end("skip")),
    # retry topics come between the last attempt and the end of the policy
    Row("raises through two tiers: dead_letter", "dead", 6, raises(ERROR), at_end("dead_letter", 2) | TIERS),
    Row("raises through two tiers: skip", "done", 4, raises(ERROR, until=4), at_end("skip", 2) | TIERS),
    Row("returns Retry through two tiers", "dead", 3, returns(Retry(after_ms=10)), at_end("dead_letter", 1) | TIERS),
    Row("raises DeadLetter in a tier", "dead", 2, on_retry(raises(DeadLetter)), at_end("skip", 1) | TIERS),
    Row("raises Skip in a tier", "done", 2, on_retry(raises(Skip)), at_end("dead_letter", 1) | TIERS),
    Row("overruns in a tier: dead_letter", "dead", 3, hang, at_end("dead_letter", 1) | TIERS),
    Row("is no JSON, past the tiers", "dead", 0, policy=at_end("dead_letter") | TIERS, value=BAD),
    Row("raises non_retryable, past the tiers", "dead", 1, raises(KeyError), at_end("dead_letter") | FINAL | TIERS),
    # fatal exceptions
    *(
        Row(f"raises {kind.__name__}, whatever the policy", "stop", 1, raises(kind), at_end("skip", 1))
        for kind in (KeyboardInterrupt, SystemExit, MemoryError)
    ),
]

PRE_COMMIT = [
    Row("returns nothing", "done", 1),
    Row("has no endpoint", "done", 0, event_type="Other"),
    Row("has no type", "done", 0, event_type=None),
    Row("is a tombstone", "done", 0, value=None),
    Row("raises", "done", 1, raises(ERROR)),
    Row("raises its own CancelledError", "done", 1, raises(asyncio.CancelledError)),
    Row("overruns", "done", 1, hang),
    Row("is no JSON", "done", 0, value=BAD),
    Row("returns Skip", "done", 1, returns(Skip("why"))),
    Row("raises Skip", "done", 1, raises(Skip)),
    Row("returns Retry", "done", 1, returns(Retry(after_ms=10))),
    Row("raises Retry", "done", 1, raises(Retry)),
    Row("returns DeadLetter", "dead", 1, returns(DeadLetter("why"))),
    Row("raises DeadLetter", "dead", 1, raises(DeadLetter)),
    *(Row(f"raises {kind.__name__}", "stop", 1, raises(kind)) for kind in (KeyboardInterrupt, SystemExit, MemoryError)),
]
"""The pre-commit column: every outcome is counted and the next record runs. `waits` does not occur."""

LANES: dict[str, dict[str, Any]] = {
    "one": {"concurrency": 1},
    "by key": {"concurrency": 4, "ordering": "key"},
    "by partition": {"concurrency": 4, "ordering": "partition"},
    "unordered": {"concurrency": 4, "ordering": "unordered"},
}
