"""aiokafka's log lines in an outage: each is logged once in half a minute, while something uses a cluster."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupCoordinatorNotAvailableError

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerUnavailable
from evkafka.kafka.admin.topics import ensure_topics
from evkafka.kafka.client.log_filters import (
    AbsentTopicFilter,
    ClientLogFilters,
    MissingCoordinatorFilter,
    RepeatedLineFilter,
    client_log_filters,
)
from evkafka.kafka.consumer.source import KafkaSource
from tests.support.kafka_reader import Listener, Reader, consumer_settings
from tests.support.kafka_topics import MakeTopic
from tests.support.ports import closed_port


def record(message: str, *args: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", level, "", 0, message, args, None)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class TestRepeatedLines:
    def test_pass_at_once_and_then_every_half_minute_with_their_number(self) -> None:
        clock = Clock()
        repeated = RepeatedLineFilter(now=clock)
        passed = []
        for _ in range(481):
            if repeated.filter(line := record("Group Coordinator Request failed: %s", "away")):
                passed.append(line.getMessage())
            clock.now_s += 0.125
        assert passed == [
            "Group Coordinator Request failed: away",
            "Group Coordinator Request failed: away (and 239 times more in the last 30 s)",
            "Group Coordinator Request failed: away (and 239 times more in the last 30 s)",
        ]

    def test_are_counted_for_each_line(self) -> None:
        repeated = RepeatedLineFilter(now=Clock())
        assert repeated.filter(record("Failed fetch messages from %s", 1))
        assert repeated.filter(record("Failed fetch messages from %s", 2))
        assert not repeated.filter(record("Failed fetch messages from %s", 1))

    def test_below_a_warning_always_pass(self) -> None:
        repeated = RepeatedLineFilter(now=Clock())
        assert all(repeated.filter(record("polling", level=logging.INFO)) for _ in range(3))

    def test_are_remembered_up_to_a_limit(self) -> None:
        repeated = RepeatedLineFilter(now=Clock())
        for number in range(5_000):
            assert repeated.filter(record("correlation id %d", number))
        assert len(repeated._passed) == repeated.MAX_LINES


class TestInstallation:
    @pytest.mark.parametrize(
        "name", ["aiokafka", "aiokafka.conn", "aiokafka.consumer.group_coordinator", "aiokafka.producer.sender"]
    )
    def test_lasts_until_the_last_user_has_ended(self, name: str) -> None:
        filters, log = ClientLogFilters(), logging.getLogger(name)
        before = list(log.filters)
        first, second = filters.installed(), filters.installed()
        first.__enter__()
        second.__enter__()
        installed = [one for one in log.filters if one not in before]
        first.__exit__(None, None, None)
        assert any(isinstance(one, RepeatedLineFilter) for one in installed)
        assert [one for one in log.filters if one not in before] == installed
        second.__exit__(None, None, None)
        assert log.filters == before

    def test_names_absent_topics_for_as_long_as_they_are_waited_for(self) -> None:
        log = logging.getLogger("aiokafka.cluster")
        before = list(log.filters)
        with client_log_filters.installed(absent_topics=["orders"]), client_log_filters.installed():
            [filter_] = [one for one in log.filters if isinstance(one, AbsentTopicFilter) and one not in before][:1]
            assert not filter_.filter(record("Topic %s not found in cluster metadata", "orders"))
            assert filter_.filter(record("Topic %s not found in cluster metadata", "bills"))
        assert log.filters == before

    def test_drops_an_absent_topic_also_when_its_line_is_counted(self) -> None:
        clock, absent = Clock(), AbsentTopicFilter(["orders"])
        repeated = RepeatedLineFilter(now=clock)
        lines = [record("Topic %s not found in cluster metadata", "orders") for _ in range(3)]
        assert [repeated.filter(line) for line in lines[:2]] == [True, False]
        clock.now_s += 31
        assert repeated.filter(lines[2])
        assert lines[2].getMessage().endswith("(and 1 times more in the last 31 s)")
        assert not absent.filter(lines[2])

    async def test_ends_with_the_stop_of_sources_and_sinks(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str
    ) -> None:
        log = logging.getLogger("aiokafka.cluster")
        before = list(log.filters)
        servers, orders = kafka_broker.bootstrap_servers, await topic()
        reader = Reader(consumer_settings(servers, orders, name))
        await reader.start()
        async with EVKafkaProducer({"bootstrap_servers": servers, "topic": orders}) as producer:
            await producer.send_event({}, "E")
            assert any(isinstance(one, RepeatedLineFilter) for one in log.filters)
        await reader.stop()
        assert log.filters == before

    async def test_ends_with_a_failed_start(self, unused_tcp_port: int) -> None:
        log = logging.getLogger("aiokafka.cluster")
        before = list(log.filters)
        servers = f"127.0.0.1:{unused_tcp_port}"
        source = KafkaSource(consumer_settings(servers, "orders", start_timeout_s=0.1))
        with pytest.raises(BrokerUnavailable):
            await source.start(Listener())
        await source.stop(timeout_s=1.0)
        with pytest.raises(BrokerUnavailable):
            await EVKafkaProducer({"bootstrap_servers": servers, "start_timeout_ms": 100}).start()
        assert log.filters == before

    def test_begins_with_the_first_user_and_not_with_the_import(self) -> None:
        code = (
            "import logging, evkafka.kafka.cluster, evkafka.kafka.producer.sink, evkafka.kafka.admin.topic_reader\n"
            "names = [name for name in logging.root.manager.loggerDict if name.startswith('aiokafka')]\n"
            "assert names\n"
            "assert not any(logging.getLogger(name).filters for name in names)"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestCoordinator:
    def test_a_missing_one_is_logged_after_a_grace_period(self) -> None:
        clock = Clock()
        missing = MissingCoordinatorFilter(now=clock)
        repeated = RepeatedLineFilter(now=clock)
        passed_s = []
        for _ in range(320):
            line = record("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
            if missing.filter(line) and repeated.filter(line):
                passed_s.append(round(clock.now_s - 100.0))
            clock.now_s += 0.125
        assert passed_s == [5, 35]

    def test_a_dead_one_is_logged_after_a_grace_period(self) -> None:
        clock = Clock()
        missing = MissingCoordinatorFilter(now=clock)
        line = record("Marking the coordinator dead (node %s)for group %s.", 0, "billing", level=logging.WARNING)
        passed_s = []
        for second in range(8):
            if missing.filter(line):
                passed_s.append(second)
            clock.now_s += 1.0
        assert passed_s == [6, 7]

    def test_the_filtered_lines_exist_in_aiokafka(self) -> None:
        module = inspect.getmodule(GroupCoordinator)
        assert '"Marking the coordinator dead' in inspect.getsource(GroupCoordinator.coordinator_dead)
        with client_log_filters.installed():
            assert any(isinstance(one, MissingCoordinatorFilter) for one in module.log.filters)  # type: ignore[union-attr]


async def test_a_failed_topic_lookup_names_the_server_and_the_cause() -> None:
    with closed_port() as port:
        server = f"127.0.0.1:{port}"
        with pytest.raises(BrokerUnavailable) as raised:
            await ensure_topics(
                ConnectionSettings(bootstrap_servers=(server,)), {"orders.billing.dlq": "orders"}, timeout_s=1.0
            )
    assert "looking up topics orders.billing.dlq" in str(raised.value)
    assert f"{server}: connection refused: nothing is listening there" in str(raised.value)
    assert "check bootstrap_servers" in str(raised.value)
