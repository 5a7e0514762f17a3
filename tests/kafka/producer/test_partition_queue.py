"""One partition's queue, without a broker: what follows when a batch has ended."""

from __future__ import annotations

import asyncio

import pytest

from evkafka.exceptions import DeliveryError
from evkafka.kafka.producer.batch import PendingRecord
from evkafka.kafka.producer.partition_queue import NOT_THE_BATCH, PartitionQueue
from evkafka.records import TopicPartition
from tests.kafka.producer.fake_client import Client, record


@pytest.mark.parametrize("code", sorted(NOT_THE_BATCH))
class TestARefusalThatIsNotTheFaultOfTheBatch:
    async def refused(self, code: int, *, tries: int) -> tuple[Client, PendingRecord]:
        client, one = Client(), record()
        queue = PartitionQueue(TopicPartition("t", 0), client, standard_timeout_s=10.0)
        queue.add_to_batch_or_waiting_records(one)
        client.code, client.sent[0].retry_count = code, tries
        client.sent[0].future.set_exception(RuntimeError("refused"))
        await asyncio.sleep(0)
        return client, one

    async def test_is_sent_again_after_its_first_try(self, code: int) -> None:
        client, one = await self.refused(code, tries=1)
        assert len(client.sent) == 2
        assert not one.confirmed.done()

    async def test_is_never_sent_again_if_an_earlier_try_had_no_answer(self, code: int) -> None:
        """That one may have been written: it would be in the log twice."""
        client, one = await self.refused(code, tries=2)
        assert len(client.sent) == 1
        with pytest.raises(DeliveryError) as failure:
            await one.confirmed
        assert failure.value.may_have_been_written
