"""Runs the handler of one consumer in this process, for `evkafka replay` and `evkafka dlq replay --to-handler`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from evkafka.app import EVKafkaApp
from evkafka.kafka.cluster import KafkaCluster
from evkafka.runtime.clock import SystemClock
from evkafka.service.consumer_plan import ConsumerPlan
from evkafka.service.plan import DeclaredConsumer


class LocalConsumer(NamedTuple):
    """What an attempt needs of a consumer that is not started.

    Attributes:
        state: what the app's lifespan yielded.
        threads: run endpoints that are plain functions.
    """

    plan: ConsumerPlan
    state: Mapping[str, Any]
    threads: ThreadPoolExecutor


@asynccontextmanager
async def start_lifespan_and_producers(app: EVKafkaApp, declared: DeclaredConsumer) -> AsyncIterator[LocalConsumer]:
    """Start the app's lifespan and producers as for a run, but no consumer: no group of the app changes.

    Raises:
        StartFailed: the app could not start.
    """
    service = app.service_without_consumers(KafkaCluster(), SystemClock())
    with ThreadPoolExecutor(1, thread_name_prefix=f"evkafka-{declared.name}") as threads:
        async with service.running() as state:
            plan = app.compile_consumer_plan(declared)
            try:
                yield LocalConsumer(plan, state, threads)
            finally:
                if plan.formats is not None:
                    await plan.formats.close()
