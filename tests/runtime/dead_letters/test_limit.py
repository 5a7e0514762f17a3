"""With `dead_letter_limit` a faulty deploy does not turn a whole topic into dead letters. On both Kafkas."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import DeadLetter, EVKafkaApp, Handler
from evkafka.exceptions import StopApp
from tests.conformance.table import LANES
from tests.support.backends import Backend, committed_is

REACHED = "dead_letter_limit.*--reset-dead-letter-limit"


class Shop:
    """A topic, and an app whose endpoint fails for the value "bad"."""

    def __init__(self, backend: Backend, topic: str, **keys: Any) -> None:
        self.backend, self.topic = backend, topic
        limit = keys.pop("limit", {"consecutive": 3})
        policy = {"max_attempts": 1, "then": "dead_letter", "dead_letter_limit": limit}
        self.config = backend.config(topic, on_error=policy, **keys)
        self.dead = f"{topic}.{self.config['group_id']}.dlq"
        self.seen: list[bytes] = []
        self.mended = False

    def app(self, *, reset: bool = False) -> EVKafkaApp:
        handler, app = Handler(), EVKafkaApp()

        @handler.event("E")
        async def on_event(value: bytes) -> DeadLetter | None:
            self.seen.append(value)
            if self.mended or value == b"good":
                return None
            if value == b"asked":
                return DeadLetter("the endpoint says so")
            raise ValueError("bad")

        app.add_consumer(self.config, handler)  # type: ignore[arg-type]
        app.reset_dead_letter_limit = reset
        return app

    async def send(self, *values: bytes) -> None:
        for number, value in enumerate(values):
            await self.backend.send(self.topic, value, key=b"%d" % number)

    async def until_it_stops(self, match: str = REACHED) -> None:
        app = self.app()
        with pytest.raises(StopApp, match=match):
            async with self.backend.running(app):
                await self.backend.until(lambda: app.service is not None and app.service.failure)

    async def until_committed(self, offset: int, *, reset: bool = False) -> None:
        async with self.backend.running(self.app(reset=reset)):
            await committed_is(self.backend, self.config, self.topic, offset)

    async def dead_letters(self) -> list[bytes | None]:
        return [value for value, _ in await self.backend.values(self.dead)]

    async def committed(self) -> int | None:
        return await self.backend.committed(self.config, self.topic)


@pytest.mark.parametrize("lanes", LANES)
class TestConsecutiveDeadLetters:
    async def test_are_written_up_to_the_limit_and_the_next_one_stops_the_app_uncommitted(
        self, backend: Backend, lanes: str
    ) -> None:
        shop = Shop(backend, await backend.topic(), **LANES[lanes])
        await shop.send(*[b"bad"] * 20)
        await shop.until_it_stops(match=f"stops the app and stays uncommitted: 3 in a row.*{REACHED}")
        assert await shop.dead_letters() == [b"bad"] * 3
        assert (await shop.committed() or 0) <= 3

    async def test_the_log_says_that_the_next_one_is_not_written(
        self, backend: Backend, lanes: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        shop = Shop(backend, await backend.topic(), **LANES[lanes])
        await shop.send(*[b"bad"] * 20)
        await shop.until_it_stops()
        assert sum("writing it to the dead-letter topic" in line for line in caplog.messages) == 3
        assert any("the dead_letter_limit is reached: stopping the app" in line for line in caplog.messages)

    async def test_start_again_after_a_record_that_ends_otherwise(self, backend: Backend, lanes: str) -> None:
        shop = Shop(backend, await backend.topic(), **{**LANES[lanes], "ordering": "partition"})
        await shop.send(*[b"bad", b"asked", b"good"] * 3)
        await shop.until_committed(9)
        assert len(await shop.dead_letters()) == 6


class TestAfterARestart:
    async def test_it_stops_again_at_once_although_fixed_until_it_is_reset(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic())
        await shop.send(*[b"bad"] * 6)
        await shop.until_it_stops()
        assert await shop.committed() == 3
        shop.seen.clear()
        shop.mended = True
        await shop.until_it_stops(match=f"was reached.*{REACHED.split('.*')[1]}")
        assert (shop.seen, await shop.committed()) == ([], 3)
        await shop.until_committed(6, reset=True)
        assert shop.seen == [b"bad"] * 3
        await shop.until_committed(6)  # and without a reset it starts again
        assert await shop.dead_letters() == [b"bad"] * 3

    async def test_the_count_continues(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic())
        await shop.send(b"bad", b"bad")
        await shop.until_committed(2)
        await shop.send(b"bad", b"bad")
        await shop.until_it_stops()
        assert len(await shop.dead_letters()) == 3
        assert await shop.committed() == 3


class TestARatio:
    async def test_of_the_window_is_enough(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic(), limit={"consecutive": 100, "ratio": 0.5, "window": 10})
        await shop.send(*[b"bad", b"good"] * 10)
        await shop.until_it_stops(match="5 of the last 10 became dead letters, and `ratio` is 0.5")
        assert len(await shop.dead_letters()) == 5


class TestWithoutALimit:
    async def test_all_are_written(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic(), limit=None)
        await shop.send(*[b"bad"] * 150)
        await shop.until_committed(150)
        assert len(await shop.dead_letters()) == 150


class TestByDefault:
    async def test_a_hundred_are_written(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic(), limit={})
        await shop.send(*[b"bad"] * 120)
        await shop.until_it_stops()
        assert len(await shop.dead_letters()) == 100


class TestABatch:
    async def test_that_fails_writes_up_to_the_limit_and_stops_the_app(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic())
        handler, app = Handler(), EVKafkaApp()

        @handler.event("E", batch=True, max_records=50)
        async def on_events(values: list[bytes]) -> None:
            raise ValueError("bad")

        app.add_consumer(shop.config, handler)  # type: ignore[arg-type]
        await shop.send(*[b"bad"] * 20)
        with pytest.raises(StopApp, match=REACHED):
            async with backend.running(app):
                await backend.until(lambda: app.service is not None and app.service.failure)
        assert len(await shop.dead_letters()) == 3
        assert await shop.committed() == 3


class TestManyInFlight:
    async def test_write_no_more_than_the_limit(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic(), concurrency=16, ordering="unordered")
        await shop.send(*[b"bad"] * 100)
        await shop.until_it_stops()
        assert len(await shop.dead_letters()) == 3


class TestASeek:
    async def test_keeps_the_count(self, backend: Backend) -> None:
        shop = Shop(backend, await backend.topic())
        app = shop.app()
        await shop.send(b"bad", b"bad")
        with pytest.raises(StopApp, match=REACHED):  # noqa: PT012
            async with backend.running(app):
                await committed_is(backend, shop.config, shop.topic, 2)
                app.consumer("consumer-1").seek(shop.topic, 0, 0)
                await backend.until(lambda: app.service is not None and app.service.failure)
        assert len(await shop.dead_letters()) == 3
