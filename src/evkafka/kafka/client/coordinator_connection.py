"""The connection to the coordinator of a group or of a transactional id, which may move at any time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from aiokafka import errors as kafka
from aiokafka.client import ConnectionGroup, CoordinationType

from evkafka.kafka.client.client import Client
from evkafka.kafka.client.log_throttle import Outage
from evkafka.kafka.errors import describe_cause

logger = logging.getLogger("evkafka.runtime.kafka")

KINDS = {"group": CoordinationType.GROUP, "transactional id": CoordinationType.TRANSACTION}


class CoordinatorConnection:
    """Finds the coordinator of one group or transactional id, and sends to it.

    Attributes:
        key: the group, or the transactional id.
        coordinator_id: its node; None while it is not known.
    """

    def __init__(
        self, client: Client, kind: Literal["group", "transactional id"], key: str, *, retry_backoff_s: float
    ) -> None:
        self._client = client
        self._kind = kind
        self.key = key
        self.retry_backoff_s = retry_backoff_s
        self._finding = asyncio.Lock()
        self._outage = Outage(logger)
        self.coordinator_id: int | None = None

    async def find_coordinator(self) -> int:
        """Wait until the coordinator is known and connected. The caller limits the time.

        Raises:
            GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed: it may not be described.
            KafkaError: waiting cannot help.
        """
        async with self._finding:
            while (node_id := self.coordinator_id) is None:
                if not await self._try_to_find():
                    await asyncio.sleep(self.retry_backoff_s)
            return node_id

    async def _try_to_find(self) -> bool:
        try:
            node_id = await self._client.coordinator_lookup(KINDS[self._kind], self.key)
        except (kafka.GroupAuthorizationFailedError, kafka.TransactionalIdAuthorizationFailed) as error:
            raise type(error)(self.key) from error
        except kafka.KafkaError as error:
            if not error.retriable:
                raise
            self._outage.warn_if_failing_for_long(
                f"{self._kind} {self.key!r} has no coordinator: {describe_cause(error)}; trying again"
            )
            await self._client.force_metadata_update()
            return False
        if not await self._client.ready(node_id, group=ConnectionGroup.COORDINATION):
            return False
        self._outage.forget_failures()
        self.coordinator_id = node_id
        logger.debug("node %d is the coordinator of %s %r", node_id, self._kind, self.key)
        return True

    def mark_coordinator_unknown(self) -> None:
        """The node is not the coordinator any more, or does not answer: it is looked up before the next request."""
        self.coordinator_id = None

    async def send(self, request: Any) -> Any:
        """Send a request, and return its answer.

        Raises:
            KafkaError: there was none; the coordinator is looked up before the next request.
        """
        node_id = await self.find_coordinator()
        try:
            answer = await self._client.send(node_id, request, group=ConnectionGroup.COORDINATION)
        except kafka.KafkaError:
            self.mark_coordinator_unknown()
            raise
        return answer

    async def send_unless_check_raises(self, request: Any, *, check: Callable[[], None]) -> Awaitable[Any]:
        """Send a request with a last check; see `Client.send_unless_check_raises`."""
        return await self._client.send_unless_check_raises(self.coordinator_id, request, check=check)

    @property
    def is_connected(self) -> bool:
        """Whether a request would go out at once."""
        node_id = self.coordinator_id
        return node_id is not None and self._client.is_connected(node_id, ConnectionGroup.COORDINATION)
