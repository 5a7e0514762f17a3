"""`evkafka dlq replay --to-handler`: an app without its consumers, whose handler is given one record at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from evkafka.app import EVKafkaApp
from evkafka.dlq.local_handler import local_handler
from evkafka.dlq.replay import LocalHandler
from evkafka.kafka.cluster import KafkaCluster
from evkafka.runtime.clock import SystemClock
from evkafka.service.plan import DeclaredConsumer
from evkafka.service.service import ConsumerPlan

Standing = tuple[ConsumerPlan, Mapping[str, Any], ThreadPoolExecutor]
"""What an attempt needs: the consumer, compiled; what the lifespan yielded; threads for a plain `def`."""


@asynccontextmanager
async def standing(app: EVKafkaApp, declared: DeclaredConsumer) -> AsyncIterator[Standing]:
    """Lifespan and producers of the app, started as for a run, and one consumer's handler. No consumer is started: no
    other group, and no other member of this one, sees anything of it.

    Raises:
        StartFailed: the app could not start.
    """
    service = app.service_without_consumers(KafkaCluster(), SystemClock())
    with ThreadPoolExecutor(1, thread_name_prefix=f"evkafka-{declared.name}") as threads:
        async with service.running() as state:
            yield app.compile_consumer(declared), state, threads


@asynccontextmanager
async def handling(app: EVKafkaApp, declared: DeclaredConsumer) -> AsyncIterator[LocalHandler]:
    """What handles a dead letter with this consumer's handler.

    Raises:
        StartFailed: the app could not start.
    """
    async with standing(app, declared) as (plan, state, threads):
        yield local_handler(plan, state, threads)
