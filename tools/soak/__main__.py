"""`make soak`: the app of `app.py` in a process of its own, a real Kafka, load, and a second member now and then.

Ends with 0 where the process is flat (`judge.py`), nothing lags and the app ended as it was asked to; with 1 else.
`--minutes 10` is the short form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from evkafka.broker import KafkaBroker
from evkafka.broker.process import ChildProcess
from tools.soak import app, judge

PARTITIONS = 6
RETRY = f"{app.TOPIC}.{app.GROUP}.retry.{app.DELAY_MS}"
GROUPS: Mapping[str, str] = {app.TOPIC: app.GROUP, RETRY: f"{app.GROUP}.retry"}
DEEDS = {"well": 0.955, "fails once": 0.03, "fails": 0.01, "bury": 0.005}
TYPES = {"Work": 0.9, "Batched": 0.06, "Counted": 0.03, "Unknown": 0.01}
CAUGHT_UP_S = 120.0
STOP_S = 60.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long there is load (default %(default)g)")
    parser.add_argument("--rate", type=float, default=200.0, help="records a second (default %(default)g)")
    parser.add_argument("--rebalance-every", type=float, default=60.0, help="seconds (default %(default)g)")
    options = parser.parse_args(arguments)
    with KafkaBroker() as broker, tempfile.TemporaryDirectory() as home:
        return asyncio.run(Soak(broker.bootstrap_servers, Path(home), options).run())


class Soak:
    def __init__(self, servers: str, home: Path, options: argparse.Namespace) -> None:
        self._servers = servers
        self._home = home
        self._options = options
        self._sent = 0
        self._rebalances = 0
        self._faults: list[str] = []

    async def run(self) -> int:
        began = time.monotonic()
        async with self._admin() as admin:
            topics = [app.TOPIC, app.OUT, RETRY, f"{app.TOPIC}.{app.GROUP}.dlq"]
            await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
        main_one = self._member("first")
        try:
            await self._load(main_one)
            lag = await self._lag_at_the_end()
            await self._end(main_one)
        finally:
            with suppress(ProcessLookupError):
                main_one.kill()
        if main_one.exit_code != 0:
            self._faults.append(f"the app ended with code {main_one.exit_code}: {self._tail('first')}")
        if lag:
            self._faults.append(f"lag {lag} at the end")
        print(
            f"{self._sent} records in {time.monotonic() - began:.0f} s, {self._rebalances} times a second member came"
            f" and went, {await self._dead()} dead letters, lag {lag}"
        )
        return self._judged()

    def _judged(self) -> int:
        samples = [json.loads(line) for line in (self._home / "first.samples").read_text().splitlines()]
        verdicts = judge.judge(samples, every_s=app.EVERY_S)
        print(f"{len(samples)} samples, one every {app.EVERY_S:g} s; warm-up: {judge.WARM_UP_S:g} s, half at most")
        print(judge.table(verdicts))
        self._faults += [f"{one.quantity} grows" for one in verdicts if not one.flat]
        print("\n".join(self._faults) or "flat")
        return 1 if self._faults else 0

    # ------------------------------------------------------------------ processes

    def _member(self, name: str) -> ChildProcess:
        command = [sys.executable, "-m", "tools.soak.app", self._servers, str(self._home / f"{name}.samples")]
        return ChildProcess(command, self._home / f"{name}.log")

    async def _end(self, process: ChildProcess) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        if not await asyncio.to_thread(process.wait, STOP_S):
            self._faults.append(f"a process had not ended {STOP_S:g} s after SIGTERM")

    def _tail(self, name: str) -> str:
        return "\n".join((self._home / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    # ------------------------------------------------------------------ load

    async def _load(self, first: ChildProcess) -> None:
        ends = time.monotonic() + 60 * self._options.minutes
        disturbing = asyncio.create_task(self._disturb())
        try:
            async with AIOKafkaProducer(bootstrap_servers=self._servers, linger_ms=20) as producer:
                chance, due = random.Random(7), time.monotonic()  # nosec B311 # to be repeated
                while time.monotonic() < ends and first.exit_code is None and not disturbing.done():
                    await asyncio.gather(*[await self._send(producer, chance) for _ in range(20)])
                    due += 20 / self._options.rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            disturbing.cancel()
            with suppress(asyncio.CancelledError):
                await disturbing

    async def _send(self, producer: AIOKafkaProducer, chance: random.Random) -> Any:
        [deed] = chance.choices([*DEEDS], [*DEEDS.values()])
        [event_type] = chance.choices([*TYPES], [*TYPES.values()])
        self._sent += 1
        work = app.Work(number=self._sent, deed=deed, padding="x" * chance.randrange(1000))
        value = work.model_dump_json().encode() if chance.random() < 0.995 else b"{no json"
        key = b"%d" % chance.randrange(2_000)
        return await producer.send(app.TOPIC, value, key=key, headers=[("Event-Type", event_type.encode())])

    async def _disturb(self) -> None:
        """A second member comes, works for a while and goes: two rebalances each time."""
        while True:
            await asyncio.sleep(self._options.rebalance_every)
            second = self._member("second")
            try:
                await asyncio.sleep(min(15.0, self._options.rebalance_every / 2))
                await self._end(second)
                self._rebalances += 1
                if second.exit_code != 0:
                    self._faults.append(f"a second member ended with {second.exit_code}: {self._tail('second')}")
            finally:
                with suppress(ProcessLookupError):
                    second.kill()

    # ------------------------------------------------------------------ what the cluster says

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def _lag_at_the_end(self) -> int:
        """What is uncommitted when nothing more comes; waited for until it is 0, or the time is up."""
        deadline = time.monotonic() + CAUGHT_UP_S
        while True:
            try:
                lag = sum([await self._lag(topic, group) for topic, group in GROUPS.items()])
            except KafkaError:
                lag = -1
            if lag == 0 or time.monotonic() > deadline:
                return lag
            await asyncio.sleep(1)

    async def _lag(self, topic: str, group: str) -> int:
        async with self._admin() as admin:
            kept = await admin.list_consumer_group_offsets(group)
        ends = await self._ends(topic)
        return sum(end - max(kept[tp].offset if tp in kept else 0, 0) for tp, end in ends.items())

    async def _dead(self) -> int:
        return sum((await self._ends(f"{app.TOPIC}.{app.GROUP}.dlq")).values())

    async def _ends(self, topic: str) -> dict[TopicPartition, int]:
        reader = AIOKafkaConsumer(bootstrap_servers=self._servers)
        await reader.start()
        try:
            ends: dict[TopicPartition, int] = await reader.end_offsets(
                [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
            )
            return ends
        finally:
            await reader.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
