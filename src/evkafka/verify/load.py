"""Sends numbered records at a steady rate, and records the acknowledgement of each."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

from evkafka.exceptions import DeliveryError
from evkafka.producer import EVKafkaProducer
from evkafka.records import RecordMetadata
from evkafka.service.json_to_topic_format import PayloadFault
from evkafka.verify.observations import Sent
from evkafka.verify.record_values import ValueOf

NUMBER_HEADER = "Verify-Number"

_TICK_S = 0.02
_LARGEST_BURST_S = 0.2
"""Records that are due while nothing can be sent are not sent later: that would change the load."""


class NumberedProducer:
    """Produces the load.

    Attributes:
        sent: all records so far, in order.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        seed: int,
        rate: int,
        keys: int,
        event_type: str,
        value_of: ValueOf,
    ) -> None:
        self.sent: list[Sent] = []
        self._random = random.Random(f"{seed} keys")  # nosec B311 # repeatable, not cryptographic
        self._rate = rate
        self._keys = keys
        self._event_type = event_type
        self._value_of = value_of
        self._producer = EVKafkaProducer({"bootstrap_servers": bootstrap_servers, "topic": topic, "linger_ms": 5})

    @property
    def acknowledged_addresses(self) -> set[tuple[int, int]]:
        """The addresses of the acknowledged records."""
        return {one.address for one in self.sent if one.address is not None}

    async def run(self, lasts_s: float) -> None:
        """Send for so long, then wait until every record is confirmed or has failed."""
        async with self._producer:
            began_s = at_s = time.monotonic()
            due = 0.0
            while at_s - began_s < lasts_s:
                due = min(due, self._rate * _LARGEST_BURST_S)
                while due >= 1:
                    await self._send_one()
                    due -= 1
                await asyncio.sleep(_TICK_S)
                before_s, at_s = at_s, time.monotonic()
                due += (at_s - before_s) * self._rate
            await self._producer.flush()

    async def _send_one(self) -> None:
        number = len(self.sent)
        key = f"k{self._random.randrange(self._keys)}"
        one = Sent(number, key, time.monotonic())
        self.sent.append(one)
        headers = {NUMBER_HEADER: str(number)}
        try:
            value = self._value_of(number, key)
            future = await self._producer.enqueue_event(value, self._event_type, key=key, headers=headers)
        except (DeliveryError, PayloadFault) as error:
            _note_failure(one, error)
        else:
            future.add_done_callback(partial(_set_sent_address_or_error, one))


def _set_sent_address_or_error(one: Sent, future: asyncio.Future[RecordMetadata]) -> None:
    if future.cancelled():
        one.error = "cancelled"
    elif (error := future.exception()) is not None:
        _note_failure(one, error)
    else:
        written = future.result()
        one.acknowledged_s = time.monotonic()
        one.address = (written.partition, written.offset)


def _note_failure(one: Sent, error: BaseException) -> None:
    one.error = str(error)
    match error:
        case DeliveryError():
            one.never_written = not error.may_have_been_written
        case PayloadFault():
            one.never_written = True
