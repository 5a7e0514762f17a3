"""The page about exactly-once processing: its apps, on the in-memory Kafka."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from evkafka import EVKafkaApp
from evkafka.testing import InMemoryKafka
from tests.support import postgres
from tests.support.doc_pages import file
from tests.support.waiting import eventually

PAGE = "docs/exactly-once.md"


def run(title: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": title.removesuffix(".py")}
    exec(compile(file(PAGE, title), title, "exec", dont_inherit=True), namespace)
    return namespace


def test_its_test_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for title in ("invoices.py", "test_invoices.py"):
        (tmp_path / title).write_text(file(PAGE, title))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "invoices", raising=False)
    run("test_invoices.py")["test_an_order_is_billed_once"]()
    monkeypatch.delitem(sys.modules, "invoices", raising=False)


async def test_a_producer_outside_transactions_logs_each_attempt() -> None:
    app = run("attempts.py")["app"]
    async with InMemoryKafka() as kafka, kafka.running(app):
        await kafka.send("orders", {"id": "o-1", "cents": -1}, "OrderPlaced")
        await kafka.settle()
        kafka.assert_sent("attempts", "InvoiceAttempted", times=2)
        kafka.assert_sent("invoices", times=0)
        kafka.assert_sent("orders.billing.dlq", times=1)


def test_a_test_client_has_what_would_be_visible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "attempts.py").write_text(file(PAGE, "attempts.py"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "attempts", raising=False)
    run("test_attempts.py")["test_a_failed_attempt_bills_nothing"]()
    monkeypatch.delitem(sys.modules, "attempts", raising=False)


async def test_the_inbox_table_counts_each_payment_once_and_repeats_its_output(tmp_path: Path) -> None:
    page = run("ledger.py")
    page["DATABASE"] = str(tmp_path / "ledger.db")
    with closing(sqlite3.connect(page["DATABASE"])) as database:
        database.executescript(file(PAGE, "tables.sql"))
        assert await outputs_after_a_crash(page["app"], lambda query: database.execute(query).fetchall()) == OUTPUTS
        assert database.execute("SELECT cents FROM balance").fetchall() == [(500,)]


@pytest.mark.skipif(postgres.BINARIES is None, reason="this machine has no PostgreSQL")
class TestTheInboxTableInPostgreSQL:
    @pytest.fixture
    def database(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
        with postgres.running() as address, psycopg.connect(address, autocommit=True) as database:
            monkeypatch.setenv("DATABASE_URL", address)
            database.execute(file(PAGE, "tables.sql").encode())
            yield database

    async def test_counts_each_payment_once_and_repeats_its_output(self, database: psycopg.Connection) -> None:
        app = run("payments.py")["app"]
        assert await outputs_after_a_crash(app, lambda query: database.execute(query.encode()).fetchall()) == OUTPUTS
        assert database.execute("SELECT cents FROM balance").fetchall() == [(500,)]

    async def test_refuses_an_event_without_an_id(self, database: psycopg.Connection) -> None:
        async with InMemoryKafka() as kafka, kafka.running(run("payments.py")["app"]):
            await kafka.send("payments", {"account": "a", "cents": 100}, "PaymentReceived")
            await kafka.settle()
            kafka.assert_sent("payments.ledger.dlq", times=1)
        assert database.execute("SELECT count(*) FROM inbox").fetchall() == [(0,)]

    def test_loses_only_rows_older_than_thirty_days(self, database: psycopg.Connection) -> None:
        for days in (29, 31):
            row = "INSERT INTO inbox VALUES (%s, CURRENT_TIMESTAMP - make_interval(days => %s))"
            database.execute(row, (f"{days} days", days))
        database.execute(file(PAGE, "remove_old_rows.sql").encode())
        assert database.execute("SELECT event_id FROM inbox").fetchall() == [("29 days",)]


OUTPUTS = [(f"p-{number}", 100 * (number + 1)) for number in range(5)]


async def outputs_after_a_crash(app: EVKafkaApp, ask: Callable[[str], list[Any]]) -> list[tuple[str, int]]:
    """Payment and balance of each output. The process dies when the database has all payments, and Kafka none."""
    async with InMemoryKafka() as kafka:
        for number in range(5):
            payment = {"id": f"p-{number}", "account": "a", "cents": 100}
            headers = {"event-id": f"p-{number}"}
            await kafka.send("payments", payment, "PaymentReceived", key="a", headers=headers)
        async with kafka.running(app):
            with kafka.latency(commit_ms=60_000):
                await kafka.advance(ms=1_000)
                await eventually(lambda: ask("SELECT count(*) FROM inbox") == [(5,)])
                await kafka.crash(app)
        assert kafka.records("balances") == []
        async with kafka.running(app):
            await kafka.settle()
        sent = [record.json() for record in kafka.records("balances")]
    return [(balance["payment"], balance["cents"]) for balance in sent]
