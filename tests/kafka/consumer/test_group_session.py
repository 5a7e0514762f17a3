"""How long a group waits for a heartbeat, as its coordinator tells it."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import errors as kafka

from evkafka.kafka.consumer.group_session import BROKER, DEFAULT_SESSION_S, GROUP, look_up_group_session_s

Answers = dict[int, Any]
"""By type of resource: the milliseconds, an error code, or an exception."""


class Coordinator:
    """A client that answers DescribeConfigs."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def send(self, node_id: int, request: Any, *, group: Any) -> Any:
        [(kind, name, [key])] = request._resources
        match self._answers[kind]:
            case Exception() as error:
                raise error
            case str() as value:
                return Answered([(0, None, kind, name, [(key, value, False, 5, False, [])])])
            case code:
                return Answered([(code, "no", kind, name, [])])


class Answered:
    def __init__(self, resources: list[Any]) -> None:
        self.resources = resources


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        pytest.param({GROUP: "20000"}, 20.0, id="the group's own"),
        pytest.param({GROUP: 42, BROKER: "60000"}, 60.0, id="the broker's if the group has none"),
        pytest.param({GROUP: 29, BROKER: 31}, DEFAULT_SESSION_S, id="the default without the right to ask"),
        pytest.param({GROUP: kafka.RequestTimedOutError()}, DEFAULT_SESSION_S, id="the default without an answer"),
        pytest.param({GROUP: NotImplementedError()}, DEFAULT_SESSION_S, id="the default of an old broker"),
    ],
)
async def test_is(answers: Answers, seconds: float) -> None:
    client: Any = Coordinator(answers)
    assert await look_up_group_session_s(client, 1, "billing") == seconds
