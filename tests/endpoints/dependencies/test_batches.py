"""Dependencies of batch endpoints: made once for a batch, with the default stack and others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

from evkafka import BatchError, Depends, EVKafkaApp, Handler, Request, Skip, TestClient
from evkafka.middleware import Middleware
from tests.support.endpoint_calls import STACKS


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture(params=list(STACKS))
def app(request: pytest.FixtureRequest, handler: Handler) -> EVKafkaApp:
    middleware: list[Middleware] | None = STACKS[request.param]
    app = EVKafkaApp(middleware=middleware)
    app.add_consumer({"topics": ["orders"]}, handler)
    return app


class Transaction:
    def __init__(self) -> None:
        self.events: list[Any] = []

    async def begin(self) -> AsyncIterator[str]:
        self.events.append("begin")
        try:
            yield "tx"
        except BaseException as error:
            self.events.append(type(error))
            raise
        self.events.append("commit")


@pytest.fixture
def transaction() -> Transaction:
    return Transaction()


class TestABatch:
    @pytest.mark.parametrize("plainly", [False, True])
    def test_has_one_value_for_all_its_records(
        self, app: EVKafkaApp, handler: Handler, transaction: Transaction, plainly: bool
    ) -> None:
        async def on_loop(values: list[bytes], tx: Annotated[str, Depends(transaction.begin)]) -> None:
            transaction.events.append((values, tx))

        def in_thread(values: list[bytes], tx: Annotated[str, Depends(transaction.begin)]) -> None:
            transaction.events.append((values, tx))

        handler.event("A", batch=True)(in_thread if plainly else on_loop)
        with TestClient(app) as client:
            client.send_batch([b"1", b"2"], "A", "orders")
        assert transaction.events == ["begin", ([b"1", b"2"], "tx"), "commit"]

    def test_gives_its_dependencies_all_requests_or_the_first(self, app: EVKafkaApp, handler: Handler) -> None:
        seen: list[Any] = []

        async def offsets(requests: list[Request]) -> list[int]:
            return [request.offset for request in requests]

        async def first(request: Request) -> int:
            return request.offset

        @handler.event("A", batch=True)
        async def on_a(
            values: list[bytes],
            requests: list[Request],
            all_of_them: Annotated[list[int], Depends(offsets)],
            one: Annotated[int, Depends(first)],
        ) -> None:
            seen.append(([request.offset for request in requests], all_of_them, one))

        with TestClient(app) as client:
            client.send_batch([b"1", b"2"], "A", "orders")
        assert seen == [([0, 1], [0, 1], 0)]

    def test_that_fails_as_a_whole_raises_its_error_in_them(
        self, app: EVKafkaApp, handler: Handler, transaction: Transaction
    ) -> None:
        @handler.event("A", batch=True)
        async def on_a(values: list[bytes], tx: Annotated[str, Depends(transaction.begin)]) -> None:
            raise ValueError("all of it")

        with TestClient(app) as client, pytest.raises(ValueError, match="all of it"):
            client.send_batch([b"1", b"2"], "A", "orders")
        assert transaction.events == ["begin", ValueError]

    def test_with_failed_records_commits_the_work_for_the_others(
        self, app: EVKafkaApp, handler: Handler, transaction: Transaction
    ) -> None:
        @handler.event("A", batch=True)
        async def on_a(values: list[bytes], tx: Annotated[str, Depends(transaction.begin)]) -> None:
            raise BatchError({1: Skip("not this one")})

        with TestClient(app) as client:
            deliveries = client.send_batch([b"1", b"2"], "A", "orders")
        assert [delivery.outcome for delivery in deliveries] == ["done", "skip"]
        assert transaction.events == ["begin", "commit"]

    def test_whose_commit_fails_fails_for_all_its_records(self, app: EVKafkaApp, handler: Handler) -> None:
        async def session() -> AsyncIterator[None]:
            yield
            raise LookupError("no commit")

        @handler.event("A", batch=True)
        async def on_a(values: list[bytes], it: Annotated[None, Depends(session)]) -> None:
            raise BatchError({1: Skip("not this one")})

        with TestClient(app, raise_endpoint_errors=False) as client:
            deliveries = client.send_batch([b"1", b"2"], "A", "orders")
        assert [delivery.outcome for delivery in deliveries] == ["failed", "failed"]

    def test_a_batch_error_of_another_kind_of_endpoint_is_an_ordinary_error(
        self, app: EVKafkaApp, handler: Handler, transaction: Transaction
    ) -> None:
        @handler.event("A")
        async def on_a(value: bytes, tx: Annotated[str, Depends(transaction.begin)]) -> None:
            raise BatchError({0: ValueError()})

        with TestClient(app) as client, pytest.raises(BatchError):
            client.send_event(b"", "A", "orders")
        assert transaction.events == ["begin", BatchError]
