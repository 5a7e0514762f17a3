"""Rows of the fault matrix that are run side by side: each takes seconds, nearly all of them waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

AT_ONCE = 8
ROW_S = 150.0


@dataclass(frozen=True)
class Row:
    """A fault by its name, and the coroutine that causes it and holds the app to its verdict."""

    name: str
    run: Callable[[str], Awaitable[None]]
    long: bool = False


def parameters(rows: Sequence[Row]) -> list[Any]:
    return [
        pytest.param(row, id=row.name, marks=[pytest.mark.long, pytest.mark.timeout(300)] if row.long else [])
        for row in rows
    ]


def wanted(request: pytest.FixtureRequest) -> list[Row]:
    """The rows that this very run of the suite has chosen out of the asking module."""
    found = [
        item.callspec.params["row"]
        for item in request.session.items
        if item.nodeid.startswith(request.node.nodeid) and "row" in getattr(item, "callspec", _NONE).params
    ]
    return list(dict.fromkeys(found))


class _NONE:
    params: Mapping[str, Any] = {}


def run_all(rows: Sequence[Row], servers: str) -> dict[str, BaseException | None]:
    """Each row's error, None where its verdict holds."""
    return asyncio.run(_run_all(rows, servers))


async def _run_all(rows: Sequence[Row], servers: str) -> dict[str, BaseException | None]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(row: Row) -> BaseException | None:
        async with places:
            try:
                async with asyncio.timeout(ROW_S):
                    await row.run(servers)
            except Exception as error:  # whatever it is, the other rows are tried
                return error
            return None

    return dict(zip([row.name for row in rows], await asyncio.gather(*map(one, rows)), strict=True))
