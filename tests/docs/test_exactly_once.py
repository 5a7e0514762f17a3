"""The page about exactly-once processing: its apps, on the in-memory Kafka."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from evkafka.testing import InMemoryKafka
from tests.support.doc_pages import file

PAGE = "docs/exactly-once.md"


def run(title: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": title.removesuffix(".py")}
    exec(compile(file(PAGE, title), title, "exec"), namespace)
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


async def test_the_inbox_table_counts_each_payment_once(tmp_path: Path) -> None:
    page = run("ledger.py")
    page["DATABASE"] = str(tmp_path / "ledger.db")
    async with InMemoryKafka() as kafka, kafka.running(page["app"]):
        kafka.fail_commits(*["unknown, lost"] * 3)
        for number in range(5):
            await kafka.send("payments", {"id": f"p-{number}", "account": "a", "cents": 100}, "PaymentReceived")
            await kafka.settle()
        sent = [record.json()["payment"] for record in kafka.records("balances")]
    assert sent == [f"p-{number}" for number in range(5)]
    database = sqlite3.connect(page["DATABASE"])
    assert database.execute("SELECT cents FROM balance").fetchall() == [(500,)]
    database.close()
