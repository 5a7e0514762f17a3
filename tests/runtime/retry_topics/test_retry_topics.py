"""The headers of a record in a retry topic, and how it is restored. Pure."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from evkafka.config import consumer_settings
from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings
from evkafka.exceptions import ConfigError
from evkafka.runtime.dead_letters.headers import FailureInfo
from evkafka.runtime.dead_letters.retry_topics import (
    MESSAGE_BYTES,
    DelayedRecord,
    RetryTopic,
    parse_delayed_record,
    retry_consumer_settings,
    retry_headers,
    retry_topics_of,
)
from tests.support.dead_letters import Source

NOW_S, NOW_MS = 100.0, 1_700_000_000_000
FIRST = Source("orders", 2, 41, NOW_MS - 9_000, b"\xffk", b"\x00v", [("own", b"\xff"), ("own", None)])
FAILURE = FailureInfo(
    "g", "E", 3, "attempt 1 of 1 failed", ConnectionError("no route"), datetime(2026, 1, 1, tzinfo=UTC)
)
RETRY_TOPIC = RetryTopic("orders", 5_000)
ID = "g/a-cluster/orders:a-topic/2/41"


def settings(**keys: Any) -> ConsumerSettings:
    return consumer_settings({"topics": ["orders"], "group_id": "g", **keys})


def in_retry_topic(headers: list[tuple[str, bytes | None]] | None = None, *, timestamp: int = NOW_MS) -> Source:
    """The record in its retry topic."""
    values = retry_headers(FIRST, FAILURE, id_=ID) if headers is None else headers
    return Source("orders.g.retry.5000", 2, 7, timestamp, FIRST.key, FIRST.value, list(values))


def restored(record: Source) -> DelayedRecord:
    return parse_delayed_record(record, RETRY_TOPIC, now_s=NOW_S, now_ms=NOW_MS)


class TestRetryTopicsOfAConsumer:
    def test_are_one_for_each_topic_and_delay_of_all_its_policies(self) -> None:
        policies = [ErrorPolicySettings(retry_topics=(5_000,)), ErrorPolicySettings(retry_topics=(1_000, 5_000))]
        assert retry_topics_of(settings(topics=["a", "b"]), policies) == {
            "a.g.retry.1000": RetryTopic("a", 1_000),
            "a.g.retry.5000": RetryTopic("a", 5_000),
            "b.g.retry.1000": RetryTopic("b", 1_000),
            "b.g.retry.5000": RetryTopic("b", 5_000),
        }

    def test_are_none_if_no_policy_has_any_or_nothing_is_retried(self) -> None:
        asking = [ErrorPolicySettings(retry_topics=(5_000,))]
        assert retry_topics_of(settings(), [ErrorPolicySettings()]) == {}
        assert retry_topics_of(settings(auto_commit_mode="pre-commit"), asking) == {}

    def test_need_topics_by_name(self) -> None:
        pattern = consumer_settings({"topic_pattern": "orders.*", "group_id": "g"})
        with pytest.raises(ConfigError, match=r"retry_topics cannot be combined with topic_pattern 'orders\.\*'"):
            retry_topics_of(pattern, [ErrorPolicySettings(retry_topics=(5_000,))])

    def test_must_not_be_among_its_topics(self) -> None:
        reading = settings(topics=["orders", "orders.g.retry.5000"])
        with pytest.raises(
            ConfigError, match=r"5000 creates retry topic 'orders\.g\.retry\.5000', which `topics` lists"
        ):
            retry_topics_of(reading, [ErrorPolicySettings(retry_topics=(5_000,))])

    def test_are_read_by_a_group_of_their_own_from_the_beginning(self) -> None:
        first = settings(concurrency=8, auto_offset_reset="latest", allow_auto_create_topics=True)
        of_retries = retry_consumer_settings(first, {"orders.g.retry.5000": RETRY_TOPIC})
        assert [topic.name for topic in of_retries.topics] == ["orders.g.retry.5000"]
        assert (of_retries.group_id, of_retries.auto_offset_reset) == ("g.retry", "earliest")
        assert (of_retries.concurrency, of_retries.allow_auto_create_topics) == (8, False)


class TestWriting:
    def test_keeps_the_records_headers_and_appends_ours(self) -> None:
        headers = retry_headers(FIRST, FAILURE, id_=ID)
        assert headers[:2] == [("own", b"\xff"), ("own", None)]
        assert dict(headers[2:]) == {
            "evkafka-retry-topic": b"orders",
            "evkafka-retry-partition": b"2",
            "evkafka-retry-offset": b"41",
            "evkafka-retry-timestamp": b"%d" % FIRST.timestamp,
            "evkafka-retry-group": b"g",
            "evkafka-retry-id": ID.encode(),
            "evkafka-retry-event-type": b"E",
            "evkafka-retry-attempts": b"3",
            "evkafka-retry-error-type": b"builtins.ConnectionError",
            "evkafka-retry-error-message": b"no route",
        }

    def test_without_an_error_the_reason_is_the_message(self) -> None:
        values = dict(retry_headers(FIRST, dataclasses.replace(FAILURE, error=None), id_=ID))
        assert values["evkafka-retry-error-message"] == b"attempt 1 of 1 failed"

    @pytest.mark.parametrize("step", range(len(MESSAGE_BYTES)))
    def test_each_reduction_shortens_the_message_only(self, step: int) -> None:
        long = dataclasses.replace(FAILURE, error=ConnectionError("ä" * 5_000))
        headers = retry_headers(FIRST, long, id_=ID, reduced=step)
        message = dict(headers).pop("evkafka-retry-error-message")
        assert message is not None
        assert len(message) <= MESSAGE_BYTES[step]
        message.decode()  # and not cut in the middle of a letter
        assert headers[:-1] == retry_headers(FIRST, long, id_=ID)[:-1]


class TestReading:
    def test_restores_the_record(self) -> None:
        found = restored(in_retry_topic())
        origin = found.origin
        assert (origin.topic, origin.partition, origin.offset, origin.timestamp) == ("orders", 2, 41, FIRST.timestamp)
        assert (origin.key, origin.value, list(origin.headers)) == (FIRST.key, FIRST.value, FIRST.headers)
        assert (found.topic, found.partition, found.offset, found.earlier) == ("orders.g.retry.5000", 2, 7, 3)

    def test_restores_it_from_a_second_retry_topic_too(self) -> None:
        again = retry_headers(restored(in_retry_topic()).origin, dataclasses.replace(FAILURE, attempts=4), id_=ID)
        found = restored(in_retry_topic(again))
        assert (found.origin, found.earlier) == (restored(in_retry_topic()).origin, 4)

    @pytest.mark.parametrize(
        ("written_ms", "due_s"),
        [
            pytest.param(NOW_MS, 105.0, id="just now"),
            pytest.param(NOW_MS - 2_000, 103.0, id="two seconds ago"),
            pytest.param(NOW_MS - 5_000, 100.0, id="as long ago as it must wait"),
            pytest.param(NOW_MS - 3_600_000, 100.0, id="an hour ago"),
            pytest.param(NOW_MS + 3_600_000, 105.0, id="by a clock that goes before ours"),
            pytest.param(-1, 105.0, id="without a time"),
        ],
    )
    def test_it_is_due_one_delay_after_it_was_written(self, written_ms: int, due_s: float) -> None:
        assert restored(in_retry_topic(timestamp=written_ms)).due_s == pytest.approx(due_s)

    def test_a_foreign_record_is_a_record_of_the_source_at_its_own_address(self) -> None:
        found = restored(in_retry_topic([("own", b"1")]))
        assert (found.origin.topic, found.origin.partition, found.origin.offset) == ("orders", 2, 7)
        assert (found.origin.headers, found.earlier) == ((("own", b"1"),), 0)

    @pytest.mark.parametrize("count", [b"", b"many", b"\xff", b"-3", b"1.5", None])
    def test_an_invalid_count_is_ignored(self, count: bytes | None) -> None:
        found = restored(in_retry_topic([("evkafka-retry-attempts", count), ("evkafka-retry-offset", b"x")]))
        assert found.earlier == 0

    def test_names_are_matched_whole(self) -> None:
        found = restored(in_retry_topic([("evkafka-retries", b"mine"), ("x-evkafka-retry-offset", b"3")]))
        assert [name for name, _ in found.origin.headers] == ["evkafka-retries", "x-evkafka-retry-offset"]
