"""The end of a consumer, within its time. aiokafka's stop() hangs while brokers are away (for ever with its auto
commit on), raises CancelledError into a caller that nobody cancelled, and then leaves tasks and connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.group import LeaveGroupRequest

from evkafka.kafka.consumer.consumer import ContainedConsumer
from evkafka.kafka.consumer.coordinator import Member

logger = logging.getLogger("evkafka.runtime.kafka")


async def close(
    consumer: ContainedConsumer, own_tasks: Iterable[asyncio.Task[Any] | None], *, timeout_s: float
) -> None:
    """Leave the group and close: gently for most of the time, then by force. Never raises, never hangs."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    await _end(own_tasks, timeout_s * 0.1)
    gentle = asyncio.ensure_future(consumer.stop())
    await asyncio.wait({gentle}, timeout=timeout_s * 0.6)
    if gentle.done() and not gentle.cancelled() and gentle.exception() is None:
        return
    tasks = _tasks(consumer)
    logger.debug("the consumer did not stop by itself; %d tasks are cancelled", len(tasks))
    await _end([gentle, *tasks], max(0.0, deadline_s - loop.time()) * 0.4)
    await _leave(consumer, max(0.0, deadline_s - loop.time()) * 0.5)
    closing = consumer.client.abort()
    await _end([consumer.client._sync_task, *_tasks(consumer)], max(0.0, deadline_s - loop.time()) * 0.5)
    if closing:
        await asyncio.wait(closing, timeout=max(0.0, deadline_s - loop.time()))


def _tasks(consumer: ContainedConsumer) -> list[asyncio.Task[Any]]:
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_changing", "_reset_committed_task")
    found = [getattr(consumer._coordinator, name, None) for name in names]
    if consumer._fetcher is not None:
        found += [consumer._fetcher._fetch_task, *consumer._fetcher._pending_tasks]
    return [task for task in found if task is not None and not task.done()]


async def _end(tasks: Iterable[asyncio.Task[Any] | None], timeout_s: float) -> None:
    """Cancel, and cancel again what took the first one for something else."""
    left = {task for task in tasks if task is not None}
    for _ in range(3):
        left = {task for task in left if not task.done()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=timeout_s / 3)
    for task in left:
        if task.done() and not task.cancelled():
            task.exception()  # looked at: the loop need not report it


async def _leave(consumer: ContainedConsumer, timeout_s: float) -> None:
    """Say good-bye where it can be said: a member that is merely gone holds up its group for a session."""
    member = consumer._coordinator
    if not isinstance(member, Member) or not member.member_id or member._group_instance_id is not None:
        return
    if (
        member.coordinator_id is None
        or (member.coordinator_id, ConnectionGroup.COORDINATION) not in member._client._conns
    ):
        return
    try:
        async with asyncio.timeout(timeout_s):
            await member._client.send(
                member.coordinator_id,
                LeaveGroupRequest(member.group_id, member.member_id),
                group=ConnectionGroup.COORDINATION,
            )
    except (kafka.KafkaError, OSError, TimeoutError) as error:
        logger.debug("group %r was not left in time: %r", member.group_id, error)
