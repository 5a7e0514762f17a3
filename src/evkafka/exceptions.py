"""Every error that EVKafka raises, as a tree whose first level says what failed.

EVKafkaError
+-- ConfigError            you, when declaring or starting (also a ValueError)
+-- RecordError            one record: it names topic, partition and offset
|   +-- DecodeError          its value does not have the type that the endpoint declares
|   +-- EndpointError        the endpoint raised (the cause is `__cause__`)
|   +-- EndpointTimeout      the endpoint exceeded its time limit
+-- UnsupportedValueError  `request.json()` of a value that is not JSON
+-- DeliveryError          one send: it names topic, event type and cause
|   +-- RecordTooLarge       for the producer, or for the topic
|   +-- RecordRefused        the topic never accepts such a record
|   +-- EncodeError          the event cannot be serialized (also a TypeError and a ValueError)
+-- ProcessDied            the process died, or lost its session, while it handled the record
+-- StartFailed            the app could not start
+-- StopApp                a record has stopped the app (its error is `__cause__`)
+-- ForcedExit             the stop of the app took too long, and what was left was cancelled
+-- NotAssigned            a seek in a partition that is not assigned to this member
+-- RegistryError          a schema registry answered with an error, or not at all
|   +-- RegistryUnavailable  it cannot be reached at the moment, or is overloaded: a retry can help
|   +-- RegistryRefused      it rejects this client, or the request (login, authorization, an incompatible schema)
|   +-- SchemaNotFound       it has no such schema, subject or version
+-- BrokerError            the cluster
    +-- BrokerUnavailable    it cannot be reached at the moment: a retry can help
    +-- BrokerRefused        it rejects this client (login, authorization, fenced member): a retry cannot help
    +-- CommitRefused        an offset commit was rejected: the partitions belong to another member now
    +-- CommitUnknown        an offset commit got no response: it may or may not have been written

`BatchError` is not in the tree, because batch endpoints raise it (see `outcomes.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from evkafka.outcomes import BatchError, reduce_error

__all__ = [
    "BatchError",
    "BrokerError",
    "BrokerRefused",
    "BrokerUnavailable",
    "CommitRefused",
    "CommitUnknown",
    "ConfigError",
    "DecodeError",
    "DeliveryError",
    "EVKafkaError",
    "EncodeError",
    "EndpointError",
    "EndpointTimeout",
    "ForcedExit",
    "NotAssigned",
    "ProcessDied",
    "RecordError",
    "RecordRefused",
    "RecordTooLarge",
    "RegistryError",
    "RegistryRefused",
    "RegistryUnavailable",
    "SchemaNotFound",
    "StartFailed",
    "StopApp",
    "UnsupportedValueError",
]


class EVKafkaError(Exception):
    """The base class of every error that EVKafka raises."""

    __reduce__ = reduce_error


class ConfigError(EVKafkaError, ValueError):
    """An invalid declaration or configuration; the message lists every fault and how to fix it."""


class RecordError(EVKafkaError):
    """An error of one record, or of handling it.

    Attributes:
        topic: of the record.
        partition: of the record.
        offset: of the record.
        event_type: its event type; None if it has none.
    """

    def __init__(
        self,
        message: str,
        *,
        topic: str = "",
        partition: int = -1,
        offset: int = -1,
        event_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.event_type = event_type


class DecodeError(RecordError):
    """The value cannot be decoded into the type that the endpoint declares."""


class EndpointError(RecordError):
    """An endpoint raised an exception, which is the `__cause__`."""


class EndpointTimeout(RecordError):
    """An endpoint exceeded its time limit (`max_endpoint_exec_time_ms`, or the event type's `timeout_ms`)."""


class ProcessDied(EVKafkaError):
    """The process died, or lost its session, while it handled this record: it ran out of memory, was killed, crashed,
    was frozen, or was cut off from the brokers.

    It is the error of the record when its `max_attempts` are used up, in its dead letter for example. In
    `non_retryable` it lets the policy's `then` apply the first time that the record alone can be the cause.
    """


class StartFailed(EVKafkaError):
    """The app could not start. The message says why, and `__cause__` is the error."""


class StopApp(EVKafkaError):
    """A record has stopped the app: `"then": "stop"`, `"unmatched": "stop"`, the `dead_letter_limit`, a MemoryError, or
    a dead letter that its topic can never accept.

    The message names the record, which stays uncommitted unless the consumer is at-most-once. `__cause__` is the
    record's error, if it has one.
    """

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.__cause__ = cause


class ForcedExit(EVKafkaError):
    """The stop was forced: something had not ended in time, and was cancelled.

    Attributes:
        code: the exit code of the process, 128 and the signal's number.
    """

    def __init__(self, signum: int, what: str) -> None:
        super().__init__(f"the stop was forced: {what}")
        self.code = 128 + signum


class NotAssigned(EVKafkaError):
    """`seek` was called for a partition that is not assigned to this member."""


class UnsupportedValueError(EVKafkaError, ValueError):
    """`request.json()` was called on a record whose value is not JSON."""


class DeliveryError(EVKafkaError):
    """The broker did not confirm a send.

    Attributes:
        topic: of the event.
        event_type: of the event.
        may_have_been_written: True if no response came, so that the record may be in the topic; False if it was
            certainly not written.
    """

    def __init__(
        self,
        message: str,
        *,
        topic: str,
        event_type: str | None,
        may_have_been_written: bool,
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.event_type = event_type
        self.may_have_been_written = may_have_been_written


class RecordRefused(DeliveryError):
    """The topic never accepts such a record: for example, a compacted topic rejects a record without a key."""


class RecordTooLarge(DeliveryError):
    """The record is larger than the producer's `max_request_size` or the topic's `max.message.bytes`."""


class EncodeError(DeliveryError, TypeError, ValueError):
    """An event, its key or a header cannot be serialized, or does not have the declared type. Nothing was sent.

    It is a TypeError and a ValueError, because serializers raise either.
    """

    def __init__(self, message: str, *, topic: str, event_type: str | None) -> None:
        super().__init__(message, topic=topic, event_type=event_type, may_have_been_written=False)


class RegistryError(EVKafkaError):
    """A schema registry answered with an error, or did not answer."""


class RegistryUnavailable(RegistryError):
    """The schema registry cannot be reached at the moment, or is overloaded. A retry can help."""


class RegistryRefused(RegistryError):
    """The schema registry rejects this client, or the request: login, authorization, an incompatible schema."""


class SchemaNotFound(RegistryError):
    """The schema registry has no such schema, subject or version."""


class BrokerError(EVKafkaError):
    """The cluster, or the connection to it, failed in a way that no other class describes."""


class BrokerUnavailable(BrokerError):
    """The cluster cannot be reached at the moment. A retry can help."""


class BrokerRefused(BrokerError):
    """The cluster rejects this client: login, authorization, a second process with its `group_instance_id`. A retry
    cannot help."""


class CommitRefused(BrokerError):
    """An offset commit was rejected, and nothing was written: the partitions belong to another member now, a rebalance
    has begun, their topic was deleted, or the consumer has stopped."""


class CommitUnknown(BrokerError):
    """An offset commit got no response. It may or may not have been written."""


def message_of(error: BaseException, show: Callable[[BaseException], str] = str) -> str:
    """The text of any error. If its `__str__` (or `show`) fails, the text says so.

    The outcome of a record must not depend on whether its error can be shown.
    """
    try:
        return show(error)
    except Exception:
        return f"{type(error).__name__}, whose message cannot be shown: its __str__ raised an error"
