"""Lazy views of the record that is being handled: `Context` for middleware, `Request` for endpoints."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, cast

from typing_extensions import TypeVar

from evkafka.exceptions import UnsupportedValueError
from evkafka.records import Record
from evkafka.runtime.ports import Slot
from evkafka.serde.cloudevents.event import CloudEvent
from evkafka.serde.cloudevents.reading import EventRecord
from evkafka.state import State

if TYPE_CHECKING:
    from evkafka.outcomes import Outcome, Unmatched

__all__ = ["App", "ConsumerCtx", "Context", "HandlerApp", "MessageCtx", "Request"]


class MessageCtx:
    """The record's content. Middleware may set `event_type`, `value` and `decoded_value_cb`.

    Attributes:
        key: the key's bytes, or None.
        value: the bytes, None for a tombstone.
        headers: all headers in order, repeated and null ones included.
        event_type: the type once it is known. The type that is set counts, also None.
        decoded_value_cb: awaited for the decoded value, which dict and model payloads are made of; None (default)
            decodes the bytes directly. An exception of it is a DecodeError of the record, except an OSError, which is
            a failure like any other, and outcomes.
        event_type_set: True once a middleware has set `event_type`.
    """

    __slots__ = ("_event_type", "decoded_value_cb", "event_type_set", "headers", "key", "value")

    def __init__(self, record: Record, event_type: str | None = None) -> None:
        self.key: bytes | None = record.key
        self.value: bytes | None = record.value
        self.headers: tuple[tuple[str, bytes | None], ...] = tuple(record.headers)
        self.decoded_value_cb: Callable[[], Awaitable[Any]] | None = None
        self.event_type_set = False
        self._event_type = event_type

    @property
    def event_type(self) -> str | None:
        return self._event_type

    @event_type.setter
    def event_type(self, value: str | None) -> None:
        self._event_type = value
        self.event_type_set = True


class ConsumerCtx:
    """The consumer that reads the record, and the record's position."""

    __slots__ = ("_record", "_slot")

    def __init__(self, record: Record, slot: Slot) -> None:
        self._record = record
        self._slot = slot

    @property
    def name(self) -> str:
        return self._slot.consumer.name

    @property
    def cluster_name(self) -> str | None:
        return self._slot.consumer.cluster_name

    @property
    def group_id(self) -> str | None:
        return self._slot.consumer.group_id

    @property
    def client_id(self) -> str:
        return self._slot.consumer.client_id

    @property
    def topic(self) -> str:
        return self._record.topic

    @property
    def partition(self) -> int:
        return self._record.partition

    @property
    def offset(self) -> int:
        return self._record.offset

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch; -1 if the record has none."""
        return self._record.timestamp


class BatchMember(Protocol):
    """A record that is part of a batch."""

    def add_to_batch(self, payload: Any) -> Awaitable[object]:
        """Add the payload to the batch; awaiting the result waits until the batch has been run, and returns the
        record's own result or raises its failure."""


class Context:
    """One attempt at one record: the argument of middleware. Each attempt has a new one; its parts are created when
    they are first read.

    Attributes:
        record: the record, as the client returned it.
        attempt: the number of this attempt at the record, from 1.
        topic_event_type: the type of those records of this topic that carry none (`TopicConfig.event_type`, or the name
            of the value's schema).
        outcome: the handler's outcome for the record; the handler writes it, the runtime reads it.
        slot: the runtime's place for this attempt.
        place: set while the record is part of a batch.
    """

    __slots__ = (
        "_consumer",
        "_event_type",
        "_message",
        "_state",
        "attempt",
        "outcome",
        "place",
        "record",
        "slot",
        "topic_event_type",
    )

    def __init__(
        self, record: Record, slot: Slot, topic_event_type: str | None = None, event_type: str | None = None
    ) -> None:
        self.record = record
        self.slot = slot
        self.attempt = slot.attempt + slot.earlier
        self.topic_event_type = topic_event_type
        self.outcome: Outcome | Unmatched | None = None
        self.place: BatchMember | None = None
        self._event_type = event_type
        self._message: MessageCtx | None = None
        self._consumer: ConsumerCtx | None = None
        self._state: dict[str, Any] | None = None

    @property
    def message(self) -> MessageCtx:
        """The record's content."""
        if self._message is None:
            self._message = MessageCtx(self.record, self._event_type)
        return self._message

    @property
    def consumer(self) -> ConsumerCtx:
        """The consumer that reads the record, and the record's position."""
        if self._consumer is None:
            self._consumer = ConsumerCtx(self.record, self.slot)
        return self._consumer

    @property
    def state(self) -> dict[str, Any]:
        """The mapping that the lifespan yielded: a shallow copy for this attempt, which middleware may add to."""
        if self._state is None:
            self._state = dict(self.slot.state)
        return self._state


App = Callable[[Context], Awaitable[None]]
"""A handler, a middleware around one, or the user's own callable: each layer of a stack."""

HandlerApp = App

StateT = TypeVar("StateT", bound=Mapping[str, Any] | State, default=State)


class Request(Generic[StateT]):
    """The record behind the payload. An endpoint asks for it by annotation, in any position.

    `Request[MyTypedDict]` gives `request.state` that type.
    """

    __slots__ = ("_headers", "_state", "context")

    def __init__(self, context: Context) -> None:
        self.context = context
        self._headers: dict[str, bytes] | None = None
        self._state: State | None = None

    @property
    def headers(self) -> dict[str, bytes]:
        """Headers by name; the last one of a name counts, null ones are left out. `raw_headers` has all."""
        if self._headers is None:
            self._headers = {name: value for name, value in self.context.message.headers if value is not None}
        return self._headers

    @property
    def raw_headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """All headers in order, repeated and null ones included."""
        return self.context.message.headers

    @property
    def key(self) -> bytes | None:
        return self.context.message.key

    @property
    def value(self) -> bytes | None:
        """The value's bytes; None for a tombstone."""
        return self.context.message.value

    @property
    def state(self) -> StateT:
        """The mapping that the lifespan yielded; a shallow copy for each attempt."""
        if self._state is None:
            self._state = State(self.context.state)
        return cast(StateT, self._state)

    @property
    def topic(self) -> str:
        return self.context.record.topic

    @property
    def partition(self) -> int:
        return self.context.record.partition

    @property
    def offset(self) -> int:
        return self.context.record.offset

    @property
    def timestamp_ms(self) -> int:
        """Milliseconds since the epoch; -1 if the record has none."""
        return self.context.record.timestamp

    @property
    def event_type(self) -> str | None:
        return self.context.message.event_type

    @property
    def cloudevent(self) -> CloudEvent:
        """The attributes of the record's CloudEvent.

        Raises:
            RuntimeError: the consumer's configuration does not have `"envelope": "cloudevents"`.
        """
        record = self.context.record
        if isinstance(record, EventRecord):
            return record.cloudevent
        raise RuntimeError(
            f"request.cloudevent: consumer {self.context.consumer.name!r} does not read CloudEvents; set"
            ' "envelope": "cloudevents" in its configuration'
        )

    @property
    def attempt(self) -> int:
        """The number of this attempt at the record, from 1; attempts before a retry topic count, and so do those
        before a restart or rebalance that were committed with the offset."""
        return self.context.attempt

    async def json(self) -> Any:
        """The value, decoded as JSON.

        Raises:
            UnsupportedValueError: it is not JSON, or the record is a tombstone.
        """
        try:
            return json.loads(self.value or b"")
        except (ValueError, RecursionError) as error:
            raise UnsupportedValueError(
                f"the value of {self.topic}[{self.partition}]@{self.offset} is not JSON"
            ) from error
