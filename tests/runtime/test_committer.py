"""Commits: one request at a time, the newest offsets, and again what nobody confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest

from evkafka.exceptions import BrokerRefused, BrokerUnavailable, CommitRefused, CommitUnknown
from evkafka.records import TopicPartition
from evkafka.runtime.clock import SystemClock
from evkafka.runtime.commit_metadata import MetadataLimit
from evkafka.runtime.committer import Committer
from evkafka.runtime.partition import Partition
from evkafka.runtime.ports import MetadataTooLarge
from evkafka.telemetry import Telemetry
from tests.support.executors import OneRecord

TP = TopicPartition("t", 0)


class AnsweringSource:
    """A source whose answers to commits are the test's: an error, or a future that is waited for.

    Attributes:
        sent: the offsets of each commit, in order.
        texts: their metadata.
    """

    def __init__(self, *answers: BaseException | asyncio.Future[None]) -> None:
        self.sent: list[int] = []
        self.texts: list[str] = []
        self._answers = deque(answers)

    async def commit(
        self, offsets: Mapping[TopicPartition, int], *, metadata: Mapping[TopicPartition, str], **_: Any
    ) -> None:
        self.sent.append(offsets[TP])
        self.texts.append(metadata[TP])
        answer = self._answers.popleft() if self._answers else None
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            await answer

    def topic_id(self, topic: str) -> str:
        return "id"

    def leader_epoch_before(self, partition: TopicPartition, offset: int) -> int:
        return 0


def read(records: int) -> Partition:
    """A partition of which so many records were read, and the first is finished."""
    partition = Partition(TP, ordering="partition")
    partition.enter_read_offsets([OneRecord(offset) for offset in range(records)], records)
    partition.ledger.finish(0)
    return partition


def committer(source: AnsweringSource) -> Committer:
    return Committer(
        source,  # type: ignore[arg-type]
        consumer="it",
        group="its",
        clock=SystemClock(),
        telemetry=Telemetry(),
        metadata_limit=MetadataLimit(3_500),
    )


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_commit_without_a_response_is_repeated_though_nothing_moved() -> None:
    source, partition = AnsweringSource(CommitUnknown("no answer")), read(2)
    commits = committer(source)
    assert await commits.commit([partition]) is False
    assert await commits.commit([partition]) is True
    assert await commits.commit([partition]) is True  # confirmed: there is nothing to send
    assert source.sent == [1, 1]


@pytest.mark.parametrize("error", [CommitRefused("a rebalance"), BrokerUnavailable("away")])
async def test_a_commit_that_was_not_written_is_repeated(error: Exception) -> None:
    source, partition = AnsweringSource(error), read(2)
    commits = committer(source)
    assert await commits.commit([partition]) is False
    assert await commits.commit([partition]) is True
    assert source.sent == [1, 1]


async def test_a_permanent_refusal_is_raised() -> None:
    with pytest.raises(BrokerRefused):
        await committer(AnsweringSource(BrokerRefused("no right"))).commit([read(2)])


async def test_the_second_of_two_waits_for_the_first_and_sends_the_newest_offsets() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    source, partition = AnsweringSource(answer), read(3)
    commits = committer(source)
    first = asyncio.ensure_future(commits.commit([partition]))
    await turns()
    second = asyncio.ensure_future(commits.commit([partition]))
    await turns()
    assert source.sent == [1]
    partition.ledger.finish(1)
    answer.set_result(None)
    assert await asyncio.gather(first, second) == [True, True]
    assert source.sent == [1, 2]


async def test_records_finished_during_a_commit_are_not_confirmed_by_it() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    source, partition = AnsweringSource(answer), read(2)
    commits = committer(source)
    commit = asyncio.ensure_future(commits.commit([partition]))
    await turns()
    partition.ledger.finish(1)
    answer.set_result(None)
    assert await commit is True
    assert commits.next_commit_of_partition(partition) == (2, "")


async def test_metadata_that_is_too_large_is_halved_until_the_offset_is_committed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    too_large = MetadataTooLarge("OFFSET_METADATA_TOO_LARGE")
    source, partition = AnsweringSource(too_large, too_large), read(400)
    for offset in range(2, 400, 2):
        partition.ledger.finish(offset)
    assert await committer(source).commit([partition]) is True
    assert source.sent == [1, 1, 1]
    first, second, third = map(len, source.texts)
    assert first > 60
    assert second <= first // 2
    assert third <= second // 2
    [warning] = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "offset.metadata.max.bytes" in warning


async def test_one_that_has_waited_for_its_whole_timeout_is_not_sent() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    source, partition = AnsweringSource(never), read(2)
    commits = committer(source)
    first = asyncio.ensure_future(commits.commit([partition]))
    await turns()
    assert await commits.commit([partition], timeout_s=0.01) is False
    assert source.sent == [1]
    first.cancel()
