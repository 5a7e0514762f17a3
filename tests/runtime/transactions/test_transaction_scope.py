"""What was refused in a transaction fails the sends of later attempts, and only those that would be refused too."""

from __future__ import annotations

from typing import Any, cast

import pytest

from evkafka.config import consumer_settings
from evkafka.exceptions import DeliveryError, RecordRefused, RecordTooLarge
from evkafka.runtime.ports import OutgoingRecord, OutputRefused
from evkafka.runtime.transaction_scope import REFUSED_S, TransactionScope

HERE, BAD = "in[0]@1", "in[0]@7"


class Clock:
    """Stands still until a test moves it."""

    now_s = 100.0

    def now(self) -> float:
        return self.now_s


class Sink:
    """The size of a batch is that of the value."""

    def size_as_single_record_batch(self, record: OutgoingRecord) -> int:
        return len(record.value or b"")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scope(clock: Clock) -> TransactionScope:
    settings = consumer_settings({"topics": ["in"], "group_id": "g"})
    return TransactionScope("it", settings, cluster=cast(Any, None), clock=cast(Any, clock))


def output(size: int = 1, topic: str = "out", sent_at: str = BAD) -> OutgoingRecord:
    return OutgoingRecord(topic, bytes(size), event_type="Out", sent_at=sent_at)


def refused(kind: type[DeliveryError], size: int = 1, *, largest_bytes: int | None = None) -> OutputRefused:
    error = kind("refused", topic="out", event_type="Out", may_have_been_written=False)
    return OutputRefused(output(size), error, size, largest_bytes=largest_bytes)


def fails(scope: TransactionScope, record: OutgoingRecord, *addresses: str) -> type[BaseException] | None:
    """The error of this send in an attempt at these records."""
    try:
        scope.check_record_not_refused(record, addresses or (HERE,), cast(Any, Sink()))
    except DeliveryError as error:
        return type(error)
    return None


def test_a_missing_topic_fails_every_send_to_it(scope: TransactionScope) -> None:
    scope.fail_later_sends_like(refused(DeliveryError))
    assert fails(scope, output()) is DeliveryError
    assert fails(scope, output(topic="other")) is None


def test_a_refused_record_fails_the_attempts_at_its_own_source_record_alone(scope: TransactionScope) -> None:
    scope.fail_later_sends_like(refused(RecordRefused))
    assert fails(scope, output(), HERE) is None
    assert fails(scope, output(), BAD) is RecordRefused
    assert fails(scope, output(), HERE, BAD) is RecordRefused
    assert fails(scope, output(topic="other"), BAD) is None


@pytest.mark.parametrize(("known", "most"), [(None, 99), (50, 50), (500, 99)])
def test_a_too_large_record_fails_what_is_larger_than_the_topic_takes_as_far_as_known(
    scope: TransactionScope, known: int | None, most: int
) -> None:
    scope.fail_later_sends_like(refused(RecordTooLarge, 100, largest_bytes=known))
    assert fails(scope, output(most)) is None
    assert fails(scope, output(most + 1)) is RecordTooLarge


def test_refusals_of_each_kind_hold_beside_each_other(scope: TransactionScope) -> None:
    scope.fail_later_sends_like(refused(RecordTooLarge, 100))
    scope.fail_later_sends_like(refused(RecordRefused))
    assert fails(scope, output(100), HERE) is RecordTooLarge
    assert fails(scope, output(1), BAD) is RecordRefused
    assert fails(scope, output(1), HERE) is None


@pytest.mark.parametrize("kind", [DeliveryError, RecordRefused, RecordTooLarge])
def test_a_refusal_holds_for_a_minute(scope: TransactionScope, clock: Clock, kind: type[DeliveryError]) -> None:
    scope.fail_later_sends_like(refused(kind))
    clock.now_s += REFUSED_S
    assert fails(scope, output(), BAD) is kind
    clock.now_s += 1
    assert fails(scope, output(), BAD) is None
