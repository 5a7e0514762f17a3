"""Runs each test of the suite on the in-memory Kafka and on a real one, with both group protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conformance.protocols import EVERY_BACKEND
from tests.support.backends import Backend, open_backend


@pytest.fixture(params=EVERY_BACKEND)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    kind, group_protocol = request.param
    async with open_backend(request, kind, group_protocol) as opened:
        yield opened
