"""Makes an app connect to other brokers than its configuration says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.config import producer_settings
from evkafka.config.connection import LOGIN
from evkafka.service.plan import DeclaredConsumer, DeclaredProducer


def redirect_app_to_brokers(app: EVKafkaApp, servers: str, *, keep_login: bool) -> None:
    """Make all consumers and producers connect to these brokers."""
    addresses = producer_settings({"bootstrap_servers": servers}).connection.bootstrap_servers

    def kept(key: str) -> bool:
        return keep_login or key not in LOGIN

    def redirected(declared: DeclaredConsumer) -> DeclaredConsumer:
        own = declared.settings.connection
        changed = replace(
            own,
            bootstrap_servers=addresses,
            options={key: value for key, value in own.options.items() if kept(key)},
            shown={key: value for key, value in own.shown.items() if kept(key)} | {"bootstrap_servers": servers},
        )
        return replace(declared, settings=replace(declared.settings, connection=changed))

    def redirected_producer(declared: DeclaredProducer) -> DeclaredProducer:
        config: Any = {key: value for key, value in declared.config.items() if kept(key)}
        return replace(declared, config=config | {"bootstrap_servers": servers})

    app.replace_consumers_and_producers(
        consumers=map(redirected, app.consumers.values()), producers=map(redirected_producer, app.producers.values())
    )
