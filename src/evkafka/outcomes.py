"""What can become of one attempt at a record: values, decided upon in one place (`runtime/settle.py`).

An endpoint may return or raise `Skip`, `Retry` and `DeadLetter`; a bare class counts as its instance.
The others are made by the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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


class Outcome(Exception):
    """The base of what an endpoint may return or raise to decide about its record."""


class Skip(Outcome):
    """Leave this record: it counts as handled, its offset may be committed.

    Args:
        reason: said in the log line.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(Outcome):
    """Try this record again; it counts as an attempt.

    Args:
        after_ms: the wait in milliseconds; None (default) takes the error policy's backoff.
    """

    def __init__(self, *, after_ms: int | None = None) -> None:
        super().__init__(after_ms)
        self.after_ms = after_ms


class DeadLetter(Outcome):
    """Write this record to the dead-letter topic, whatever the policy's `then` says.

    Args:
        reason: goes into the dead letter's headers.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class BatchError(Exception):
    """Raised by a batch endpoint: only these records of the batch failed.

    Args:
        failed: index in the batch -> what befell it, an exception or an outcome.
    """

    def __init__(self, failed: Mapping[int, BaseException]) -> None:
        super().__init__(f"{len(failed)} records of the batch failed")
        self.failed = dict(failed)


UnmatchedReason = Literal["no_type", "no_endpoint", "tombstone"]


@dataclass(frozen=True, slots=True)
class Unmatched:
    """No endpoint takes this record."""

    reason: UnmatchedReason
    event_type: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that ended in an error.

    Attributes:
        error: what was raised, or the `EndpointTimeout` that was made for it.
        hopeless: trying again cannot help (the value cannot be decoded, a `non_retryable` error).
    """

    error: BaseException
    retriable: bool = True


FailureOutcome = Outcome | Unmatched | Failed
"""How a record ended, other than well."""


@dataclass(frozen=True, slots=True)
class PartialFailure:
    """The records of a batch ended differently: index -> how it ended; those that are not in it are done."""

    ends: Mapping[int, FailureOutcome]
