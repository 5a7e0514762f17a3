from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from evkafka.middleware import Middleware
from tests.endpoints.records import STACKS


@pytest.fixture(params=list(STACKS))
def stack(request: pytest.FixtureRequest) -> list[Middleware] | None:
    return STACKS[request.param]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool
