"""`make soak`: runs `app.py` in its own process on a real Kafka, with load, and with a second member now and then.

Exits with 0 if the process is flat (`judge.py`), lag is 0 and the app stopped without an error; otherwise with 1.
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
OUTCOMES = {"done": 0.955, "fails once": 0.03, "fails": 0.01, "dead letter": 0.005}
TYPES = {"Work": 0.9, "Batched": 0.06, "Counted": 0.03, "Unknown": 0.01}
NO_LAG_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="duration of the load (default %(default)g)")
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
        first = self._start_member("first")
        try:
            await self._send_load(first)
            lag = await self._wait_for_no_lag()
            await self._stop(first)
        finally:
            with suppress(ProcessLookupError):
                first.kill()
        if first.exit_code != 0:
            self._faults.append(f"the app ended with code {first.exit_code}: {self._log_tail('first')}")
        if lag:
            self._faults.append(f"lag {lag} at the end")
        print(
            f"{self._sent} records in {time.monotonic() - began:.0f} s, {self._rebalances} times a second member came"
            f" and went, {await self._count_dead_letters()} dead letters, lag {lag}"
        )
        return self._print_report()

    def _print_report(self) -> int:
        samples = [json.loads(line) for line in (self._home / "first.samples").read_text().splitlines()]
        verdicts = judge.judge(samples, every_s=app.SAMPLE_EVERY_S)
        print(
            f"{len(samples)} samples, one every {app.SAMPLE_EVERY_S:g} s; warm-up: {judge.WARM_UP_S:g} s, half at most"
        )
        print(judge.table(verdicts))
        self._faults += [f"{verdict.quantity} grows" for verdict in verdicts if not verdict.flat]
        print("\n".join(self._faults) or "flat")
        return 1 if self._faults else 0

    # ------------------------------------------------------------------ processes

    def _start_member(self, name: str) -> ChildProcess:
        command = [sys.executable, "-m", "tools.soak.app", self._servers, str(self._home / f"{name}.samples")]
        return ChildProcess(command, self._home / f"{name}.log")

    async def _stop(self, process: ChildProcess) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        if not await asyncio.to_thread(process.has_ended_within, STOP_TIMEOUT_S):
            self._faults.append(f"a process had not ended {STOP_TIMEOUT_S:g} s after SIGTERM")

    def _log_tail(self, name: str) -> str:
        return "\n".join((self._home / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    # ------------------------------------------------------------------ load

    async def _send_load(self, first: ChildProcess) -> None:
        ends = time.monotonic() + 60 * self._options.minutes
        rebalancing = asyncio.create_task(self._cause_rebalances())
        try:
            async with AIOKafkaProducer(bootstrap_servers=self._servers, linger_ms=20) as producer:
                chance, due = random.Random(7), time.monotonic()  # nosec B311 # the same load in each run
                while time.monotonic() < ends and first.exit_code is None and not rebalancing.done():
                    await asyncio.gather(*[await self._send(producer, chance) for _ in range(20)])
                    due += 20 / self._options.rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            rebalancing.cancel()
            with suppress(asyncio.CancelledError):
                await rebalancing

    async def _send(self, producer: AIOKafkaProducer, chance: random.Random) -> Any:
        [outcome] = chance.choices([*OUTCOMES], [*OUTCOMES.values()])
        [event_type] = chance.choices([*TYPES], [*TYPES.values()])
        self._sent += 1
        work = app.Work(number=self._sent, outcome=outcome, padding="x" * chance.randrange(1000))
        value = work.model_dump_json().encode() if chance.random() < 0.995 else b"{no json"
        key = b"%d" % chance.randrange(2_000)
        return await producer.send(app.TOPIC, value, key=key, headers=[("Event-Type", event_type.encode())])

    async def _cause_rebalances(self) -> None:
        """Start a second member and stop it again, repeatedly: two rebalances each time."""
        while True:
            await asyncio.sleep(self._options.rebalance_every)
            second = self._start_member("second")
            try:
                await asyncio.sleep(min(15.0, self._options.rebalance_every / 2))
                await self._stop(second)
                self._rebalances += 1
                if second.exit_code != 0:
                    self._faults.append(f"a second member ended with {second.exit_code}: {self._log_tail('second')}")
            finally:
                with suppress(ProcessLookupError):
                    second.kill()

    # ------------------------------------------------------------------ state of the cluster

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def _wait_for_no_lag(self) -> int:
        """Wait until the group has committed everything, at most `NO_LAG_TIMEOUT_S`; return the remaining lag."""
        deadline = time.monotonic() + NO_LAG_TIMEOUT_S
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
            committed = await admin.list_consumer_group_offsets(group)
        ends = await self._end_offsets(topic)
        return sum(end - max(committed[tp].offset if tp in committed else 0, 0) for tp, end in ends.items())

    async def _count_dead_letters(self) -> int:
        return sum((await self._end_offsets(f"{app.TOPIC}.{app.GROUP}.dlq")).values())

    async def _end_offsets(self, topic: str) -> dict[TopicPartition, int]:
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
