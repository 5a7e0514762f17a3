"""Somebody on the loop cancels a task, of ours or of the client's: the app goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

OURS = ["poll", "commit", "executor-0", ""]
CLIENTS = [
    "_coordination_routine",
    "_heartbeat_routine",
    "_fetch_requests_routine",
    "_md_synchronizer",
    "_sender_routine",
    "AIOKafkaConnection._read",
    "_watch_topics",
]


class Echo:
    """An app that sends on each value that it reads, which must come back to it from the second topic."""

    def __init__(self, servers: str, topic: str, back: str) -> None:
        self.came_back: list[int] = []
        handler, sender = Handler(), Sender()

        @sender.event("Back")
        async def send_back(value: dict[str, int]) -> None: ...

        @handler.event("There")
        async def there(value: dict[str, int]) -> None:
            await send_back(value)

        @handler.event("Back")
        async def back_again(value: dict[str, int]) -> None:
            self.came_back.append(value["number"])

        @sender.event("There", topic=topic)
        async def send(value: dict[str, int]) -> None: ...

        self.send: Any = send
        self.app = EVKafkaApp()
        keys: Any = {
            "group_id": topic,
            "auto_offset_reset": "earliest",
            "bootstrap_servers": servers,
            "heartbeat_interval_ms": 100,
            "session_timeout_ms": 6000,
            "on_error": {"backoff_ms": 50},
        }
        self.app.add_consumer({"topics": [topic, back], **keys}, handler, "it")
        self.app.add_producer({"bootstrap_servers": servers, "topic": back, "delivery_timeout_ms": 20_000}, sender)

    async def goes_on(self, number: int) -> None:
        await self.send({"number": number})
        await eventually(lambda: number in self.came_back)


@pytest.fixture
async def echo(kafka_broker: KafkaBroker, topic: MakeTopic) -> AsyncIterator[Echo]:
    echo = Echo(kafka_broker.bootstrap_servers, await topic(), await topic())
    async with echo.app.running(on_failure=lambda _: None):
        await echo.goes_on(0)
        yield echo


def tasks_of(routine: str) -> list[asyncio.Task[Any]]:
    def name_of(task: asyncio.Task[Any]) -> str:
        return getattr(task.get_coro(), "__qualname__", "")

    return [task for task in asyncio.all_tasks() if name_of(task).endswith(routine)]


@pytest.mark.parametrize("what", OURS)
async def test_one_of_ours(echo: Echo, what: str) -> None:
    name = f"evkafka-it-{what}".removesuffix("-")
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
    task.cancel()
    await echo.goes_on(1)


@pytest.mark.parametrize("routine", CLIENTS)
async def test_those_of_the_client(echo: Echo, routine: str) -> None:
    tasks = tasks_of(routine)
    assert tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await echo.goes_on(1)
    for alive in {"_coordination_routine", "_heartbeat_routine", "_fetch_requests_routine"}:
        await eventually(lambda alive=alive: bool(tasks_of(alive)))


async def test_all_at_once(echo: Echo) -> None:
    for task in asyncio.all_tasks():
        if task.get_name().startswith("evkafka-") or "aiokafka" in str(task.get_coro()):
            task.cancel()
    await echo.goes_on(1)
