"""The largest batch that a topic takes, as its brokers say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import errors as kafka

from evkafka.kafka.producer.topic_limit import look_up_max_message_bytes

TOPIC = 2


class Brokers:
    """Answers a request for the configuration of topics, or raises the given error."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[Any] = []

    def get_random_node(self) -> int:
        return 1

    async def send(self, node: int, request: Any) -> Any:
        self.asked.append(request)
        if isinstance(self._answer, Exception):
            raise self._answer
        return SimpleNamespace(resources=[self._answer])


async def test_it_is_the_configuration_of_the_topic() -> None:
    brokers = Brokers((0, None, TOPIC, "out", [("max.message.bytes", "5000", True, 1, False, [])]))
    assert await look_up_max_message_bytes(cast(Any, brokers), "out") == 5000
    assert len(brokers.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (29, "TOPIC_AUTHORIZATION_FAILED", TOPIC, "out", []),
        (0, None, TOPIC, "out", []),
        kafka.NodeNotReadyError("no connection"),
        NotImplementedError("the broker has no such request"),
        TimeoutError(),
    ],
)
async def test_without_the_right_or_an_answer_it_is_not_known(answer: Any) -> None:
    assert await look_up_max_message_bytes(cast(Any, Brokers(answer)), "out") is None
