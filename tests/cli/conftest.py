from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.support import Running

Start = Callable[..., Running]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Start]:
    """Starts `evkafka ARGUMENTS` in the temporary directory; what still runs at the end is killed."""
    started: list[Running] = []

    def run(*arguments: str, **env: str) -> Running:
        started.append(Running(tmp_path, *arguments, env=env))
        return started[-1]

    yield run
    for one in started:
        one.end()
