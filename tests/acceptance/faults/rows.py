"""Runs rows of the fault matrix concurrently: each takes seconds, most of them spent waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

CONCURRENCY = 8
ROW_TIMEOUT_S = 150.0


@dataclass(frozen=True)
class Row:
    """A fault, and the coroutine that causes it and checks the app's reaction."""

    name: str
    run: Callable[[str], Awaitable[None]]
    long: bool = False


def parameters(rows: Sequence[Row]) -> list[Any]:
    return [
        pytest.param(row, id=row.name, marks=[pytest.mark.long, pytest.mark.timeout(300)] if row.long else [])
        for row in rows
    ]


def selected_rows(request: pytest.FixtureRequest) -> list[Row]:
    """Return the rows of the module that this test run has selected."""
    found = [
        item.callspec.params["row"]
        for item in request.session.items
        if item.nodeid.startswith(request.node.nodeid) and "row" in getattr(item, "callspec", _NONE).params
    ]
    return list(dict.fromkeys(found))


class _NONE:
    params: Mapping[str, Any] = {}


def run_all(rows: Sequence[Row], servers: str) -> dict[str, BaseException | None]:
    """Run the rows; return each row's error, or None."""
    return asyncio.run(_run_all(rows, servers))


async def _run_all(rows: Sequence[Row], servers: str) -> dict[str, BaseException | None]:
    slots = asyncio.Semaphore(CONCURRENCY)

    async def run_one(row: Row) -> BaseException | None:
        async with slots:
            try:
                async with asyncio.timeout(ROW_TIMEOUT_S):
                    await row.run(servers)
            except Exception as error:  # the other rows still run
                return error
            return None

    return dict(zip([row.name for row in rows], await asyncio.gather(*map(run_one, rows)), strict=True))
