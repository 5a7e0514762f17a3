"""Checked configurations, and the errors of invalid ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evkafka.config import consumer_settings, producer_settings
from evkafka.config.settings import ConsumerSettings, ProducerSettings
from evkafka.exceptions import ConfigError


def consumer(**keys: object) -> ConsumerSettings:
    """Settings of a consumer with a topic, a group and these keys."""
    return consumer_settings({"topics": ["orders"], "group_id": "billing", **keys})


def producer(**keys: object) -> ProducerSettings:
    """Settings of a producer with these keys."""
    return producer_settings(keys)


def refusal(make: Callable[..., object], **keys: object) -> str:
    """The text of the ConfigError that these keys cause."""
    with pytest.raises(ConfigError) as caught:
        make(**keys)
    assert caught.value.__cause__ is None
    return str(caught.value)
