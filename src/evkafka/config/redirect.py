"""Other brokers than a configuration names: for `evkafka dev`, `evkafka verify` and `--bootstrap-servers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from evkafka.config.connection import LOGIN
from evkafka.config.producer import read_producer
from evkafka.config.settings import ConnectionSettings, ErrorPolicySettings


@dataclass(frozen=True, slots=True)
class Redirect:
    """The brokers to which consumers, their dead letters and producers are redirected.

    Attributes:
        servers: `host:port`, several separated by commas.
        keep_login: False: connect without the keys of TLS and SASL.
    """

    servers: str
    keep_login: bool

    def connection(self, own: ConnectionSettings) -> ConnectionSettings:
        """A connection to these brokers.

        Raises:
            ConfigError: `servers` is invalid.
        """
        return replace(
            own,
            bootstrap_servers=read_producer({"bootstrap_servers": self.servers}).connection.bootstrap_servers,
            options=self._kept(own.options),
            shown=self._kept(own.shown) | {"bootstrap_servers": self.servers},
        )

    def error_policy(self, own: ErrorPolicySettings) -> ErrorPolicySettings:
        """The policy with a `dead_letter_producer` that writes to the consumer's brokers."""
        config = own.dead_letter_producer
        if config is None:
            return own
        kept = self._kept(config)
        if kept.pop("bootstrap_servers", None) is not None:  # the login beside it is one for those brokers
            kept = {key: value for key, value in kept.items() if key not in LOGIN}
        return replace(own, dead_letter_producer=kept or None)

    def producer_config(self, own: Mapping[str, Any]) -> Any:
        """A producer's configuration with these brokers."""
        return self._kept(own) | {"bootstrap_servers": self.servers}

    def _kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if self.keep_login or key not in LOGIN}
