"""Sending as a careful person writes it on aiokafka: idempotent, confirmed by all replicas."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer

from bench.arguments import arguments
from bench.event import HEADERS, VALUE
from bench.sending import key_of, measure_sends, way


async def main() -> None:
    given = arguments()
    async with AIOKafkaProducer(
        bootstrap_servers=given.bootstrap_servers, acks="all", enable_idempotence=True
    ) as producer:

        async def queue(number: int) -> asyncio.Future[object]:
            queued: asyncio.Future[object] = await producer.send(
                given.topic, VALUE, key=key_of(number), headers=HEADERS
            )
            return queued

        async def send(number: int) -> object:
            return await (await queue(number))

        await measure_sends(way(), send, queue, given.events)


asyncio.run(main())
