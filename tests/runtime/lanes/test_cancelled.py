"""Cancellations from outside: by an endpoint, by a deadline that it left behind, by another task on the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from evkafka import DeadLetter, Handler, Request
from tests.support.engine import GROUP, TOPIC, Bench, Gates

AGAIN: Any = {"backoff_ms": 10, "max_backoff_ms": 10}
KINDS = [
    pytest.param({}, id="in order"),
    pytest.param({"concurrency": 4}, id="by key"),
    pytest.param({"concurrency": 4, "ordering": "partition"}, id="by partition"),
]


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def task_named(name: str) -> asyncio.Task[Any]:
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == name]
    return task


async def cancel_itself() -> None:
    own_task().cancel()
    await asyncio.Event().wait()


async def cancel_itself_unseen() -> None:
    """It awaits nothing afterwards: the cancellation is raised at whatever the task awaits next."""
    own_task().cancel()


async def swallow_its_cancellation() -> None:
    own_task().cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def leave_a_cancel_scope_open() -> None:
    """As an anyio cancel scope that was entered and not left: it cancels its task in each round of the loop."""
    task, loop = own_task(), asyncio.get_running_loop()

    def strike() -> None:
        if not task.done():
            task.cancel()
            loop.call_soon(strike)

    loop.call_soon(strike)


async def wait_in_an_open_cancel_scope() -> None:
    await leave_a_cancel_scope_open()
    await asyncio.Event().wait()


async def await_a_cancelled_task() -> None:
    child = asyncio.ensure_future(asyncio.Event().wait())
    child.cancel()
    await child


async def exit_its_generator() -> None:
    raise GeneratorExit


async def await_a_task_that_exits_its_generator() -> None:
    await asyncio.ensure_future(exit_its_generator())


class Doing:
    """An endpoint that does this in the first attempt at record 1; `begun` is what it began, in order."""

    def __init__(self, first: Callable[[], Any]) -> None:
        self.begun: list[tuple[bytes, int]] = []
        self.handler = Handler()

        @self.handler.event("E")
        async def on_e(value: bytes, request: Request) -> None:
            self.begun.append((value, request.attempt))
            if value == b"1" and request.attempt == 1:
                await first()


@pytest.mark.parametrize("keys", KINDS)
class TestAnEndpointThatIsCancelled:
    @pytest.mark.parametrize(
        "doing",
        [
            cancel_itself,
            wait_in_an_open_cancel_scope,
            await_a_cancelled_task,
            exit_its_generator,
            await_a_task_that_exits_its_generator,
        ],
    )
    async def test_has_failed_and_is_retried_before_the_records_behind_it(
        self, bench: Bench, keys: dict[str, Any], doing: Callable[[], Any]
    ) -> None:
        endpoint = Doing(doing)
        await bench.send(b"0", b"1", b"2", b"3", key="k")
        async with bench.running(endpoint.handler, on_error=AGAIN, **keys):
            await bench.until(lambda: bench.committed() == 4)
        assert endpoint.begun == [(b"0", 1), (b"1", 1), (b"1", 2), (b"2", 1), (b"3", 1)]

    @pytest.mark.parametrize("doing", [cancel_itself_unseen, swallow_its_cancellation])
    async def test_leaves_no_cancellation_to_the_next_record(
        self, bench: Bench, keys: dict[str, Any], doing: Callable[[], Any]
    ) -> None:
        endpoint, through = Doing(doing), list[bytes]()

        @endpoint.handler.event("After")
        async def after(value: bytes) -> None:
            await asyncio.sleep(0)
            assert own_task().cancelling() == 0
            through.append(value)

        await bench.send(b"0", b"1", key="k")
        await bench.send(b"2", b"3", key="k", event_type="After")
        async with bench.running(endpoint.handler, on_error={**AGAIN, "max_attempts": 1, "then": "stop"}, **keys):
            await bench.until(lambda: bench.committed() == 4)
        assert through == [b"2", b"3"]


class TestADeadlineThatIsLeftBehind:
    async def test_fails_one_attempt_of_the_record_that_it_cancels(self, bench: Bench) -> None:
        handler, deadlines, attempts = Handler(), list[asyncio.Task[Any]](), list[int]()

        @handler.event("Quick")
        async def quick(value: bytes) -> None:
            deadlines.append(own_task())

        @handler.event("Slow")
        async def slow(value: bytes, request: Request) -> None:
            attempts.append(request.attempt)
            if request.attempt == 1:
                await asyncio.Event().wait()

        await bench.send(b"0", event_type="Quick")
        await bench.send(b"1", event_type="Slow")
        await bench.send(b"2", event_type="Quick")
        async with bench.running(handler, on_error=AGAIN):
            await bench.until(lambda: attempts == [1])
            deadlines[0].cancel()
            await bench.until(lambda: bench.committed() == 3)
        assert attempts == [1, 2]

    async def test_ends_with_its_task_and_cancels_nothing_twice(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        handler, through = Handler(), list[bytes]()

        @handler.event("Quick")
        async def quick(value: bytes) -> None:
            await leave_a_cancel_scope_open()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            await asyncio.sleep(0)
            through.append(value)

        async with bench.running(handler, on_error=AGAIN):
            await bench.send(b"0", event_type="Quick")
            await bench.until(lambda: bench.committed() == 1)
            await bench.send(b"1", b"2", b"3")
            await bench.until(lambda: bench.committed() == 4)
        assert through == [b"1", b"2", b"3"]
        assert caplog.text.count("was cancelled by code outside EVKafka and continues") <= 1


class TestAThreadThatExitsItsGenerator:
    @pytest.mark.parametrize("batch", [False, True])
    async def test_has_failed_and_is_retried(self, bench: Bench, batch: bool) -> None:
        handler, attempts = Handler(), list[int]()

        def fail_first(attempt: int) -> None:
            attempts.append(attempt)
            if attempt == 1:
                raise GeneratorExit

        if batch:

            @handler.event("E", batch=True, max_wait_ms=1)
            def on_es(values: list[bytes], requests: list[Request]) -> None:
                fail_first(requests[0].attempt)

        else:

            @handler.event("E")
            def on_e(value: bytes, request: Request) -> None:
                fail_first(request.attempt)

        await bench.send(b"0")
        async with bench.running(handler, on_error=AGAIN):
            await bench.until(lambda: bench.committed() == 1)
        assert attempts == [1, 2]


class TestATaskOfTheEngine:
    @pytest.mark.parametrize(
        "name",
        ["evkafka-it", "evkafka-it-poll", "evkafka-it-commit", "evkafka-it-executor-0", "evkafka-it-executor-3"],
    )
    async def test_that_is_cancelled_from_outside_ends_nothing_else(
        self, bench: Bench, gates: Gates, handler: Handler, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with bench.running(handler, concurrency=4):
            await bench.send(b"0", b"1", b"2", key="k")
            gates.open(b"0")
            await bench.until(lambda: b"0" in gates.ended)
            with caplog.at_level(logging.WARNING, "evkafka"):
                task_named(name).cancel()
                gates.open_all()
                await bench.send(b"3", key="k")
                await bench.until(lambda: bench.committed() == 4)
        assert list(dict.fromkeys(gates.begun)) == [b"0", b"1", b"2", b"3"]
        assert "cancelled" in caplog.text.lower()

    @pytest.mark.parametrize("name", ["evkafka-it-poll", "evkafka-it-commit"])
    async def test_that_cannot_continue_restarts_its_consumer_and_logs_it(
        self, bench: Bench, gates: Gates, handler: Handler, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        gates.open_all()
        async with bench.running(handler):
            await bench.until(lambda: bench.consumer.status().membership == "steady")
            with caplog.at_level(logging.ERROR, "evkafka"):
                task_named(name).cancel()
                await bench.until(lambda: bench.consumer.status().rebuilds == 1)
            assert f"task {name} was cancelled by code outside EVKafka" in caplog.text
            await bench.send(b"0")
            await bench.until(lambda: bench.committed() == 1)

    async def test_restarts_its_consumer_however_often_that_happens(
        self, bench: Bench, gates: Gates, handler: Handler
    ) -> None:
        gates.open_all()
        async with bench.running(handler):
            for rebuilds in range(1, 12):
                await bench.until(lambda: bench.consumer.status().membership == "steady")
                task_named("evkafka-it-poll").cancel()
                await bench.until(lambda expected=rebuilds: bench.consumer.status().rebuilds == expected)  # type: ignore[misc]
            await bench.send(b"0")
            await bench.until(lambda: bench.committed() == 1)

    async def test_that_is_idle_takes_the_next_record(self, bench: Bench, gates: Gates, handler: Handler) -> None:
        gates.open_all()
        async with bench.running(handler):
            for number in range(5):
                await bench.kafka.advance(ms=10)
                task_named("evkafka-it-executor-0").cancel()
                await bench.send(b"%d" % number)
                await bench.until(lambda upto=number + 1: bench.committed() == upto)  # type: ignore[misc]


class TestADeadLetterWhoseWriteIsCancelled:
    @pytest.mark.parametrize("keys", KINDS)
    async def test_is_written_before_the_records_behind_it_begin(self, bench: Bench, keys: dict[str, Any]) -> None:
        handler, begun = Handler(), list[bytes]()

        @handler.event("E")
        async def on_e(value: bytes) -> None:
            begun.append(value)
            if value == b"0":
                raise DeadLetter("by the test")

        await bench.send(b"0", b"1", key="k")
        with bench.kafka.latency(produce_ms=(500, 500)):
            async with bench.running(handler, on_error={"dead_letter_limit": None}, **keys):
                await bench.until(lambda: bool(begun))
                await bench.kafka.advance(ms=50)
                assert bench.consumer.in_flight == 0
                task_named(f"evkafka-it-write-{TOPIC}[0]@0").cancel()
                await bench.kafka.advance(ms=50)
                assert begun == [b"0"]
                await bench.until(lambda: bench.committed() == 2)
        assert {record.value for record in bench.kafka.records(f"{TOPIC}.{GROUP}.dlq")} == {b"0"}
        assert begun == [b"0", b"1"]


class TestALoopThatIsClosed:
    def test_ends_an_app_that_was_not_stopped(self) -> None:
        """`asyncio.run` cancels every task and waits for each: a task that ignored that would hang the process."""
        program = """
import asyncio
from evkafka import EVKafkaApp, Handler
from evkafka.testing import InMemoryKafka

async def main():
    handler = Handler()
    at_work = asyncio.Event()

    @handler.event("E")
    async def on_e(value: bytes):
        at_work.set()
        await asyncio.Event().wait()

    app = EVKafkaApp()
    app.add_consumer({"topics": ["t"], "group_id": "g", "auto_offset_reset": "earliest", "concurrency": 2}, handler)
    kafka = InMemoryKafka(seed=1)
    await kafka.__aenter__()
    main.kept = kafka, kafka.running(app)
    await kafka.send("t", b"", "E")
    await main.kept[1].__aenter__()
    await asyncio.wait_for(at_work.wait(), 60)

asyncio.run(main())
print("ended")
"""

        async def run() -> bytes:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            try:
                said, _ = await asyncio.wait_for(process.communicate(), 60)
            except TimeoutError:
                process.kill()
                raise
            return said

        said = asyncio.run(run())
        assert b"ended" in said
        assert b"Task was destroyed" not in said
