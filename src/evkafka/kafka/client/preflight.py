"""Tests the connection at the start and reports why it fails (aiokafka-defects.md#bootstrap-causes).

aiokafka hides why a server could not be reached. So each server is tried first with a connection of its own (TCP, TLS,
version handshake, login), whose error is kept.
"""

from __future__ import annotations

import asyncio
import logging

from aiokafka.conn import collect_hosts
from aiokafka.protocol.metadata import MetadataRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.config.time_limits import seconds_text
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable
from evkafka.kafka.client.connection import FAILURES, connect
from evkafka.kafka.client.diagnosis import diagnose_closed_connection
from evkafka.kafka.errors import translate_error, was_closed_without_reason
from evkafka.kafka.options import CLIENT_ONLY_OPTIONS, connection_options

logger = logging.getLogger("evkafka.runtime.kafka")

ONE_SERVER_S = 8.0
"""How long one server may take to answer, so that a silent one does not use up the whole time."""

NEXT_SERVER_S = 1.0
"""After this time the next server is tried too, while the first has not answered yet."""

RETRY_S = 0.5

MIN_START_S = 1.0
"""How long a client may take to start in any case, also if a server was reached at the last moment."""


async def find_reachable_server(
    connection: ConnectionSettings, *, timeout_s: float, limit: str | None = None
) -> tuple[str, int]:
    """Return when one of the servers accepts the connection; try again until the time is over.

    Args:
        limit: names the time limit in the error; default: `timeout_s`.

    Returns:
        Host and port of that server.

    Raises:
        BrokerRefused: a server refused it (login, certificate, TLS). Raised at once: waiting cannot help.
        BrokerUnavailable: no server could be reached in time; the message has the cause for each server.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    warned = False
    while True:
        causes: dict[str, BrokerError] = {}
        hosts = [(host, port) for host, port, _ in collect_hosts(list(connection.bootstrap_servers), randomize=False)]
        found = await _first_reachable(connection, hosts, deadline_s, causes)
        if found is not None:
            return found
        sentence = "; ".join(str(error) for error in causes.values())
        if loop.time() + RETRY_S >= deadline_s:
            raise BrokerUnavailable(
                f"could not reach a Kafka broker within {limit or seconds_text(timeout_s)} ({sentence});"
                " check bootstrap_servers"
            ) from None  # the sentence has each server's cause; their tracebacks are the client's own
        if not warned:
            logger.warning("cannot reach a Kafka broker yet (%s); trying again", sentence)
            warned = True
        await asyncio.sleep(RETRY_S)


async def _first_reachable(
    connection: ConnectionSettings, hosts: list[tuple[str, int]], deadline_s: float, causes: dict[str, BrokerError]
) -> tuple[str, int] | None:
    """The first server that accepts the connection. While a slow one is waited for, the next is tried too.

    Args:
        causes: the errors of the others, by server. Written here.

    Raises:
        BrokerRefused: one of them refused it.
    """
    loop = asyncio.get_running_loop()
    asked: dict[asyncio.Task[None], tuple[str, int]] = {}
    waiting = list(hosts)
    try:
        while waiting or asked:
            if waiting:
                host, port = waiting.pop(0)
                within_s = min(max(deadline_s - loop.time(), 0.1), ONE_SERVER_S)
                asked[asyncio.ensure_future(check_login(connection, host, port, timeout_s=within_s))] = host, port
            done, _ = await asyncio.wait(
                asked, timeout=NEXT_SERVER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                host, port = asked.pop(task)
                error = task.exception()
                if error is None:
                    return host, port
                if isinstance(error, BrokerRefused) or not isinstance(error, BrokerError):
                    raise error
                causes[f"{host}:{port}"] = error
        return None
    finally:
        for task in asked:
            task.cancel()
        if asked:
            await asyncio.wait(asked)


async def check_login(connection: ConnectionSettings, host: str, port: int, *, timeout_s: float) -> None:
    """Connect and log in to one server, and disconnect again.

    Raises:
        BrokerRefused, BrokerUnavailable, BrokerError: it failed; `__cause__` is aiokafka's error.
    """
    options = connection_options(connection)
    options = {name: value for name, value in options.items() if name not in CLIENT_ONLY_OPTIONS}
    options.setdefault("sasl_mechanism", "PLAIN")
    try:
        async with asyncio.timeout(timeout_s):
            conn = await connect(host, port, options)
            try:
                # Without a request, a broker that expects a login would seem to accept a client that has none.
                await conn.send(MetadataRequest([]))
            finally:
                closing = conn.close()
    except BrokerError:
        raise
    except FAILURES as error:
        if (
            was_closed_without_reason(error)
            and (why := await diagnose_closed_connection(host, port, options)) is not None
        ):
            raise BrokerRefused(f"{host}:{port}: {why}") from error
        raise translate_error(error, f"{host}:{port}") from error
    await asyncio.wait({closing}, timeout=1.0)
