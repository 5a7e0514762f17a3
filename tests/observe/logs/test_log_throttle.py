"""What the client says over and over in an outage is said once in half a minute."""

from __future__ import annotations

import inspect
import logging
import socket

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupCoordinatorNotAvailableError

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerUnavailable
from evkafka.kafka.admin.topics import ensure_topics
from evkafka.kafka.client.log_throttle import CoordinatorInTheMaking, OncePerHalfMinute, once_per_half_minute


def record(message: str, *args: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, "", 0, message, args, None)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class TestRepeatedLines:
    def test_the_first_passes_at_once_and_then_one_in_half_a_minute_with_their_number(self) -> None:
        clock = Clock()
        sparing = OncePerHalfMinute(now=clock)
        passed = []
        for _ in range(481):
            if sparing.filter(line := record("Group Coordinator Request failed: %s", "away")):
                passed.append(line.getMessage())
            clock.now_s += 0.125
        assert passed == [
            "Group Coordinator Request failed: away",
            "Group Coordinator Request failed: away (and 239 times more in the last 30 s)",
            "Group Coordinator Request failed: away (and 239 times more in the last 30 s)",
        ]

    def test_another_sentence_is_news(self) -> None:
        sparing = OncePerHalfMinute(now=Clock())
        assert sparing.filter(record("Failed fetch messages from %s", 1))
        assert sparing.filter(record("Failed fetch messages from %s", 2))
        assert not sparing.filter(record("Failed fetch messages from %s", 1))

    def test_what_is_no_warning_is_let_through(self) -> None:
        sparing = OncePerHalfMinute(now=Clock())
        assert all(sparing.filter(record("polling", level=logging.INFO)) for _ in range(3))

    def test_only_so_many_sentences_are_remembered(self) -> None:
        sparing = OncePerHalfMinute(now=Clock())
        for number in range(5_000):
            assert sparing.filter(record("correlation id %d", number))
        assert len(sparing._said) == sparing.KEPT

    @pytest.mark.parametrize(
        "name", ["aiokafka", "aiokafka.conn", "aiokafka.consumer.group_coordinator", "aiokafka.producer.sender"]
    )
    def test_the_clients_own_loggers_are_filtered(self, name: str) -> None:
        assert once_per_half_minute in logging.getLogger(name).filters


class TestCoordinator:
    def test_that_it_is_not_there_is_said_once_it_has_lasted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock, making = Clock(), CoordinatorInTheMaking()
        monkeypatch.setattr("evkafka.kafka.client.log_throttle.time.monotonic", clock)
        sparing = OncePerHalfMinute(now=clock)
        passed_s = []
        for _ in range(320):
            line = record("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
            if making.filter(line) and sparing.filter(line):
                passed_s.append(round(clock.now_s - 100.0))
            clock.now_s += 0.125
        assert passed_s == [5, 35]

    def test_that_it_is_marked_dead_is_said_once_that_has_lasted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock, making = Clock(), CoordinatorInTheMaking()
        monkeypatch.setattr("evkafka.kafka.client.log_throttle.time.monotonic", clock)
        line = record("Marking the coordinator dead (node %s)for group %s.", 0, "billing", level=logging.WARNING)
        passed_s = []
        for second in range(8):
            if making.filter(line):
                passed_s.append(second)
            clock.now_s += 1.0
        assert passed_s == [6, 7]

    def test_the_clients_own_lines_are_the_ones_that_are_filtered(self) -> None:
        client = inspect.getmodule(GroupCoordinator)
        assert '"Marking the coordinator dead' in inspect.getsource(GroupCoordinator.coordinator_dead)
        assert any(isinstance(one, CoordinatorInTheMaking) for one in client.log.filters)  # type: ignore[union-attr]


async def test_a_topic_that_cannot_be_looked_up_says_which_server_and_why() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        server = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BrokerUnavailable) as raised:
            await ensure_topics(
                ConnectionSettings(bootstrap_servers=(server,)), {"orders.billing.dlq": "orders"}, timeout_s=1.0
            )
    assert "looking up topics orders.billing.dlq" in str(raised.value)
    assert f"{server}: connection refused: nothing listens there" in str(raised.value)
    assert "check bootstrap_servers" in str(raised.value)
