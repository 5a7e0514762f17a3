"""Closes a consumer within its time (aiokafka-defects.md#stop-hangs).

aiokafka's `stop()` hangs while brokers are away (forever with its auto commit), raises CancelledError into a caller
that nobody cancelled, and then leaves tasks and connections behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from evkafka.kafka.client.tasks import cancel_all
from evkafka.kafka.consumer.source_consumer import SourceConsumer

logger = logging.getLogger("evkafka.runtime.kafka")


async def close_consumer(
    consumer: SourceConsumer, own_tasks: Iterable[asyncio.Task[Any] | None], *, timeout_s: float
) -> None:
    """Leave the group and close: normally for most of the time, then by force. Never raises, never hangs."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    await cancel_all(own_tasks, timeout_s * 0.1)
    stopping = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({stopping}, timeout=timeout_s * 0.6)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    tasks = consumer.tasks()
    logger.debug("the consumer did not stop in time; cancelling %d tasks", len(tasks))
    await cancel_all([stopping, *tasks], max(0.0, deadline_s - loop.time()) * 0.4)
    if consumer.member is not None:
        await consumer.member.leave(max(0.0, deadline_s - loop.time()) * 0.5)
    closing = consumer.client.abort_connections()
    await cancel_all(
        [consumer.client.metadata_refresh_task, *consumer.tasks()], max(0.0, deadline_s - loop.time()) * 0.5
    )
    if closing:
        await asyncio.wait(closing, timeout=max(0.0, deadline_s - loop.time()))
