"""Sending with EVKafkaProducer as it comes: idempotent, confirmed by all replicas."""

from __future__ import annotations

import asyncio

from bench.arguments import arguments
from bench.event import EVENT_TYPE, VALUE
from bench.sending import key_of, measure_sends, way
from evkafka import EVKafkaProducer, RecordMetadata


async def main() -> None:
    given = arguments()
    async with EVKafkaProducer({"bootstrap_servers": given.bootstrap_servers, "topic": given.topic}) as producer:

        async def queue(number: int) -> asyncio.Future[RecordMetadata]:
            return await producer.enqueue_event(VALUE, EVENT_TYPE, key=key_of(number))

        async def send(number: int) -> object:
            return await producer.send_event(VALUE, EVENT_TYPE, key=key_of(number))

        await measure_sends(way(), send, queue, given.events)


asyncio.run(main())
