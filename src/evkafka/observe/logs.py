"""The default listener: it logs the runtime's events, with fields for structured logs in `extra`.

No line has a payload or a raw key.
"""

from __future__ import annotations

import logging

from evkafka.exceptions import StopApp
from evkafka.observe.failure_log import ERROR_CHARACTERS, FailureLog, error_text
from evkafka.runtime.failure_cause import FATAL
from evkafka.runtime.ports import OutputRefused
from evkafka.serde.safe_text import escape_line
from evkafka.telemetry import (
    AttemptFailed,
    CommitFailed,
    ConsumerLost,
    ConsumerStarted,
    ConsumerStopped,
    EndpointBlocked,
    EndpointOverran,
    NothingMatches,
    OffsetsCommitted,
    PartitionBlocked,
    PartitionsAssigned,
    PartitionsRevoked,
    PositionReset,
    RecordSkipped,
    RecordsLost,
    ResultDropped,
    Telemetry,
    TypeSkipped,
)

logger = logging.getLogger("evkafka.events")

MOST_KNOWN = 20
"""How many event types with an endpoint a line lists."""


def start_event_log(telemetry: Telemetry) -> FailureLog:
    """Log each event of the runtime that an operator should know of. Returns the log of failed attempts."""
    failures = FailureLog()
    listen = telemetry.listen
    listen(AttemptFailed, failures.log_or_count_failed_attempt)
    listen(OffsetsCommitted, failures.close_ended_windows)
    listen(ConsumerStopped, failures.log_failure_counts_of_stopped_consumer)
    listen(ConsumerStarted, _log_started)
    listen(ConsumerStopped, _log_stopped)
    listen(ConsumerLost, _log_lost_connection_and_restart)
    listen(PartitionsAssigned, _log_assigned)
    listen(PartitionsRevoked, _log_revoked)
    listen(PositionReset, _log_reset)
    listen(TypeSkipped, _log_type_skipped)
    listen(NothingMatches, _log_no_endpoint_for_first_records)
    listen(RecordSkipped, _log_skipped)
    listen(RecordsLost, _log_lost_committed_records)
    listen(CommitFailed, _log_commit_failed)
    listen(EndpointOverran, _log_overran)
    listen(EndpointBlocked, _log_loop_blocked)
    listen(ResultDropped, _log_result_after_revoke)
    listen(PartitionBlocked, _log_unreadable)
    return failures


def _log_started(event: ConsumerStarted) -> None:
    again = f" (restarted {event.rebuilds} times)" if event.rebuilds else ""
    logger.info("consumer %s is connected%s", event.consumer, again, extra={"consumer": event.consumer})


def _log_stopped(event: ConsumerStopped) -> None:
    fields = {"consumer": event.consumer}
    if event.error is None:
        logger.info("consumer %s has stopped", event.consumer, extra=fields)
    else:
        text = error_text(event.error, str) or error_text(event.error)
        logger.error(
            "consumer %s has ended: %s",
            event.consumer,
            text,
            exc_info=_select_error_for_exc_info(event.error),
            extra=fields,
        )


def _select_error_for_exc_info(error: BaseException) -> BaseException | None:
    """The error whose traceback is logged; None for a record's failure: its traceback was logged before."""
    if not isinstance(error, StopApp):
        return error
    return error.__cause__ if isinstance(error.__cause__, FATAL) else None


def _log_lost_connection_and_restart(event: ConsumerLost) -> None:
    could_write = not isinstance(event.error, OutputRefused)
    logger.warning(
        "consumer %s %s; restarting it in %.1f s: %s",
        event.consumer,
        "lost its connection or stalled" if could_write else "could not write a transaction",
        event.retry_in_s,
        error_text(event.error),
        extra={"consumer": event.consumer},
    )


def _log_assigned(event: PartitionsAssigned) -> None:
    added, kept = _partitions_text(event.partitions), event.total - len(event.partitions)
    others = f"{kept} other partitions" if kept > 1 else "its other partition"
    if added:
        text = f"was assigned {added}" + (f", and keeps {others}" if kept else "")
    elif kept:
        text = f"keeps {others}"
    else:
        text = "was assigned no partitions: the other members of its group have them, or the topic does not exist yet"
    group = f" ({event.protocol} protocol, epoch {event.epoch})" if event.protocol is not None else ""
    logger.info("consumer %s %s%s", event.consumer, text, group, extra={"consumer": event.consumer})


def _log_revoked(event: PartitionsRevoked) -> None:
    if event.lost:
        _log_partitions_lost(event)
        return
    level = logging.WARNING if event.abandoned else logging.INFO
    cut = (
        f"; {event.abandoned} attempts did not end within the drain time and were cancelled" if event.abandoned else ""
    )
    logger.log(
        level,
        "consumer %s: partitions revoked: %s%s",
        event.consumer,
        _partitions_text(event.partitions),
        cut,
        extra={"consumer": event.consumer},
    )


def _log_partitions_lost(event: PartitionsRevoked) -> None:
    cut = f"; {event.abandoned} attempts were cancelled" if event.abandoned else ""
    logger.warning(
        "consumer %s: partitions lost: %s: the group has given them to other members. What was not committed is handled"
        " again by their next owners%s",
        event.consumer,
        _partitions_text(event.partitions),
        cut,
        extra={"consumer": event.consumer},
    )


def _log_reset(event: PositionReset) -> None:
    reset = event.reset
    # The first start of a group has no committed offset. If there was one and it is gone, records may be lost.
    level = logging.INFO if reset.from_offset is None else logging.WARNING
    logger.log(
        level,
        "consumer %s: %s[%d]: %s; reading from offset %d",
        event.consumer,
        *reset.partition,
        _reset_reason(event),
        reset.to_offset,
        extra={"consumer": event.consumer, "topic": reset.partition[0], "partition": reset.partition[1]},
    )


