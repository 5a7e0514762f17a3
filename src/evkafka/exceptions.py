"""Every error that EVKafka raises, as a tree whose first level names the culprit.

EVKafkaError
+-- ConfigError            you, when declaring or starting (also a ValueError)
+-- RecordError            one record: it names topic, partition and offset
|   +-- DecodeError          its value is not what the endpoint asks for
|   +-- EndpointError        the endpoint raised (the cause is `__cause__`)
|   +-- EndpointTimeout      the endpoint ran past its time limit
+-- UnsupportedValueError  `request.json()` met a value that is not JSON
+-- DeliveryError          one send: it names topic, event type and cause
|   +-- RecordTooLarge       for the producer, or for the topic
|   +-- RecordRefused        the topic does not take such a record, whenever it is sent
|   +-- EncodeError          the event cannot be made into bytes (also a TypeError and a ValueError)
+-- NotAssigned            a seek in a partition that is another member's now
+-- BrokerError            the cluster
    +-- BrokerUnavailable    it cannot be reached now: waiting can help
    +-- BrokerRefused        it said no (login, authorization, fenced member): waiting cannot help
    +-- CommitRefused        an offset commit was refused: the partitions are another member's now
    +-- CommitUnknown        an offset commit went without an answer: it may or may not have been written

`BatchError` is none of these: it is raised to us, by batch endpoints (see `outcomes.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from evkafka.outcomes import BatchError

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
    "NotAssigned",
    "RecordError",
    "RecordRefused",
    "RecordTooLarge",
    "UnsupportedValueError",
]


class EVKafkaError(Exception):
    """The base of every error that EVKafka raises."""


class ConfigError(EVKafkaError, ValueError):
    """A declaration or configuration that cannot work; the message lists every fault and its fix."""


class RecordError(EVKafkaError):
    """Something is wrong with one record, or with handling it.

    Attributes:
        topic, partition, offset: where the record stands.
        event_type: its type, or None where it carries none.
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
    """The value could not be decoded into the type that the endpoint asks for."""


class EndpointError(RecordError):
    """An endpoint raised; `__cause__` is what it raised."""


class EndpointTimeout(RecordError):
    """An endpoint ran past its time limit (`max_endpoint_exec_time_ms`, or the event type's `timeout_ms`)."""


class NotAssigned(EVKafkaError):
    """`seek` was asked for a partition that is not this member's at the moment."""


class UnsupportedValueError(EVKafkaError, ValueError):
    """`request.json()` was called on a record whose value is not JSON."""


class DeliveryError(EVKafkaError):
    """A send that the broker did not confirm.

    Attributes:
        topic, event_type: what was being sent.
        may_have_been_written: True when no answer came, so that the record may stand in the
            topic all the same; False when it was certainly not written.
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
    """The topic does not take such a record, whenever it is sent: a compacted one takes none without a key."""


class RecordTooLarge(DeliveryError):
    """The record is larger than the producer's `max_request_size`, or than the topic's `max.message.bytes`."""


class EncodeError(DeliveryError, TypeError, ValueError):
    """An event, its key or a header cannot be made into bytes, or is not of the declared type; nothing was sent.

    Serializers raise TypeError for one thing and ValueError for another; `except` finds it as either.
    """

    def __init__(self, message: str, *, topic: str, event_type: str | None) -> None:
        super().__init__(message, topic=topic, event_type=event_type, may_have_been_written=False)


class BrokerError(EVKafkaError):
    """The cluster, or the connection to it, failed in a way that has no name of its own."""


class BrokerUnavailable(BrokerError):
    """The cluster cannot be reached at the moment; trying again can help."""


class BrokerRefused(BrokerError):
    """The cluster refuses this client: login, authorization, a fenced member. Trying again cannot help."""


class CommitRefused(BrokerError):
    """An offset commit was refused because the partitions belong to another member by now."""


class CommitUnknown(BrokerError):
    """An offset commit ended without an answer; it may or may not have been written."""


def message_of(error: BaseException, show: Callable[[BaseException], str] = str) -> str:
    """What an error of somebody else's says; where its own `__str__` (or what `show` is) fails, that it did.

    What becomes of a record must not hang on whether its error can be shown.
    """
    try:
        return show(error)
    except Exception:
        return f"{type(error).__name__}, which cannot be shown: its own text fails"
