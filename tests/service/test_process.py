"""Exit codes of an app that is run as a process, in cases that a test of a whole process does not cover."""

from __future__ import annotations

import asyncio

import pytest

from evkafka.service.process import FAILED, run_to_exit_code


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
