"""Strategies for records, well-formed and malformed, and for consumers that read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hypothesis import strategies as st

Headers = tuple[tuple[str, bytes | None], ...]

ID = "fuzz-id"
TYPE = "Event-Type"
ROUTES = ("model", "plain", "bytes", "nullable", "batch")
Action = Literal[
    "ok",
    "skip",
    "dead letter",
    "fails once",
    "fails",
    "non-retryable",
    "retry",
    "unprintable",
    "cancelled",
    "uncomparable",
]
ACTIONS = get_args(Action)


@dataclass(frozen=True)
class Sent:
    """A record of the source topic. `corrupt`: the client cannot read it, as if its checksum were wrong."""

    number: int
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    corrupt: bool = False

    @property
    def all_headers(self) -> Headers:
        return (*self.headers, (ID, str(self.number).encode()))


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        default: whether the handler has a default endpoint.
        early: the number of records that are in the topic before the app starts.
    """

    seed: int
    partitions: int
    default: bool
    config: dict[str, Any]
    sent: tuple[Sent, ...]
    early: int


# ---------------------------------------------------------------------------- values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ORDERS = st.fixed_dictionaries({"do": st.sampled_from(ACTIONS)}, optional={"more": JSON}).map(
    lambda order: json.dumps(order).encode()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a damaged order: truncated, with a changed byte, with added bytes, or in another encoding."""
    order = draw(ORDERS)
    position = draw(st.integers(0, len(order) - 1))
    return draw(
        st.sampled_from(
            [
                order[:position],
                order[:position] + bytes([draw(st.integers(0, 255))]) + order[position + 1 :],
                order + draw(st.binary(max_size=3)),
                b"\xef\xbb\xbf" + order,
                order.decode().encode("utf-16"),
                b'{"do": "ok", "do": ' + order + b"}",
            ]
        )
    )


VALUES = st.one_of(
    ORDERS,
    ORDERS,
    damaged(),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
    st.none(),
    st.sampled_from([b"", b"\x00", b"[" * 5_000, b'{"do":"ok","more":' + b"7" * 5_000 + b"}", b'{"do":"\\ud800"}']),
)

# ---------------------------------------------------------------------------- headers

OURS = [
    *(f"evkafka-retry-{name}" for name in ("topic", "partition", "offset", "timestamp", "attempts", "error-type")),
    *(f"evkafka-dlq-{name}" for name in ("topic", "partition", "offset", "timestamp", "group", "id", "attempts")),
    *("evkafka-dlq-unreadable", "kafka_dlt-original-offset", "kafka_dlt-original-topic", "kafka_dlt-exception-message"),
    *("traceparent", "tracestate", "content-type", "event-type", "EVENT-TYPE", ""),
]
NUMBERS = st.sampled_from([b"0", b"-1", b"99999999999999999999", b"1e3", b"\xd9\xa3", b" 7 ", b"7_7", b"0" * 5_000])
TRACES = st.sampled_from([b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"00-0-0-0", b"ff-" + b"\xff" * 50])
HEADERS = st.tuples(st.sampled_from(OURS) | st.text(max_size=6), st.none() | st.binary(max_size=20) | NUMBERS | TRACES)
TYPES = st.one_of(
    st.sampled_from(ROUTES).map(str.encode),
    st.sampled_from(ROUTES).map(str.encode),
    st.sampled_from(ROUTES).map(str.encode),
    st.none() | st.binary(max_size=8) | st.text(max_size=8).map(str.encode),
)


@st.composite
def headers(draw: st.DrawFn) -> Headers:
    """Return headers: most have one event type, some have several or none."""
    types = [
        (TYPE, event_type) for event_type in draw(st.tuples(TYPES) | st.tuples(TYPES) | st.lists(TYPES, max_size=2))
    ]
    return tuple(draw(st.permutations([*types, *draw(st.lists(HEADERS, max_size=3))])))


# ---------------------------------------------------------------------------- runs

KEYS = st.none() | st.sampled_from([b"", b"a", b"b", b"\xff\xfe"])


@st.composite
def records(draw: st.DrawFn, number: int, partitions: int) -> Sent:
    return Sent(
        number,
        draw(st.integers(0, partitions - 1)),
        draw(KEYS),
        draw(VALUES),
        draw(headers()),
        corrupt=draw(st.integers(0, 19)) == 19,
    )


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "backoff_ms": draw(st.sampled_from([0, 1, 100])),
        "non_retryable": [LookupError],
        "dead_letter_limit": None,
        "dead_letter_header_style": draw(st.sampled_from(["evkafka", "spring"])),
        "max_attempts": draw(st.sampled_from([None, 1, 2, 3])),
    }
    if policy["max_attempts"] is None:  # a record behind one that is retried forever would never stop the app
        policy |= {"backoff_ms": draw(st.sampled_from([1, 100])), "max_backoff_ms": 1000}
        return {**policy, "then": draw(st.sampled_from(["skip", "dead_letter"]))}
    delays_ms = draw(st.sampled_from([[], [], [50], [50, 1000]]))
    return {**policy, "then": draw(st.sampled_from(["skip", "dead_letter", "stop"])), "retry_topics": delays_ms}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    partitions = draw(st.integers(1, 3))
    policy = draw(policies())
    is_finite = policy["max_attempts"] is not None
    config = {
        "topics": ["t"],
        "group_id": "g",
        "auto_offset_reset": "earliest",
        "auto_commit_interval_ms": draw(st.sampled_from([0, 50, 1000])),
        "concurrency": draw(st.sampled_from([1, 1, 2, 8])),
        "ordering": draw(st.sampled_from(["key", "partition", "unordered"])),
        "max_pending_records": draw(st.sampled_from([1, 4, 10_000])),
        "max_poll_records": draw(st.sampled_from([1, 3, 500])),
    }
    if draw(st.integers(0, 4)) == 4:
        config["auto_commit_mode"] = "pre-commit"
        if draw(st.booleans()):
            del config["group_id"]
    else:
        config["unmatched"] = draw(
            st.sampled_from(["skip", "dead_letter", "stop"] if is_finite else ["skip", "dead_letter"])
        )
        config["on_error"] = policy
    count = draw(st.integers(1, 12))
    sent = tuple(draw(records(number, partitions)) for number in range(count))
    return Case(draw(st.integers(0, 999)), partitions, draw(st.booleans()), config, sent, draw(st.integers(0, count)))
