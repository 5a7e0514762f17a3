"""What an exception out of an attempt means. Pure: exception groups and causes are looked into here and nowhere else.

An `asyncio.TaskGroup` raises a group even for one failed task, so an outcome or an out-of-memory error that comes out
of one must count as if the endpoint had raised it itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evkafka.exceptions import DecodeError, message_of
from evkafka.outcomes import DeadLetter, Failed, Outcome, Retry, Skip

FATAL = (MemoryError, KeyboardInterrupt, SystemExit)


@dataclass(frozen=True, slots=True)
class Fatal:
    """No record's failure: the process is in trouble, or was asked to end.

    Attributes:
        error: the MemoryError, KeyboardInterrupt or SystemExit, which may have been raised inside a group.
    """

    error: BaseException


def classify_exception(error: BaseException) -> Outcome | Failed | Fatal:
    """The meaning of an exception. Cancellations of the attempt are the caller's to tell apart, before this.

    In a group, a fatal exception comes first. Then outcomes, if every exception of the group is the same one: a Skip
    beside an error must not hide the error. Anything else is a failure.
    """
    leaves = list(leaf_exceptions(error))
    fatal = next((leaf for leaf in leaves if isinstance(leaf, FATAL)), None)
    if fatal is not None:
        return Fatal(fatal)
    for kind in (Skip, Retry, DeadLetter):
        if all(isinstance(leaf, kind) for leaf in leaves):
            [outcome, *_] = leaves
            assert isinstance(outcome, Outcome)
            return outcome
    return Failed(error, retriable=not any(isinstance(leaf, DecodeError) for leaf in leaves))


def leaf_exceptions(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group and in the groups inside it, in order; of any other exception, itself."""
    rest = [error]
    while rest:
        one = rest.pop()
        if isinstance(one, BaseExceptionGroup):
            rest.extend(reversed(one.exceptions))
        else:
            yield one


def find_exception(
    error: BaseException, kinds: tuple[type[BaseException], ...]
) -> tuple[BaseException, BaseException] | None:
    """The first exception of these kinds: the error itself, one in its groups, or a cause (`raise ... from`) of those.

    Returns:
        What was raised (the exception of a group that has it as itself or as a cause, else the error), and what was
        found.
    """
    if isinstance(error, kinds):
        return error, error
    for leaf in leaf_exceptions(error):
        for one in _with_causes(leaf):
            if isinstance(one, kinds):
                return error if leaf is first_failure(error) else leaf, one
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    rest, seen = [error], set[int]()
    while rest:
        one = rest.pop()
        if id(one) in seen:  # a chain of causes may be a ring
            continue
        seen.add(id(one))
        yield one
        if one.__cause__ is not None:
            rest.append(one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            rest.extend(reversed(one.exceptions))


# ---------------------------------------------------------------------------- how a failure is named


def outcome_cause(outcome: Outcome) -> BaseException | None:
    """The error that an endpoint was handling when it raised an outcome: `raise DeadLetter("why") from error`."""
    if outcome.__cause__ is not None or outcome.__suppress_context__:
        return outcome.__cause__
    return outcome.__context__


def first_failure(error: BaseException) -> BaseException:
    """The first exception in a group that is no outcome, else the first one."""
    leaves = list(leaf_exceptions(error))
    return next((leaf for leaf in leaves if not isinstance(leaf, Outcome)), leaves[0])


def reported_exception(error: BaseException) -> BaseException:
    """The exception whose class names a failure: the first in a group; the error behind an outcome."""
    leaf = first_failure(error)
    cause = outcome_cause(leaf) if isinstance(leaf, Outcome) else None
    return first_failure(cause) if cause is not None else leaf


def failure_message(error: BaseException) -> str:
    """The message of `reported_exception(error)`, behind the reason of the DeadLetter that was raised from it."""
    named = reported_exception(error)
    said = message_of(named)
    outcome = first_failure(error)
    if named is outcome or not isinstance(outcome, DeadLetter) or not outcome.reason:
        return said
    return f"{outcome.reason}: {said}" if said else outcome.reason
