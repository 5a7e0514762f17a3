"""The arguments of dependencies, and the values that endpoints get; with the default stack and others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import pytest

from evkafka import DecodeError, Depends, Handler, Request, Retry
from tests.support.endpoint_calls import Order, give, record, slot


class AppState(TypedDict):
    engine: str


async def engine_of(request: Request[AppState]) -> str:
    return request.state["engine"]


async def session_of(engine: Annotated[str, Depends(engine_of)], request: Request) -> str:
    return f"session of {engine} for {request.offset}"


@dataclass
class Repository:
    session: Annotated[str, Depends(session_of)]
    page: int = 7


SessionDep = Annotated[str, Depends(session_of)]
ORDER = record("A", b'{"order_id": "1"}')


class TestValues:
    async def test_are_made_of_the_request_the_lifespan_and_each_other(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        async def on_a(
            session: SessionDep, order: Order, repository: Annotated[Repository, Depends(Repository)], request: Request
        ) -> None:
            seen.append((session, order.order_id, repository, request.offset))

        await give(handler, ORDER, middleware=stack, at=slot({"engine": "pg"}))
        assert seen == [("session of pg for 7", "1", Repository("session of pg for 7"), 7)]

    @pytest.mark.parametrize("order", ["first", "last", "keyword"])
    async def test_may_be_in_any_position(self, stack: Any, order: str) -> None:
        handler, seen = Handler(), list[Any]()

        async def first(session: SessionDep, value: bytes) -> None:
            seen.append((session, value))

        async def last(value: bytes, session: SessionDep) -> None:
            seen.append((session, value))

        async def keyword(value: bytes, /, *, session: SessionDep) -> None:
            seen.append((session, value))

        endpoints: dict[str, Any] = {"first": first, "last": last, "keyword": keyword}
        handler.event("A")(endpoints[order])
        await give(handler, record("A", b"v"), middleware=stack, at=slot({"engine": "pg"}))
        assert seen == [("session of pg for 7", b"v")]

    async def test_a_default_beside_it_is_not_used(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        async def on_a(value: bytes, session: SessionDep = "none", page: int = 3) -> None:
            seen.append((session, page))

        await give(handler, record("A"), middleware=stack, at=slot({"engine": "pg"}))
        assert seen == [("session of pg for 7", 3)]

    async def test_requests_of_one_attempt_share_its_state(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        async def mark(request: Request) -> None:
            request.state.mark = "set"

        @handler.event("A")
        async def on_a(value: bytes, request: Request, marked: Annotated[None, Depends(mark)]) -> None:
            seen.append(request.state.mark)

        at = slot({"engine": "pg"})
        await give(handler, record("A"), middleware=stack, at=at)
        assert seen == ["set"]
        assert at.state == {"engine": "pg"}

    async def test_the_endpoints_return_value_is_the_attempts_result(self, stack: Any) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(value: bytes, engine: Annotated[str, Depends(engine_of)]) -> Retry:
            return Retry(after_ms=3)

        assert isinstance(await give(handler, record("A"), middleware=stack, at=slot({"engine": "pg"})), Retry)

    async def test_none_is_made_for_a_value_that_cannot_be_decoded(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        def make() -> None:
            seen.append("made")

        @handler.event("A")
        async def on_a(order: Order, made: Annotated[None, Depends(make)]) -> None: ...

        with pytest.raises(DecodeError):
            await give(handler, record("A", b"no json"), middleware=stack)
        assert seen == []

    async def test_a_tombstone_has_them_too(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        async def on_a(order: Order | None, engine: Annotated[str, Depends(engine_of)]) -> None:
            seen.append((order, engine))

        await give(handler, record("A", None), middleware=stack, at=slot({"engine": "pg"}))
        assert seen == [(None, "pg")]

    async def test_a_default_endpoint_has_them_too(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        async def type_of(request: Request) -> str | None:
            return request.event_type

        @handler.default()
        async def on_rest(value: bytes, event_type: Annotated[str, Depends(type_of)]) -> None:
            seen.append(event_type)

        await give(handler, record("Whatever"), middleware=stack)
        assert seen == ["Whatever"]


class TestCache:
    async def test_all_parameters_of_an_attempt_share_one_value_and_the_next_attempt_has_another(
        self, stack: Any
    ) -> None:
        handler, seen = Handler(), list[Any]()

        async def one() -> object:
            return object()

        async def by_way(it: Annotated[object, Depends(one)]) -> object:
            return it

        @handler.event("A")
        async def on_a(value: bytes, a: Annotated[object, Depends(one)], b: Annotated[object, Depends(by_way)]) -> None:
            seen.append((a, b))

        await give(handler, record("A"), middleware=stack)
        await give(handler, record("A"), middleware=stack)
        assert [a is b for a, b in seen] == [True, True]
        assert seen[0][0] is not seen[1][0]

    async def test_without_it_a_parameter_has_its_own_value(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        async def one() -> object:
            return object()

        @handler.event("A")
        async def on_a(
            value: bytes,
            a: Annotated[object, Depends(one)],
            b: Annotated[object, Depends(one, use_cache=False)],
            c: Annotated[object, Depends(one)],
        ) -> None:
            seen.extend([a is b, a is c])

        await give(handler, record("A"), middleware=stack)
        assert seen == [False, True]
