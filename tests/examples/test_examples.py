"""Each example does on a real Kafka what its docstring says."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cloudevents.core.bindings import kafka as cloudevents
from cloudevents.core.v1.event import CloudEvent

from evkafka import EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.testing import InMemoryRegistry
from tests.support import postgres
from tests.support.kafka_topics import MakeTopic, read_committed
from tests.support.ports import free_port
from tests.support.processes import committed
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


class Example:
    """An example in its own process, with its output in a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def printed(self) -> str:
        return self._log.read_text()

    async def prints(self, words: str) -> None:
        await eventually(lambda: words in self.printed, what=f"{words!r} in what the example prints")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)


StartExample = Callable[..., Example]


@pytest.fixture
def example(kafka_broker: KafkaBroker, tmp_path: Path) -> Iterator[StartExample]:
    """Start `python -m ...` with the broker and these variables in its environment."""
    started: list[Example] = []

    def start(*command: str, **environment: str) -> Example:
        servers = {"BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers}
        started.append(Example(command, {**servers, **environment}, tmp_path / f"{len(started)}.log"))
        return started[-1]

    yield start
    for process in started:
        process.end()


async def send(servers: str, topic: str, event_type: str, events: Sequence[dict[str, object]], key: str) -> None:
    async with EVKafkaProducer({"bootstrap_servers": servers, "topic": topic}) as producer:
        for event in events:
            await producer.send_event(event, event_type, key=str(event[key]))


async def test_payments_are_made_once_and_a_poison_order_is_paid_by_a_replay(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample, tmp_path: Path
) -> None:
    for name in ("orders", "payments"):
        await topic(name=name)
    servers, database = kafka_broker.bootstrap_servers, str(tmp_path / "payments.db")
    orders = [
        {"order_id": str(n), "customer_id": "c", "amount": "10.00", "currency": currency}
        for n, currency in enumerate(("EUR", "CHF", "USD"))
    ]
    await send(servers, "orders", "OrderPlaced", [*orders, orders[0]], "order_id")

    app = example("evkafka.cli", "run", "examples.payments.app:app", PAYMENTS_DB=database)
    await app.prints("order 2: 9.20 EUR")
    await eventually(lambda: _at(servers, "payments", "orders", 4))
    app.end()
    replay = example(
        *("evkafka.cli", "dlq", "replay", "orders.payments.dlq", "--app", "examples.payments.app:app", "--to-handler"),
        PAYMENTS_DB=database,
        RATE_CHF="1.05",
    )

    assert replay.process.wait(60) == 0, replay.printed
    assert "order 1: 10.50 EUR" in replay.printed
    assert _rows(database, "SELECT * FROM paid ORDER BY order_id") == [("0", "10.00"), ("1", "10.50"), ("2", "9.20")]


async def test_two_clusters_are_read_by_one_handler_each_with_its_own_header(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    """One broker serves as both clusters: a cluster is what a consumer's `bootstrap_servers` name."""
    for name in ("scans", "parcels.scanned"):
        await topic(name=name)
    servers = kafka_broker.bootstrap_servers
    async with EVKafkaProducer({"bootstrap_servers": servers}) as producer:
        scan = {"parcel_id": "P1", "place": "Porto"}
        await producer.send_event(scan, "Scan", topic="scans", headers={"type": b"ParcelScanned"})
    await send(servers, "parcels.scanned", "ParcelScanned", [{"parcel_id": "P1", "place": "Madrid"}], "parcel_id")

    app = example("evkafka.cli", "run", "examples.two_clusters:app", OLD_SERVERS=servers, NEW_SERVERS=servers)

    await app.prints("old: P1 at Porto")
    await app.prints("new: P1 at Madrid")


async def test_orders_of_the_cloudevents_sdk_become_invoices_that_it_reads(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    for name in ("placed-orders", "issued-invoices"):
        await topic(name=name)
    servers = kafka_broker.bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for number, write in enumerate((cloudevents.to_binary_event, cloudevents.to_structured_event)):
            attributes = {"id": f"e{number}", "source": "/shop", "type": "com.example.order.placed"}
            message = write(CloudEvent(attributes, {"order_id": str(number), "cents": 250}))
            await producer.send_and_wait("placed-orders", message.value, headers=list(message.headers.items()))

    app = example("evkafka.cli", "run", "examples.cloud_events:app")

    await app.prints("e0 from /shop: invoice for 0")
    await app.prints("e1 from /shop: invoice for 1")
    async with AIOKafkaConsumer("issued-invoices", bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        for number in range(2):
            record = await asyncio.wait_for(consumer.getone(), 60)
            message = cloudevents.KafkaMessage(dict(record.headers), record.key, record.value)
            invoice = cloudevents.from_kafka_event(message)
            assert (invoice.get_source(), invoice.get_id()) == ("/billing", f"invoice of e{number}")
            assert (invoice.get_subject(), record.key) == (str(number), str(number).encode())
            assert invoice.get_data() == {"order_id": str(number), "cents": 250}


async def test_a_webhook_answers_when_kafka_has_the_event_and_the_same_process_handles_it(
    topic: MakeTopic, example: StartExample
) -> None:
    await topic(name="deliveries")
    port = free_port()

    app = example("uvicorn", "examples.webhook:api", "--port", str(port))
    await app.prints("Uvicorn running")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=240) as client:
        event = {"parcel_id": "P7", "signed_by": "Ana"}
        answer = await client.post("/webhooks/delivered", json=event)
        page = await client.get("/events/")
        health = await client.get("/events/readyz")

    assert (answer.status_code, answer.json()) == (202, {"partition": 0, "offset": 0})
    assert "A carrier&#39;s webhook said so" in page.text or "A carrier's webhook said so" in page.text
    assert health.status_code == 200
    await app.prints("P7: signed by Ana")


async def test_work_for_the_processor_is_done_in_threads_and_committed(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    await topic(name="passwords")
    servers = kafka_broker.bootstrap_servers
    chosen: list[dict[str, object]] = [{"user_id": f"u{n}", "password": "secret"} for n in range(8)]
    await send(servers, "passwords", "PasswordChosen", chosen, "user_id")

    app = example("evkafka.cli", "run", "examples.cpu_bound:app")

    for n in range(8):
        await app.prints(f"u{n}: ")
    await eventually(lambda: _at(servers, "passwords", "passwords", 8))


async def read_meters(servers: str, topic: str) -> None:
    readings: list[dict[str, object]] = [{"meter_id": f"m{n % 10}", "kwh": n} for n in range(1000)]
    await send(servers, topic, "MeterRead", readings, "meter_id")


LAST = [(f"m{n}", 990.0 + n) for n in range(10)]
READ = "SELECT meter_id, kwh FROM reading ORDER BY meter_id"


async def test_a_batch_is_upserted_and_an_older_reading_never_wins(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample, tmp_path: Path
) -> None:
    await topic(name="meter-readings")
    servers, database = kafka_broker.bootstrap_servers, str(tmp_path / "meters.db")
    await read_meters(servers, "meter-readings")

    app = example("evkafka.cli", "run", "examples.batch_upsert:app", METERS_DB=database)

    await eventually(lambda: _at(servers, "meters", "meter-readings", 1000))
    app.end()
    assert _rows(database, READ) == LAST


@pytest.mark.skipif(postgres.BINARIES is None, reason="this machine has no PostgreSQL")
async def test_a_batch_is_upserted_into_postgresql_even_if_all_records_are_handled_again(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    name = await topic()
    servers = kafka_broker.bootstrap_servers
    await read_meters(servers, name)
    with postgres.running() as database:
        for group in ("meters", "meters-again"):
            variables = {"METERS_DB": database, "METERS_GROUP": group, "METERS_TOPIC": name}
            app = example("evkafka.cli", "run", "examples.batch_upsert:app", **variables)
            await eventually(lambda: _at(servers, group, name, 1000))  # noqa: B023
            app.end()
        with psycopg.connect(database) as connection:
            assert connection.execute(READ).fetchall() == LAST


async def test_a_periodic_task_runs_beside_the_events(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    await topic(name="page-views")
    await send(kafka_broker.bootstrap_servers, "page-views", "PageViewed", [{"page": "/start"}], "page")

    app = example("evkafka.cli", "run", "examples.periodic:app", EVERY_S="0.2")

    await app.prints("seen so far: {'/start': 1}")
    app.end()
    assert app.process.returncode == 0, app.printed


@pytest.mark.long
async def test_stock_is_reserved_once_though_the_process_is_killed(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    for name in ("carts", "reservations"):
        await topic(name=name)
    servers = kafka_broker.bootstrap_servers
    carts: list[dict[str, Any]] = [{"cart_id": str(n), "items": [f"{n}-a", f"{n}-b"]} for n in range(200)]
    await send(servers, "carts", "CartOrdered", carts, "cart_id")

    killed = example("evkafka.cli", "run", "examples.stock:app")
    await killed.prints("cart 20:")
    killed.process.kill()
    killed.process.wait(60)
    example("evkafka.cli", "run", "examples.stock:app")

    await eventually(lambda: _at(servers, "stock", "carts", 200))
    items = [record.key for record in await read_committed(servers, "reservations")]
    assert sorted(items) == sorted(item.encode() for cart in carts for item in cart["items"])


async def test_payments_of_confluents_serializer_become_receipts_that_its_deserializer_reads(
    kafka_broker: KafkaBroker, topic: MakeTopic, example: StartExample
) -> None:
    for name in ("paid", "receipts"):
        await topic(name=name)
    with InMemoryRegistry() as registry:
        url = {"EVKAFKA_SCHEMA_REGISTRY_URL": registry.url}
        example("evkafka.cli", "run", "examples.receipts.app:app", **url)
        read = example("examples.receipts.read", **url)
        assert example("examples.receipts.pay", **url).process.wait(60) == 0
        for euros, vat in (("119.00", "19.00"), ("11.90", "1.90"), ("1.19", "0.19")):
            await read.prints(f"receipt: {euros} euros, of that {vat} VAT")


async def _at(servers: str, group: str, topic: str, offset: int) -> bool:
    return await committed(servers, group, topic) == {0: offset}


def _rows(database: str, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()
