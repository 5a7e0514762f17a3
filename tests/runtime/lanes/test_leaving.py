"""A partition that is revoked: running attempts end here, records that have not begun are the next owner's."""

from __future__ import annotations

from typing import Any

from evkafka import EVKafkaApp, Handler
from tests.support.engine import GROUP, TOPIC, Bench, Gates

KEYS: Any = {"topics": [TOPIC], "group_id": GROUP, "auto_offset_reset": "earliest", "heartbeat_interval_ms": 100}


async def test_a_record_behind_the_running_one_begins_only_at_the_next_owner(
    bench: Bench, gates: Gates, handler: Handler
) -> None:
    heirs, heir, of_heir = Gates(), EVKafkaApp(), Handler()
    heirs.open_all()
    of_heir.event("E")(heirs.__call__)
    heir.add_consumer(KEYS, of_heir)
    for partition in (0, 1):
        await bench.send(b"%d first" % partition, b"%d second" % partition, partition=partition)
    async with bench.running(handler, concurrency=2, heartbeat_interval_ms=100):
        await bench.until(lambda: gates.running == {b"0 first", b"1 first"})
        async with bench.kafka.running(heir, joined=False):
            await bench.kafka.advance(ms=1_000)  # the rebalance has begun, and waits for what runs
            gates.open_all()
            await bench.kafka.settle()
    assert len(heirs.begun) == 1
    assert sorted(gates.ended + heirs.ended) == [b"0 first", b"0 second", b"1 first", b"1 second"]
