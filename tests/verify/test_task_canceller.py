"""The fault `cancel`: one task of the loop at each signal, any but the main task, and it is noted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from evkafka.verify.history import Entry, History, Reader
from evkafka.verify.task_canceller import TaskCanceller


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def stranger(path: Path) -> Iterator[TaskCanceller]:
    before, journal = signal.getsignal(signal.SIGUSR1), History(path, "2.1")
    yield TaskCanceller(journal, "2.1")
    journal.close()
    signal.signal(signal.SIGUSR1, before)


def noted(path: Path) -> list[Entry]:
    return list(Reader(path).news())


async def common() -> None:
    await asyncio.Event().wait()


async def rare() -> None:
    await asyncio.Event().wait()


async def test_a_single_task_of_its_kind_is_struck_as_often_as_one_of_many(stranger: TaskCanceller, path: Path) -> None:
    stranger.enter()
    tasks = [asyncio.ensure_future(common()) for _ in range(50)]
    single = asyncio.ensure_future(rare())
    await asyncio.sleep(0)
    for _ in range(20):
        stranger.strike()
        await asyncio.sleep(0)
    assert single.cancelled()
    assert 0 < sum(task.cancelled() for task in tasks) < 20
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert {(entry.what, entry.who) for entry in noted(path)} == {("fault", "2.1")}
    assert {entry.more["runs"] for entry in noted(path)} == {"common", "rare"}  # type: ignore[index]
    for task in tasks:
        task.cancel()


async def test_where_there_is_only_the_main_task_nothing_is_cancelled(stranger: TaskCanceller, path: Path) -> None:
    stranger.enter()
    stranger.strike()
    await asyncio.sleep(0)
    assert noted(path) == []


async def test_the_signal_cancels_a_task_and_does_nothing_before_the_app_runs(
    stranger: TaskCanceller, path: Path
) -> None:
    stranger.listen()
    task = asyncio.ensure_future(common())
    signal.raise_signal(signal.SIGUSR1)
    await asyncio.sleep(0)
    assert noted(path) == []
    stranger.enter()
    signal.raise_signal(signal.SIGUSR1)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(entry.more or {})["kind"] for entry in noted(path)] == ["cancel"]
