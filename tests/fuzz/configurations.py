"""Strategies for configurations with typing errors and with arbitrary values."""

from __future__ import annotations

import enum
import re
import typing
from typing import Any

from hypothesis import strategies as st
from pydantic import SecretStr

from evkafka import config

CANARY = "canary-secret"


class Hostile:
    """A value whose `str`, `==` and `bool` raise."""

    def __str__(self, *_: object) -> str:
        raise RuntimeError("no")

    __eq__ = __bool__ = __len__ = __iter__ = __str__  # type: ignore[assignment]
    __hash__ = object.__hash__


class Word(enum.StrEnum):
    SKIP = "skip"
    KEY = "key"


class Number(enum.IntEnum):
    ONE = 1


def keys_of(kind: object) -> list[str]:
    return sorted(typing.get_type_hints(kind))


KEYS = {
    name: keys_of(kind)
    for name, kind in {
        "consumer": config.ConsumerConfig,
        "producer": config.ProducerConfig,
        "policy": config.ErrorPolicy,
    }.items()
}
SECRETS = {"sasl_plain_password", "sasl_oauth_token_provider"}
INNER = sorted({*KEYS["policy"], *keys_of(config.DeadLetterLimit), *keys_of(config.TopicConfig)})

SINGLE = st.one_of(
    st.none() | st.booleans(),
    st.integers() | st.integers(0, 100_000) | st.sampled_from([10**30, -1, 0, 1, 2**31, 2**63]),
    st.floats(),
    st.text(max_size=12) | st.text("abc.{}-_*[(\\", max_size=12) | st.sampled_from(["\ud800", "x" * 40_000, "a,b", ""]),
    st.binary(max_size=6) | st.just(bytearray(b"x")) | st.just(memoryview(b"x")),
    st.sampled_from([Hostile, Word.SKIP, Word.KEY, Number.ONE, 1 + 2j, range(3), ValueError, object(), print]),
    st.builds(Hostile),
    st.sampled_from([re.compile("a.*"), re.compile(b"a"), SecretStr(CANARY), SecretStr, ..., NotImplemented]),
    st.sampled_from(["earliest", "key", "all", "dead_letter", "PLAIN", "SASL_SSL", "SSL", "gzip", "pre-commit", "{x}"]),
    st.sampled_from(["localhost:9092", "h:0", "h:99999", "[::1]:1", "u:p@h:1", "http://h:1", ":", "h", "h:1,", ",,"]),
)
NAMES = st.sampled_from(INNER) | st.text(max_size=6) | st.sampled_from([1, None, b"topics", ("a",), 1.5])
ANY = st.recursive(
    SINGLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(NAMES, inner, max_size=4),
    ),
    max_leaves=6,
)
VALID = [
    ("topics", ["orders"]),
    ("topics", [{"name": "orders", "event_type": "E"}, "bills"]),
    ("group_id", "g"),
    ("concurrency", 4),
    ("ordering", "unordered"),
    ("auto_commit_interval_ms", 0),
    ("auto_commit_mode", "pre-commit"),
    ("auto_offset_reset", "none"),
    ("session_timeout_ms", 6000),
    ("heartbeat_interval_ms", 100),
    ("max_poll_records", 1),
    ("max_pending_bytes", 1),
    ("max_decompressed_bytes", 2**20),
    ("drain_timeout_ms", 0),
    ("rebalance_timeout_ms", 1),
    ("request_timeout_ms", 65_001),
    ("unmatched", "dead_letter"),
    ("isolation_level", "read_uncommitted"),
    ("group_instance_id", "i-1"),
    ("group_protocol", "consumer"),
    ("group_protocol", "auto"),
    ("group_remote_assignor", "range"),
    ("on_error", {"max_attempts": 2, "then": "skip"}),
    ("on_error", {"max_attempts": 2, "then": "dead_letter", "retry_topics": [10, 20]}),
    ("on_error", {"dead_letter_limit": {"consecutive": 1, "ratio": 0.1}}),
    ("acks", 1),
    ("topic", "bills"),
    ("linger_ms", 5),
    ("compression_type", "zstd"),
]
POLICY = [("max_attempts", 2), ("then", "skip"), ("backoff_ms", 1), ("jitter", 0), ("retry_topics", [1, 2])]


@st.composite
def configurations(draw: st.DrawFn, kind: str) -> dict[Any, Any]:
    """Return some keys with valid values and some with arbitrary ones; secrets contain the canary."""
    valid = [pair for pair in VALID if pair[0] in KEYS[kind]] + POLICY * (kind == "policy")
    values: dict[Any, Any] = dict(draw(st.lists(st.sampled_from(valid), max_size=6)))
    if kind == "consumer" and draw(st.integers(0, 3)):
        values.setdefault("topics", ["orders"])
    known = st.sampled_from(KEYS[kind])
    unknown = known.map(str.upper) | known.map(lambda key: key.replace("_", ".")) | st.text(max_size=8) | NAMES
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 4]))):
        values[draw(known)] = draw(ANY)
    if draw(st.integers(0, 5)) == 5:
        values[draw(unknown)] = draw(ANY)
    for key in SECRETS & values.keys():
        values[key] = draw(st.sampled_from([CANARY, SecretStr(CANARY), [CANARY], {CANARY: CANARY}, CANARY.encode()]))
    return values


TEXTS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.integers().map(str) | st.sampled_from(["none", "true", "1,2", "[1, 2]", '{"a": 1}', "[", '"x"', "earliest"]),
)
VARIABLES = st.sampled_from(KEYS["consumer"]).map(str.upper) | st.tuples(
    st.sampled_from(["ON_ERROR", "SHOP", "TOPICS", "ON_ERROR__DEAD_LETTER_LIMIT"]), st.sampled_from(INNER)
).map(lambda parts: f"{parts[0]}__{parts[1].upper()}")
ENVIRONMENTS = st.dictionaries(VARIABLES.map("EVKAFKA_{}".format), TEXTS, max_size=5)
