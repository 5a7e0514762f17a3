"""The same seed gives the same run, also in processes with another hash seed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from evkafka import Request
from evkafka.testing import InMemoryKafka
from tests.testing.memory.apps import make_app


async def turbulent_run(seed: int) -> Sequence[str]:
    """Two members, many keys, failures with jitter, latency, an outage, a crash, an expiry; the trace of it all."""

    async def work(request: Request) -> None:
        for _ in range(request.offset % 4):
            await asyncio.sleep(0)
        if request.offset % 5 == 0 and request.attempt < 3:
            raise ValueError("not yet")

    many = {"concurrency": 8, "on_error": {"backoff_ms": 300, "jitter": 0.5}}
    (one, first), (two, second) = make_app(work, **many), make_app(work, **many)
    async with InMemoryKafka(seed=seed, partitions=5) as kafka, kafka.running(one), kafka.running(two):
        with kafka.latency(fetch_ms=(1, 50), commit_ms=(1, 50)):
            for number in range(60):
                await kafka.send("orders", b"x", "E", key=None if number % 3 else str(number))
            await kafka.advance(ms=400)
            async with kafka.outage(ms=3_000):
                pass
            await kafka.expire(two)
            await kafka.rebalance()
            await kafka.settle()
        await kafka.send("orders", b"x", "E")
        await kafka.crash(one)
        await kafka.settle()
    return [*kafka.trace.lines(), repr(first), repr(second)]


class TestTheSameSeed:
    async def test_gives_the_same_trace(self) -> None:
        assert await turbulent_run(7) == await turbulent_run(7)

    async def test_and_another_seed_another_one(self) -> None:
        assert await turbulent_run(7) != await turbulent_run(8)

    def test_gives_the_same_trace_in_any_process(self) -> None:
        run = "print(*asyncio.run(turbulent_run(7)), sep=chr(10))"
        program = f"import asyncio; from tests.testing.memory.test_determinism import turbulent_run; {run}"
        outputs = [
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": os.pathsep.join(sys.path)},
                cwd=Path(__file__).parents[3],
                capture_output=True,
                text=True,
                check=True,
                timeout=240,
            ).stdout
            for salt in ("1", "2")
        ]
        assert outputs[0] == outputs[1]
        assert len(outputs[0].splitlines()) > 50
