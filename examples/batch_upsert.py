"""Writes many records to a database in one statement. Each record has one row, also if it is handled twice.

    BOOTSTRAP_SERVERS=localhost:9092 METERS_DB=meters.db evkafka run examples.batch_upsert:app

    pip install 'psycopg[binary]'
    METERS_DB=postgresql://user:password@host/meters evkafka run examples.batch_upsert:app

At least once means that a batch may be handled again, whole or in part, after a crash between the database's commit and
Kafka's. The upsert makes that harmless. A row contains the offset of its record, and an older record of the same
partition never overwrites a newer one. The statement works in SQLite and PostgreSQL; only the placeholders differ.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler, Request

DATABASE = os.environ.get("METERS_DB", "meters.db")

TABLE = """
CREATE TABLE IF NOT EXISTS reading
    (meter_id TEXT PRIMARY KEY, kwh DOUBLE PRECISION, source_partition INTEGER, source_offset BIGINT)
"""

UPSERT = """
INSERT INTO reading (meter_id, kwh, source_partition, source_offset) VALUES (?, ?, ?, ?)
ON CONFLICT (meter_id) DO UPDATE
   SET kwh = excluded.kwh, source_partition = excluded.source_partition, source_offset = excluded.source_offset
 WHERE excluded.source_partition <> reading.source_partition OR excluded.source_offset > reading.source_offset
"""

handler = Handler()


class MeterRead(BaseModel):
    meter_id: str
    kwh: float


@handler.event("MeterRead", batch=True, max_records=500, max_wait_ms=200)
def on_readings(readings: list[MeterRead], requests: list[Request]) -> None:
    """A plain `def`: the database's calls block, and so run in a thread."""
    rows = [
        (reading.meter_id, reading.kwh, request.partition, request.offset)
        for reading, request in zip(readings, requests, strict=True)
    ]
    write(rows)


def write(rows: Sequence[tuple[str, float, int, int]]) -> None:
    """One transaction for the whole batch: all of it, or nothing."""
    if DATABASE.startswith("postgresql://"):
        import psycopg

        with psycopg.connect(DATABASE) as postgres, postgres.cursor() as cursor:
            cursor.executemany(UPSERT.replace("?", "%s"), rows)
        return
    with closing(sqlite3.connect(DATABASE)) as sqlite, sqlite:
        sqlite.executemany(UPSERT, rows)


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """The table is made before the first record comes."""
    if DATABASE.startswith("postgresql://"):
        import psycopg

        with psycopg.connect(DATABASE) as postgres:
            postgres.execute(TABLE)
    else:
        with closing(sqlite3.connect(DATABASE)) as sqlite, sqlite:
            sqlite.execute(TABLE)
    yield


app = EVKafkaApp(title="Meters", lifespan=lifespan)
app.add_consumer(
    {
        "topics": [os.environ.get("METERS_TOPIC", "meter-readings")],
        "bootstrap_servers": os.environ.get("BOOTSTRAP_SERVERS", "localhost:9092"),
        "group_id": os.environ.get("METERS_GROUP", "meters"),
        "auto_offset_reset": "earliest",
    },
    handler,
)
