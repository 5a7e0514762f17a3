"""The outcomes of an attempt at a record. `runtime/settle.py` decides what follows from each.

An endpoint may return or raise `Skip`, `Retry` and `DeadLetter`; the class itself counts as an instance of it. The
runtime creates the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

__all__ = [
    "PartialFailure",
    "BatchError",
    "DeadLetter",
    "FailureOutcome",
    "Failed",
    "Outcome",
    "Retry",
    "Skip",
    "Unmatched",
    "UnmatchedReason",
]


def reduce_error(error: BaseException) -> tuple[Any, ...]:
    """The `__reduce__` of our exceptions: a copy gets the attributes without a call of the constructor.

    Python would call the constructor with `args`, but ours have other arguments than the message.
    """
    return create_error, (type(error), error.args), vars(error)


def create_error(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    """Called by `pickle` and `copy`: an exception without its attributes."""
    return kind.__new__(kind, *args)


class Outcome(Exception):
    """The base class of what an endpoint may return or raise to decide about its record."""

    __reduce__ = reduce_error


class Skip(Outcome):
    """Skip this record: it counts as handled, and its offset may be committed.

    Args:
        reason: logged at DEBUG, with the record's address.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = _plain_reason(reason)
        super().__init__(self.reason)


class Retry(Outcome):
    """Retry this record; the attempt counts as a failed one.

    Args:
        after_ms: the wait in milliseconds; None (default) uses the backoff of the error policy.
    """

    def __init__(self, *, after_ms: int | None = None) -> None:
        super().__init__(after_ms)
        self.after_ms = after_ms


class DeadLetter(Outcome):
    """Write this record to the dead-letter topic, whatever the policy's `then` is.

    Args:
        reason: logged, and written into the headers of the dead letter.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = _plain_reason(reason)
        super().__init__(self.reason)


def _plain_reason(reason: Any) -> Any:
    """The reason; the value of one that is a member of a `(str, Enum)`, which would be formatted as its name."""
    return str.__str__(reason) if isinstance(reason, str) else reason


class BatchError(Exception):
    """Raised by a batch endpoint: only these records of the batch failed.

    Args:
        failed: by index in the batch, an exception or an outcome.
    """

    __reduce__ = reduce_error

    def __init__(self, failed: Mapping[int, BaseException]) -> None:
        super().__init__(f"{len(failed)} records of the batch failed")
        self.failed = dict(failed)


UnmatchedReason = Literal["no_type", "no_endpoint", "tombstone"]


@final
@dataclass(frozen=True, slots=True)
class Unmatched:
    """No endpoint handles this record."""

    reason: UnmatchedReason
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed with an error.

    Attributes:
        error: the exception that was raised, or an `EndpointTimeout`.
        retriable: False if another attempt cannot help (the value cannot be decoded, a `non_retryable` error).
    """

    error: BaseException
    retriable: bool = True


FailureOutcome = Outcome | Unmatched | Failed
"""Any outcome except success."""


@dataclass(frozen=True, slots=True)
class PartialFailure:
    """Some records of a batch failed.

    Attributes:
        ends: the outcomes by index; records without one were handled successfully.
    """

    ends: Mapping[int, FailureOutcome]
