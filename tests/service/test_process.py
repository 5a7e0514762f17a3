"""Exit codes of an app that is run as a process, in cases that a test of a whole process does not cover."""

from __future__ import annotations

import asyncio

import pytest

from evkafka import EVKafkaApp, EVKafkaProducer, Sender
from evkafka.service.process import FAILED, NOT_STARTED, run_to_exit_code
from evkafka.testing import InMemoryKafka


def test_a_main_task_that_somebody_else_cancels_is_a_failure_that_the_log_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    assert run_to_exit_code(serve) == FAILED
    assert "its main task was cancelled by code outside EVKafka" in caplog.text


def test_a_cancelled_start_is_a_start_that_failed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = EVKafkaApp()
    app.add_producer({}, Sender())

    async def cancelled(_: EVKafkaProducer) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    monkeypatch.setattr(EVKafkaProducer, "start", cancelled)

    async def serve() -> None:
        async with InMemoryKafka():
            await app.serve(install_signal_handlers=False)

    assert run_to_exit_code(serve) == NOT_STARTED
    assert "a task of the start was cancelled by code outside EVKafka" in caplog.text
