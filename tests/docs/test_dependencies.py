"""The page "Dependencies": its files work."""

from __future__ import annotations

import pytest

from tests.support.doc_pages import blocks, file

PAGE = "docs/dependencies.md"
OPTIONAL = ("with_sqlalchemy.py", "with_dishka.py")
"""Files that need packages that not every environment has."""

pytest_plugins = ["pytester"]

TEST_MORE = """
import sqlite3

from evkafka import BatchError, EVKafkaApp, TestClient

import batches, nested, shop, with_sqlite


def app_of(handler, lifespan=None):
    app = EVKafkaApp(lifespan=lifespan)
    app.add_consumer({"topics": ["orders"]}, handler)
    return app


def test_nested():
    with TestClient(app_of(nested.handler)) as client:
        client.send_event({}, "OrderPlaced", "orders", headers={"tenant": "acme"})


def test_sqlite():
    database = sqlite3.connect("orders.db")
    database.execute("CREATE TABLE orders (id TEXT PRIMARY KEY)")
    with TestClient(app_of(with_sqlite.handler)) as client:
        for _ in range(2):
            client.send_event({"id": "1"}, "OrderPlaced", "orders")
    assert database.execute("SELECT id FROM orders").fetchall() == [("1",)]
    database.close()


def test_batches():
    kept = []

    class Kept(shop.Database):
        def __init__(self, url):
            super().__init__(url)
            kept.append(self)

    shop.Database = Kept
    with TestClient(app_of(batches.handler, shop.lifespan)) as client:
        orders = [{"order_id": str(cents), "cents": cents} for cents in (1, -1, 2)]
        deliveries = client.send_batch(orders, "OrderPlaced", "orders")
    assert [delivery.outcome for delivery in deliveries] == ["done", "skip", "done"]
    assert kept[0].rows == ["1", "2"]
"""

TEST_SQLALCHEMY = """
import sqlite3

import pytest
from evkafka import TestClient
from with_sqlalchemy import app


def test_it():
    database = sqlite3.connect("shop.db")
    database.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, cents INTEGER)")
    with TestClient(app) as client:
        for _ in range(2):
            client.send_event({"id": "1", "cents": 5}, "OrderPlaced", "orders")
        with pytest.raises(Exception):
            client.send_event({"id": "1"}, "OrderPlaced", "orders")
    assert database.execute("SELECT id, cents FROM orders").fetchall() == [("1", 5)]
    database.close()
"""

TEST_DISHKA = """
from evkafka import TestClient
from with_dishka import Session, app, provided
from database import Database


def test_each_attempt_has_a_session_of_its_own(monkeypatch):
    committed = []

    async def commit(self):
        committed.append(list(self.new))

    monkeypatch.setattr(Session, "commit", commit)
    with TestClient(app) as client:
        for number in (1, 2):
            client.send_event({"id": str(number)}, "OrderPlaced", "orders")
    assert [rows[1] for rows in committed] == ["1", "2"]
    assert committed[0][0] != committed[1][0]


def test_what_is_provided_can_be_overridden():
    session = Session(Database("none"))
    app.dependency_overrides[provided(Session)] = lambda: session
    with TestClient(app) as client:
        client.send_event({"id": "1"}, "OrderPlaced", "orders")
    assert session.new == ["1"]
"""


def write(pytester: pytest.Pytester, **files: str) -> None:
    for name, code in files.items():
        (pytester.path / f"{name}.py").write_text(code)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")


def test_its_files_work_and_its_tests_pass(pytester: pytest.Pytester) -> None:
    python = [block for block in blocks(PAGE) if block.language == "python"]
    for block in python:
        assert block.title is not None, f"a block without a file's name is not run:\n{block.code}"
    written = {
        block.title.removesuffix(".py"): block.code for block in python if block.title and block.title not in OPTIONAL
    }
    write(pytester, **written, test_more=TEST_MORE)

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=sum(code.count("def test_") for code in [*written.values(), TEST_MORE]))


def test_the_sqlalchemy_example_commits_and_writes_nothing_twice(pytester: pytest.Pytester) -> None:
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("aiosqlite")
    write(pytester, with_sqlalchemy=file(PAGE, "with_sqlalchemy.py"), test_it=TEST_SQLALCHEMY)

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=1)


def test_a_dishka_container_works_as_a_dependency(pytester: pytest.Pytester) -> None:
    pytest.importorskip("dishka")
    write(pytester, with_dishka=file(PAGE, "with_dishka.py"), database=file(PAGE, "database.py"), test_it=TEST_DISHKA)

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=2)
