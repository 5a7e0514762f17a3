"""Apps for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evkafka import EVKafkaApp, Handler


def app_of(handler: Handler, config: Mapping[str, Any] | None = None, **options: Any) -> EVKafkaApp:
    """An app with one consumer.

    Args:
        config: the consumer's; None: it reads the topic "t".
        options: of the app.
    """
    app = EVKafkaApp(**options)
    app.add_consumer(config or {"topics": ["t"]}, handler)  # type: ignore[arg-type]
    return app
