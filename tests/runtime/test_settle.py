"""From an outcome to a verdict: the delivery table, row by row, without a loop."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.config.settings import ErrorPolicySettings
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable, DecodeError, StopApp
from evkafka.outcomes import DeadLetter, Failed, Outcome, Retry, Skip, Unmatched
from evkafka.runtime.backoff import exponential_delay_s
from evkafka.runtime.settle import (
    Finish,
    SendToDeadLetter,
    SendToRetryTopic,
    StopConsuming,
    Verdict,
    Wait,
    decide_at_least_once,
    decide_at_most_once,
)
from evkafka.runtime.supervision.restart_policy import RestartPolicy

FOREVER = ErrorPolicySettings(jitter=0.0)
THREE = ErrorPolicySettings(max_attempts=3, jitter=0.0)
ERROR = ValueError("no")


def verdict(
    outcome: Outcome | Unmatched | Failed | None,
    policy: ErrorPolicySettings = FOREVER,
    attempt: int = 1,
    unmatched: str = "skip",
) -> Verdict:
    return decide_at_least_once(outcome, attempt=attempt, policy=policy, unmatched=unmatched)


TIERS = ErrorPolicySettings(max_attempts=2, jitter=0.0, retry_topics=(1_000, 60_000), then="dead_letter")


class TestRetryTopics:
    def deferred(self, waited_ms: int, outcome: Outcome | Unmatched | Failed | None = None) -> Verdict:
        return decide_at_least_once(
            outcome or Failed(ERROR), attempt=2, policy=TIERS, unmatched="skip", waited_ms=waited_ms
        )

    def test_after_the_last_attempt_a_record_waits_for_the_next_longer_delay(self) -> None:
        assert self.deferred(0) == SendToRetryTopic(1_000, "attempt 2 of 2 failed", ERROR)
        assert self.deferred(1_000) == SendToRetryTopic(60_000, "attempt 2 of 2 failed", ERROR)

    def test_after_the_longest_delay_the_policys_then_applies(self) -> None:
        assert self.deferred(60_000) == SendToDeadLetter("attempt 2 of 2 failed", ERROR)

    def test_a_delay_that_was_removed_from_the_list_is_followed_by_the_next_longer_one(self) -> None:
        assert self.deferred(5_000) == SendToRetryTopic(60_000, "attempt 2 of 2 failed", ERROR)
        assert self.deferred(600_000) == SendToDeadLetter("attempt 2 of 2 failed", ERROR)

    def test_before_the_last_attempt_a_record_waits_in_its_lane(self) -> None:
        assert isinstance(verdict(Failed(ERROR), TIERS, attempt=1), Wait)

    def test_an_attempt_that_a_retry_asks_for_counts_too(self) -> None:
        assert self.deferred(0, Retry(after_ms=5)) == SendToRetryTopic(1_000, "attempt 2 of 2 failed", None)

    def test_failures_that_no_retry_can_help_skip_the_retry_topics(self) -> None:
        undecodable = Failed(DecodeError("no"), retriable=False)
        assert isinstance(verdict(undecodable, TIERS), SendToDeadLetter)
        final = dataclasses.replace(TIERS, non_retryable=(ValueError,))
        assert isinstance(verdict(Failed(ERROR), final), SendToDeadLetter)


class TestPostCommit:
    def test_a_record_whose_endpoint_returned_is_finished(self) -> None:
        assert verdict(None) == Finish("ok")

    def test_skip_finishes(self) -> None:
        assert verdict(Skip("not ours")) == Finish("skipped")

    @pytest.mark.parametrize("attempt", [1, 5, 10_000])
    def test_a_failure_is_retried_forever_by_default(self, attempt: int) -> None:
        assert isinstance(verdict(Failed(ERROR), attempt=attempt), Wait)

    def test_after_the_last_attempt_then_applies(self) -> None:
        assert isinstance(verdict(Failed(ERROR), THREE, attempt=2), Wait)
        assert isinstance(verdict(Failed(ERROR), THREE, attempt=3), StopConsuming)

    @pytest.mark.parametrize(
        ("then", "end"), [("stop", StopConsuming), ("skip", Finish), ("dead_letter", SendToDeadLetter)]
    )
    def test_then_decides_what_follows_the_last_attempt(self, then: str, end: type[Verdict]) -> None:
        policy = ErrorPolicySettings(max_attempts=1, then=then)  # type: ignore[arg-type]
        assert isinstance(verdict(Failed(ERROR), policy), end)

    def test_after_a_non_retryable_error_then_applies_at_once_also_without_max_attempts(self) -> None:
        policy = ErrorPolicySettings(non_retryable=(ValueError,), then="skip")
        assert verdict(Failed(ERROR), policy) == Finish("failed")
        assert isinstance(verdict(Failed(KeyError()), policy), Wait)

    def test_an_undecodable_record_is_not_retried_if_there_are_max_attempts(self) -> None:
        assert isinstance(verdict(Failed(DecodeError("x"), retriable=False), THREE), StopConsuming)

    def test_an_undecodable_record_waits_without_max_attempts(self) -> None:
        assert isinstance(verdict(Failed(DecodeError("x"), retriable=False)), Wait)

    def test_retry_takes_the_policys_backoff_or_its_own_wait(self) -> None:
        assert verdict(Retry()) == Wait(0.5)
        assert verdict(Retry(after_ms=40)) == Wait(0.04)

    def test_retry_counts_as_an_attempt(self) -> None:
        assert isinstance(verdict(Retry(after_ms=1), THREE, attempt=3), StopConsuming)

    def test_dead_letter_buries_whatever_then_says(self) -> None:
        assert verdict(DeadLetter("bad"), THREE) == SendToDeadLetter("bad", None)

    @pytest.mark.parametrize(
        ("unmatched", "end"), [("skip", Finish), ("stop", StopConsuming), ("dead_letter", SendToDeadLetter)]
    )
    def test_an_unmatched_record_goes_where_unmatched_says(self, unmatched: str, end: type[Verdict]) -> None:
        assert isinstance(verdict(Unmatched("no_endpoint", "X"), unmatched=unmatched), end)


class TestPreCommit:
    @pytest.mark.parametrize(
        ("outcome", "end"),
        [
            (None, Finish("ok")),
            (Skip(), Finish("skipped")),
            (Unmatched("no_type"), Finish("skipped")),
            (Retry(), Finish("failed")),
            (Failed(ERROR), Finish("failed")),
            (Failed(DecodeError("x"), retriable=False), Finish("failed")),
            (DeadLetter("bad"), SendToDeadLetter("bad", None)),
        ],
    )
    def test_nothing_is_tried_again(self, outcome: Outcome | Unmatched | Failed | None, end: Verdict) -> None:
        assert decide_at_most_once(outcome) == end


class TestBackoff:
    def test_doubles_up_to_the_most(self) -> None:
        waits = [
            exponential_delay_s(n, first_s=0.5, multiplier=2, most_s=30, jitter=0, random=lambda: 0.5)
            for n in range(1, 9)
        ]
        assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]

    @given(attempt=st.integers(1, 10**6), jitter=st.floats(0, 1), chance=st.floats(0, 1, exclude_max=True))
    def test_stays_within_its_bounds_for_any_attempt(self, attempt: int, jitter: float, chance: float) -> None:
        wait = exponential_delay_s(attempt, first_s=0.5, multiplier=2, most_s=30, jitter=jitter, random=lambda: chance)
        assert 0 <= wait <= 30

    @pytest.mark.parametrize("first_s", [0.5, 25, 27.5, 30, 60])
    def test_makes_no_wait_shorter_by_more_than_the_jitter(self, first_s: float) -> None:
        """Also not a constant wait, where the first one is the longest."""
        wait = exponential_delay_s(1, first_s=first_s, multiplier=2, most_s=30, jitter=0.2, random=lambda: 0.0)
        assert wait == pytest.approx(min(first_s, 30) * 0.8)

    def test_varies_the_longest_waits_evenly_below_the_most(self) -> None:
        chances = iter((0.0, 0.25, 0.5, 0.75))
        waits = [
            exponential_delay_s(n, first_s=0.5, multiplier=2, most_s=30, jitter=0.2, random=lambda: next(chances))
            for n in range(7, 11)
        ]
        assert waits == pytest.approx([24, 25.5, 27, 28.5])


class TestSupervision:
    def test_waits_for_a_lost_connection_without_end(self) -> None:
        rule = RestartPolicy(lambda: 0.0, lambda: 0.5)
        waits = [rule.advance_backoff_s(BrokerUnavailable("away")) for _ in range(100)]
        assert waits[:3] == [0.5, 1.0, 2.0]
        assert waits[-1] == 9.0  # between 8 and 10 s

    @pytest.mark.parametrize("error", [BrokerRefused("login"), StopApp("verdict")])
    def test_ends_the_app_for_what_waiting_cannot_help(self, error: Exception) -> None:
        assert RestartPolicy(lambda: 0.0).advance_backoff_s(error) is None

    def test_allows_five_rebuilds_in_ten_minutes_for_anything_else(self) -> None:
        now = 0.0
        rule = RestartPolicy(lambda: now)
        assert all(rule.advance_backoff_s(BrokerError("odd")) is not None for _ in range(5))
        assert rule.advance_backoff_s(BrokerError("odd")) is None
        now = 601.0
        assert rule.advance_backoff_s(BrokerError("odd")) is not None

    def test_begins_with_a_short_wait_again_once_it_has_recovered(self) -> None:
        rule = RestartPolicy(lambda: 0.0, lambda: 0.5)
        for _ in range(5):
            rule.advance_backoff_s(BrokerUnavailable("away"))
        rule.note_recovered()
        assert rule.advance_backoff_s(BrokerUnavailable("away")) == 0.5
