"""A lifespan: what it yields is the requests' state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from evkafka import EVKafkaApp, Request


class Database:
    def __init__(self) -> None:
        self.open = True
        self.rows: list[str] = []


class AppState(TypedDict):
    database: Database


opened: list[Database] = []


@asynccontextmanager
async def lifespan() -> AsyncIterator[AppState]:
    database = Database()
    opened.append(database)
    yield {"database": database}
    database.open = False


app = EVKafkaApp(
    config={
        "topics": ["topic"],
        "bootstrap_servers": "kafka:9092",
        "group_id": "test",
        "auto_offset_reset": "earliest",
    },
    lifespan=lifespan,
)


@app.event("ByAttribute")
async def by_attribute(event: dict, request: Request) -> None:
    request.state.database.rows.append(event["name"])


@app.event("ByItem")
async def by_item(event: dict, request: Request[AppState]) -> None:
    request.state["database"].rows.append(event["name"])


if __name__ == "__main__":
    app.run()
