"""Invalid dependencies: errors at registration or, for names that do not exist, at the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

from evkafka import ConfigError, Depends, Handler, Request
from evkafka.service.dispatch import build_dispatch
from tests.support.endpoint_calls import Order

if TYPE_CHECKING:
    from decimal import Decimal


class Session: ...


def no_annotation(request): ...  # type: ignore[no-untyped-def]
def payload(order: Order) -> None: ...
def positional(request: Request, /) -> None: ...
def many_requests(requests: list[Request]) -> None: ...
def nested(of: Annotated[None, Depends(payload)]) -> None: ...
def in_a_circle(of: Annotated[None, Depends(lambda: None)]) -> None: ...
def the_other_way(of: Annotated[None, Depends(in_a_circle)]) -> None: ...


in_a_circle.__annotations__["of"] = Annotated[None, Depends(the_other_way)]


def open_session() -> Session:
    return Session()


def later(amount: Annotated[Decimal, Depends(open_session)]) -> None: ...


class TestDependencies:
    @pytest.mark.parametrize(
        ("dependency", "sentence"),
        [
            (payload, "its parameter 'order' is neither the Request nor a dependency"),
            (no_annotation, "its parameter 'request' has no annotation"),
            (positional, "its parameter 'request' is positional-only"),
            (many_requests, "'requests' is a list of Requests, but the endpoint is not a batch endpoint"),
            (
                nested,
                (
                    "reached through tests.endpoints.dependencies.test_faults.nested"
                    " -> tests.endpoints.dependencies.test_faults.payload"
                ),
            ),
            (
                in_a_circle,
                "the_other_way -> tests.endpoints.dependencies.test_faults.in_a_circle is a dependency cycle",
            ),
        ],
    )
    def test_are_refused_at_registration_with_the_endpoint_and_the_fix(self, dependency: Any, sentence: str) -> None:
        async def on_a(order: Order, it: Annotated[None, Depends(dependency)]) -> None: ...

        with pytest.raises(ConfigError) as caught:
            Handler().event("A")(on_a)
        said = str(caught.value)
        assert sentence in said
        assert "endpoint tests.endpoints.dependencies.test_faults.TestDependencies" in said
        assert "for event type 'A'" in said
        assert "A dependency may take the Request and other dependencies" in said

    def test_name_the_place_of_a_name_that_does_not_exist(self) -> None:
        handler = Handler()

        @handler.event("A")
        async def on_a(order: Order, it: Annotated[None, Depends(later)]) -> None: ...

        with pytest.raises(ConfigError) as caught:
            build_dispatch(handler, None)
        assert "'Decimal' in the annotations of its dependency tests.endpoints.dependencies.test_faults.later" in str(
            caught.value
        )

    @pytest.mark.parametrize("wrong", ["a name", 5, Session()], ids=["text", "number", "value"])
    def test_are_functions(self, wrong: Any) -> None:
        with pytest.raises(ConfigError, match="Depends takes a function"):
            Depends(wrong)

    def test_can_be_keys(self) -> None:
        class Service:
            def __eq__(self, other: object) -> bool:
                return True

            def __call__(self) -> None: ...

        with pytest.raises(ConfigError, match="hash"):
            Depends(Service())


async def bare(order: Order, it: Depends(open_session)) -> None: ...  # type: ignore[valid-type]
async def as_default(order: Order, it: Session = Depends(open_session)) -> None: ...  # type: ignore[assignment]  # noqa: B008
async def uncalled(order: Order, it: Annotated[Session, Depends]) -> None: ...
async def twice(order: Order, it: Annotated[Session, Depends(open_session), Depends(dict)]) -> None: ...
async def inside(order: Order, it: Optional[Annotated[Session, Depends(open_session)]]) -> None: ...  # noqa: UP045
async def only_by_place(order: Order, it: Annotated[Session, Depends(open_session)], /) -> None: ...


class TestAnnotations:
    @pytest.mark.parametrize(
        ("endpoint", "sentence"),
        [
            (bare, "write it: Annotated[Session, Depends(open_session)]"),
            (as_default, "has a Depends as its default: write it: Annotated[Session, Depends(open_session)]"),
            (uncalled, "Depends without the function"),
            (twice, "has 2 Depends"),
            (inside, "Depends inside another type"),
            (only_by_place, "positional-only"),
        ],
    )
    def test_with_a_misplaced_depends_are_refused(self, endpoint: Callable[..., Any], sentence: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Handler().event("A")(endpoint)
        assert sentence in str(caught.value)
        assert "An endpoint takes one payload" in str(caught.value)

    def test_a_depends_of_another_framework_is_recognized(self) -> None:
        class Theirs:
            pass

        Theirs.__name__ = "Depends"
        Theirs.__module__ = "fastapi.params"

        async def on_a(order: Order, it: Any) -> None: ...

        on_a.__annotations__["it"] = Annotated[Session, Theirs()]
        with pytest.raises(ConfigError, match=r"the Depends of fastapi\.params: import it from evkafka"):
            Handler().event("A")(on_a)

    def test_a_recursive_payload_type_is_accepted(self) -> None:
        from pydantic import JsonValue

        async def on_a(value: JsonValue, it: Annotated[Session, Depends(open_session)]) -> None: ...

        Handler().event("A")(on_a)
