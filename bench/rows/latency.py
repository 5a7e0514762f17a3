"""Sends events at a steady pace, and takes the time until what a relay has made of them comes back.

The time counts from when an event was due, so that a pause makes all the events late that fell into it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.arguments import arguments
from bench.event import HEADERS, VALUE

PER_S = 1000
WARM_UP_S = 2.0
LONGEST_WAIT_S = 30.0


def out_of(topic: str) -> str:
    """Where the relay sends to."""
    return f"{topic}-out"


async def main() -> None:
    given = arguments()
    out = out_of(given.topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=given.bootstrap_servers, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=given.bootstrap_servers)
    async with consumer, producer:
        partitions = sorted(await producer.partitions_for(out))
        consumer.assign([TopicPartition(out, partition) for partition in partitions])
        await consumer.seek_to_end()
        arrived: dict[bytes, float] = {}
        reading = asyncio.ensure_future(_read(consumer, arrived))
        await _until_the_relay_runs(producer, given.topic, arrived)
        due = await _send(producer, given.topic, given.events, arrived)
        deadline = time.perf_counter() + LONGEST_WAIT_S
        while len(arrived) < len(due) and time.perf_counter() < deadline:  # noqa: ASYNC110 - an event would cost more
            await asyncio.sleep(0.05)
        reading.cancel()
    measured = {key: at for key, at in due.items() if at >= min(due.values()) + WARM_UP_S}
    took_ms = [1000 * (arrived[key] - at) for key, at in measured.items()]  # KeyError: one was lost
    cuts = statistics.quantiles(took_ms, n=1000)
    print(json.dumps({"events": len(took_ms), "p50_ms": cuts[499], "p99_ms": cuts[989], "most_ms": max(took_ms)}))


async def _read(consumer: AIOKafkaConsumer, arrived: dict[bytes, float]) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            now = time.perf_counter()
            for record in records:
                arrived[record.key] = now


async def _until_the_relay_runs(producer: AIOKafkaProducer, topic: str, arrived: dict[bytes, float]) -> None:
    deadline = time.perf_counter() + LONGEST_WAIT_S
    while not arrived:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"the relay has sent nothing on within {LONGEST_WAIT_S:g} s; does it start by itself?")
        await producer.send_and_wait(topic, VALUE, key=b"probe", headers=HEADERS)
        await asyncio.sleep(0.2)


async def _send(producer: AIOKafkaProducer, topic: str, events: int, arrived: dict[bytes, float]) -> dict[bytes, float]:
    """So many a second; when each was due, by its key."""
    arrived.clear()
    due: dict[bytes, float] = {}
    begin = time.perf_counter()
    for number in range(events):
        key = b"event-%d" % number
        due[key] = begin + number / PER_S
        while (left := due[key] - time.perf_counter()) > 0:  # noqa: ASYNC110 - it is waited for a time
            await asyncio.sleep(left)
        await producer.send(topic, VALUE, key=key, headers=HEADERS)
    await producer.flush()
    arrived.pop(b"probe", None)
    return due


if __name__ == "__main__":
    asyncio.run(main())
