"""The inbox recipes of the page about exactly once: on a real Kafka, in processes that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaProducer

from evkafka.broker import KafkaBroker
from tests.docs.programs import Program, Start
from tests.support import postgres
from tests.support.doc_pages import file
from tests.support.kafka_topics import admin_of, create_topic, read_committed
from tests.support.waiting import eventually

pytestmark = [pytest.mark.long, pytest.mark.kafka, pytest.mark.timeout(600)]

PAGE = "docs/exactly-once.md"
PARTITIONS = 4
ACCOUNTS = 40
KILLS = 5
IN_A_ROW = 200
"""So many payments are handled between two kills, and at most so many wait to be handled."""

Query = Callable[[str], list[Any]]
"""Asks the database of the recipe."""


@contextmanager
def postgresql(directory: Path) -> Iterator[Query]:
    with postgres.running() as address, psycopg.connect(address, autocommit=True) as database:
        database.execute(file(PAGE, "tables.sql").encode())
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("DATABASE_URL", address)
            yield lambda query: database.execute(query.encode()).fetchall()


@contextmanager
def sqlite(directory: Path) -> Iterator[Query]:
    with contextlib.closing(sqlite3.connect(directory / "ledger.db")) as database:
        database.executescript(file(PAGE, "tables.sql"))
        yield lambda query: database.execute(query).fetchall()


class Service:
    """A recipe of the page, in two processes."""

    def __init__(self, start: Start, servers: str, query: Query, module: str) -> None:
        self._command = f"evkafka run {module}:app --bootstrap-servers {servers}"
        self._start = start
        self._numbers = itertools.count()
        self._query = query
        self.processes = [self._new(), self._new()]

    def _new(self) -> Program:
        return self._start(self._command, f"process-{next(self._numbers)}")

    def handled(self) -> int:
        return int(self._query("SELECT count(*) FROM inbox")[0][0])

    async def handles(self, number: int) -> None:
        """Wait until it has handled so many more."""
        target = self.handled() + number
        await eventually(lambda: self.handled() >= target, what=f"{target} payments in the inbox")

    async def _both_have_partitions(self) -> None:
        await eventually(
            lambda: all("was assigned" in one.printed for one in self.processes), what="partitions for both processes"
        )

    async def kill_the_older(self) -> None:
        """Kill a process that has partitions, while both handle payments, and start another one."""
        victim = self.processes[0]
        await self._both_have_partitions()
        await self.handles(IN_A_ROW)
        victim.end()
        self.processes = [*self.processes[1:], self._new()]

    async def freeze_the_older(self) -> None:
        """Freeze a process until the other one has all partitions and has handled payments of them."""
        frozen, other = self.processes
        await self._both_have_partitions()
        await self.handles(IN_A_ROW)
        times = other.printed.count("was assigned")
        frozen.process.send_signal(signal.SIGSTOP)
        await eventually(lambda: other.printed.count("was assigned") > times, what="all partitions for the other one")
        await self.handles(IN_A_ROW)
        frozen.process.send_signal(signal.SIGCONT)

    def lose_connections(self) -> None:
        """PostgreSQL ends the connections of both processes."""
        others = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
        assert self._query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

    async def stop(self) -> None:
        await self._both_have_partitions()  # a process that is still starting does not handle SIGTERM yet
        assert [one.terminate() for one in self.processes] == [0, 0]


@contextlib.asynccontextmanager
async def payments(servers: str, service: Service) -> AsyncIterator[list[dict[str, Any]]]:
    """Payments are sent as fast as they are handled. Yields what was sent; after the exit it is final."""
    sent: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def send() -> None:
        headers = [("Event-Type", b"PaymentReceived")]
        async with AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True) as producer:
            while not over.is_set():
                for number in range(len(sent), len(sent) + IN_A_ROW // 4):
                    payment = {"id": f"p-{number}", "account": f"a-{number * 7 % ACCOUNTS}", "cents": number % 100 + 1}
                    value, key = json.dumps(payment).encode(), payment["account"].encode()
                    own = [*headers, ("event-id", payment["id"].encode())]
                    await producer.send("payments", value, key=key, headers=own)
                    sent.append(payment)
                await producer.flush()
                await eventually(lambda: over.is_set() or len(sent) - service.handled() < IN_A_ROW)

    sending = asyncio.ensure_future(send())
    try:
        yield sent
    finally:
        over.set()
        await sending


async def outputs(servers: str) -> dict[str, list[tuple[str, int]]]:
    """Payment and balance of each committed output, in order, by account."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for partition in range(PARTITIONS):
        for record in await read_committed(servers, "balances", partition):
            balance = json.loads(record.value)
            found[balance["account"]].append((balance["payment"], balance["cents"]))
    return found


def expected_outputs(sent: list[dict[str, Any]]) -> dict[str, list[tuple[str, int]]]:
    expected: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for payment in sent:
        before = expected[payment["account"]][-1][1] if expected[payment["account"]] else 0
        expected[payment["account"]].append((payment["id"], before + payment["cents"]))
    return expected


NEEDS_POSTGRESQL = pytest.mark.skipif(postgres.BINARIES is None, reason="this machine has no PostgreSQL")
RECIPES = [
    pytest.param("payments", postgresql, marks=NEEDS_POSTGRESQL, id="PostgreSQL"),
    pytest.param("ledger", sqlite, id="SQLite"),
]


@contextlib.asynccontextmanager
async def handling_each_payment_once(
    start: Start, directory: Path, module: str, database: Callable[[Path], AbstractContextManager[Query]]
) -> AsyncIterator[Service]:
    """The recipe runs under load. At the exit, each payment is in the balance once, and each output was sent once."""
    (directory / f"{module}.py").write_text(file(PAGE, f"{module}.py"))
    # The brokers look for transactions of killed processes every ten seconds by default.
    quick = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": 500}
    with database(directory) as query, KafkaBroker(properties=quick) as broker:
        servers = broker.bootstrap_servers
        async with admin_of(servers) as admin:
            for topic in ("payments", "balances"):
                await create_topic(admin, topic, PARTITIONS)
        service = Service(start, servers, query, module)
        async with payments(servers, service) as sent:
            yield service
        await eventually(lambda: _has_outputs(servers, len(sent)), what=f"{len(sent)} outputs")
        await service.stop()

        expected = expected_outputs(sent)
        assert await outputs(servers) == expected
        assert dict(query("SELECT account, cents FROM balance")) == {
            account: balances[-1][1] for account, balances in expected.items()
        }


async def _has_outputs(servers: str, number: int) -> bool:
    return sum(map(len, (await outputs(servers)).values())) >= number


@pytest.mark.parametrize(("module", "database"), RECIPES)
async def test_each_payment_and_each_output_happen_once_although_processes_are_killed(
    start: Start, tmp_path: Path, module: str, database: Callable[[Path], AbstractContextManager[Query]]
) -> None:
    async with handling_each_payment_once(start, tmp_path, module, database) as service:
        for _ in range(KILLS):
            await service.kill_the_older()


@NEEDS_POSTGRESQL
async def test_each_payment_and_each_output_happen_once_although_a_process_is_frozen(
    start: Start, tmp_path: Path
) -> None:
    async with handling_each_payment_once(start, tmp_path, "payments", postgresql) as service:
        await service.freeze_the_older()


@NEEDS_POSTGRESQL
async def test_each_payment_and_each_output_happen_once_although_connections_to_the_database_are_lost(
    start: Start, tmp_path: Path
) -> None:
    async with handling_each_payment_once(start, tmp_path, "payments", postgresql) as service:
        for _ in range(10):
            await service.handles(IN_A_ROW)
            service.lose_connections()
