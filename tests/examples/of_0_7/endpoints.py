"""Endpoints: one app with a config, payloads of every kind, the request beside them."""

from typing import Any

from pydantic import BaseModel

from evkafka import EVKafkaApp, EVkafkaApp, Handler, Request
from evkafka.config import ConsumerConfig


class FooEvent(BaseModel):
    a: int
    b: str = "default"


config: ConsumerConfig = {
    "topics": ["topic"],
    "bootstrap_servers": "kafka:9092",
    "group_id": "test",
    "auto_offset_reset": "earliest",
}

app = EVKafkaApp(config=config)
handled: list[Any] = []


@app.event("ModelEvent")
async def model_handler(event: FooEvent) -> None:
    handled.append(event)


@app.event("DictEvent")
async def dict_handler(event: dict) -> None:
    handled.append(event)


@app.event("StrEvent")
async def str_handler(event: str) -> None:
    handled.append(event)


@app.event("BytesEvent")
async def bytes_handler(event: bytes) -> None:
    handled.append(event)


@app.event("SyncEvent", summary="Runs in a thread", description="Plain functions do", tags=["sync"])
def sync_handler(event: FooEvent) -> None:
    handled.append(event)


@app.event("RequestEvent")
async def request_handler(request: Request, event: FooEvent) -> None:
    message, consumer = request.context.message, request.context.consumer
    handled.append((await request.json(), request.key, request.headers, message.event_type, consumer.name))


included = Handler()


@included.event("FirstName")
@included.event("SecondName")
async def stacked_handler(event: FooEvent) -> None:
    handled.append(event)


handler = Handler()
handler.include_handler(included)

several = EVkafkaApp()
several.add_consumer({"topics": ["one"], "bootstrap_servers": "one:9092", "group_id": "test"}, handler)
several.add_consumer({"topics": ["two"], "bootstrap_servers": "two:9092", "group_id": "test"}, handler, name="two")


if __name__ == "__main__":
    app.run()
