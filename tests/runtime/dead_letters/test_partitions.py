"""A dead letter has the partition of its record, so that dead letters without keys stay in order."""

from __future__ import annotations

from evkafka.testing import InMemoryKafka
from tests.support.apps import app_of
from tests.support.dead_letters import TO_DLQ, failing


async def test_a_record_without_a_key_keeps_its_partition() -> None:
    async with InMemoryKafka(partitions=4) as kafka:
        kafka.create_topic("orders", 4)
        config = {"topics": ["orders"], "group_id": "g", "auto_offset_reset": "earliest", "on_error": TO_DLQ}
        async with kafka.running(app_of(failing(), config)):
            for partition in range(4):
                await kafka.send("orders", b"%d" % partition, "E", partition=partition)
            await kafka.settle()
        letters = kafka.records("orders.g.dlq")
        assert {letter.partition: letter.value for letter in letters} == {n: b"%d" % n for n in range(4)}
