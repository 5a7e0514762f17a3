"""Apps with a web server on a free port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evkafka import EVKafkaApp, Handler


def app_with(handler: Handler | None = None, *, name: str = "billing", **config: Any) -> EVKafkaApp:
    app = EVKafkaApp(title="Billing", web=True, web_port=0)
    app.add_consumer({"topics": ["orders"], "group_id": "billing", **config}, handler or handling(), name=name)
    return app


def handling(function: Callable[[dict[str, Any]], Any] | None = None, **options: Any) -> Handler:
    """A handler with one endpoint, for `OrderPlaced`."""
    handler = Handler()

    @handler.event("OrderPlaced", **options)
    async def on_order(event: dict[str, Any]) -> None:
        """Bills an order."""
        if function is not None and (result := function(event)) is not None:
            await result

    return handler
