"""Runs curl commands of the documentation without curl, which is not installed everywhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import httpx


async def curl(line: str, environment: Mapping[str, str]) -> Any:
    """The JSON answer to `curl -X POST URL -H ... -d ...`; `$NAMES` are replaced from the environment."""
    for name, value in environment.items():
        line = line.replace(f"${name}", value)
    program, _, method, url, *rest = shlex.split(line)
    assert (program, method) == ("curl", "POST")
    headers = dict(value.split(": ", 1) for name, value in pairwise(rest) if name == "-H")
    async with httpx.AsyncClient(trust_env=False, timeout=240) as client:
        answer = await client.post(url, content=rest[-1], headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()
