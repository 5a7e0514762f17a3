"""Sending with AIOKafkaProducer: idempotent, confirmed by all replicas."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer

from bench.arguments import arguments
from bench.event import HEADERS, VALUE
from bench.sending import key_of, measure_sends, mode


async def main() -> None:
    args = arguments()
    async with AIOKafkaProducer(
        bootstrap_servers=args.bootstrap_servers, acks="all", enable_idempotence=True
    ) as producer:

        async def queue(number: int) -> asyncio.Future[object]:
            queued: asyncio.Future[object] = await producer.send(args.topic, VALUE, key=key_of(number), headers=HEADERS)
            return queued

        async def send(number: int) -> object:
            return await (await queue(number))

        await measure_sends(mode(), send, queue, args.events)


asyncio.run(main())
