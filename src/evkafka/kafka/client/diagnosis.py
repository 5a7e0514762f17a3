"""Finds out why a server has closed the connection, by a few probes of its port.

A broker closes the connection without a reason if it expects TLS and gets none, the reverse, or if it expects a login.
The probes send no user name, no password and no record.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest, SaslHandShakeRequest

from evkafka.kafka.client.connection import Connection, connect

PROBE_S = 2.0
"""The timeout of each probe."""


async def diagnose_closed_connection(host: str, port: int, options: dict[str, Any]) -> str | None:
    """Return the cause and the fix; None if the server accepts the probes (most likely it was shutting down).

    Args:
        options: the options of the connection that was closed.
    """
    protocol = options.get("security_protocol", "PLAINTEXT")
    encrypted, logs_in = protocol.endswith("SSL"), protocol.startswith("SASL_")
    if not encrypted and await _accepts_tls(host, port):
        wanted = "'SASL_SSL'" if logs_in else "'SSL' (or 'SASL_SSL', with a login)"
        return (
            f"the server speaks TLS on this port, and security_protocol is {protocol}; set it to {wanted}, and give an"
            " ssl_context"
        )
    if encrypted and await _accepts_plaintext(host, port):
        wanted = "SASL_PLAINTEXT" if logs_in else "PLAINTEXT"
        return (
            f"the server does not speak TLS on this port, and security_protocol is {protocol}; set it to {wanted!r},"
            " or bootstrap_servers to the TLS port"
        )
    if not logs_in and (mechanisms := await _required_sasl_mechanisms(host, port, options)):
        return (
            f"the server requires SASL ({', '.join(mechanisms)}), and security_protocol is {protocol}; set it to"
            f" {'SASL_SSL' if encrypted else 'SASL_PLAINTEXT'!r}, and give sasl_mechanism and credentials"
        )
    if encrypted and await _closes_after_tls_handshake(host, port, options):
        return (
            "the server closed the connection after the TLS handshake: it requires a client certificate that it"
            " trusts; load one into the ssl_context (load_cert_chain)"
        )
    return None


async def _accepts_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The certificate does not matter: nothing is sent over this connection.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it speaks TLS, and refuses something else
    except (OSError, TimeoutError):
        return False
    await _abort_connection(writer)
    return True


async def _accepts_plaintext(host: str, port: int) -> bool:
    async with _probe_connection(host, port, {"security_protocol": "PLAINTEXT"}) as conn:
        return conn is not None


async def _required_sasl_mechanisms(host: str, port: int, options: dict[str, Any]) -> list[str]:
    """The server's SASL mechanisms if it expects a login."""
    async with _probe_connection(host, port, options) as conn:
        if conn is None:
            return []
        answer = await conn.send(SaslHandShakeRequest("PLAIN"))
        return list(answer.enabled_mechanisms)
    return []


async def _closes_after_tls_handshake(host: str, port: int, options: dict[str, Any]) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            _, writer = await asyncio.open_connection(host, port, ssl=options["ssl_context"])
    except (OSError, TimeoutError):
        return False
    await _abort_connection(writer)
    async with _probe_connection(host, port, options) as conn:
        if conn is None:
            return True
        await conn.send(ApiVersionRequest())
    return False


async def _abort_connection(writer: asyncio.StreamWriter) -> None:
    """Close at once. A normal close waits for the server, beyond the end of the event loop if the start has failed."""
    writer.transport.abort()
    await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def _probe_connection(host: str, port: int, options: dict[str, Any]) -> AsyncIterator[Connection | None]:
    """A connection without a login; None if it fails. An error of the connection inside is suppressed."""
    plain = {key: value for key, value in options.items() if not key.startswith("sasl_")}
    plain["security_protocol"] = plain.get("security_protocol", "PLAINTEXT").removeprefix("SASL_")
    conn = None
    with contextlib.suppress(OSError, TimeoutError, EOFError, KafkaError):
        async with asyncio.timeout(PROBE_S):
            conn = await connect(host, port, plain)
    try:
        with contextlib.suppress(OSError, TimeoutError, EOFError, KafkaError):
            async with asyncio.timeout(PROBE_S):
                yield conn
    finally:
        if conn is not None:
            conn.close()
