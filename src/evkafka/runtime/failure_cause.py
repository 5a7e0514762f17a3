"""The meaning of an exception that an attempt raised. Pure. Only this module looks into exception groups and causes.

An `asyncio.TaskGroup` raises a group even for one failed task, so an outcome or an out-of-memory error in a group must
have the same effect as if the endpoint had raised it itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from evkafka.exceptions import DecodeError, message_of
from evkafka.outcomes import DeadLetter, Failed, Outcome, Retry, Skip

FATAL = (MemoryError, KeyboardInterrupt, SystemExit)

FRAMEWORK = frozenset({"evkafka", "asyncio", "concurrent", "contextlib"})
"""The packages between an executor and the app's code."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """Not the failure of a record: the process is out of memory, or was asked to end.

    Attributes:
        error: the MemoryError, KeyboardInterrupt or SystemExit, also from inside a group.
    """

    error: BaseException


def classify_exception(error: BaseException) -> Outcome | Failed | Fatal:
    """The meaning of an exception. The caller has handled cancellations of the attempt before.

    In a group, a fatal exception takes precedence. Then an outcome, if every exception of the group is of its kind: a
    Skip must not hide an error. Anything else is a failure.
    """
    leaves = leaf_exceptions(error)
    fatal = next((leaf for leaf in leaves if isinstance(leaf, FATAL)), None)
    if fatal is not None:
        return Fatal(fatal)
    if isinstance(outcome := leaves[0], Outcome):
        for kind in (Skip, Retry, DeadLetter):
            if all(isinstance(leaf, kind) for leaf in leaves):
                return outcome
    return Failed(error, retriable=not any(isinstance(leaf, DecodeError) for leaf in leaves))


def leaf_exceptions(error: BaseException) -> Sequence[BaseException]:
    """The exceptions in a group and in the groups inside it, in order; of any other exception, itself."""
    if not isinstance(error, BaseExceptionGroup):
        return (error,)
    leaves: list[BaseException] = []
    pending: list[BaseException] = [error]
    while pending:
        one = pending.pop()
        if isinstance(one, BaseExceptionGroup):
            pending.extend(reversed(one.exceptions))
        else:
            leaves.append(one)
    return leaves


def find_exception(
    error: BaseException, kinds: tuple[type[BaseException], ...]
) -> tuple[BaseException, BaseException] | None:
    """The first exception of these kinds: the error itself, one in its groups, or a cause (`raise ... from`) of those.

    Returns:
        The raised exception, which is the exception of the group that is the found one or is caused by it, or else the
        error; and the found one.
    """
    if isinstance(error, kinds):
        return error, error
    for leaf in leaf_exceptions(error):
        for one in _iterate_causes_and_groups(leaf):
            if isinstance(one, kinds):
                return error if leaf is first_failure_in_group(error) else leaf, one
    return None


def _iterate_causes_and_groups(error: BaseException) -> Iterator[BaseException]:
    rest, seen = [error], set[int]()
    while rest:
        one = rest.pop()
        if id(one) in seen:  # a chain of causes may be circular
            continue
        seen.add(id(one))
        yield one
        if one.__cause__ is not None:
            rest.append(one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            rest.extend(reversed(one.exceptions))


# ---------------------------------------------------------------------------- how a failure is reported


def exception_behind_outcome(outcome: Outcome) -> BaseException | None:
    """The error that an endpoint was handling when it raised an outcome: `raise DeadLetter("why") from error`."""
    if outcome.__cause__ is not None or outcome.__suppress_context__:
        return outcome.__cause__
    return outcome.__context__


def first_failure_in_group(error: BaseException) -> BaseException:
    """The first exception of a group that is not an outcome, or else its first one."""
    leaves = leaf_exceptions(error)
    return next((leaf for leaf in leaves if not isinstance(leaf, Outcome)), leaves[0])


def reported_exception(error: BaseException) -> BaseException:
    """The exception that stands for a failure in logs and headers: the first of a group; the cause of an outcome."""
    leaf = first_failure_in_group(error)
    cause = exception_behind_outcome(leaf) if isinstance(leaf, Outcome) else None
    return first_failure_in_group(cause) if cause is not None else leaf


def failure_name(error: BaseException | None, outcome: str) -> str:
    """The class of the reported exception; without an error, the name of the outcome."""
    return outcome if error is None else type(reported_exception(error)).__name__


def failure_message(error: BaseException) -> str:
    """The message of the reported exception, after the reason of the DeadLetter that was raised from it."""
    reported = reported_exception(error)
    message = message_of(reported)
    outcome = first_failure_in_group(error)
    if reported is outcome or not isinstance(outcome, DeadLetter) or not outcome.reason:
        return message
    return f"{outcome.reason}: {message}" if message else outcome.reason


def app_traceback(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame of the app's own code on; all of it if there is no such frame."""
    entry = _first_app_frame(error)
    return error.__traceback__ if entry is None else entry


def needs_traceback(error: BaseException) -> bool:
    """False for a `DecodeError` that EVKafka raised: its message names the field and the fault, and its frames say
    nothing about the record."""
    return not isinstance(error, DecodeError) or _first_app_frame(error) is not None


def _first_app_frame(error: BaseException) -> TracebackType | None:
    entry = error.__traceback__
    while entry is not None and _package_of(entry) in FRAMEWORK:
        entry = entry.tb_next
    return entry


def _package_of(entry: TracebackType) -> str:
    return str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0]
