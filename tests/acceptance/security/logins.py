"""Logins at the secured Kafka: the broker's properties, and the keys of an app."""

from __future__ import annotations

from typing import Any

MODULE = "org.apache.kafka.common.security"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
PASSWORD = "s3cret-canary"
PLAIN_USERS = ("ann", "nora")


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
    """Return the configuration keys of a login, without TLS unless `more` says otherwise."""
    keys: dict[str, Any] = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism}
    if mechanism != "OAUTHBEARER":
        keys |= {"sasl_plain_username": user, "sasl_plain_password": password}
    return keys | more
