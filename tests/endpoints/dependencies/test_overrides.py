"""`app.dependency_overrides`, set before the start and while the app runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from evkafka import ConfigError, Context, Depends, EVKafkaApp, Handler, Request, TestClient
from evkafka.middleware import Middleware
from tests.support.endpoint_calls import Through

SEEN: list[Any] = []
handler = Handler()


async def engine() -> str:
    return "real engine"


async def session(of: Annotated[str, Depends(engine)]) -> AsyncIterator[str]:
    yield f"session of {of}"
    SEEN.append("committed")


@handler.event("A")
async def on_a(value: bytes, it: Annotated[str, Depends(session)]) -> None:
    SEEN.append(it)


@handler.event("B", batch=True)
async def on_b(values: list[bytes], it: Annotated[str, Depends(session)]) -> None:
    SEEN.append(it)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


@pytest.fixture(params=["direct", "stacked"])
def app(request: pytest.FixtureRequest) -> EVKafkaApp:
    app = EVKafkaApp(middleware=[Middleware(Through)] if request.param == "stacked" else None)
    app.add_consumer({"topics": ["orders"]}, handler)
    return app


@pytest.fixture(params=["A", "B"], ids=["record", "batch"])
def event_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestOverriding:
    def test_before_the_start(self, app: EVKafkaApp, event_type: str) -> None:
        app.dependency_overrides[session] = lambda: "fake"
        with TestClient(app) as client:
            client.send_event(b"", event_type, "orders")
        assert SEEN == ["fake"]

    def test_while_it_runs_and_back_again(self, app: EVKafkaApp, event_type: str) -> None:
        with TestClient(app) as client:
            client.send_event(b"", event_type, "orders")
            app.dependency_overrides[engine] = lambda: "fake engine"
            client.send_event(b"", event_type, "orders")
            app.dependency_overrides.clear()
            client.send_event(b"", event_type, "orders")
            app.dependency_overrides = {session: lambda: "fake"}
            client.send_event(b"", event_type, "orders")
        assert [one for one in SEEN if one != "committed"] == [
            "session of real engine",
            "session of fake engine",
            "session of real engine",
            "fake",
        ]

    def test_an_override_may_yield_and_have_arguments(self, app: EVKafkaApp, event_type: str) -> None:
        def fake(request: Request, of: Annotated[str, Depends(engine)]) -> Iterator[str]:
            yield f"fake of {of} for {request.event_type}"
            SEEN.append("rolled back")

        app.dependency_overrides[session] = fake
        with TestClient(app) as client:
            client.send_event(b"", event_type, "orders")
        [made, ended] = SEEN
        assert made == f"fake of real engine for {event_type}"
        assert ended == "rolled back"

    def test_applies_to_one_app_only(self, app: EVKafkaApp, event_type: str) -> None:
        other = EVKafkaApp()
        other.add_consumer({"topics": ["orders"]}, handler)
        other.dependency_overrides[session] = lambda: "fake"
        with TestClient(app) as client:
            client.send_event(b"", event_type, "orders")
        with TestClient(other) as client:
            client.send_event(b"", event_type, "orders")
        assert SEEN == ["session of real engine", "committed", "fake"]

    def test_reaches_a_handler_inside_an_app_callable(self) -> None:
        async def around(context: Context) -> None:
            await handler(context)

        app = EVKafkaApp()
        app.add_consumer({"topics": ["orders"]}, around)
        app.dependency_overrides[session] = lambda: "fake"
        with TestClient(app) as client:
            client.send_event(b"", "A", "orders")
        assert SEEN == ["fake"]


class TestFaults:
    def test_of_an_override_are_errors_at_the_start(self, app: EVKafkaApp) -> None:
        def fake(payload: bytes) -> None: ...

        app.dependency_overrides[session] = fake
        with pytest.raises(ConfigError, match="its parameter 'payload' is neither"), TestClient(app):
            pass

    def test_of_a_later_one_are_raised_by_the_attempt(self, app: EVKafkaApp, event_type: str) -> None:
        with TestClient(app) as client:
            app.dependency_overrides[session] = "fake"  # type: ignore[assignment]
            with pytest.raises(ConfigError, match="write `lambda: value`"):
                client.send_event(b"", event_type, "orders")

    def test_an_override_that_needs_its_original_is_a_cycle(self, app: EVKafkaApp) -> None:
        def fake(of: Annotated[str, Depends(session)]) -> None: ...

        app.dependency_overrides[session] = fake
        with pytest.raises(ConfigError, match="is a dependency cycle"), TestClient(app):
            pass
