"""What the tests of the configuration share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evkafka.config import connection as _config_connection
from evkafka.config import consumer_settings, producer_settings
from evkafka.config.settings import ConsumerSettings, ProducerSettings
from evkafka.exceptions import ConfigError


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are said once per process: each test gets to hear its own."""
    monkeypatch.setattr(_config_connection, "_warned", set())


def consumer(**keys: object) -> ConsumerSettings:
    """Settings of a consumer that has what it needs, and these keys."""
    return consumer_settings({"topics": ["orders"], "group_id": "billing", **keys})


def producer(**keys: object) -> ProducerSettings:
    return producer_settings(keys)


def refusal(make: Callable[..., object], **keys: object) -> str:
    """What a ConfigError says of these keys."""
    with pytest.raises(ConfigError) as caught:
        make(**keys)
    assert caught.value.__cause__ is None
    return str(caught.value)
