"""Connections that are cut at any request, reset, refused, silent, half-open or slow: the app recovers from each.

Behind a proxy, on a real Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.faults.rows import Row, parameters, run_all, selected_rows
from tests.support.proxy import (
    COMMIT,
    FETCH,
    FIND_COORDINATOR,
    HEARTBEAT,
    JOIN_GROUP,
    LEAVE_GROUP,
    METADATA,
    OFFSET_FETCH,
    SYNC_GROUP,
    Proxy,
)
from tests.support.stream import SESSION_S, Stream

OUTAGE_S = SESSION_S + 1.0
RECORDS, LEAST_BYTES = 2_000, 20
"""For a slow fetch: the number of records in each partition, and the minimum size of each with its header."""

SHORT_REQUESTS = {"rebalance_timeout_ms": 1000, "request_timeout_ms": 6000, "revoke_drain_timeout_ms": 500}
"""The client's request timeout is the rebalance timeout plus five seconds."""


@contextlib.asynccontextmanager
async def behind_a_proxy(servers: str) -> AsyncIterator[tuple[Stream, Proxy]]:
    async with Proxy(servers) as proxy:
        stream = Stream(servers, through=proxy.bootstrap_servers)
        await stream.create()
        yield stream, proxy


def cut_while_joining(api_key: int, where: str) -> Callable[[str], Awaitable[None]]:
    async def run(servers: str) -> None:
        async with behind_a_proxy(servers) as (stream, proxy):
            rule = proxy.on(api_key, cut=where, count=2)
            async with stream.flowing() as app:
                await stream.recovers(app=app)
                assert rule.hits

    return run


def cut_while_running(api_key: int, where: str) -> Callable[[str], Awaitable[None]]:
    async def run(servers: str) -> None:
        async with behind_a_proxy(servers) as (stream, proxy), stream.flowing() as app:
            await stream.goes_on()
            rule = proxy.on(api_key, cut=where, count=3)
            await asyncio.wait_for(rule.seen.wait(), 60)
            await stream.recovers(app=app)

    return run


async def cut_while_leaving(servers: str) -> None:
    """The stop does not hang, and another member gets the partitions after the session timeout at the latest."""
    async with behind_a_proxy(servers) as (stream, proxy):
        proxy.on(LEAVE_GROUP, cut="before", count=9)
        async with stream.flowing():
            await stream.goes_on()
        before = len(stream.started)  # not after the write: a slow write leaves too few records to wait for
        async with stream.app(bootstrap_servers=servers).running(on_failure=lambda _: None):
            await stream.write(20)
            await stream.recovers(before=before)


async def reset_repeatedly(servers: str) -> None:
    async with behind_a_proxy(servers) as (stream, proxy), stream.flowing() as app:
        for _ in range(5):
            await stream.goes_on(5)
            proxy.disconnect()
        await stream.recovers(app=app)


def in_outage(mode: str) -> Callable[[str], Awaitable[None]]:
    async def run(servers: str) -> None:
        async with behind_a_proxy(servers) as (stream, proxy), stream.flowing() as app:
            await stream.goes_on()
            await proxy.set(mode)  # type: ignore[arg-type]
            await asyncio.sleep(OUTAGE_S)
            await proxy.set("pass")
            await stream.recovers(outage_s=OUTAGE_S, app=app)

    return run


async def half_open(servers: str) -> None:
    """A connection that a firewall has dropped: it is not closed, and no answer comes."""
    async with behind_a_proxy(servers) as (stream, proxy), stream.flowing() as app:
        await stream.goes_on()
        proxy.forget()
        await stream.recovers(app=app)


def slow(fetch_s: float, **config: object) -> Callable[[str], Awaitable[None]]:
    """One fetch takes `fetch_s`: if the consumer abandoned it, it would request it again forever."""

    async def run(servers: str) -> None:
        async with behind_a_proxy(servers) as (stream, proxy):
            await stream.write(RECORDS)
            proxy.bytes_per_s = stream.partitions * RECORDS * LEAST_BYTES / fetch_s
            app = stream.app(**config)
            async with app.running(on_failure=lambda _: None):
                start_s = time.monotonic()
                await stream.goes_on(1)
                assert time.monotonic() - start_s > fetch_s / 3
                assert proxy.requests.count(FETCH) < 3
                proxy.bytes_per_s = None
                await stream.is_done(app)
        stream.in_order()

    return run


def late(api_key: int, delay_s: float, count: int) -> Callable[[str], Awaitable[None]]:
    async def run(servers: str) -> None:
        async with behind_a_proxy(servers) as (stream, proxy), stream.flowing() as app:
            await stream.goes_on()
            rule = proxy.on(api_key, delay_s=delay_s, count=count)
            await asyncio.wait_for(rule.seen.wait(), 60)
            await stream.recovers(app=app)

    return run


async def everything_late(servers: str) -> None:
    async with behind_a_proxy(servers) as (stream, proxy):
        for api_key in (JOIN_GROUP, SYNC_GROUP, OFFSET_FETCH, FIND_COORDINATOR, HEARTBEAT, COMMIT, FETCH, METADATA):
            proxy.on(api_key, delay_s=0.3, count=20)
        async with stream.flowing() as app:
            await stream.recovers(app=app)


NAMES = {
    JOIN_GROUP: "JoinGroup",
    SYNC_GROUP: "SyncGroup",
    OFFSET_FETCH: "OffsetFetch",
    FIND_COORDINATOR: "FindCoordinator",
    HEARTBEAT: "Heartbeat",
    COMMIT: "OffsetCommit",
    FETCH: "Fetch",
    METADATA: "Metadata",
}

ROWS = [
    *(
        Row(f"cut {where} the {NAMES[api_key]} request", make(api_key, where))
        for make, kinds in [
            (cut_while_joining, (JOIN_GROUP, SYNC_GROUP, OFFSET_FETCH, FIND_COORDINATOR)),
            (cut_while_running, (HEARTBEAT, COMMIT, FETCH, METADATA)),
        ]
        for api_key in kinds
        for where in ("before", "after")
    ),
    Row("cut when it leaves the group", cut_while_leaving),
    Row("reset again and again", reset_repeatedly),
    Row("refused for longer than a session", in_outage("refuse")),
    Row("silent for longer than a session", in_outage("blackhole")),
    Row("half-open", half_open),
    Row("slower than a session for one fetch", slow(3 * SESSION_S)),
    Row("slower than a request timeout for one fetch", slow(12.0, **SHORT_REQUESTS)),
    Row("commits answered 3 s late", late(COMMIT, 3.0, 2)),
    Row("heartbeats answered later than a session", late(HEARTBEAT, SESSION_S + 1, 2)),
    Row("fetches answered 3 s late", late(FETCH, 3.0, 2)),
    Row("everything answered 0.3 s late", everything_late),
]


@pytest.fixture(scope="module")
def errors(kafka_broker: KafkaBroker, request: pytest.FixtureRequest) -> dict[str, BaseException | None]:
    return run_all(selected_rows(request), kafka_broker.bootstrap_servers)


@pytest.mark.parametrize("row", parameters(ROWS))
def test_the_app_recovers_from_a_connection_that_is(row: Row, errors: dict[str, BaseException | None]) -> None:
    if (error := errors[row.name]) is not None:
        raise error
