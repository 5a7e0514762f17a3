"""Records whose endpoint raises an exception group or an exception with a cause, up to the dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from evkafka import BatchError, DeadLetter, EVKafkaApp, Handler, Request, Skip
from evkafka.exceptions import StopApp
from evkafka.testing import InMemoryKafka

Endpoint = Callable[[], Awaitable[None]]


async def in_task_group(*errors: BaseException) -> None:
    async def fail(error: BaseException) -> None:
        raise error

    async with asyncio.TaskGroup() as tasks:
        for error in errors:
            tasks.create_task(fail(error))


async def handled(endpoint: Endpoint, *, batch: bool = False) -> tuple[list[int], list[tuple[str, str]]]:
    """The attempts at one record, and the error type and message of each dead letter."""
    attempts: list[int] = []
    handler = Handler()

    if batch:

        @handler.event("E", batch=True, max_wait_ms=5)
        async def on_batch(events: list[dict[str, int]], requests: list[Request]) -> None:
            attempts.append(requests[0].attempt)
            await endpoint()
    else:

        @handler.event("E")
        async def on_event(event: dict[str, int], request: Request) -> None:
            attempts.append(request.attempt)
            await endpoint()

    policy = {"max_attempts": 3, "backoff_ms": 1, "then": "dead_letter", "non_retryable": [KeyError]}
    app = EVKafkaApp()
    app.add_consumer({"topics": ["t"], "group_id": "g", "on_error": policy, "auto_offset_reset": "earliest"}, handler)
    async with InMemoryKafka(partitions=1) as kafka, kafka.running(app):
        await kafka.send("t", {"a": 1}, event_type="E")
        await kafka.settle()
        letters = [dict(letter.headers) for letter in kafka.records("t.g.dlq")]
    names = ("evkafka-dlq-error-type", "evkafka-dlq-error-message")
    return attempts, [tuple(str(letter[name], "utf-8") for name in names) for letter in letters]  # type: ignore[misc]


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
class TestTaskGroup:
    async def test_a_non_retryable_error_is_tried_once(self, batch: bool) -> None:
        seen = await handled(lambda: in_task_group(KeyError("k")), batch=batch)
        assert seen == ([1], [("builtins.KeyError", "'k'")])

    async def test_a_skip_skips(self, batch: bool) -> None:
        assert await handled(lambda: in_task_group(Skip("s")), batch=batch) == ([1], [])

    async def test_a_dead_letter_is_written_at_once(self, batch: bool) -> None:
        assert await handled(lambda: in_task_group(DeadLetter("s")), batch=batch) == ([1], [("", "s")])

    async def test_the_first_error_is_reported(self, batch: bool) -> None:
        seen = await handled(lambda: in_task_group(OSError("first")), batch=batch)
        assert seen == ([1, 2, 3], [("builtins.OSError", "first")])

    async def test_out_of_memory_stops_the_app(self, batch: bool) -> None:
        with pytest.raises(StopApp, match=r"MemoryError while handling t\[0\]@0"):
            await handled(lambda: in_task_group(MemoryError()), batch=batch)


async def test_a_batch_error_may_contain_groups() -> None:
    async def endpoint() -> None:
        raise BatchError({0: BaseExceptionGroup("several", [DeadLetter("a"), DeadLetter("b")])})

    assert await handled(endpoint, batch=True) == ([1], [("", "a")])


async def test_a_batch_error_in_a_group_is_a_failure_of_the_whole_batch() -> None:
    seen = await handled(lambda: in_task_group(BatchError({0: Skip()})), batch=True)
    assert seen == ([1, 2, 3], [("evkafka.outcomes.BatchError", "1 records of the batch failed")])


async def test_a_dead_letter_raised_from_an_error_has_the_error_and_the_reason() -> None:
    async def endpoint() -> None:
        raise DeadLetter("no such order") from ValueError("17")

    assert await handled(endpoint) == ([1], [("builtins.ValueError", "no such order: 17")])


async def test_a_non_retryable_cause_is_tried_once() -> None:
    async def endpoint() -> None:
        raise RuntimeError("wrapped") from KeyError("k")

    assert await handled(endpoint) == ([1], [("builtins.RuntimeError", "wrapped")])
