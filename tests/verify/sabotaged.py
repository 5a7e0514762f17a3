"""An app that breaks the runtime when it is imported: offsets are committed once they are read, not handled."""

from __future__ import annotations

import asyncio

from evkafka import EVKafkaApp, Handler
from evkafka.runtime.offsets import OffsetLedger

handler = Handler()


@handler.event("OrderPlaced")
async def on_order(order: dict[str, str]) -> None:
    await asyncio.sleep(0.02)


def _too_far(ledger: OffsetLedger) -> int | None:
    return None if ledger.sealed else ledger._position


OffsetLedger.committable = _too_far  # type: ignore[method-assign]

app = EVKafkaApp()
app.add_consumer(
    {"topics": ["orders"], "group_id": "billing", "session_timeout_ms": 2000, "auto_commit_interval_ms": 100}, handler
)
