"""One Kafka with a listener for each protocol and login, and users with and without permissions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.certificates import Certificates
from tests.acceptance.security.logins import PASSWORD, logins

SCRAM_USERS = ("ann", "carl", "olga")
SUPERUSERS = ("ANONYMOUS", "ann", "carl", "tina", "CN=billing")

SESSION_MS = 3000
"""The lifetime of a login at the listener SHORT."""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def secured(certificates: Certificates) -> Iterator[KafkaBroker]:
    """Listeners: CLIENT (no login), TLS, MUTUAL (requires a client certificate), EXPIRED (has an expired certificate),
    LOGIN (a login of any mechanism), SECURE (the same over TLS), SHORT (a login that expires after SESSION_MS)."""
    properties: dict[str, str | int | bool] = {
        "auto.create.topics.enable": False,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in SUPERUSERS),
        **certificates.keystore("TLS", "server"),
        **certificates.keystore("MUTUAL", "server"),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^.*(CN=billing).*$/$1/,DEFAULT",
        **certificates.keystore("EXPIRED", "expired"),
        **certificates.keystore("SECURE", "server"),
        **logins("LOGIN"),
        **logins("SECURE"),
        **logins("SHORT"),
        "listener.name.short.connections.max.reauth.ms": SESSION_MS,
    }
    listeners = {
        "TLS": "SSL",
        "MUTUAL": "SSL",
        "EXPIRED": "SSL",
        "LOGIN": "SASL_PLAINTEXT",
        "SECURE": "SASL_SSL",
        "SHORT": "SASL_PLAINTEXT",
    }
    users = dict.fromkeys(SCRAM_USERS, PASSWORD)
    with KafkaBroker(properties=properties, listeners=listeners, scram_users=users) as broker:
        yield broker
