"""A stream of sends, with the outcome of each."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from evkafka import EVKafkaProducer
from evkafka.exceptions import DeliveryError
from evkafka.records import RecordMetadata
from tests.kafka.producer.topics import contents
from tests.support.waiting import SLACK_S


@dataclass
class End:
    """The outcome of one send: `number` is its place in the order of its partition."""

    partition: int
    number: int
    took_s: float
    result: RecordMetadata | DeliveryError


class Stream:
    """Sends numbers to each partition, many at once, until it is stopped."""

    def __init__(self, producer: EVKafkaProducer, partitions: int) -> None:
        self.ends: list[End] = []
        self._producer = producer
        self._going = True
        self._tasks = [asyncio.ensure_future(self._send(partition)) for partition in range(partitions)]

    async def _send(self, partition: int) -> None:
        number = 0
        watching: set[asyncio.Task[None]] = set()
        while self._going:
            began_s = asyncio.get_running_loop().time()
            try:
                sent = await self._producer.enqueue_event(str(number), "X", partition=partition)
            except DeliveryError as error:
                self._note(partition, number, began_s, error)
            else:
                watching.add(asyncio.ensure_future(self._watch(partition, number, began_s, sent)))
            number += 1
            await asyncio.sleep(0)
        await asyncio.gather(*watching)

    async def _watch(self, partition: int, number: int, began_s: float, sent: asyncio.Future[RecordMetadata]) -> None:
        try:
            self._note(partition, number, began_s, await sent)
        except DeliveryError as error:
            self._note(partition, number, began_s, error)

    def _note(self, partition: int, number: int, began_s: float, result: RecordMetadata | DeliveryError) -> None:
        took_s = asyncio.get_running_loop().time() - began_s
        self.ends.append(End(partition, number, took_s, result))

    @property
    def confirmed(self) -> list[End]:
        return [end for end in self.ends if isinstance(end.result, RecordMetadata)]

    @property
    def failed(self) -> list[tuple[End, DeliveryError]]:
        return [(end, end.result) for end in self.ends if isinstance(end.result, DeliveryError)]

    async def end(self) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)

    def check_times(self, delivery_timeout_s: float) -> None:
        assert max(end.took_s for end in self.ends) < delivery_timeout_s + SLACK_S

    async def check_written(self, servers: str, topic: str) -> None:
        """Confirmed records are there once, unwritten ones are not, nothing twice, all in order."""
        found = await contents(servers, topic, len(self._tasks))
        for partition, records in found.items():
            numbers = [int(record.value) for record in records if record.value.isdigit()]
            assert [number for number, times in Counter(numbers).items() if times > 1] == []
            assert numbers == sorted(numbers)
            written = set(numbers)
            confirmed = {end.number for end in self.confirmed if end.partition == partition}
            refused = {
                e.number for e, error in self.failed if e.partition == partition and not error.may_have_been_written
            }
            assert confirmed - written == set()
            assert refused & written == set()
