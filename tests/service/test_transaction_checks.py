"""Parts of one app that contradict its exactly-once consumers: the app does not start."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.exceptions import StartFailed
from evkafka.testing import InMemoryKafka


def app_with(**consumers: dict[str, Any]) -> EVKafkaApp:
    app = EVKafkaApp()
    for name, keys in consumers.items():
        config: Any = {"topics": [name], "group_id": name, "auto_commit_mode": "exactly-once", **keys}
        app.add_consumer(config, Handler(), name)
    return app


async def started(app: EVKafkaApp) -> None:
    async with InMemoryKafka() as kafka, kafka.running(app):
        pass


async def test_two_consumers_are_named_with_the_fix() -> None:
    app = app_with(orders={"transactional_id": "shop"}, bills={"transactional_id": "shop"})
    why = "consumers 'orders' and 'bills' have the same transactional_id 'shop'.*; give each consumer its own, or none"
    with pytest.raises(StartFailed, match=why):
        await started(app)


async def test_the_consumer_of_retry_topics_is_one_of_them() -> None:
    retries = {"on_error": {"max_attempts": 2, "retry_topics": [1_000], "then": "skip"}}
    app = app_with(orders={"transactional_id": "shop", **retries}, bills={"transactional_id": "shop.retry"})
    with pytest.raises(StartFailed, match=r"'orders\.retry' and 'bills' have the same transactional_id 'shop\.retry'"):
        await started(app)


@pytest.mark.parametrize(
    "other", [{}, {"transactional_id": "other"}, {"transactional_id": "shop", "bootstrap_servers": "other:9092"}]
)
async def test_another_id_or_another_cluster_is_no_fault(other: dict[str, Any]) -> None:
    await started(app_with(orders={"transactional_id": "shop"}, bills=other))


def app_that_sends(mode: str = "exactly-once", **producer: Any) -> EVKafkaApp:
    app, sender = EVKafkaApp(), Sender()
    sender.event("E", topic="out")(send)
    app.add_consumer({"topics": ["in"], "group_id": "g", "auto_commit_mode": mode}, Handler(), "orders")  # type: ignore[typeddict-item]
    app.add_producer(producer, sender, "bills")  # type: ignore[arg-type]
    return app


async def send(value: bytes) -> None: ...


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"acks": 1}, "acks 1"),
        ({"acks": 0, "enable_idempotence": False}, "acks 0"),
        ({"enable_idempotence": False}, "enable_idempotence False"),
    ],
)
async def test_a_producer_with_weaker_confirmations_is_named_with_the_fix(keys: dict[str, Any], named: str) -> None:
    why = f"producer 'bills' has {named}, but .* exactly-once consumer 'orders' .*; remove the key, or set .*outside"
    with pytest.raises(StartFailed, match=why):
        await started(app_that_sends(**keys))


@pytest.mark.parametrize(
    ("mode", "keys"),
    [
        ("exactly-once", {"acks": "all", "enable_idempotence": True}),
        ("exactly-once", {"acks": 1, "outside_transactions": True}),
        ("post-commit", {"acks": 1}),
    ],
)
async def test_a_producer_that_confirms_enough_or_is_outside_of_transactions_is_no_fault(
    mode: str, keys: dict[str, Any]
) -> None:
    await started(app_that_sends(mode, **keys))