def _reset_reason(event: PositionReset) -> str:
    rule = f"auto.offset.reset={event.auto_offset_reset}"
    match event.reset.reason:
        case "no_commit":
            return f"no committed offset, {rule}"
        case "new_partition":
            return "new partition without a committed offset"
        case "out_of_range":
            return f"offset {event.reset.from_offset} is out of range, {rule}"
        case "retention":
            return f"offset {event.reset.from_offset} was deleted by retention, records after it were finished before"
        case "truncated":
            return (
                "the log was truncated (unclean leader election, or the topic was created again) after it had been read"
                f" up to offset {event.reset.from_offset}"
            )


def _log_type_skipped(event: TypeSkipped) -> None:
    records = "tombstones" if event.reason == "tombstone" else "records"
    logger.info(
        "consumer %s skips %s %s in %s: no endpoint handles them. Event types with an endpoint: %s. Logged once per"
        " type; the key `unmatched` can change this",
        event.consumer,
        records,
        "without an event type" if event.event_type is None else f"of type {event.event_type!r}",
        event.topic,
        _list_known_types(event.known),
        extra={"consumer": event.consumer, "topic": event.topic, "event_type": event.event_type},
    )


def _log_no_endpoint_for_first_records(event: NothingMatches) -> None:
    seen = ", ".join(
        f"{name!r} ({count})" if name is not None else f"none ({count})" for name, count in event.seen.items()
    )
    logger.warning(
        "consumer %s: its first %d records were all skipped: no endpoint handles them. Event types received: %s;"
        " event types with an endpoint: %s. Check the topic; the header that carries the event type (type_header_name"
        " of JsonTypedDecoderMiddleware); and event_type in `topics`, if the records have no such header",
        event.consumer,
        event.count,
        seen,
        _list_known_types(event.known),
        extra={"consumer": event.consumer},
    )


def _list_known_types(types: tuple[str, ...]) -> str:
    more = [f"and {len(types) - MOST_KNOWN} more"] if len(types) > MOST_KNOWN else []
    return ", ".join([*map(repr, types[:MOST_KNOWN]), *more]) or "none"


def _log_skipped(event: RecordSkipped) -> None:
    if not logger.isEnabledFor(logging.DEBUG):
        return
    logger.debug(
        "%s skips %s[%d]@%d: %s",
        event.endpoint or "the middleware",
        event.topic,
        event.partition,
        event.offset,
        escape_line(event.reason, ERROR_CHARACTERS),
        extra=_address_fields(event),
    )


def _log_lost_committed_records(event: RecordsLost) -> None:
    logger.error(
        "consumer %s lost %d records that were already committed and had not been handled when the drain time was over"
        " or the position was reset (pre-commit): %s",
        event.consumer,
        len(event.addresses),
        ", ".join(f"{topic}[{partition}]@{offset}" for topic, partition, offset in event.addresses),
        extra={"consumer": event.consumer},
    )


def _log_commit_failed(event: CommitFailed) -> None:
    logger.warning(
        "consumer %s could not commit %s: %s",
        event.consumer,
        ", ".join(f"{tp[0]}[{tp[1]}]={offset}" for tp, offset in event.offsets.items()),
        error_text(event.error),
        extra={"consumer": event.consumer},
    )


def _log_overran(event: EndpointOverran) -> None:
    logger.error(
        "%s exceeds its time limit of %.1f s at %s[%d]@%d and cannot be cancelled: it still counts against"
        " `concurrency`",
        event.endpoint or "the middleware",
        event.limit_s,
        event.topic,
        event.partition,
        event.offset,
        extra=_address_fields(event),
    )


def _log_loop_blocked(event: EndpointBlocked) -> None:
    logger.error(
        "%s blocked the event loop for %.1f s at %s[%d]@%d: no heartbeat could be sent; use awaitable calls, or"
        " declare it as a plain def",
        event.endpoint or "the middleware",
        event.duration_s,
        event.topic,
        event.partition,
        event.offset,
        extra=_address_fields(event) | {"duration_ms": round(event.duration_s * 1000)},
    )


def _log_result_after_revoke(event: ResultDropped) -> None:
    logger.warning(
        "the attempt of %s at %s[%d]@%d ended after its partition was revoked or its position was changed: its result"
        " is ignored",
        event.endpoint or "the middleware",
        event.topic,
        event.partition,
        event.offset,
        extra=_address_fields(event),
    )


def _log_unreadable(event: PartitionBlocked) -> None:
    logger.error(
        "%s[%d]@%d cannot be read by the client, %s: %s",
        event.partition[0],
        event.partition[1],
        event.offset,
        "it is skipped" if event.skipped else "its partition waits there",
        error_text(event.error),
        extra={"consumer": event.consumer, "topic": event.partition[0], "partition": event.partition[1]},
    )


def _address_fields(event: EndpointOverran | EndpointBlocked | RecordSkipped | ResultDropped) -> dict[str, object]:
    return {
        "consumer": event.consumer,
        "topic": event.topic,
        "partition": event.partition,
        "offset": event.offset,
        "handler": event.endpoint or None,
    }


def _partitions_text(partitions: tuple[tuple[str, int], ...]) -> str:
    by_topic: dict[str, list[str]] = {}
    for topic, partition in partitions:
        by_topic.setdefault(topic, []).append(str(partition))
    return ", ".join(f"{topic}[{' '.join(numbers)}]" for topic, numbers in by_topic.items())
