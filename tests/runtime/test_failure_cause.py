"""What an exception out of an attempt means: exception groups, causes, and how a failure is named."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import pytest

from evkafka.config.settings import ErrorPolicySettings
from evkafka.exceptions import DecodeError
from evkafka.outcomes import DeadLetter, Failed, Outcome, Retry, Skip
from evkafka.runtime.failure_cause import (
    Fatal,
    app_traceback,
    classify_exception,
    failure_message,
    failure_name,
    needs_traceback,
    reported_exception,
)
from evkafka.runtime.settle import (
    Finish,
    SendToDeadLetter,
    SendToRetryTopic,
    Verdict,
    Wait,
    decide_at_least_once,
    decide_at_most_once,
)
from tests.support.tracebacks import error_through

KEY_ERRORS_ARE_FINAL = ErrorPolicySettings(
    max_attempts=4, jitter=0.0, then="dead_letter", non_retryable=(KeyError,), retry_topics=(1_000,)
)


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several", errors)


def raised_from(error: Exception, cause: BaseException) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


def verdict(error: BaseException, attempt: int = 1) -> Verdict:
    meaning = classify_exception(error)
    assert not isinstance(meaning, Fatal)
    return decide_at_least_once(meaning, attempt=attempt, policy=KEY_ERRORS_ARE_FINAL, unmatched="skip")


class TestGroups:
    @pytest.mark.parametrize("fatal", [MemoryError(), KeyboardInterrupt(), SystemExit(3)])
    def test_a_fatal_error_comes_before_everything_else_however_deep_it_lies(self, fatal: BaseException) -> None:
        assert classify_exception(group(Skip(), KeyError("k"), group(group(ValueError(), fatal)))) == Fatal(fatal)

    @pytest.mark.parametrize("outcome", [Skip("a"), Retry(after_ms=5), DeadLetter("a")])
    def test_an_outcome_alone_in_a_group_is_that_outcome(self, outcome: Outcome) -> None:
        assert classify_exception(group(group(outcome))) is outcome

    def test_outcomes_of_one_kind_agree_and_the_first_one_counts(self) -> None:
        first = DeadLetter("a")
        assert classify_exception(group(first, group(DeadLetter("b")))) is first

    @pytest.mark.parametrize("other", [DeadLetter("b"), Retry(), ValueError("no")])
    def test_a_skip_beside_anything_else_is_a_failure(self, other: Exception) -> None:
        error = group(Skip("a"), other)
        assert classify_exception(error) == Failed(error)

    def test_a_value_that_cannot_be_decoded_is_not_retriable_in_a_group_too(self) -> None:
        error = group(DecodeError("no"))
        assert classify_exception(error) == Failed(error, retriable=False)

    def test_a_non_retryable_error_in_a_group_ends_the_attempts_and_is_named(self) -> None:
        final = KeyError("k")
        assert verdict(group(ConnectionError(), group(final))) == SendToDeadLetter("KeyError is non_retryable", final)

    def test_the_group_is_kept_where_its_first_error_is_the_non_retryable_one(self) -> None:
        error = group(KeyError("k"), ConnectionError())
        assert verdict(error) == SendToDeadLetter("KeyError is non_retryable", error)

    def test_a_group_of_ordinary_errors_is_tried_again(self) -> None:
        assert isinstance(verdict(group(ConnectionError(), group(OSError()))), Wait)

    def test_a_non_retryable_kind_may_be_the_group_itself(self) -> None:
        error = group(OSError())
        policy = ErrorPolicySettings(then="skip", non_retryable=(BaseExceptionGroup,))
        assert decide_at_least_once(read_raised_failure(error), attempt=1, policy=policy, unmatched="skip") == Finish(
            "failed"
        )

    def test_the_first_error_that_is_no_outcome_names_a_group(self) -> None:
        error = group(Skip("a"), group(ValueError("first")), OSError("second"))
        assert (type(reported_exception(error)), failure_message(error)) == (ValueError, "first")


def read_raised_failure(error: BaseException) -> Failed:
    meaning = classify_exception(error)
    assert isinstance(meaning, Failed)
    return meaning


class TestCauses:
    def test_a_non_retryable_cause_ends_the_attempts(self) -> None:
        error = raised_from(RuntimeError("wrapped"), raised_from(OSError(), KeyError("k")))
        assert verdict(error) == SendToDeadLetter("KeyError is non_retryable", error)

    def test_a_non_retryable_error_in_a_group_that_is_the_cause_ends_the_attempts(self) -> None:
        error = raised_from(RuntimeError("wrapped"), group(OSError(), KeyError("k")))
        assert verdict(error) == SendToDeadLetter("KeyError is non_retryable", error)

    def test_an_error_that_was_only_being_handled_does_not(self) -> None:
        error = RuntimeError("another one")
        error.__context__ = KeyError("k")
        assert isinstance(verdict(error), Wait)

    def test_a_ring_of_causes_is_walked_once(self) -> None:
        first, second = ValueError(), OSError()
        first.__cause__, second.__cause__ = second, first
        assert isinstance(verdict(first), Wait)

    @pytest.mark.parametrize("wrapped", [Skip(), MemoryError()])
    def test_an_outcome_or_a_fatal_error_that_was_wrapped_is_a_failure(self, wrapped: BaseException) -> None:
        error = raised_from(RuntimeError("wrapped"), wrapped)
        assert classify_exception(error) == Failed(error)


class TestOutcomesWithAnError:
    def test_a_dead_letter_keeps_the_error_that_it_was_raised_from(self) -> None:
        outcome = raised_from(DeadLetter("why"), ValueError("boom"))
        assert verdict(outcome) == SendToDeadLetter("why", outcome)
        assert (type(reported_exception(outcome)), failure_message(outcome)) == (ValueError, "why: boom")

    def test_at_most_once_too(self) -> None:
        outcome = raised_from(DeadLetter("why"), ValueError("boom"))
        assert isinstance(outcome, DeadLetter)
        assert decide_at_most_once(outcome) == SendToDeadLetter("why", outcome)

    def test_an_error_that_was_being_handled_counts_like_one_that_it_was_raised_from(self) -> None:
        outcome = DeadLetter("why")
        outcome.__context__ = ValueError("boom")
        assert failure_message(outcome) == "why: boom"

    def test_raised_from_none_it_has_no_error(self) -> None:
        outcome = DeadLetter("why")
        outcome.__context__, outcome.__suppress_context__ = ValueError("boom"), True
        assert verdict(outcome) == SendToDeadLetter("why", None)

    @pytest.mark.parametrize(("reason", "error", "said"), [("", ValueError("boom"), "boom"), ("why", OSError(), "why")])
    def test_an_empty_reason_or_message_adds_nothing(self, reason: str, error: Exception, said: str) -> None:
        assert failure_message(raised_from(DeadLetter(reason), error)) == said

    def test_a_retry_hands_its_error_on_to_the_retry_topic(self) -> None:
        error = OSError("busy")
        assert verdict(raised_from(Retry(), error), attempt=4) == SendToRetryTopic(
            1_000, "attempt 4 of 4 failed", error
        )


def endpoint() -> None:
    raise ValueError("no customer")


@contextlib.contextmanager
def dependency() -> Iterator[None]:
    raise ValueError("no database")
    yield


class TestTheTracebackOfTheApp:
    @pytest.mark.parametrize("package", ["evkafka", "asyncio", "concurrent"])
    def test_begins_with_the_frame_after_those_of_the_framework(self, package: str) -> None:
        error = error_through(package, endpoint)
        assert [frame.name for frame in traceback.extract_tb(app_traceback(error))] == ["endpoint"]

    def test_begins_after_the_frame_that_enters_a_context_manager(self) -> None:
        error = error_through("evkafka", lambda: dependency().__enter__())
        names = [frame.name for frame in traceback.extract_tb(app_traceback(error))]
        assert names == ["<lambda>", "__enter__", "dependency"]
        error = error_through("evkafka", dependency().__enter__)
        assert [frame.name for frame in traceback.extract_tb(app_traceback(error))] == ["dependency"]

    def test_keeps_later_frames_of_the_framework(self) -> None:
        def middleware() -> None:
            raise error_through("evkafka", endpoint)

        error = error_through("evkafka", middleware)
        names = [frame.name for frame in traceback.extract_tb(app_traceback(error))]
        assert names == ["middleware", "call", "endpoint"]

    def test_is_whole_without_a_frame_of_the_app(self) -> None:
        assert app_traceback(ValueError()) is None
        whole = error_through("evkafka", "x".__getitem__)  # type: ignore[arg-type]
        assert app_traceback(whole) is whole.__traceback__ is not None

    def test_is_not_needed_for_a_decode_error_without_such_a_frame(self) -> None:
        fault = DecodeError("cents: Field required", topic="orders", partition=0, offset=1, event_type="E")

        def decode() -> None:
            raise fault

        assert not needs_traceback(fault)
        assert needs_traceback(error_through("evkafka", decode))
        assert needs_traceback(ValueError())


def test_a_failure_without_an_error_has_the_name_of_its_outcome() -> None:
    assert failure_name(None, "DeadLetter") == "DeadLetter"
    assert failure_name(group(raised_from(DeadLetter("why"), OSError())), "DeadLetter") == "OSError"
