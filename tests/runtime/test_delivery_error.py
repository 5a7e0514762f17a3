"""What the error of an unconfirmed record says."""

from __future__ import annotations

from evkafka.runtime.delivery_error import delivery_error


def test_an_event_is_named_by_its_type_and_topic() -> None:
    error = delivery_error("orders", "Placed", "no answer", may_have_been_written=True)
    assert str(error) == "event 'Placed' to topic 'orders' was not delivered: no answer; it may have been written"


def test_a_record_without_an_event_type_is_called_a_record() -> None:
    error = delivery_error("orders", None, "no answer", may_have_been_written=False, partition=3)
    assert str(error) == "a record to orders[3] was not delivered: no answer; it was not written"
