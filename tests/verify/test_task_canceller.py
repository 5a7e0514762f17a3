"""The fault `cancel`: each signal cancels one task of the loop, never the main task, and records it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from evkafka.verify.history import Entry, History, HistoryReader
from evkafka.verify.task_canceller import TaskCanceller


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture
def canceller(path: Path) -> Iterator[TaskCanceller]:
    before, history = signal.getsignal(signal.SIGUSR1), History(path, "2.1")
    yield TaskCanceller(history, "2.1")
    history.close()
    signal.signal(signal.SIGUSR1, before)


def recorded(path: Path) -> list[Entry]:
    return list(HistoryReader(path).read_new())


async def common() -> None:
    await asyncio.Event().wait()


async def rare() -> None:
    await asyncio.Event().wait()


async def test_a_single_task_of_its_kind_is_cancelled_as_often_as_one_of_many(
    canceller: TaskCanceller, path: Path
) -> None:
    canceller.set_main_task()
    tasks = [asyncio.ensure_future(common()) for _ in range(50)]
    single = asyncio.ensure_future(rare())
    await asyncio.sleep(0)
    for _ in range(20):
        canceller.cancel_one_task()
        await asyncio.sleep(0)
    assert single.cancelled()
    assert 0 < sum(task.cancelled() for task in tasks) < 20
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert {(entry.event, entry.who) for entry in recorded(path)} == {("fault", "2.1")}
    assert {entry.more["runs"] for entry in recorded(path)} == {"common", "rare"}  # type: ignore[index]
    for task in tasks:
        task.cancel()


async def test_no_task_is_cancelled_before_the_app_has_started(canceller: TaskCanceller, path: Path) -> None:
    canceller.set_main_task(lambda: False)
    task = asyncio.ensure_future(common())
    await asyncio.sleep(0)
    canceller.cancel_one_task()
    await asyncio.sleep(0)
    assert not task.done()
    assert recorded(path) == []
    task.cancel()


async def test_the_main_task_is_never_cancelled(canceller: TaskCanceller, path: Path) -> None:
    canceller.set_main_task()
    canceller.cancel_one_task()
    await asyncio.sleep(0)
    assert recorded(path) == []


async def test_the_signal_cancels_a_task_and_does_nothing_before_the_app_runs(
    canceller: TaskCanceller, path: Path
) -> None:
    canceller.install_signal_handler()
    task = asyncio.ensure_future(common())
    signal.raise_signal(signal.SIGUSR1)
    await asyncio.sleep(0)
    assert recorded(path) == []
    canceller.set_main_task()
    signal.raise_signal(signal.SIGUSR1)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(entry.more or {})["kind"] for entry in recorded(path)] == ["cancel"]
