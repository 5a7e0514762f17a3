"""The error of a record that was sent and not confirmed, the same for each client."""

from __future__ import annotations

from evkafka.exceptions import DeliveryError


def delivery_error(
    topic: str,
    event_type: str | None,
    why: str,
    *,
    may_have_been_written: bool,
    partition: int | None = None,
    kind: type[DeliveryError] = DeliveryError,
) -> DeliveryError:
    """The error for one record.

    Args:
        event_type: None for a record without one, such as a dead letter.
        partition: None if none was chosen.
    """
    what = f"event {event_type!r}" if event_type is not None else "a record"
    where = f"topic {topic!r}" if partition is None else f"{topic}[{partition}]"
    written = "it may have been written" if may_have_been_written else "it was not written"
    return kind(
        f"{what} to {where} was not delivered: {why}; {written}",
        topic=topic,
        event_type=event_type,
        may_have_been_written=may_have_been_written,
    )
