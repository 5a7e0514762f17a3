"""Sending with EVKafkaProducer and its defaults: idempotent, confirmed by all replicas."""

from __future__ import annotations

import asyncio

from bench.arguments import arguments
from bench.event import EVENT_TYPE, VALUE
from bench.sending import key_of, measure_sends, mode
from evkafka import EVKafkaProducer, RecordMetadata


async def main() -> None:
    args = arguments()
    async with EVKafkaProducer({"bootstrap_servers": args.bootstrap_servers, "topic": args.topic}) as producer:

        async def queue(number: int) -> asyncio.Future[RecordMetadata]:
            return await producer.enqueue_event(VALUE, EVENT_TYPE, key=key_of(number))

        async def send(number: int) -> object:
            return await producer.send_event(VALUE, EVENT_TYPE, key=key_of(number))

        await measure_sends(mode(), send, queue, args.events)


asyncio.run(main())
