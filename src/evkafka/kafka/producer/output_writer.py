"""Writes the records of a transaction to their partitions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition as ClientPartition

from evkafka.kafka.errors import code_name, describe_cause
from evkafka.kafka.options import to_ms
from evkafka.kafka.producer.output_queue import OutputQueue
from evkafka.kafka.producer.transaction_connection import NO_ANSWER, TransactionConnection, retry_pauses_s
from evkafka.kafka.producer.transaction_state import AnswerKind, Request, TransactionState, answer_kind

NOBODY = -1
"""The leader of a partition that has none at the moment."""


class OutputWriter:
    """Writes for one transactional id. Sequence numbers are counted when an answer has come."""

    def __init__(self, connection: TransactionConnection, transactional_id: str, state: TransactionState) -> None:
        self._connection = connection
        self._transactional_id = transactional_id
        self._state = state

    async def write(self, queues: Collection[OutputQueue]) -> tuple[OutputQueue, int] | None:
        """Write all records: in each round one batch of each partition, in one request to each leader.

        The caller limits the time.

        Returns:
            A partition and the code of the answer that refuses its batch; None if all records are written.
        """
        client, pauses = self._connection.client, retry_pauses_s()
        while by_leader := self._group_by_leader(queues):
            without_leader = by_leader.pop(NOBODY, [])
            answers = await asyncio.gather(*(self._write_to_leader(leader, some) for leader, some in by_leader.items()))
            refusal, is_complete = None, not without_leader
            for queue, code in (one for answer in answers for one in answer):
                match self._note_and_return_answer_kind(queue, code):
                    case AnswerKind.DONE:
                        self._state.sequences[queue.partition] += queue.remove_confirmed_batch()
                    case AnswerKind.AGAIN | AnswerKind.ELSEWHERE:
                        is_complete = False
                    case AnswerKind.RECORD if queue.split_batch():
                        pass
                    case _ if code is not None:
                        refusal = queue, code
            if refusal is not None:
                return refusal
            if not is_complete:
                client.force_metadata_update()
                await asyncio.sleep(next(pauses))
        return None

    def _group_by_leader(self, queues: Collection[OutputQueue]) -> dict[int, list[OutputQueue]]:
        by_leader: defaultdict[int, list[OutputQueue]] = defaultdict(list)
        for queue in filter(None, queues):
            leader = self._connection.client.cluster.leader_for_partition(ClientPartition(*queue.partition))
            by_leader[NOBODY if leader is None else leader].append(queue)
        return by_leader

    async def _write_to_leader(
        self, leader: int, queues: Sequence[OutputQueue]
    ) -> list[tuple[OutputQueue, int | None]]:
        """Write a batch of each partition. Returns the code of each answer; None without one."""
        state, connection = self._state, self._connection
        by_topic: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for queue in queues:
            batch = queue.build_batch(state.producer, state.sequences[queue.partition])
            by_topic[queue.partition.topic].append((queue.partition.partition, batch))
            if queue.first_record.compression_type is not None:
                await asyncio.sleep(0)  # gzip takes up to 8 ms for a batch: endpoints and heartbeats go on between two
        timeout_ms = to_ms(connection.attempt_s)
        request = ProduceRequest(self._transactional_id, -1, timeout_ms, list(by_topic.items()))
        try:
            answer = await connection.await_answer(connection.client.send(leader, request))
        except NO_ANSWER as error:
            connection.last_error = describe_cause(error)
            return [(queue, None) for queue in queues]
        codes = {(topic, partition): code for topic, rows in answer.topics for partition, code, *_ in rows}
        return [(queue, codes.get(queue.partition)) for queue in queues]

    def _note_and_return_answer_kind(self, queue: OutputQueue, code: int | None) -> AnswerKind:
        if code is None:
            return AnswerKind.ELSEWHERE
        kind = answer_kind(Request.WRITE, code)
        self._state.on_answer_kind(kind)
        if kind in (AnswerKind.AGAIN, AnswerKind.ELSEWHERE):
            topic, partition = queue.partition
            self._connection.last_error = f"{topic}[{partition}]: {code_name(code)}"
        return kind
