"""Topics and partitions: automatic and explicit creation, and partitioning by key."""

from __future__ import annotations

import pytest

from evkafka.testing import InMemoryKafka
from evkafka.testing.memory import UnknownTopic
from tests.testing.memory.apps import make_app


class TestTopics:
    async def test_one_made_by_itself_has_the_default_number_of_partitions(self) -> None:
        async with InMemoryKafka(partitions=3) as kafka:
            await kafka.send("orders", b"x", "E")
        assert len(kafka.topics.partitions("orders")) == 3

    async def test_one_made_by_hand_has_its_own_number(self) -> None:
        async with InMemoryKafka() as kafka:
            kafka.create_topic("orders", partitions=5)
            await kafka.send("orders", b"x", "E", partition=4)
        assert [record.partition for record in kafka.records("orders")] == [4]

    async def test_a_second_one_of_the_same_name_is_refused(self) -> None:
        async with InMemoryKafka() as kafka:
            kafka.create_topic("orders")
            with pytest.raises(ValueError, match="'orders' already exists"):
                kafka.create_topic("orders")

    @pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 250, "."])
    async def test_an_illegal_name_is_refused(self, name: str) -> None:
        async with InMemoryKafka() as kafka:
            with pytest.raises(ValueError, match="letters, digits, dots"):
                await kafka.send(name, b"x", "E")

    async def test_a_partition_that_is_not_there_is_refused(self) -> None:
        async with InMemoryKafka(partitions=2) as kafka:
            with pytest.raises(UnknownTopic, match=r"no partition 2: it has 2 \(0 to 1\)"):
                await kafka.send("orders", b"x", "E", partition=2)


class TestWithoutAutoCreation:
    async def test_an_unknown_topic_is_refused_and_the_nearest_named(self) -> None:
        async with InMemoryKafka(auto_create_topics=False) as kafka:
            kafka.create_topic("orders")
            with pytest.raises(
                UnknownTopic, match="topic 'ordres' does not exist; the topics are 'orders'; did you mean 'orders'"
            ):
                await kafka.send("ordres", b"x", "E")
            with pytest.raises(UnknownTopic, match="topic 'ordres' does not exist"):
                kafka.records("ordres")

    async def test_a_consumer_waits_for_its_topic_and_reads_it_from_its_beginning(self) -> None:
        app, seen = make_app(auto_offset_reset="latest")
        async with InMemoryKafka(auto_create_topics=False) as kafka, kafka.running(app):
            await kafka.settle()
            kafka.create_topic("orders")
            await kafka.send("orders", b"x", "E")
            await kafka.settle()
        assert seen == [(0, 0)]


class TestKeys:
    # what Java's default partitioner says of four partitions
    @pytest.mark.parametrize(("key", "partition"), [("1", 3), (b"1", 3), (1, 3), ("", 1), ("k2", 1)])
    async def test_decide_the_partition_as_javas_client_does(self, key: str | bytes | int, partition: int) -> None:
        async with InMemoryKafka(partitions=4) as kafka:
            record = await kafka.send("orders", b"x", "E", key=key)
        assert record.partition == partition

    async def test_records_without_one_are_spread_by_the_seed(self) -> None:
        async def spread(seed: int) -> list[int]:
            async with InMemoryKafka(seed=seed, partitions=4) as kafka:
                return [(await kafka.send("orders", b"x", "E")).partition for _ in range(20)]

        assert await spread(1) == await spread(1)
        assert await spread(1) != await spread(2)
        assert set(await spread(1)) == {0, 1, 2, 3}


class TestMorePartitions:
    async def test_are_read_from_their_beginning(self) -> None:
        app, seen = make_app(auto_offset_reset="latest")
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            await kafka.settle()
            kafka.add_partitions("orders", 2)
            await kafka.send("orders", b"x", "E", partition=2)
            await kafka.settle()
        assert seen == [(0, 0), (2, 0)]
        kafka.assert_committed(group="billing", topic="orders", partition=2, offset=1)

    async def test_a_pattern_finds_a_new_topic(self) -> None:
        app, seen = make_app(topics=None, topic_pattern=r"orders\..*")
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders.eu", b"x", "E")
            await kafka.send("payments", b"x", "E")
            await kafka.settle()
        assert seen == [(0, 0)]
        kafka.assert_committed(group="billing", topic="orders.eu", offset=1)

    async def test_a_groupless_reader_keeps_its_place(self) -> None:
        app, seen = make_app(group_id=None, auto_commit_mode="pre-commit")
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", b"x", "E")
            await kafka.settle()
            kafka.add_partitions("orders", 1)
            await kafka.send("orders", b"x", "E", partition=1)
            await kafka.settle()
        assert seen == [(0, 0), (1, 0)]
