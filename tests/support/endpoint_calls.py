"""Calls of endpoints without a cluster: a record, a slot, and `give`, which delivers the record once."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from evkafka.context import App
from evkafka.handler import Handler
from evkafka.middleware import Middleware
from evkafka.outcomes import Unmatched
from evkafka.runtime.ports import ConsumerIdentity, Slot
from evkafka.service.dispatch import build_dispatch


class Order(BaseModel):
    order_id: str
    amount: int = 0


@dataclass(frozen=True)
class FakeRecord:
    value: bytes | None = b""
    headers: Sequence[tuple[str, bytes | None]] = ()
    topic: str = "orders"
    partition: int = 2
    offset: int = 7
    timestamp: int = 1_700_000_000_123
    key: bytes | None = b"k"


def record(
    event_type: str | bytes | None,
    value: bytes | None = b"",
    *,
    headers: Iterable[tuple[str, bytes | None]] = (),
    **at: Any,
) -> FakeRecord:
    kind = event_type.encode() if isinstance(event_type, str) else event_type
    own = (("Event-Type", kind),) if kind is not None else ()
    return FakeRecord(value, (*own, *headers), **at)


def slot(state: Mapping[str, Any] | None = None, threads: ThreadPoolExecutor | None = None) -> Slot:
    identity = ConsumerIdentity("billing", "billing-group", "evkafka", "eu")
    return Slot(identity, state if state is not None else {}, threads)


class Through:
    """A middleware that does nothing, so that the middleware stack is not the default one."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, context: Any) -> None:
        await self.app(context)


STACKS: dict[str, list[Middleware] | None] = {"direct": None, "stacked": [Middleware(Through)]}
"""Both ways to call an endpoint, without middleware and with it: tests run on either."""


@pytest.fixture(params=list(STACKS))
def stack(request: pytest.FixtureRequest) -> list[Middleware] | None:
    """Each of `STACKS`."""
    return STACKS[request.param]


async def give(
    target: Handler | App,
    given: FakeRecord,
    *,
    middleware: Sequence[Middleware] | None = None,
    at: Slot | None = None,
    default_event_type_by_topic: Mapping[str, str] | None = None,
) -> Any:
    """One attempt: the result of the endpoint's awaitable, or the reason why no endpoint matched."""
    dispatch = build_dispatch(target, middleware, default_event_type_by_topic=default_event_type_by_topic)
    return await result_of(dispatch.call(given, at or slot()))


async def result_of(attempt: Awaitable[object] | Unmatched) -> object:
    """The result of an attempt that the dispatch has started."""
    return attempt if isinstance(attempt, Unmatched) else await attempt


def no_endpoint(event_type: str) -> Unmatched:
    return Unmatched("no_endpoint", event_type)
