"""An app that is redirected to other brokers."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.cli.redirect import redirect_app_to_brokers
from evkafka.testing.cluster_ids import declared_connections


def login(user: str) -> dict[str, Any]:
    return {"security_protocol": "SASL_PLAINTEXT", "sasl_plain_username": user, "sasl_plain_password": "hunter2"}


def shop(dead_letter_producer: dict[str, Any], *, of_endpoint: bool) -> EVKafkaApp:
    """An app with a login, whose dead letters are written by a producer of the consumer, or of one event type."""
    app, handler, sender = EVKafkaApp(), Handler(), Sender()
    policy: Any = {"then": "dead_letter", "max_attempts": 1, "dead_letter_producer": dead_letter_producer}

    @handler.event("OrderPlaced", on_error=policy if of_endpoint else None)
    async def on_order(value: bytes) -> None: ...

    own: Any = {"bootstrap_servers": "prod.example:9092", **login("app")}
    consumer = {"topics": ["orders"], "group_id": "g", **own, **({} if of_endpoint else {"on_error": policy})}
    app.add_consumer(consumer, handler)
    app.add_producer(own, sender)
    return app


def connections(app: EVKafkaApp) -> set[tuple[tuple[str, ...], Any]]:
    """Brokers and user of all consumers, dead letters and producers."""
    return {(one.bootstrap_servers, one.options.get("sasl_plain_username")) for one in declared_connections(app)}


@pytest.mark.parametrize("of_endpoint", [False, True], ids=["consumer", "event type"])
class TestARedirectedApp:
    @pytest.mark.parametrize("brokers", [{}, {"bootstrap_servers": "letters.example:9092"}], ids=["same", "own"])
    def test_without_its_login_connects_nowhere_else(self, brokers: dict[str, Any], of_endpoint: bool) -> None:
        app = shop({**brokers, **login("letters")}, of_endpoint=of_endpoint)
        redirect_app_to_brokers(app, "127.0.0.1:19092", keep_login=False)
        assert connections(app) == {(("127.0.0.1:19092",), None)}

    def test_shows_no_other_brokers_the_login_of_the_dead_letter_brokers(self, of_endpoint: bool) -> None:
        app = shop({"bootstrap_servers": "letters.example:9092", **login("letters")}, of_endpoint=of_endpoint)
        redirect_app_to_brokers(app, "127.0.0.1:19092", keep_login=True)
        assert connections(app) == {(("127.0.0.1:19092",), "app")}

    def test_keeps_a_login_for_dead_letters_on_the_consumers_brokers(self, of_endpoint: bool) -> None:
        app = shop(login("letters"), of_endpoint=of_endpoint)
        redirect_app_to_brokers(app, "127.0.0.1:19092", keep_login=True)
        assert connections(app) == {(("127.0.0.1:19092",), "app"), (("127.0.0.1:19092",), "letters")}

    def test_keeps_the_other_keys_of_its_dead_letter_producer(self, of_endpoint: bool) -> None:
        app = shop({"bootstrap_servers": "letters.example:9092", "client_id": "letters"}, of_endpoint=of_endpoint)
        redirect_app_to_brokers(app, "127.0.0.1:19092", keep_login=False)
        [consumer] = app.consumers.values()
        producers = [policy.dead_letter_producer for _, policy in consumer.policies_with_dead_letters()]
        assert {"client_id": "letters"} in producers
        assert all("bootstrap_servers" not in (producer or {}) for producer in producers)
