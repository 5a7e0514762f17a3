"""The exits of dependencies: after the endpoint, within the attempt, with the endpoint's exception."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any

import pytest

from evkafka import DeadLetter, Depends, Handler, Retry, Skip
from tests.support.endpoint_calls import give, record


class Transaction:
    """A dependency written in two ways, and a record of its calls."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def on_loop(self) -> AsyncIterator[str]:
        self.events.append("begin")
        try:
            yield "tx"
            self.events.append("commit")
        except BaseException as error:
            self.events.append(f"roll back for {type(error).__name__}")
            raise

    def in_thread(self) -> Iterator[str]:
        self.events.append("begin")
        try:
            yield "tx"
            self.events.append("commit")
        except BaseException as error:
            self.events.append(f"roll back for {type(error).__name__}")
            raise


@pytest.fixture
def transaction() -> Transaction:
    return Transaction()


@pytest.fixture(params=["async", "in a thread"])
def begin(request: pytest.FixtureRequest, transaction: Transaction) -> Callable[[], Any]:
    return transaction.on_loop if request.param == "async" else transaction.in_thread


class TestNormally:
    @pytest.mark.parametrize("returned", [None, 5, Skip("x"), Skip, Retry(), DeadLetter("x")], ids=repr)
    async def test_they_end_normally_if_the_endpoint_returns(
        self, stack: Any, begin: Any, transaction: Transaction, returned: Any
    ) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes, tx: Annotated[str, Depends(begin)]) -> Any:
            transaction.events.append("endpoint")
            return returned

        await give(handler, record("A"), middleware=stack)
        assert transaction.events == ["begin", "endpoint", "commit"]

    async def test_the_last_one_made_ends_first(self, stack: Any) -> None:
        handler, events = Handler(), list[str]()

        async def outer() -> AsyncIterator[None]:
            yield
            events.append("outer")

        def middle(of: Annotated[None, Depends(outer)]) -> Iterator[None]:
            yield
            events.append("middle")

        async def inner(of: Annotated[None, Depends(middle)]) -> AsyncIterator[None]:
            yield
            events.append("inner")

        @handler.event("A")
        async def on_a(
            value: bytes, one: Annotated[None, Depends(inner)], two: Annotated[None, Depends(outer)]
        ) -> None: ...

        await give(handler, record("A"), middleware=stack)
        assert events == ["inner", "middle", "outer"]


class TestFailures:
    @pytest.mark.parametrize("error", [ValueError("x"), Skip("x"), Skip, Retry(), DeadLetter("x")], ids=repr)
    @pytest.mark.parametrize("plainly", [False, True])
    async def test_an_exception_of_the_endpoint_is_raised_in_them_and_by_the_attempt(
        self, stack: Any, begin: Any, transaction: Transaction, error: Any, plainly: bool
    ) -> None:
        handler = Handler()

        async def on_loop(value: bytes, tx: Annotated[str, Depends(begin)]) -> None:
            raise error

        def in_thread(value: bytes, tx: Annotated[str, Depends(begin)]) -> None:
            raise error

        handler.event("A")(in_thread if plainly else on_loop)
        kind = error if isinstance(error, type) else type(error)
        with pytest.raises(kind) as caught:
            await give(handler, record("A"), middleware=stack)
        assert isinstance(error, type) or caught.value is error
        assert transaction.events == ["begin", f"roll back for {kind.__name__}"]

    async def test_an_error_at_the_exit_fails_the_attempt_and_is_raised_in_the_outer_ones(
        self, stack: Any, begin: Any, transaction: Transaction
    ) -> None:
        handler = Handler()

        async def fails(tx: Annotated[str, Depends(begin)]) -> AsyncIterator[None]:
            yield
            raise LookupError("at the exit")

        @handler.event("A")
        async def on_a(value: bytes, it: Annotated[None, Depends(fails)]) -> Skip:
            return Skip("not this one")

        with pytest.raises(LookupError, match="at the exit"):
            await give(handler, record("A"), middleware=stack)
        assert transaction.events == ["begin", "roll back for LookupError"]

    async def test_if_one_cannot_be_made_those_before_it_are_closed_and_no_endpoint_runs(
        self, stack: Any, begin: Any, transaction: Transaction
    ) -> None:
        handler = Handler()

        def fails() -> None:
            raise LookupError("cannot be made")

        @handler.event("A")
        async def on_a(value: bytes, tx: Annotated[str, Depends(begin)], it: Annotated[None, Depends(fails)]) -> None:
            transaction.events.append("endpoint")

        with pytest.raises(LookupError, match="cannot be made"):
            await give(handler, record("A"), middleware=stack)
        assert transaction.events == ["begin", "roll back for LookupError"]

    @pytest.mark.parametrize("plainly", [False, True])
    @pytest.mark.parametrize("error", [ValueError("x"), Skip("x")], ids=repr)
    async def test_one_that_swallows_the_error_does_not_hide_it_from_the_others(
        self, stack: Any, begin: Any, transaction: Transaction, error: Exception, plainly: bool
    ) -> None:
        handler = Handler()

        async def swallows(tx: Annotated[str, Depends(begin)]) -> AsyncIterator[None]:
            with suppress(Exception):
                yield

        def swallows_in_thread(tx: Annotated[str, Depends(begin)]) -> Iterator[None]:
            with suppress(Exception):
                yield

        @handler.event("A")
        async def on_a(value: bytes, it: Annotated[None, Depends(swallows_in_thread if plainly else swallows)]) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await give(handler, record("A"), middleware=stack)
        assert caught.value is error
        assert transaction.events == ["begin", f"roll back for {type(error).__name__}"]

    async def test_one_may_raise_an_outcome_in_place_of_the_error(self, stack: Any) -> None:
        handler = Handler()

        async def decides() -> AsyncIterator[None]:
            try:
                yield
            except ValueError as error:
                raise DeadLetter("no good") from error

        @handler.event("A")
        async def on_a(value: bytes, it: Annotated[None, Depends(decides)]) -> None:
            raise ValueError

        with pytest.raises(DeadLetter):
            await give(handler, record("A"), middleware=stack)

    @pytest.mark.parametrize("times", [0, 2])
    async def test_one_that_does_not_yield_once_fails_the_attempt(self, stack: Any, times: int) -> None:
        handler = Handler()

        async def yields() -> AsyncIterator[int]:
            for number in range(times):
                yield number

        @handler.event("A")
        async def on_a(value: bytes, it: Annotated[int, Depends(yields)]) -> None: ...

        with pytest.raises(RuntimeError, match=r"generator didn.t (yield|stop)"):
            await give(handler, record("A"), middleware=stack)
