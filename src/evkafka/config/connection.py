"""The keys that consumers and producers share: where the brokers are, and how to log in to them."""

from __future__ import annotations

import importlib.util
import logging
import re
import ssl
from collections.abc import Mapping
from typing import Any

from evkafka.config.masking import HIDDEN, Secret, in_error, kind_of, shown
from evkafka.config.section import MISSING, Section
from evkafka.config.settings import ConnectionSettings

logger = logging.getLogger("evkafka.config")

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

READABLE = {"PLAIN": "password", "OAUTHBEARER": "token"}
"""Mechanisms that send what they log in with as it is."""

LOGIN = (
    "security_protocol",
    "ssl_context",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
    "sasl_oauth_token_provider",
)

DEFAULT_SERVERS = ("localhost:9092",)

MAKE_SSL_CONTEXT = (
    "make one with `from aiokafka.helpers import create_ssl_context` and "
    '`"ssl_context": create_ssl_context(cafile="ca.pem")`'
)

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/@\[\],]+)(?::(\d{1,5}))?|[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*")

_said: set[str] = set()


def say_once(sentence: str) -> None:
    """Log a warning, once per process: an app reads the same configuration several times."""
    if sentence not in _said:
        _said.add(sentence)
        logger.warning(sentence)


def read_connection(section: Section, *, request_timeout_s: float, login: bool = True) -> ConnectionSettings:
    """The connection's part of a consumer's or producer's configuration.

    Args:
        request_timeout_s: the default of `request_timeout_ms`.
        login: check that protocol, mechanism and credentials fit each other.
    """
    servers = _servers(section)
    plain: dict[str, Any] = {
        "client_id": section.text("client_id", "evkafka"),
        "cluster_name": section.text("cluster_name", None, none=True),
        "cluster_description": section.text("cluster_description", None, none=True, empty=True),
    }
    request_s = section.seconds("request_timeout_ms", request_timeout_s, least_ms=1)
    metadata_s = section.seconds("metadata_max_age_ms", 60.0, least_ms=1)
    options = _options(section)
    if login:
        _check_login(section, options)
    if (version := section.take("api_version")) is not MISSING and version is not None:
        say_once("api_version is not used: the client asks each broker what it speaks; leave the key out")
    section.refuse("loop", "the running loop is used; leave the key out")
    view = {
        "bootstrap_servers": servers,
        **plain,
        "request_timeout_ms": round(request_s * 1000),
        "metadata_max_age_ms": round(metadata_s * 1000),
        "security_protocol": "PLAINTEXT",
        **options,
    }
    if isinstance(section.take("sasl_plain_username"), Secret):
        view["sasl_plain_username"] = HIDDEN
    return ConnectionSettings(
        bootstrap_servers=servers,
        **plain,
        request_timeout_s=request_s,
        metadata_max_age_s=metadata_s,
        options=options,
        shown={key: shown(key, value) for key, value in view.items() if value is not None},
    )


def as_values(connection: ConnectionSettings) -> dict[str, object]:
    """A connection as the keys that it was read from, for another configuration to be laid over it.

    Its request timeout is left out: a consumer's is as long as a rebalance may take, and nobody else's need be.
    """
    return {
        "bootstrap_servers": connection.bootstrap_servers,
        "client_id": connection.client_id,
        "metadata_max_age_ms": round(connection.metadata_max_age_s * 1000),
        **connection.options,
    }


def lay_over(connection: ConnectionSettings, values: Mapping[str, object]) -> dict[str, object]:
    """A connection with other values for some keys.

    Another `security_protocol` takes only those of the connection's keys along that it uses, so that a plain
    cluster beside an encrypted one needs one key.
    """
    base = as_values(connection)
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


def _servers(section: Section) -> tuple[str, ...]:
    key = "bootstrap_servers"
    value = section.take(key)
    if value is MISSING:
        return DEFAULT_SERVERS
    given = [value] if isinstance(value, str) else section.sequence(key, items="'host:port'")
    if given is None:
        return DEFAULT_SERVERS
    found: list[str] = []
    for text in given:
        if not isinstance(text, str):
            section.fault(key, f"{in_error(text)} is not a str; give 'host:port'")
        elif fault := _server_fault(text):
            section.fault(key, fault)
        else:
            found += [server.strip() for server in text.split(",") if server.strip()]
    if not found and section.sound(key):
        section.fault(key, "it names no broker; give 'host:port', several with commas between them")
    return tuple(found) or DEFAULT_SERVERS


def _server_fault(text: str) -> str | None:
    """What is wrong with a list of brokers."""
    if "://" in text or "@" in text:
        # Not taken apart, and nothing before the last @ repeated: a login may stand there, with commas in it.
        host = HIDDEN + text[text.rindex("@") :] if "@" in text else text
        return (
            f"{in_error(host)} is a URL; give 'host:port' alone, and the login as security_protocol, sasl_mechanism,"
            " sasl_plain_username and sasl_plain_password"
        )
    for server in filter(None, map(str.strip, text.split(","))):
        match = _SERVER.fullmatch(server)
        if match is None:
            return f"{in_error(server)} is not 'host:port' (an IPv6 address stands in brackets: '[::1]:9092')"
        if match[2] is not None and not 1 <= int(match[2]) <= 65_535:
            return f"{in_error(server)} has a port out of range; give 1 to 65535"
    return None


# ------------------------------------------------------------------ the client's own options


def _options(section: Section) -> dict[str, Any]:
    """What goes to aiokafka as it stands; only what was given, its own defaults hold otherwise."""
    options: dict[str, Any] = {
        "retry_backoff_ms": section.milliseconds("retry_backoff_ms", None, least=1),
        "security_protocol": section.choice("security_protocol", None, (*PROTOCOLS,), none=True),
        "ssl_context": _ssl_context(section),
        "sasl_mechanism": section.choice("sasl_mechanism", None, (*MECHANISMS,), none=True),
        "sasl_plain_username": section.secret("sasl_plain_username"),
        "sasl_plain_password": section.secret("sasl_plain_password"),
        "sasl_kerberos_service_name": section.text("sasl_kerberos_service_name", None, none=True),
        "sasl_kerberos_domain_name": section.text("sasl_kerberos_domain_name", None, none=True),
        "sasl_oauth_token_provider": _token_provider(section),
    }
    given = {key: value for key, value in options.items() if value is not None}
    idle_ms = section.milliseconds("connections_max_idle_ms", None, least=1, none=True)
    if section.take("connections_max_idle_ms") is not MISSING:
        given["connections_max_idle_ms"] = idle_ms  # None is a value here: idle connections stay open
    return given


def _ssl_context(section: Section) -> ssl.SSLContext | None:
    value = section.take("ssl_context")
    if value is MISSING or value is None:
        return None
    if not isinstance(value, ssl.SSLContext):
        section.fault("ssl_context", f"it is {kind_of(value)}; give an ssl.SSLContext: {MAKE_SSL_CONTEXT}")
        return None
    return value


def _token_provider(section: Section) -> Any:
    value = section.take("sasl_oauth_token_provider")
    if value is MISSING or value is None:
        return None
    # By name: only the runtime may import the client, and the client insists on its own base class.
    bases = {(base.__module__, base.__name__) for base in type(value).__mro__}
    if ("aiokafka.abc", "AbstractTokenProvider") not in bases:
        section.fault(
            "sasl_oauth_token_provider",
            f"it is {kind_of(value)}; give an instance of a subclass of aiokafka.abc.AbstractTokenProvider",
        )
        return None
    return value


def _check_login(section: Section, options: Mapping[str, Any]) -> None:
    """Do protocol, mechanism and credentials fit each other?"""
    if not section.sound("security_protocol", "sasl_mechanism"):
        return
    protocol: str = options.get("security_protocol", "PLAINTEXT")
    _check_encryption(section, protocol)
    credentials = ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password", "sasl_oauth_token_provider")
    if protocol.startswith("SASL_"):
        _check_mechanism(section, protocol, options.get("sasl_mechanism", "PLAIN"))
    elif unused := [key for key in credentials if section.given(key)]:
        say_once(
            f"{' and '.join(unused)}: not used with security_protocol {protocol}; to log in,"
            f" set security_protocol to {'SASL_SSL' if protocol == 'SSL' else 'SASL_SSL or SASL_PLAINTEXT'}"
        )


def _check_encryption(section: Section, protocol: str) -> None:
    encrypted = protocol.endswith("SSL")
    if encrypted:
        _warn_of_context(section.take("ssl_context"))
    if encrypted and not section.given("ssl_context"):
        section.fault("ssl_context", f"security_protocol {protocol} needs one; {MAKE_SSL_CONTEXT}")
    if not encrypted and section.given("ssl_context"):
        wanted = "SASL_SSL" if protocol.startswith("SASL_") else "SSL"
        section.fault(
            "security_protocol",
            f"ssl_context is given, but {protocol} does not encrypt; set security_protocol to {wanted!r},"
            " or leave ssl_context out",
        )


def _warn_of_context(context: object) -> None:
    """A context that somebody made may leave out what makes TLS worth having."""
    if not isinstance(context, ssl.SSLContext):
        return
    if context.verify_mode == ssl.CERT_NONE:
        say_once(
            "ssl_context: the brokers' certificates are not checked (verify_mode is CERT_NONE), so that anybody on the"
            f" way can be the broker and read the login; {MAKE_SSL_CONTEXT}"
        )
    elif not context.check_hostname:
        say_once(
            "ssl_context: the name in the brokers' certificates is not compared (check_hostname is False), so that"
            " anybody with a certificate of the same authority can be the broker; set context.check_hostname = True"
        )


def _check_mechanism(section: Section, protocol: str, mechanism: str) -> None:
    if protocol == "SASL_PLAINTEXT" and mechanism in READABLE:
        say_once(
            f"sasl_mechanism {mechanism} with security_protocol SASL_PLAINTEXT: the {READABLE[mechanism]} is sent"
            " readable for everybody on the way to the brokers; set security_protocol to SASL_SSL"
        )
    if section.given("sasl_oauth_token_provider") and mechanism != "OAUTHBEARER":
        section.fault(
            "sasl_oauth_token_provider",
            f"it is not used with sasl_mechanism {mechanism}; set sasl_mechanism to 'OAUTHBEARER', or leave it out",
        )
    match mechanism:
        case "OAUTHBEARER":
            if not section.given("sasl_oauth_token_provider"):
                section.fault(
                    "sasl_oauth_token_provider",
                    "sasl_mechanism OAUTHBEARER needs one; give an instance of a subclass of"
                    " aiokafka.abc.AbstractTokenProvider",
                )
        case "GSSAPI":
            if importlib.util.find_spec("gssapi") is None:
                section.fault("sasl_mechanism", "GSSAPI needs the package gssapi; pip install gssapi")
        case _:
            for key in ("sasl_plain_username", "sasl_plain_password"):
                if not section.given(key):
                    section.fault(
                        key, f"sasl_mechanism {mechanism} needs one; give it, from the environment for example"
                    )
