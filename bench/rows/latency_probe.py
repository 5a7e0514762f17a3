"""Sends events at a steady rate, and measures the time until those of a relay arrive; with `direct`, its own.

The time counts from when an event was due, so a pause delays all events that were due during it.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.arguments import arguments, options
from bench.event import HEADERS, VALUE

PER_S = 1000
WARM_UP_S = 2.0
TIMEOUT_S = 30.0


def output_topic(topic: str) -> str:
    """Return the topic that the relay sends to."""
    return f"{topic}-out"


async def main() -> None:
    args = arguments()
    out = args.topic if "direct" in options() else output_topic(args.topic)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=args.bootstrap_servers, enable_auto_commit=False, isolation_level="read_committed"
    )
    producer = AIOKafkaProducer(bootstrap_servers=args.bootstrap_servers)
    async with consumer, producer:
        partitions = sorted(await producer.partitions_for(out))
        consumer.assign([TopicPartition(out, partition) for partition in partitions])
        await consumer.seek_to_end()
        arrived: dict[bytes, float] = {}
        reading = asyncio.ensure_future(_read(consumer, arrived))
        await _wait_for_relay(producer, args.topic, arrived)
        due = await _send_events(producer, args.topic, args.events, arrived)
        deadline = time.perf_counter() + TIMEOUT_S
        while len(arrived) < len(due) and time.perf_counter() < deadline:  # noqa: ASYNC110 - an asyncio.Event would cost more
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


async def _wait_for_relay(producer: AIOKafkaProducer, topic: str, arrived: dict[bytes, float]) -> None:
    deadline = time.perf_counter() + TIMEOUT_S
    while not arrived:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"the relay has sent nothing within {TIMEOUT_S:g} s; does it start if you run it alone?")
        await producer.send_and_wait(topic, VALUE, key=b"probe", headers=HEADERS)
        await asyncio.sleep(0.2)


async def _send_events(
    producer: AIOKafkaProducer, topic: str, events: int, arrived: dict[bytes, float]
) -> dict[bytes, float]:
    """Send the events at `PER_S` a second; return by key when each was due."""
    arrived.clear()
    due: dict[bytes, float] = {}
    begin = time.perf_counter()
    for number in range(events):
        key = b"event-%d" % number
        due[key] = begin + number / PER_S
        while (left := due[key] - time.perf_counter()) > 0:  # noqa: ASYNC110 - it waits for a point in time
            await asyncio.sleep(left)
        await producer.send(topic, VALUE, key=key, headers=HEADERS)
    await producer.flush()
    arrived.pop(b"probe", None)
    return due


if __name__ == "__main__":
    asyncio.run(main())
