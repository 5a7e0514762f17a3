"""Middleware: one's own around every event, and another decoder."""

import json
from collections.abc import Callable
from typing import Any

from evkafka import EVKafkaApp, Request
from evkafka.config import ConsumerConfig
from evkafka.context import Context, HandlerApp
from evkafka.middleware import JsonTypedDecoderMiddleware, Middleware

config: ConsumerConfig = {"topics": ["topic"], "bootstrap_servers": "kafka:9092", "group_id": "test"}
seen: list[Any] = []


class TraceMiddleware:
    """Notes each event before and after it was handled, and puts the trace's id into the state."""

    def __init__(self, app: HandlerApp, header: str) -> None:
        self.app = app
        self.header = header

    async def __call__(self, context: Context) -> None:
        headers = dict(context.message.headers)
        context.state["trace"] = headers.get(self.header)
        seen.append("before")
        try:
            await self.app(context)
        finally:
            seen.append("after")


class UnwrappingMiddleware(JsonTypedDecoderMiddleware):
    """Events come in an envelope; endpoints see what is inside."""

    async def __call__(self, context: Context) -> None:
        context.message.decoded_value_cb = self._inside(context)
        await super().__call__(context)

    @staticmethod
    def _inside(context: Context) -> Callable[[], Any]:
        async def decoded() -> Any:
            return json.loads(context.message.value or b"null")["data"]

        return decoded


app = EVKafkaApp(
    config=config,
    middleware=[
        Middleware(TraceMiddleware, header="X-Trace"),
        Middleware(UnwrappingMiddleware, type_header_name="X-Type"),
    ],
)


@app.event("Event")
async def handle(event: dict, request: Request) -> None:
    seen.append((event, request.state.trace))


if __name__ == "__main__":
    app.run()
