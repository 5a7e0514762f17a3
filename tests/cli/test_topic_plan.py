"""Where the topics are that an app needs."""

from __future__ import annotations

from typing import Any

from evkafka import EVKafkaApp, Handler
from evkafka.cli.impl.topic_plan import needed_topics


def test_retry_topics_are_on_the_consumers_brokers_and_dead_letters_on_their_own() -> None:
    app = EVKafkaApp()
    letters: Any = {"bootstrap_servers": "letters:1"}
    policy: Any = {"max_attempts": 1, "retry_topics": [5_000], "then": "dead_letter", "dead_letter_producer": letters}
    app.add_consumer(
        {"topics": ["orders"], "group_id": "g", "bootstrap_servers": "own:1", "on_error": policy}, Handler()
    )
    needs = {need.role: need.connection.bootstrap_servers for need in needed_topics(app)}
    assert needs == {"reads": ("own:1",), "retries": ("own:1",), "dead letters": ("letters:1",)}
