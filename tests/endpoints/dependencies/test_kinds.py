"""Functions of all kinds as dependencies, and the thread or loop that runs them."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any, Self

import pytest

from evkafka import Depends, Handler, Request
from tests.support.endpoint_calls import give, record, slot

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")
WHERE: list[threading.Thread] = []


def here() -> str:
    WHERE.append(threading.current_thread())
    return "made"


async def coroutine(request: Request) -> str:
    return here()


async def async_generator(request: Request) -> AsyncIterator[str]:
    yield here()
    here()


def plain(request: Request) -> str:
    return here()


def generator(request: Request) -> Iterator[str]:
    yield here()
    here()


def plainly_returns_a_coroutine(request: Request) -> Any:
    return coroutine(request)


class Service:
    async def method(self, request: Request) -> str:
        return here()

    def plain_method(self, request: Request) -> str:
        return here()

    async def __call__(self, request: Request) -> str:
        return here()


class Text(str):
    """A class as a dependency; its instances are callable too, which must not matter."""

    __slots__ = ()

    def __new__(cls, request: Request) -> Self:
        return super().__new__(cls, here())

    async def __call__(self) -> None: ...


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


async def with_more(tag: str, request: Request) -> str:
    assert tag == "tag"
    return here()


ON_THE_LOOP = {
    "coroutine": coroutine,
    "async generator": async_generator,
    "method": Service().method,
    "callable object": Service(),
    "partial": functools.partial(with_more, "tag"),
    "wrapped coroutine": traced(coroutine),
    "wrapped async generator": traced(async_generator),
    "async context manager": asynccontextmanager(async_generator),
    "plainly returns a coroutine": plainly_returns_a_coroutine,
}
IN_A_THREAD = {
    "plain": plain,
    "generator": generator,
    "plain method": Service().plain_method,
    "class": Text,
    "partial of a class": functools.partial(Text),
    "lambda": lambda: here(),
    "wrapped plain": traced(plain),
    "wrapped generator": traced(generator),
    "context manager": contextmanager(generator),
}


@pytest.fixture(params=["async def", "def"])
def endpoint(request: pytest.FixtureRequest) -> Callable[[Any, list[Any]], Any]:
    """Creates an endpoint of either kind, with one dependency."""

    def make(dependency: Any, seen: list[Any]) -> Any:
        async def on_loop(value: bytes, made: Any) -> None:
            seen.append(made)

        def in_thread(value: bytes, made: Any) -> None:
            seen.append(made)

        made = on_loop if request.param == "async def" else in_thread
        made.__annotations__["made"] = Annotated[str, Depends(dependency)]
        return made

    return make


class TestKinds:
    @pytest.mark.parametrize("dependency", ON_THE_LOOP.values(), ids=ON_THE_LOOP)
    async def test_an_async_one_runs_on_the_loop(
        self, stack: Any, threads: ThreadPoolExecutor, endpoint: Any, dependency: Any
    ) -> None:
        handler, seen = Handler(), list[Any]()
        handler.event("A")(endpoint(dependency, seen))
        WHERE.clear()
        await give(handler, record("A"), middleware=stack, at=slot(threads=threads))
        assert seen == ["made"]
        assert set(WHERE) == {threading.main_thread()}

    @pytest.mark.parametrize("dependency", IN_A_THREAD.values(), ids=IN_A_THREAD)
    async def test_anything_else_runs_in_the_consumers_threads(
        self, stack: Any, threads: ThreadPoolExecutor, endpoint: Any, dependency: Any
    ) -> None:
        handler, seen, at = Handler(), list[Any](), slot(threads=threads)
        handler.event("A")(endpoint(dependency, seen))
        WHERE.clear()
        await give(handler, record("A"), middleware=stack, at=at)
        assert seen == ["made"]
        assert threading.main_thread() not in WHERE
        assert at.thread_future is None

    @pytest.mark.parametrize("dependency", [async_generator, generator], ids=["async", "in a thread"])
    async def test_one_that_yields_continues_after_the_endpoint(
        self, stack: Any, threads: ThreadPoolExecutor, endpoint: Any, dependency: Any
    ) -> None:
        handler = Handler()
        handler.event("A")(endpoint(dependency, []))
        WHERE.clear()
        await give(handler, record("A"), middleware=stack, at=slot(threads=threads))
        assert len(WHERE) == 2

    async def test_a_plain_wrapper_around_an_async_endpoint_has_them_too(self, stack: Any) -> None:
        handler, seen = Handler(), list[Any]()

        @handler.event("A")
        @traced
        async def on_a(value: bytes, made: Annotated[str, Depends(coroutine)]) -> None:
            seen.append((made, threading.current_thread()))

        await give(handler, record("A"), middleware=stack)
        assert seen == [("made", threading.main_thread())]


class TestContextVariables:
    @pytest.mark.parametrize("plainly", [False, True])
    async def test_the_endpoint_sees_what_an_async_one_sets(
        self, stack: Any, threads: ThreadPoolExecutor, plainly: bool
    ) -> None:
        handler, seen = Handler(), list[str]()

        async def as_acme() -> AsyncIterator[None]:
            token = tenant.set("acme")
            yield
            tenant.reset(token)

        async def on_loop(value: bytes, made: Annotated[None, Depends(as_acme)]) -> None:
            seen.append(tenant.get())

        def in_thread(value: bytes, made: Annotated[None, Depends(as_acme)]) -> None:
            seen.append(tenant.get())

        handler.event("A")(in_thread if plainly else on_loop)
        await give(handler, record("A"), middleware=stack, at=slot(threads=threads))
        assert seen == ["acme"]
        assert tenant.get() == "nobody"

    async def test_a_generator_in_a_thread_resets_what_it_has_set(
        self, stack: Any, threads: ThreadPoolExecutor
    ) -> None:
        handler, seen = Handler(), list[str]()

        def as_acme() -> Iterator[None]:
            token = tenant.set("acme")
            yield
            seen.append(tenant.get())
            tenant.reset(token)

        @handler.event("A")
        async def on_a(value: bytes, made: Annotated[None, Depends(as_acme)]) -> None: ...

        await give(handler, record("A"), middleware=stack, at=slot(threads=threads))
        assert seen == ["acme"]
