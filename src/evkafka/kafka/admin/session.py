"""Short connections for one operation: an admin client or a reader, with a time limit and translated errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError
from evkafka.kafka.admin.reader import Reader
from evkafka.kafka.client.client import admin_client
from evkafka.kafka.client.connection import SilenceTimeout
from evkafka.kafka.client.log_filters import client_log_filters
from evkafka.kafka.client.preflight import find_reachable_server
from evkafka.kafka.errors import translate_error

Answer = TypeVar("Answer")

OPERATION_S = 30.0
"""The time limit of an operation whose caller sets none."""

COORDINATOR_RETRY_S = 0.1
"""The wait before a coordinator is looked up again."""


@asynccontextmanager
async def admin_session(
    connection: ConnectionSettings, doing: str, timeout_s: float = OPERATION_S
) -> AsyncIterator[Any]:
    """An admin client for one operation.

    Args:
        doing: the operation, for error messages.

    Raises (also for errors inside):
        BrokerUnavailable, BrokerRefused, BrokerError: it failed, or took longer than `timeout_s`.
    """
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    with client_log_filters.installed():
        try:
            # It reports the cause for each server, which aiokafka does not.
            first = await find_reachable_server(connection, timeout_s=timeout_s)
        except BrokerError as error:
            raise type(error)(f"{doing}: {error}") from error
        admin = admin_client(connection, first=first)
        with _translate_errors(doing, timeout_s):
            async with asyncio.timeout_at(deadline_s):
                try:
                    await admin.start()
                    yield admin
                finally:
                    await admin.close()


async def retry_until_coordinator_known(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask again while there is no coordinator, until the session's time is over.

    The first look-up makes a new cluster create the topic that its coordinators need, and fails until then. Later a
    coordinator may move.
    """
    while True:
        try:
            return await ask()
        except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
            await asyncio.sleep(COORDINATOR_RETRY_S)


@asynccontextmanager
async def reader_session(
    connection: ConnectionSettings, doing: str, timeout_s: float = OPERATION_S
) -> AsyncIterator[Reader]:
    """A reader of committed records for one operation; see `limit_operation` for time limit and errors."""
    reader = Reader(connection, isolation_level="read_committed")
    async with limit_operation(doing, timeout_s, reader):
        try:
            await reader.start()
            yield reader
        finally:
            await reader.stop()


@asynccontextmanager
async def limit_operation(doing: str, timeout_s: float, reader: Reader | None = None) -> AsyncIterator[None]:
    """Limit the time of an operation, and translate its errors.

    Args:
        doing: the operation, for error messages.
        timeout_s: the limit; it begins again while a large answer arrives at this reader, and with each `assign_at`.
    """
    with _translate_errors(doing, timeout_s), client_log_filters.installed():
        async with SilenceTimeout(timeout_s, lambda: reader.progress if reader is not None else None):
            yield


@contextmanager
def _translate_errors(doing: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BrokerError(f"{doing}: no answer within {timeout_s:g} s") from error
    except (KafkaError, OSError) as error:
        raise translate_error(error, doing) from error
