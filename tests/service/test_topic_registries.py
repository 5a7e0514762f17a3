"""The schema registry of a topic, from the declarations of an app with two of them."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.formats import Avro, SchemaRegistry
from evkafka.service.topic_registries import registry_of_topic

ORDERS, BILLS = SchemaRegistry("http://orders.invalid"), SchemaRegistry("http://bills.invalid")


@pytest.mark.parametrize(
    ("topic", "registry"),
    [
        ("orders", ORDERS),
        ("orders.g.dlq", ORDERS),
        ("orders.g.retry.5000", ORDERS),
        ("bills", BILLS),
        ("bills.g.dlq", BILLS),
        ("bills.g.retry.5000", BILLS),
        ("other", None),
    ],
)
def test_is_that_of_its_format_or_of_the_source_of_a_retry_or_dead_letter_topic(
    topic: str, registry: SchemaRegistry | None
) -> None:
    app = EVKafkaApp()
    topics: Any = [{"name": "orders", "value_format": Avro(ORDERS)}, {"name": "bills", "value_format": Avro(BILLS)}]
    policy: Any = {"max_attempts": 1, "retry_topics": [5000], "then": "dead_letter"}
    app.add_consumer({"topics": topics, "group_id": "g", "on_error": policy}, Handler())
    assert registry_of_topic(app, topic) is registry
