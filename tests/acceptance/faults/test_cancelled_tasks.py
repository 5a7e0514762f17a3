"""Other code on the loop cancels a task of EVKafka or of the client: the app continues and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.broker import KafkaBroker
from tests.support.kafka_topics import MakeTopic
from tests.support.waiting import eventually

OWN_TASKS = ["poll", "commit", "executor-0", ""]
CLIENT_ROUTINES = [
    "_coordination_routine",
    "_heartbeat_routine",
    "_fetch_requests_routine",
    "_md_synchronizer",
    "_sender_routine",
    "AIOKafkaConnection._read",
    "_watch_for_absent_topics",
]


class Echo:
    """An app that forwards each value to a second topic and reads it again from there."""

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

    async def handles_a_record(self, number: int) -> None:
        await self.send({"number": number})
        await eventually(lambda: number in self.came_back)


@pytest.fixture
async def echo(kafka_broker: KafkaBroker, topic: MakeTopic) -> AsyncIterator[Echo]:
    echo = Echo(kafka_broker.bootstrap_servers, await topic(), await topic())
    async with echo.app.running(on_failure=lambda _: None):
        await echo.handles_a_record(0)
        yield echo


def tasks_of(routine: str) -> list[asyncio.Task[Any]]:
    def name_of(task: asyncio.Task[Any]) -> str:
        return getattr(task.get_coro(), "__qualname__", "")

    return [task for task in asyncio.all_tasks() if name_of(task).endswith(routine)]


@pytest.mark.parametrize("what", OWN_TASKS)
async def test_the_app_survives_a_cancelled_task_of_its_own(echo: Echo, what: str) -> None:
    name = f"evkafka-it-{what}".removesuffix("-")
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
    task.cancel()
    await echo.handles_a_record(1)


@pytest.mark.parametrize("routine", CLIENT_ROUTINES)
async def test_the_app_survives_cancelled_client_tasks(echo: Echo, routine: str) -> None:
    tasks = tasks_of(routine)
    assert tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await echo.handles_a_record(1)
    for alive in {"_coordination_routine", "_heartbeat_routine", "_fetch_requests_routine"}:
        await eventually(lambda alive=alive: bool(tasks_of(alive)))


async def test_the_app_survives_the_cancellation_of_all_tasks(echo: Echo) -> None:
    for task in asyncio.all_tasks():
        if task.get_name().startswith("evkafka-") or "aiokafka" in str(task.get_coro()):
            task.cancel()
    await echo.handles_a_record(1)
