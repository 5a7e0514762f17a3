"""Sends the requests of transactions, each until it has an answer that asking again does not change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, TypeVar

from aiokafka import errors as kafka
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerUnavailable
from evkafka.kafka.client.client import Client
from evkafka.kafka.client.coordinator_connection import CoordinatorConnection
from evkafka.kafka.client.transaction_protocol import InitTransactionsRequest, MemberTxnOffsetCommitRequest
from evkafka.kafka.errors import code_name, describe_cause
from evkafka.kafka.options import connection_options
from evkafka.kafka.producer.transaction_state import (
    AnswerKind,
    Request,
    TransactionState,
    answer_kind,
    most_severe_code,
)

T = TypeVar("T")

REQUESTS = (
    *(InitTransactionsRequest, AddPartitionsToTxnRequest, AddOffsetsToTxnRequest),
    *(ProduceRequest, MemberTxnOffsetCommitRequest, EndTxnRequest),
)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.01, 0.25
"""The pauses before a request is sent again. The coordinator writes the end of a transaction to all of its partitions
before it takes the next one, which takes milliseconds."""

ATTEMPTS = 4
"""How often a request without an answer can be sent within the time of a transaction."""

NO_ANSWER = (kafka.KafkaError, OSError, TimeoutError, BrokerUnavailable)


class TransactionConnection:
    """The connections of one transactional producer.

    Args:
        timeout_s: how long a transaction may take.

    Attributes:
        attempt_s: how long a request may be without an answer until it is sent again.
        last_error: why the last request has to be sent again; empty if none had to.
    """

    def __init__(
        self, connection: ConnectionSettings, transactional_id: str, state: TransactionState, *, timeout_s: float
    ) -> None:
        self.attempt_s = min(connection.request_timeout_s, timeout_s / ATTEMPTS)
        self.last_error = ""
        # As for any producer, the broker decides whether a topic is created (by its auto.create.topics.enable).
        self.client = Client(
            allow_auto_create_topics=True,
            answer_within_s=dict.fromkeys(REQUESTS, self.attempt_s),
            **connection_options(connection),
        )
        self.backoff_s: float = self.client._retry_backoff
        self._state = state
        self._coordinator = CoordinatorConnection(
            self.client, "transactional id", transactional_id, retry_backoff_s=self.backoff_s
        )
        self._groups: dict[str, CoordinatorConnection] = {}

    async def ask_coordinator(
        self, kind: Request, request: Callable[[], Any], codes: Callable[[Any], Collection[int]]
    ) -> tuple[Any, AnswerKind]:
        """Ask the coordinator of the transactional id. Returns its answer and what it means.

        The caller limits the time.

        Args:
            request: makes the request.
            codes: reads the error codes of an answer.

        Raises:
            KafkaError, NotImplementedError: asking again cannot help.
        """
        return await self._ask_until_answered(self._coordinator, kind, request, codes)

    async def ask_group_coordinator(
        self, group_id: str, kind: Request, request: Callable[[], Any], codes: Callable[[Any], Collection[int]]
    ) -> tuple[Any, AnswerKind]:
        """Ask the coordinator of a group; see `ask_coordinator`."""
        coordinator = self._groups.get(group_id)
        if coordinator is None:
            coordinator = CoordinatorConnection(self.client, "group", group_id, retry_backoff_s=self.backoff_s)
            self._groups[group_id] = coordinator
        return await self._ask_until_answered(coordinator, kind, request, codes)

    async def _ask_until_answered(
        self,
        coordinator: CoordinatorConnection,
        kind: Request,
        request: Callable[[], Any],
        codes: Callable[[Any], Collection[int]],
    ) -> tuple[Any, AnswerKind]:
        pauses = retry_pauses_s()
        while True:
            await coordinator.find_coordinator()
            try:
                answer = await self.await_answer(coordinator.send(request()))
            except NO_ANSWER as error:
                if isinstance(error, kafka.KafkaError) and not error.retriable:
                    raise
                self.last_error = describe_cause(error)
            else:
                code = most_severe_code(kind, codes(answer))
                meaning = answer_kind(kind, code)
                self._state.on_answer_kind(meaning)
                if meaning not in (AnswerKind.AGAIN, AnswerKind.ELSEWHERE):
                    return answer, meaning
                self.last_error = code_name(code)
                if meaning is AnswerKind.ELSEWHERE:
                    coordinator.mark_coordinator_unknown()
            await asyncio.sleep(next(pauses))

    async def await_answer(self, answering: Awaitable[T]) -> T:
        """Await the answer to a request, and tell the state whether there was one."""
        self._state.on_request_sent()
        try:
            answer = await answering
        except (kafka.NodeNotReadyError, kafka.IncompatibleBrokerVersion, NotImplementedError):
            self._state.on_request_answered()  # it was not sent: no answer is missing
            raise
        except BaseException:
            self._state.on_no_answer()
            raise
        self._state.on_request_answered()
        return answer


def retry_pauses_s() -> Iterator[float]:
    """The pauses between attempts, without an end."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def top_level_error_code(answer: Any) -> Collection[int]:
    return (answer.error_code,)


def add_partitions_error_codes(answer: Any) -> Collection[int]:
    return [code for _, rows in answer.errors for _, code in rows]


def offset_commit_error_codes(answer: Any) -> Collection[int]:
    return [code for _, rows in answer.topics for _, code in rows]
