"""Replaces the schema registries of an app by one in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evkafka.serde.formats.registry import use_test_registry
from evkafka.testing.registry import InMemoryRegistry


@contextmanager
def use_registry(registry: InMemoryRegistry | None = None) -> Iterator[InMemoryRegistry]:
    """Inside, every `SchemaRegistry` asks this registry, whatever its URL is, without a connection.

        with use_registry() as registry, TestClient(app) as client:
            client.send_event(OrderPaid(order="o-1", cents=5), "OrderPaid", "payments")

    Senders and test clients register the schemas that it does not have.

    Args:
        registry: default: a new one.
    """
    import httpx

    used = registry if registry is not None else InMemoryRegistry()
    with use_test_registry(httpx.ASGITransport(used)):
        yield used
