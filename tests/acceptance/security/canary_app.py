"""An app with passwords in its configuration, for test_canary.py: no output may contain them."""

from __future__ import annotations

import os
from typing import Any

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.config import ConsumerConfig, ProducerConfig

PASSWORD = os.environ["PLANTED"]
"""From the environment, because a traceback shows source lines."""

LOGIN: dict[str, Any] = {
    "bootstrap_servers": os.environ["SERVERS"],
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "ann",
    "sasl_plain_password": PASSWORD,
}

handler, sender = Handler(), Sender()


@handler.event("OrderPlaced")
async def on_order(event: dict[str, Any]) -> None:
    if event["fails"]:
        raise ValueError("no such customer")
    await send_billed({})


@sender.event("OrderBilled", topic="billed")
async def send_billed(event: dict[str, Any]) -> None: ...


def make_app(**more: Any) -> EVKafkaApp:
    app = EVKafkaApp(title="Billing", web=True, web_port=0, ui_token=PASSWORD)
    consumer: dict[str, Any] = {
        **LOGIN,
        "topics": ["orders"],
        "group_id": "billing",
        "auto_offset_reset": "earliest",
        "on_error": {
            "max_attempts": 2,
            "backoff_ms": 10,
            "then": "dead_letter",
            "dead_letter_producer": {"sasl_plain_password": PASSWORD},
        },
    }
    app.add_consumer(ConsumerConfig(**{**consumer, **more}), handler, name="billing")  # type: ignore[typeddict-item]
    app.add_producer(ProducerConfig(**LOGIN), sender, name="invoices")
    return app


app = make_app()
