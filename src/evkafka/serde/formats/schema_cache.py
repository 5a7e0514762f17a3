"""Asks a registry for each schema once, and keeps it: a schema never changes.

Decoders look schemas up without waiting. A schema that is not known yet is asked for in a task of its own, once for all
records that need it, and again until the registry answers. Those records wait meanwhile, and no attempt of theirs is
counted: that the registry is away is not the fault of a record. An id that the registry does not know is remembered for
a minute: records with it fail at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from evkafka.exceptions import RegistryError, SchemaNotFound
from evkafka.serde.formats.interface import FormatError, StoredSchema
from evkafka.serde.formats.rest import Busy

logger = logging.getLogger("evkafka.formats")

MOST_KEPT = 1000
UNKNOWN_S = 60.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0

V = TypeVar("V")

current_sleep: ContextVar[Callable[[float], Awaitable[None]]] = ContextVar("evkafka_sleep", default=asyncio.sleep)
"""Waits for so many seconds; in tests, those of a virtual clock."""

Key = int | str
"""A schema's id, or its GUID as text."""


@dataclass(slots=True)
class Request:
    """A schema that is being asked for.

    Attributes:
        ready: done once there is an answer.
        failure: why there is none so far; empty before the first failure.
        is_sent: the registry has been asked, and has not answered yet.
    """

    ready: asyncio.Future[None]
    since_s: float
    task: asyncio.Task[None] | None = None
    failure: str = ""
    is_sent: bool = True


class SchemaStore:
    """The schemas of one registry that are known, or known to be missing. Event loops and threads share it."""

    def __init__(self) -> None:
        self._known: dict[Key, StoredSchema] = {}
        self._unknown: dict[Key, tuple[float, str]] = {}

    def has_answer(self, key: Key) -> bool:
        """Whether `get` has an answer."""
        return key in self._known or self._is_unknown(key)

    def get(self, key: Key) -> StoredSchema | None:
        """The schema; None if nothing is known about it.

        Raises:
            FormatError: the registry has no such schema.
        """
        known = self._known.get(key)
        if known is None and self._is_unknown(key):
            raise FormatError(self._unknown[key][1])
        return known

    def add(self, schema: StoredSchema) -> None:
        _put_bounded(self._known, schema.key, schema)

    def remember_missing_in_registry(self, key: Key, why: str) -> None:
        _put_bounded(self._unknown, key, (time.monotonic() + UNKNOWN_S, why))

    def _is_unknown(self, key: Key) -> bool:
        remembered = self._unknown.get(key)
        return remembered is not None and time.monotonic() < remembered[0]


class SchemaRequests:
    """The requests for schemas of one registry, in one event loop.

    Args:
        fetch: asks the registry for a schema and those that it refers to; raises RegistryError.
        shown: the registry, in texts.
    """

    def __init__(self, store: SchemaStore, fetch: Callable[[Key], Awaitable[StoredSchema]], shown: str) -> None:
        self._store = store
        self._fetch = fetch
        self._shown = shown
        self._requests: dict[Key, Request] = {}

    def ask(self, key: Key) -> asyncio.Future[None]:
        """Ask for a schema, unless it is being asked for. Done once there is an answer."""
        request = self._requests.get(key)
        if request is None:
            loop = asyncio.get_running_loop()
            request = self._requests[key] = Request(loop.create_future(), time.monotonic())
            request.task = loop.create_task(
                self._ask_until_answer_is_stored(key, request), name=f"evkafka-schema-{key}"
            )
        return request.ready

    @property
    def is_asking(self) -> bool:
        """Whether a request is under way."""
        return any(one.is_sent for one in self._requests.values())

    def unavailable_reason(self) -> str:
        """Why records wait for schemas; empty if none does, or the first answers are still under way."""
        failing = [(key, one) for key, one in self._requests.items() if one.failure]
        if not failing:
            return ""
        key, oldest = failing[0]
        more = f" and {len(failing) - 1} more" if len(failing) > 1 else ""
        waits_s = time.monotonic() - oldest.since_s
        return f"records wait for schema {key}{more}, for {waits_s:.0f} s: {oldest.failure}"

    async def close(self) -> None:
        """Stop asking. Records that wait are dispatched again, and ask again."""
        requests, self._requests = list(self._requests.values()), {}
        for one in requests:
            if one.task is not None:
                one.task.cancel()
        await asyncio.gather(*(one.task for one in requests if one.task is not None), return_exceptions=True)
        for one in requests:
            if not one.ready.done():
                one.ready.cancel()

    async def _ask_until_answer_is_stored(self, key: Key, request: Request) -> None:
        """Ask until there is an answer."""
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                try:
                    self._store.add(await self._fetch(key))
                except SchemaNotFound as error:
                    self._store.remember_missing_in_registry(key, str(error))
                except RegistryError as error:
                    self._log_and_set_request_failure(key, request, error)
                    request.is_sent = False
                    await current_sleep.get()(error.pause_s if isinstance(error, Busy) else pause_s)
                    request.is_sent = True
                    pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                    continue
                except FormatError as error:
                    self._store.remember_missing_in_registry(key, str(error))
                break
            if request.failure:
                logger.info("%s answers again: records that waited for schema %s go on", self._shown, key)
        finally:
            if self._requests.get(key) is request:
                del self._requests[key]
            if not request.ready.done():
                request.ready.set_result(None)

    def _log_and_set_request_failure(self, key: Key, request: Request, error: RegistryError) -> None:
        if not request.failure:
            logger.warning("records with schema %s wait until its registry answers: %s", key, error)
        request.failure = str(error)


def _put_bounded(kept: dict[Key, V], key: Key, value: V) -> None:
    """Keep it, in place of the oldest one if there are many."""
    kept.pop(key, None)
    if len(kept) >= MOST_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value
