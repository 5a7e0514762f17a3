"""Errors of records whose batch has ended without a confirmation, and which of them are sent again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evkafka.exceptions import DeliveryError
from evkafka.kafka.producer.batch import PendingRecord
from evkafka.kafka.producer.partition_queue import MAYBE_WRITTEN, PartitionQueue
from evkafka.records import TopicPartition
from tests.kafka.producer.fake_client import Builder, Client, Placed, record

WRITE_REFUSED, EXPIRED_PRODUCER = 29, 59


class CountingBuilder(Builder):
    def __init__(self) -> None:
        super().__init__()
        self.records = 0

    def append(self, **_: Any) -> Placed:
        self.records += 1
        return Placed()


class CountingClient(Client):
    """Keeps how many records each batch had when it was submitted."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def create_builder(self, _: int | None) -> CountingBuilder:
        return CountingBuilder()

    def submit_batch(self, partition: object, builder: Any) -> Any:
        self.sizes.append(builder.records)
        return super().submit_batch(partition, builder)


def sent(*records: PendingRecord) -> CountingClient:
    """These records as one batch, which has been sent once."""
    client = CountingClient()
    queue = PartitionQueue(TopicPartition("t", 0), client, standard_timeout_s=10.0)
    client.current_producer = lambda: None  # type: ignore[method-assign]  # until all are in the batch
    for one in records:
        queue.add_to_batch_or_waiting_records(one)
    client.current_producer = lambda: client  # type: ignore[method-assign]
    queue.submit_next()
    client.sent[0].retry_count = 1
    return client


async def refuse(client: CountingClient, code: int | None) -> None:
    client.code = code
    client.sent[0].future.set_exception(RuntimeError("refused"))
    await asyncio.sleep(0)


@pytest.mark.parametrize("code", [None, *sorted(MAYBE_WRITTEN)])
async def test_without_an_answer_a_record_may_have_been_written(code: int | None) -> None:
    one = record()
    await refuse(sent(one), code)
    with pytest.raises(DeliveryError) as failure:
        await one.confirmed
    assert failure.value.may_have_been_written


async def test_a_record_that_was_refused_at_once_was_not_written() -> None:
    one = record()
    await refuse(sent(one), WRITE_REFUSED)
    with pytest.raises(DeliveryError) as failure:
        await one.confirmed
    assert not failure.value.may_have_been_written


async def test_a_record_that_has_failed_meanwhile_is_not_sent_with_the_others() -> None:
    late, other = record(), record()
    client = sent(late, other)
    late.fail(TopicPartition("t", 0), "its time is over", may_have_been_written=False)
    await refuse(client, EXPIRED_PRODUCER)
    assert client.sizes == [2, 1]
    assert late.confirmed.exception() is not None
    assert not other.confirmed.done()
