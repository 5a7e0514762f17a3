"""Reads the keys that consumers and producers share: the brokers' addresses, timeouts and the login."""

from __future__ import annotations

import importlib.util
import logging
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from evkafka.config.display import value_text_or_mask
from evkafka.config.masking import HIDDEN, Secret, describe_type, text_for_error
from evkafka.config.section import MISSING, Section, to_ms
from evkafka.config.setting_types import read_aiokafka_options, read_settings_over_defaults
from evkafka.config.settings import CONNECTION_OPTIONS, ConnectionSettings

logger = logging.getLogger("evkafka.config")

READABLE = {"PLAIN": "password", "OAUTHBEARER": "token"}
"""Mechanisms that send their credential as plain text."""

LOGIN = tuple(key for key in CONNECTION_OPTIONS if key.startswith(("security_protocol", "ssl_", "sasl_")))
"""The keys of TLS and SASL."""

CONNECTION = ConnectionSettings()
"""The defaults."""

MAKE_SSL_CONTEXT = (
    'create one with `from aiokafka.helpers import create_ssl_context` and `"ssl_context":'
    ' create_ssl_context(cafile="ca.pem")`'
)

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\],]+)(?::(\d{1,5}))?|[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*")

_warned: set[str] = set()


def warn_once(sentence: str) -> None:
    """Log a warning, once per process: an app reads the same configuration several times."""
    if sentence not in _warned:
        _warned.add(sentence)
        logger.warning(sentence)


def read_connection(section: Section, *, request_timeout_s: float, login: bool = True) -> ConnectionSettings:
    """The connection keys of a consumer's or producer's configuration.

    Args:
        request_timeout_s: the default of `request_timeout_ms`.
        login: check that protocol, mechanism and credentials fit each other.
    """
    base = replace(CONNECTION, request_timeout_s=request_timeout_s)
    readers: dict[str, Callable[[], Any]] = {
        "bootstrap_servers": lambda: _read_servers(section),
        "options": lambda: _read_client_options(section),
    }
    settings = read_settings_over_defaults(section, base, readers)
    if login:
        _check_login_keys(section, settings.options)
    if (version := section.value_or_missing("api_version")) is not MISSING and version is not None:
        warn_once("api_version is not used: the client asks each broker for its API versions; remove the key")
    section.add_fault_if_key_is_given("loop", "the running loop is used; remove the key")
    hidden_user = isinstance(section.value_or_missing("sasl_plain_username"), Secret)
    return replace(settings, shown=_mask_connection(settings, hidden_user=hidden_user))


def _mask_connection(connection: ConnectionSettings, *, hidden_user: bool) -> Mapping[str, str]:
    """The masked form of a connection; a user name is hidden if it was given as a secret."""
    effective = {
        "bootstrap_servers": connection.bootstrap_servers,
        "client_id": connection.client_id,
        "cluster_name": connection.cluster_name,
        "cluster_description": connection.cluster_description,
        "request_timeout_ms": to_ms(connection.request_timeout_s),
        "metadata_max_age_ms": to_ms(connection.metadata_max_age_s),
        "security_protocol": "PLAINTEXT",
        **connection.options,
    }
    masked = {key: value_text_or_mask(key, value) for key, value in effective.items() if value is not None}
    return {**masked, "sasl_plain_username": HIDDEN} if hidden_user else masked


def to_config_values(connection: ConnectionSettings) -> dict[str, object]:
    """A connection as configuration keys, so that another configuration can override some of them.

    The request timeout is left out: a consumer's is as long as a rebalance may take, which other clients do not need.
    """
    return {
        "bootstrap_servers": connection.bootstrap_servers,
        "client_id": connection.client_id,
        "metadata_max_age_ms": to_ms(connection.metadata_max_age_s),
        **connection.options,
    }


def override_connection_keys(connection: ConnectionSettings, values: Mapping[str, object]) -> dict[str, object]:
    """A connection's keys, with other values for some of them.

    If `security_protocol` is overridden, TLS and SASL keys that the new protocol does not use are dropped, so that an
    unencrypted cluster beside an encrypted one needs one key.
    """
    base = to_config_values(connection)
    protocol = values.get("security_protocol")
    if isinstance(protocol, str):
        base = {
            key: value
            for key, value in base.items()
            if (key != "ssl_context" or protocol.endswith("SSL"))
            and (not key.startswith("sasl_") or protocol.startswith("SASL_"))
        }
    return {**base, **values}


# ------------------------------------------------------------------ servers


def _read_servers(section: Section) -> tuple[str, ...]:
    key = "bootstrap_servers"
    value = section.value_or_missing(key)
    if value is MISSING:
        return CONNECTION.bootstrap_servers
    given = [value] if isinstance(value, str) else section.sequence(key, items="'host:port'")
    if given is None:
        return CONNECTION.bootstrap_servers
    found: list[str] = []
    for text in given:
        if not isinstance(text, str):
            section.add_fault(key, f"{text_for_error(text)} is not a str; give 'host:port'")
        elif fault := _server_fault(text):
            section.add_fault(key, fault)
        else:
            found += [server.strip() for server in text.split(",") if server.strip()]
    if not found and section.are_keys_valid(key):
        section.add_fault(key, "it names no broker; give 'host:port', or several separated by commas")
    return tuple(found) or CONNECTION.bootstrap_servers


def _server_fault(text: str) -> str | None:
    """The error in a list of brokers; None if there is none."""
    if "://" in text or "@" in text:
        # Not split, and nothing before the last @ is shown: it may be a login, which may contain commas.
        host = HIDDEN + text[text.rindex("@") :] if "@" in text else text
        return (
            f"{text_for_error(host)} is a URL; give only 'host:port', and the login in security_protocol,"
            " sasl_mechanism, sasl_plain_username and sasl_plain_password"
        )
    for server in filter(None, map(str.strip, text.split(","))):
        match = _SERVER.fullmatch(server)
        if match is None:
            return f"{text_for_error(server)} is not 'host:port' (an IPv6 address needs brackets: '[::1]:9092')"
        if match[2] is not None and not 1 <= int(match[2]) <= 65_535:
            return f"{text_for_error(server)} has a port out of range; use 1 to 65535"
    return None


# ------------------------------------------------------------------ options for aiokafka


def _read_client_options(section: Section) -> dict[str, Any]:
    readers: dict[str, Callable[[], Any]] = {
        "ssl_context": lambda: _read_given_ssl_context(section),
        "sasl_oauth_token_provider": lambda: _read_token_provider(section),
        "connections_max_idle_ms": lambda: None,
    }
    options = read_aiokafka_options(section, CONNECTION_OPTIONS, readers)
    idle_ms = section.milliseconds("connections_max_idle_ms", None, least=1, none=True)
    if section.value_or_missing("connections_max_idle_ms") is not MISSING:
        options["connections_max_idle_ms"] = idle_ms  # None is a value here: idle connections are kept open
    return options


def _read_given_ssl_context(section: Section) -> ssl.SSLContext | None:
    value = section.value_or_missing("ssl_context")
    if value is MISSING or value is None:
        return None
    if not isinstance(value, ssl.SSLContext):
        section.add_fault("ssl_context", f"it is {describe_type(value)}; give an ssl.SSLContext: {MAKE_SSL_CONTEXT}")
        return None
    return value


def _read_token_provider(section: Section) -> Any:
    value = section.value_or_missing("sasl_oauth_token_provider")
    if value is MISSING or value is None:
        return None
    # Compared by name: this package must not import aiokafka, which requires its own base class.
    bases = {(base.__module__, base.__name__) for base in type(value).__mro__}
    if ("aiokafka.abc", "AbstractTokenProvider") not in bases:
        section.add_fault(
            "sasl_oauth_token_provider",
            f"it is {describe_type(value)}; give an instance of a subclass of aiokafka.abc.AbstractTokenProvider",
        )
        return None
    return value


def _check_login_keys(section: Section, options: Mapping[str, Any]) -> None:
    """Check that protocol, mechanism and credentials fit each other."""
    if not section.are_keys_valid("security_protocol", "sasl_mechanism"):
        return
    protocol: str = options.get("security_protocol", "PLAINTEXT")
    _check_encryption(section, protocol)
    credentials = ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password", "sasl_oauth_token_provider")
    if protocol.startswith("SASL_"):
        _check_keys_of_mechanism(section, protocol, options.get("sasl_mechanism", "PLAIN"))
    elif unused := [key for key in credentials if section.is_given(key)]:
        warn_once(
            f"{' and '.join(unused)}: not used with security_protocol {protocol}; to log in,"
            f" set security_protocol to {'SASL_SSL' if protocol == 'SSL' else 'SASL_SSL or SASL_PLAINTEXT'}"
        )


def _check_encryption(section: Section, protocol: str) -> None:
    encrypted = protocol.endswith("SSL")
    if encrypted:
        _warn_of_unverified_tls(section.value_or_missing("ssl_context"))
    if encrypted and not section.is_given("ssl_context"):
        section.add_fault("ssl_context", f"security_protocol {protocol} needs one; {MAKE_SSL_CONTEXT}")
    if not encrypted and section.is_given("ssl_context"):
        wanted = "SASL_SSL" if protocol.startswith("SASL_") else "SSL"
        section.add_fault(
            "security_protocol",
            f"ssl_context is given, but {protocol} does not encrypt; set security_protocol to {wanted!r}, or remove"
            " ssl_context",
        )


def _warn_of_unverified_tls(context: object) -> None:
    """Warn if an SSL context does not verify certificates or host names."""
    if not isinstance(context, ssl.SSLContext):
        return
    if context.verify_mode == ssl.CERT_NONE:
        warn_once(
            "ssl_context: the brokers' certificates are not verified (verify_mode is CERT_NONE), so anyone on the"
            f" network path can impersonate a broker and read the login; {MAKE_SSL_CONTEXT}"
        )
    elif not context.check_hostname:
        warn_once(
            "ssl_context: the host name in the brokers' certificates is not verified (check_hostname is False), so"
            " anyone with a certificate of the same authority can impersonate a broker; set context.check_hostname ="
            " True"
        )


def _check_keys_of_mechanism(section: Section, protocol: str, mechanism: str) -> None:
    if protocol == "SASL_PLAINTEXT" and mechanism in READABLE:
        warn_once(
            f"sasl_mechanism {mechanism} with security_protocol SASL_PLAINTEXT: the {READABLE[mechanism]} is sent"
            " unencrypted over the network; set security_protocol to SASL_SSL"
        )
    if section.is_given("sasl_oauth_token_provider") and mechanism != "OAUTHBEARER":
        section.add_fault(
            "sasl_oauth_token_provider",
            f"it is not used with sasl_mechanism {mechanism}; set sasl_mechanism to 'OAUTHBEARER', or remove it",
        )
    match mechanism:
        case "OAUTHBEARER":
            if not section.is_given("sasl_oauth_token_provider"):
                section.add_fault(
                    "sasl_oauth_token_provider",
                    "sasl_mechanism OAUTHBEARER needs one; give an instance of a subclass of"
                    " aiokafka.abc.AbstractTokenProvider",
                )
        case "GSSAPI":
            if importlib.util.find_spec("gssapi") is None:
                section.add_fault("sasl_mechanism", "GSSAPI needs the gssapi package: pip install gssapi")
        case _:
            for key in ("sasl_plain_username", "sasl_plain_password"):
                if not section.is_given(key):
                    section.add_fault(
                        key, f"sasl_mechanism {mechanism} needs one; set it, for example from an environment variable"
                    )
