"""One Kafka with a listener for each way in, and users with and without rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.certificates import Certificates

MODULE = "org.apache.kafka.common.security"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
PASSWORD = "s3cret-canary"

PLAIN_USERS = ("ann", "nora")
SCRAM_USERS = ("ann", "carl", "olga")
MAY_ALL = ("ANONYMOUS", "ann", "carl", "tina", "CN=billing")

SESSION_MS = 3000
"""At the listener SHORT, a login is good for so long."""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def secured(certificates: Certificates) -> Iterator[KafkaBroker]:
    """Listeners: CLIENT (open), TLS, MUTUAL (asks for a certificate), EXPIRED (shows an expired one), LOGIN and SECURE
    (a login by any mechanism; the second one encrypted), SHORT (a login that ends after SESSION_MS)."""
    properties: dict[str, str | int | bool] = {
        "auto.create.topics.enable": False,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": ";".join(f"User:{name}" for name in MAY_ALL),
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


def logins(listener: str) -> dict[str, str]:
    prefix = f"listener.name.{listener.lower()}"
    users = " ".join(f'user_{user}="{PASSWORD}"' for user in PLAIN_USERS)
    return {
        f"{prefix}.sasl.enabled.mechanisms": ",".join(MECHANISMS),
        f"{prefix}.plain.sasl.jaas.config": f"{MODULE}.plain.PlainLoginModule required {users};",
        f"{prefix}.scram-sha-256.sasl.jaas.config": f"{MODULE}.scram.ScramLoginModule required;",
        f"{prefix}.scram-sha-512.sasl.jaas.config": f"{MODULE}.scram.ScramLoginModule required;",
        f"{prefix}.oauthbearer.sasl.jaas.config": (
            f'{MODULE}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
        ),
    }


def login(mechanism: str = "PLAIN", user: str = "ann", password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    """The keys of a configuration that log in, unencrypted where `more` does not say otherwise."""
    keys: dict[str, Any] = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism}
    if mechanism != "OAUTHBEARER":
        keys |= {"sasl_plain_username": user, "sasl_plain_password": password}
    return keys | more
