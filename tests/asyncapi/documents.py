"""Documents of apps, checked against the official schema, and for what that schema does not check."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler, Sender


@functools.cache
def official() -> Draft7Validator:
    return Draft7Validator(json.loads((Path(__file__).parent / "schema" / "asyncapi-3.0.0.json").read_text()))


def document_of(app: EVKafkaApp) -> dict[str, Any]:
    """The app's document; fails if it is not valid."""
    document: dict[str, Any] = json.loads(app.asyncapi())
    error = best_match(official().iter_errors(document))
    assert error is None, f"{error.json_path}: {error.message}"
    for reference in references(document):
        look_up(document, reference)
    return document


def references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str() as reference}:
            yield reference
        case dict():
            for one in value.values():
                yield from references(one)
        case list():
            for one in value:
                yield from references(one)


def look_up(document: dict[str, Any], reference: str) -> Any:
    """The target of a reference. Raises AssertionError if there is none."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        assert name in found, f"{reference} points to nothing"
        found = found[name]
    return look_up(document, found["$ref"]) if set(found) == {"$ref"} else found


def one_consumer(handler: Handler, **config: Any) -> EVKafkaApp:
    app = EVKafkaApp(title="Billing")
    app.add_consumer({"topics": ["orders"], "group_id": "billing", **config}, handler, name="billing")
    return app


def message(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["messages"][name]
    return found


def payload(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A message's payload schema, with its reference resolved."""
    schema: dict[str, Any] = message(document, name)["payload"]
    return look_up(document, schema["$ref"]) if "$ref" in schema else schema


def shop() -> EVKafkaApp:
    """Two clusters, consumed and produced events, a dead-letter topic."""
    handler, audit, sender = Handler(), Handler(), Sender()

    @handler.event("OrderPlaced", summary="An order came in", description="Bills **it**.", tags=["orders", "billing"])
    async def on_order(order: Order) -> None: ...

    @audit.event("OrderPlaced")
    async def audit_order(order: Order) -> None:
        """Writes it down."""

    @sender.event("InvoiceSent", topic="invoices", key_field="order_id", tags=["invoices"])
    async def send_invoice(order: Order) -> None: ...

    app = EVKafkaApp(
        title="Shop",
        version="2.1.0",
        description="Sells *things*.",
        terms_of_service="https://shop.example/terms",
        contact={"name": "The shop", "email": "shop@shop.example"},
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    app.add_consumer(
        {
            "topics": [{"name": "orders", "description": "All orders."}, "orders-eu"],
            "group_id": "billing",
            "bootstrap_servers": ["one:9092", "two:9092"],
            "cluster_name": "Main cluster",
            "cluster_description": "Where the shop lives.",
            "on_error": {"max_attempts": 3, "then": "dead_letter"},
        },
        handler,
        name="billing",
    )
    app.add_consumer({"topics": ["orders"], "group_id": "audit", "bootstrap_servers": "other:9092"}, audit)
    app.add_producer({"bootstrap_servers": ["two:9092", "one:9092"]}, sender, name="invoices")
    return app


class Order(BaseModel):
    order_id: str
