"""The errors of transactions. Pure: no I/O here."""

from __future__ import annotations

from aiokafka import errors as kafka

from evkafka.exceptions import BrokerError, BrokerRefused, CommitRefused, DeliveryError
from evkafka.kafka.errors import ErrorCode, code_name, describe_cause, translate_error
from evkafka.kafka.producer.idempotent_producer import Refusal
from evkafka.kafka.producer.output_queue import OutputQueue, size_as_single_record_batch
from evkafka.kafka.producer.partition_queue import ONE_RECORD, describe_topic_refusal
from evkafka.kafka.producer.transaction_state import AnswerKind
from evkafka.runtime.delivery_error import delivery_error
from evkafka.runtime.ports import MetadataTooLarge, OutgoingRecord, OutputRefused


class ProducerFenced(CommitRefused):
    """Another producer has used the transactional id since, or the transaction was open for too long. It is aborted."""


def transaction_error(kind: AnswerKind, code: int, doing: str, *, subject: str) -> BrokerError:
    """The error for an answer after which a transaction cannot be committed.

    Args:
        doing: what the request was for: `writing as transactional id 'x': committing`.
        subject: what a missing right is about: the transactional id, or a group.
    """
    said = f"{doing}: {code_name(code)}; nothing was committed"
    match kind:
        case AnswerKind.FENCED:
            return ProducerFenced(
                f"{said}; another process has used this transactional id, or the transaction was open for longer than"
                " transaction_timeout_ms"
            )
        case AnswerKind.METADATA:
            return MetadataTooLarge(f"{said}; another try needs less metadata")
        case AnswerKind.DELETED:
            return CommitRefused(f"{said}; the topic seems to have been deleted")
        case AnswerKind.REFUSED:
            error = translate_error(kafka.for_code(code)(subject), doing)
            return error if isinstance(error, BrokerRefused) else BrokerRefused(said)
        case _:
            return BrokerError(said)


def output_error(kind: AnswerKind, code: int, doing: str, queue: OutputQueue) -> BrokerError:
    """The error for an answer about one partition of the outputs."""
    match kind:
        case AnswerKind.RECORD:
            refusal, output = Refusal(code, f"the broker refused it: {code_name(code)}"), queue.first_record
            why = describe_topic_refusal(refusal, size_as_single_record_batch(output), lacks_key=output.key is None)
            return refused_output_error(output, why, ONE_RECORD.get(code, DeliveryError))
        case AnswerKind.MISSING:
            return refused_output_error(queue.first_record, "the topic does not exist; create it, or check the name")
        case AnswerKind.REFUSED if code == ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            return refused_output_error(
                queue.first_record, describe_cause(kafka.TopicAuthorizationFailedError(queue.partition.topic))
            )
        case _:
            topic, partition = queue.partition
            return transaction_error(kind, code, f"{doing}: writing to {topic}[{partition}]", subject=topic)


def refused_output_error(output: OutgoingRecord, why: str, kind: type[DeliveryError] = DeliveryError) -> OutputRefused:
    """The error for a record that can never be written."""
    error = delivery_error(
        output.topic, output.event_type, why, may_have_been_written=False, partition=output.partition, kind=kind
    )
    return OutputRefused(output, error, size_as_single_record_batch(output))
