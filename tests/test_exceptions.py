"""Exceptions that are pickled, as multiprocessing and some loggers do, or copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence

import pytest

from evkafka import DeadLetter, Retry, Skip, exceptions
from evkafka.exceptions import (
    BatchError,
    DecodeError,
    DeliveryError,
    EncodeError,
    EndpointError,
    EndpointTimeout,
    EVKafkaError,
    ForcedExit,
    RecordError,
    RecordRefused,
    RecordTooLarge,
    StopApp,
)

WITH_ARGUMENTS: Sequence[BaseException] = [
    *(
        kind("cannot be handled", topic="orders", partition=2, offset=7, event_type="OrderPlaced")
        for kind in (RecordError, DecodeError, EndpointError, EndpointTimeout)
    ),
    *(
        kind("cannot be sent", topic="orders", event_type=None, may_have_been_written=True)
        for kind in (DeliveryError, RecordRefused, RecordTooLarge)
    ),
    EncodeError("cannot be sent", topic="orders", event_type="OrderPlaced"),
    StopApp("cannot be handled", ValueError("no rate")),
    ForcedExit(15, "consumer orders"),
    BatchError({3: DeadLetter("no rate"), 5: Retry(after_ms=50)}),
]
ERRORS = [
    *WITH_ARGUMENTS,
    *(
        kind("a message")
        for name in exceptions.__all__
        if (kind := getattr(exceptions, name)) not in {type(one) for one in WITH_ARGUMENTS}
    ),
    Skip("a test order"),
    Retry(after_ms=500),
    DeadLetter("no rate"),
]


def pickled(error: BaseException, protocol: int = pickle.DEFAULT_PROTOCOL) -> BaseException:
    result: BaseException = pickle.loads(pickle.dumps(error, protocol))
    return result


def shown(error: BaseException) -> tuple[object, ...]:
    return type(error), repr(error), str(error), repr(vars(error))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled], ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_has_the_message_and_the_attributes(
    error: BaseException, copied: Callable[[BaseException], BaseException]
) -> None:
    assert shown(copied(error)) == shown(error)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_of_pickle_keeps_notes_and_attributes(protocol: int) -> None:
    error = EncodeError("cannot be sent", topic="orders", event_type="OrderPlaced")
    error.add_note("while order 7 was handled")
    assert shown(pickled(error, protocol)) == shown(error)


class OrderError(EVKafkaError):
    """A subclass of a user, with a constructor of its own."""

    def __init__(self, order_id: int, *, reason: str) -> None:
        super().__init__(f"order {order_id}: {reason}")
        self.order_id = order_id


def test_a_subclass_with_a_constructor_of_its_own_can_be_copied() -> None:
    error = OrderError(7, reason="no rate")
    assert shown(pickled(error)) == shown(copy.copy(error)) == shown(error)
