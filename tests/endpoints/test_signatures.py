"""Signatures: which functions can be endpoints, and the errors for others."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel

from evkafka import ConfigError, Handler, Request
from tests.endpoints import late_names
from tests.support.endpoint_calls import Order, give, record


class AppState(TypedDict):
    engine: int


VALUE = b'{"order_id": "1"}'
SEEN: list[Any] = []
"""The arguments that the endpoints below were called with."""


async def order_only(order: Order) -> None:
    SEEN.append((order, None))


async def request_last(order: Order, request: Request) -> None:
    SEEN.append((order, request))


async def request_first(request: Request[AppState], order: Order) -> None:
    SEEN.append((order, request))


async def keywords_only(*, request: Request, order: Order) -> None:
    SEEN.append((order, request))


async def payload_keyword_only(*, order: Order) -> None:
    SEEN.append((order, None))


async def request_keyword_only(order: Order, *, request: Request) -> None:
    SEEN.append((order, request))


async def payload_behind_the_star(request: Request, *, order: Order) -> None:
    SEEN.append((order, request))


async def positional_only(request: Request, order: Order, /) -> None:
    SEEN.append((order, request))


async def with_default_between(order: Order, page: int = 1, request: Request = None) -> Any:  # type: ignore[assignment]
    SEEN.append((order, request))


async def with_optional_request(order: Order, request: Request | None = None) -> None:
    SEEN.append((order, request))


async def with_annotated_request(order: Order, request: Annotated[Request, "why"]) -> None:
    SEEN.append((order, request))


async def with_rest(order: Order, *args: int, **more: int) -> None:
    SEEN.append((order, None))


async def with_dependency(engine: int, order: Order, request: Request) -> None:
    assert engine == 5
    SEEN.append((order, request))


class Service:
    async def method(self, order: Order, request: Request) -> None:
        SEEN.append((order, request))

    async def __call__(self, request: Request, order: Order) -> None:
        SEEN.append((order, request))


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def traced_plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain `def` wrapper, which returns the coroutine."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


ENDPOINTS = {
    "order only": order_only,
    "request last": request_last,
    "request first": request_first,
    "keywords only": keywords_only,
    "payload keyword only": payload_keyword_only,
    "request keyword only": request_keyword_only,
    "payload behind the star": payload_behind_the_star,
    "positional only": positional_only,
    "default between": with_default_between,
    "optional request": with_optional_request,
    "annotated request": with_annotated_request,
    "*args and **kwargs": with_rest,
    "bound method": Service().method,
    "callable object": Service(),
    "partial by position": functools.partial(with_dependency, 5),
    "partial by name": functools.partial(with_dependency, engine=5),
    "partial of a method": functools.partial(Service().method),
    "decorated": traced(request_first),
    "decorated plainly": traced_plainly(request_first),
    "decorated plainly, order only": traced_plainly(order_only),
    "partial of decorated plainly": functools.partial(traced_plainly(with_dependency), 5),
}


class TestAccepted:
    @pytest.mark.parametrize("name", list(ENDPOINTS))
    async def test_the_endpoint_gets_its_payload_and_request_in_their_places(self, name: str, stack: Any) -> None:
        handler = Handler()
        handler.event("A")(ENDPOINTS[name])
        assert handler.endpoints[0].threaded is False
        SEEN.clear()
        await give(handler, record("A", VALUE), middleware=stack)
        [(order, request)] = SEEN
        assert order == Order(order_id="1")
        assert request is None or (isinstance(request, Request) and request.event_type == "A")

    async def test_the_endpoint_gets_its_own_request_class(self, stack: Any) -> None:
        class MyRequest(Request):
            __slots__ = ()

            @property
            def tenant(self) -> str:
                return self.headers["tenant"].decode()

        handler, seen = Handler(), list[str]()

        @handler.event("A")
        async def on_a(order: Order, request: MyRequest) -> None:
            seen.append(request.tenant)

        await give(handler, record("A", VALUE, headers=[("tenant", b"acme")]), middleware=stack)
        assert seen == ["acme"]

    def test_plain_functions_run_in_a_thread(self) -> None:
        handler = Handler()

        @handler.event("A")
        def on_a(order: Order) -> None: ...

        assert handler.endpoints[0].threaded is True

    def test_the_name_is_module_and_qualified_name(self) -> None:
        handler = Handler()
        for number, function in enumerate([Service().method, Service(), functools.partial(with_dependency, 5)]):
            handler.event(str(number))(function)
        here = "tests.endpoints.test_signatures"
        assert [e.name for e in handler.endpoints] == [
            f"{here}.Service.method",
            f"{here}.Service",
            f"{here}.with_dependency",
        ]

    def test_the_description_of_a_partial_is_its_functions(self) -> None:
        handler = Handler()
        handler.event("A")(functools.partial(with_dependency, 5))
        assert handler.endpoints[0].description is None


class TestPostponedAnnotations:
    async def test_names_that_are_defined_later_are_resolved_at_the_start(self) -> None:
        late_names.seen.clear()
        await give(late_names.handler, record("Later", b'{"n": 1}'))
        await give(late_names.handler, record("Outer", b'{"inner": {"n": 2}}'))
        assert late_names.seen == [late_names.Later(n=1), late_names.Outer(inner=late_names.Inner(n=2))]

    def test_names_that_do_not_exist_are_an_error_at_the_start_that_lists_them_all(self) -> None:
        with pytest.raises(ConfigError) as caught:
            late_names.broken.freeze()
        first, second = str(caught.value).splitlines()
        assert "'Decimal' in its annotations does not exist" in first
        assert "TYPE_CHECKING" in first
        assert "on_nowhere(payload: 'Nowhere') -> 'None'" in second
        assert f"({late_names.__file__}:" in second

    async def test_names_local_to_a_function_are_known(self, stack: Any) -> None:
        class Local(BaseModel):
            n: int

        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        async def on_local(local: Local) -> None:
            seen.append(local)

        await give(handler, record("A", b'{"n": 1}'), middleware=stack)
        assert seen == [Local(n=1)]


async def nothing() -> None: ...
async def request_alone(request: Request) -> None: ...
async def two_payloads(one: Order, two: Order) -> None: ...
async def two_requests(order: Order, one: Request, two: Request) -> None: ...
async def unsaid(order) -> None: ...  # type: ignore[no-untyped-def]
async def stars(*args: Any, **kwargs: Any) -> None: ...
async def generates(order: Order) -> AsyncIterator[int]:
    yield 1


def generates_plainly(order: Order) -> Any:
    yield 1


class NotJson:
    """A class that pydantic cannot validate."""


async def unknown_kind(order: NotJson) -> None: ...
async def no_type(order: 5) -> None: ...  # type: ignore[valid-type]
async def hidden(page: int = 1, order: Order = None, /) -> None: ...  # type: ignore[assignment]


class TestRefused:
    @pytest.mark.parametrize(
        ("function", "why"),
        [
            (nothing, "it takes no payload"),
            (request_alone, "it takes no payload"),
            (two_payloads, r"it takes 2 payloads \(one, two\)"),
            (two_requests, r"it takes 2 Requests \(one, two\)"),
            (unsaid, "its parameter 'order' has no annotation"),
            (stars, "it takes no payload; is a decorator missing its functools.wraps"),
            (generates, "it is a generator"),
            (generates_plainly, "it is a generator"),
            (unknown_kind, "pydantic cannot create"),
            (no_type, "order"),
            (hidden, "it takes no payload"),
            (Order, "cannot be an endpoint"),
            (5, "cannot be an endpoint"),
        ],
    )
    def test_other_signatures_are_refused_with_the_allowed_ones(self, function: Any, why: str) -> None:
        with pytest.raises(ConfigError, match=why) as caught:
            Handler().event("A")(function)
        assert "An endpoint takes one payload, typed dict, str, bytes, a pydantic model" in str(caught.value)

    def test_the_error_shows_the_endpoint_its_place_and_its_signature(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Handler().event("OrderPlaced")(two_payloads)
        shown = str(caught.value)
        line = two_payloads.__code__.co_firstlineno
        assert f"{__name__}.two_payloads(one: 'Order', two: 'Order') -> 'None' ({__file__}:{line})" in shown
        assert "'OrderPlaced'" in shown

    def test_a_refused_endpoint_is_not_registered(self) -> None:
        handler = Handler()
        with pytest.raises(ConfigError):
            handler.event("A")(two_payloads)
        assert handler.endpoints == ()
