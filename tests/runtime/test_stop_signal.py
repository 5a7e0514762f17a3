"""What ends a source's life: the first failure, unless a record says that the app must stop."""

from __future__ import annotations

from evkafka.exceptions import BrokerError, StopApp
from evkafka.runtime.supervision.stop_signal import StopSignal

LOST, VERDICT = BrokerError("the connection is lost"), StopApp("orders[0]@7 stops the app")


def ending(*errors: BaseException) -> StopSignal:
    ending = StopSignal(lambda: None)
    for error in errors:
        ending.fail(error)
    return ending


async def test_a_verdict_outweighs_the_failure_of_the_source_before_it() -> None:
    assert ending(LOST, VERDICT).failure.exception() is VERDICT


async def test_a_failure_of_the_source_does_not_outweigh_a_verdict() -> None:
    assert ending(VERDICT, LOST).failure.exception() is VERDICT


async def test_the_first_of_two_failures_counts() -> None:
    assert ending(LOST, BrokerError("another")).failure.exception() is LOST


async def test_a_verdict_that_comes_while_it_drains_is_what_it_ends_with() -> None:
    assert ending(LOST, VERDICT).stored_stop_app_else_given_failure(LOST) is VERDICT
    assert ending(LOST).stored_stop_app_else_given_failure(LOST) is LOST
