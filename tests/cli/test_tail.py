"""`evkafka tail` counts records, also where offsets have none: behind transaction markers and aborted records."""

from __future__ import annotations

import json
import time

import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from evkafka.cli.impl import tail
from tests.cli.support import Call
from tests.support.kafka_topics import MakeTopic

COMMITTED = 6
"""Records 0 to 5, each in a transaction of its own: a marker follows each. The types are First, Later, Later, ..."""


@pytest.fixture
async def orders(kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
    """A topic that ends with a marker, twelve aborted records and their marker. Its other partition is empty."""
    name = await topic(partitions=2)
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers, transactional_id=name) as producer:
        for number in range(COMMITTED):
            headers = [("Event-Type", b"Later" if number else b"First")]
            async with producer.transaction():
                await producer.send_and_wait(name, b"%d" % number, partition=0, headers=headers)
        await producer.begin_transaction()
        for _ in range(12):
            await producer.send(name, b"aborted", partition=0)
        await producer.abort_transaction()
    return name


@pytest.fixture
def shown(orders: str, kafka_broker: KafkaBroker, call: Call) -> Call:
    """`evkafka tail` of this topic, to its end."""
    return lambda *options: call(
        *("tail", orders, "--no-follow", "--json", "--bootstrap-servers", kafka_broker.bootstrap_servers, *options)
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--last", "1"), [5]),
        (("--last", "3"), [3, 4, 5]),
        (("--last", "100"), [0, 1, 2, 3, 4, 5]),
        ((), [0, 1, 2, 3, 4, 5]),
        (("--limit", "2"), [4, 5]),
        (("--limit", "2", "--last", "1"), [5]),
        (("--limit", "2", "--from", "earliest"), [0, 1]),
        (("--limit", "2", "--from", "3"), [2, 3]),
        (("--from", "1h", "--limit", "1"), [0]),
        (("--last", "1", "--partition", "0"), [5]),
        (("--last", "1", "--type", "First"), [0]),
        (("--last", "2", "--grep", "3"), [3]),
    ],
    ids=str,
)
def test_last_and_limit_count_records(shown: Call, options: tuple[str, ...], expected: list[int]) -> None:
    assert [json.loads(line)["value"] for line in shown(*options).out.splitlines()] == expected


@pytest.mark.parametrize("options", [("--partition", "1"), ("--type", "Never"), ("--last", "0")], ids=" ".join)
def test_that_nothing_matches_is_said(shown: Call, options: tuple[str, ...]) -> None:
    ended = shown(*options)
    assert (ended.code, ended.out) == (0, "")
    assert "no matching records in" in ended.err


def test_a_search_that_takes_long_says_that_it_searches_once(
    shown: Call, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "SEARCH_NOTE_S", -1)
    assert shown("--last", "1").err == f"searching {orders} for matching records; Ctrl-C stops\n"


@pytest.fixture
async def late(kafka_broker: KafkaBroker, topic: MakeTopic) -> str:
    """A topic with a late record at the end of its first partition; its second one, older, has another type last."""
    name, now_ms = await topic(partitions=2), int(time.time() * 1000)
    async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:

        async def write(partition: int, seconds_ago: int, event_type: bytes = b"Order") -> None:
            await producer.send_and_wait(
                name,
                b"%d" % seconds_ago,
                partition=partition,
                timestamp_ms=now_ms - 1000 * seconds_ago,
                headers=[("Event-Type", event_type)],
            )

        for seconds_ago in (104, 103, 102, 101, 900):
            await write(0, seconds_ago)
        for seconds_ago in (204, 203, 202, 201):
            await write(1, seconds_ago)
        await write(1, 200, b"Other")
    return name


@pytest.mark.parametrize(
    ("options", "expected"), [((), [200, 102, 101]), (("--type", "Order"), [201, 102, 101])], ids=["all", "filtered"]
)
def test_a_late_record_at_the_end_of_a_partition_is_not_shown_instead_of_newer_ones(
    late: str, kafka_broker: KafkaBroker, call: Call, options: tuple[str, ...], expected: list[int]
) -> None:
    servers = ("--bootstrap-servers", kafka_broker.bootstrap_servers)
    shown = call("tail", late, "--no-follow", "--json", "--last", "3", *servers, *options)
    assert [json.loads(line)["value"] for line in shown.out.splitlines()] == expected
