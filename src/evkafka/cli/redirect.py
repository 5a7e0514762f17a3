"""Makes an app connect to other brokers than its configuration says."""

from __future__ import annotations

from evkafka.app import EVKafkaApp
from evkafka.config.redirect import Redirect


def redirect_app_to_brokers(app: EVKafkaApp, servers: str, *, keep_login: bool) -> None:
    """Make all consumers and producers connect to these brokers, dead letters included."""
    redirect = Redirect(servers, keep_login)
    app.replace_consumers_and_producers(
        consumers=[declared.redirected(redirect) for declared in app.consumers.values()],
        producers=[declared.redirected(redirect) for declared in app.producers.values()],
    )
