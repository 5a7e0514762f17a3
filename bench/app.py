"""The EVKafka app that the rows run: default configuration, read from the first record on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bench.extras  # noqa: F401 - before EVKafka is imported
from bench.arguments import Arguments
from evkafka import EVKafkaApp
from evkafka.middleware import Middleware


def make_app(
    args: Arguments, *, tracing: bool = False, middleware: Sequence[Middleware] | None = None, **config: Any
) -> EVKafkaApp:
    """Return an app with one consumer of the row's topic; `config` overrides its configuration."""
    defaults = {
        "topics": [args.topic],
        "bootstrap_servers": args.bootstrap_servers,
        "group_id": args.group_id,
        "auto_offset_reset": "earliest",
    }
    return EVKafkaApp(defaults | config, middleware=middleware, tracing=tracing)  # type: ignore[arg-type]
