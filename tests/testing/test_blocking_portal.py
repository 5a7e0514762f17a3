"""The test client, when its event loop or its test is interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from evkafka import EVKafkaApp, Handler, TestClient
from tests.support.apps import app_of


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell without job control starts what runs in its background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class TestInterruptions:
    @pytest.mark.usefixtures("interruptible")
    def test_a_ctrl_c_ends_the_wait_and_cuts_the_endpoint(self) -> None:
        handler, cut = Handler(), threading.Event()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                cut.set()

        @handler.event("Y")
        async def on_y(event: dict[str, Any]) -> None: ...

        with TestClient(app_of(handler)) as client:
            with pytest.raises(KeyboardInterrupt):
                client.send_event({}, "X", "t")
            assert cut.wait(60)
            assert client.send_event({}, "Y", "t").outcome == "done"

    def test_a_task_that_ends_the_loop_ends_every_wait(self) -> None:
        handler = Handler()

        async def exit_now() -> None:
            raise SystemExit(3)

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            task = asyncio.create_task(exit_now())
            await asyncio.Event().wait()
            await task

        client = TestClient(app_of(handler))
        client.__enter__()
        with pytest.raises(SystemExit):
            client.send_event({}, "X", "t")
        with pytest.raises(RuntimeError, match="event loop has ended"):
            client.send_event({}, "X", "t")
        with pytest.raises(SystemExit):
            client.__exit__(None, None, None)

    def test_tasks_that_endpoints_leave_behind_run_on_until_the_exit(self) -> None:
        handler, ends = Handler(), mock.Mock()
        tasks: list[asyncio.Task[None]] = []

        async def background() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ends()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None:
            tasks.append(asyncio.create_task(background()))

        with TestClient(app_of(handler)) as client:
            client.send_event({}, "X", "t")
            client.send_event({}, "X", "t")
            ends.assert_not_called()
        assert ends.call_count == 2

    def test_threads_may_send_side_by_side(self) -> None:
        handler, together = Handler(), threading.Barrier(2)

        @handler.event("X")
        def on_x(event: dict[str, Any]) -> None:
            together.wait(60)

        app = EVKafkaApp()
        app.add_consumer({"topics": ["t"], "concurrency": 2}, handler)
        outcomes: list[str] = []
        with TestClient(app) as client:
            threads = [
                threading.Thread(target=lambda: outcomes.append(client.send_event({}, "X", "t").outcome))
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert outcomes == ["done", "done"]
