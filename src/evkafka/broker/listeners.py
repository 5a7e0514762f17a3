"""Checks further listeners and SCRAM users, and passes them to Kafka."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evkafka.exceptions import ConfigError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
OURS = ("CLIENT", "CONTROLLER")
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def validate_listeners(listeners: Mapping[str, str]) -> dict[str, str]:
    """A copy of the listeners.

    Raises:
        ConfigError: Kafka does not accept a name or a protocol.
    """
    for name, protocol in listeners.items():
        if name in OURS or not _NAME.fullmatch(name):
            raise ConfigError(
                f"broker listener {name!r}: give a name of capital letters, digits and underscores"
                f" that is not {' or '.join(OURS)}"
            )
        if protocol not in PROTOCOLS:
            raise ConfigError(f"broker listener {name!r}: {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    return dict(listeners)


def options_creating_scram_users(users: Mapping[str, str]) -> list[str]:
    """The options of Kafka's `format` that create these users.

    Raises:
        ConfigError: this tool does not accept a name or password.
    """
    options = []
    for user, password in users.items():
        if not user or not password or re.search(r"[\[\],=\s]", user + password):
            raise ConfigError(
                f"broker user {user!r}: name and password must not be empty, nor contain brackets, commas, spaces or"
                " equals signs"
            )
        options += [f"--add-scram={mechanism}=[name={user},password={password}]" for mechanism in MECHANISMS]
    return options
