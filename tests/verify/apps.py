"""Apps for runs: one that keeps its promises, one that promises less, one with two consumers."""

from __future__ import annotations

import asyncio

from evkafka import EVKafkaApp, Handler

handler = Handler()


@handler.event("OrderPlaced")
async def on_order(order: dict[str, str]) -> None:
    await asyncio.sleep(0.02)


def config(**more: object) -> dict[str, object]:
    """The configuration of an app that runs elsewhere, with a login."""
    return {
        "topics": ["orders"],
        "bootstrap_servers": "kafka.example.com:9093",
        "group_id": "billing",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "billing",
        "sasl_plain_password": "secret",
        "session_timeout_ms": 2000,
        "heartbeat_interval_ms": 400,
        **more,
    }


sound = EVKafkaApp()
sound.add_consumer(config(concurrency=4, auto_commit_interval_ms=100), handler)  # type: ignore[arg-type]

# Records are committed before they are handled: a process that is killed loses those in flight.
at_most_once = EVKafkaApp()
at_most_once.add_consumer(config(auto_commit_mode="pre-commit", auto_commit_interval_ms=100), handler)  # type: ignore[arg-type]

two = EVKafkaApp()
two.add_consumer(config(), handler, "billing")  # type: ignore[arg-type]
two.add_consumer(config(), handler, "shipping")  # type: ignore[arg-type]

plain = EVKafkaApp()
plain.add_consumer({"topics": ["orders"], "group_id": "billing"}, handler)
