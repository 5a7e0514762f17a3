"""One run from beginning to end: `_run` is its course."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from evkafka.broker import KafkaBroker
from evkafka.config import consumer_settings, producer_settings
from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerError, ConfigError
from evkafka.kafka.admin.groups import group_offsets
from evkafka.kafka.admin.log_reader import end_offsets, read_log
from evkafka.kafka.admin.topics import create_topic
from evkafka.kafka.client.preflight import reach
from evkafka.records import Record
from evkafka.verify.checker import behind, judge
from evkafka.verify.fault_schedule import faults
from evkafka.verify.history import Entry, History, Reader
from evkafka.verify.load import NUMBER_HEADER, NumberedProducer
from evkafka.verify.nemesis import Nemesis
from evkafka.verify.observations import Observations, Promises, Written
from evkafka.verify.options import Options
from evkafka.verify.processes import Workers
from evkafka.verify.report import Report
from evkafka.verify.worker_task import Task

REACH_S = 10.0
"""How long the brokers may take to answer at all."""

UP_S = 60.0
"""How long the processes may take to come up."""

QUIET_S = 5.0
"""Everything is committed, and for so long nothing has been begun: nothing more will be."""

Tell = Callable[[str], object]


async def verify(options: Options, tell: Tell = lambda what: None) -> Report:
    """Run it, and judge.

    Args:
        tell: gets a line for each thing that happens.

    Raises:
        ConfigError: the options cannot work; the extra `evkafka[broker]` is missing where a broker is to be started;
            this system has no signals.
        BrokerError: the broker, or the app's processes, did not start.
    """
    if os.name == "nt":
        raise ConfigError("verify kills and freezes processes by POSIX signals: run it on Linux, macOS or in WSL")
    consumer_settings({"topics": ["any"], **options.consumer_config})
    home = options.home or Path(tempfile.mkdtemp(prefix="evkafka-verify-"))
    home.mkdir(parents=True, exist_ok=True)
    report = None
    try:
        async with _cluster(options, tell) as (servers, broker):
            with _logging_to(home / "conductor.log"):
                report = await _Run(options, home, servers, broker, tell).run()
    finally:
        nothing_to_see = report.clean if report is not None else not any(home.glob("process-*"))
        if options.home is None and nothing_to_see:
            shutil.rmtree(home, ignore_errors=True)
        else:
            tell(f"journal and logs are in {home}")
    return report


@asynccontextmanager
async def _cluster(options: Options, tell: Tell) -> AsyncIterator[tuple[str, KafkaBroker | None]]:
    if options.bootstrap_servers is not None:
        yield options.bootstrap_servers, None
        return
    tell("starting Apache Kafka")
    async with KafkaBroker(properties={"auto.create.topics.enable": False}) as broker:
        yield broker.bootstrap_servers, broker


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """What our own producer and its client say goes into a file: a broker that is killed is no news here."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-8s %(name)s  %(message)s"))
    loggers = [logging.getLogger(name) for name in ("evkafka", "aiokafka")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


class _Run:
    def __init__(self, options: Options, home: Path, servers: str, broker: KafkaBroker | None, tell: Tell) -> None:
        self._options = options
        self._servers = servers
        self._broker = broker
        self._tell = tell
        self._topic = self._group_id = f"evkafka-verify-{uuid.uuid4().hex[:8]}"
        self._journal = History(home / "journal", "conductor")
        self._reader = Reader(home / "journal")
        self._entries: list[Entry] = []
        self._workers = Workers(self._task(home / "journal"), home, self._journal, tell)
        self._chaos = Nemesis(self._workers, broker, self._journal, tell)
        self._producer = NumberedProducer(
            servers,
            self._topic,
            seed=options.seed,
            rate=options.rate,
            keys=options.keys,
            event_type=options.event_type,
            payload=options.payload,
        )

    async def run(self) -> Report:
        with self._ending():
            await self._make_topic()
            await self._start_processes()
            await self._load_and_faults()
            await self._settle()
            await self._stop_processes()
            report = judge(await self._evidence(), max_duplicates=self._options.max_duplicates)
        return replace(report, seed=self._options.seed)

    # ------------------------------------------------------------------ before

    def _task(self, journal: Path) -> Task:
        options = self._options
        return Task(
            who="",
            journal=str(journal),
            topic=self._topic,
            group_id=self._group_id,
            bootstrap_servers=self._servers,
            config=options.consumer_config,
            event_type=options.event_type,
            work_ms=options.work_ms,
            app=options.app,
            app_dir=str(options.app_dir.resolve()),
            consumer=options.consumer,
            own_broker=self._broker is not None,
        )

    @property
    def _connection(self) -> ConnectionSettings:
        return producer_settings({"bootstrap_servers": self._servers}).connection

    async def _make_topic(self) -> None:
        await reach(self._connection, timeout_s=REACH_S)  # says why, where no broker answers
        await create_topic(self._connection, self._topic, partitions=self._options.partitions)

    async def _start_processes(self) -> None:
        workers = [self._workers.start(slot) for slot in range(self._options.processes)]
        deadline_s = time.monotonic() + UP_S
        while {entry.who for entry in self._read() if entry.what == "up"} != {worker.who for worker in workers}:
            for worker in workers:
                if worker.exit_code is not None:
                    raise BrokerError(f"process {worker.who} could not start. The end of its log:\n{worker.tail()}")
            if time.monotonic() > deadline_s:
                raise BrokerError(f"the processes did not come up within {UP_S:g} s")
            await asyncio.sleep(0.1)
        self._tell(f"{len(workers)} processes are up; load for {self._options.lasts_s:g} s")

    # ------------------------------------------------------------------ the load

    async def _load_and_faults(self) -> None:
        options = self._options
        schedule = faults(
            options.seed,
            lasts_s=options.lasts_s,
            kill_every_s=options.kill_every_s,
            fault_every_s=options.fault_every_s,
            kinds=options.kinds,
            session_s=self._promises.session_s,
        )
        watching = asyncio.ensure_future(self._watch())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._producer.run(options.lasts_s))
                tasks.create_task(self._chaos.run(schedule))
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            self._workers.revive()
            self._workers.note_up({entry.who for entry in self._read() if entry.what == "up"})
            await asyncio.sleep(0.5)

    # ------------------------------------------------------------------ after

    async def _settle(self) -> None:
        """Wait until all is handled and committed. Where all is committed and nothing moves, what is left is lost."""
        self._tell("the load is over; waiting until everything is handled and committed")
        deadline_s = time.monotonic() + self._options.settle_s
        while time.monotonic() < deadline_s:
            self._workers.revive()
            if await self._is_committed():
                places = {(entry.partition, entry.offset) for entry in self._read() if entry.what in ("end", "pass")}
                idle_s = time.monotonic() - self._entries[-1].at_s
                if self._producer.places <= places or idle_s > QUIET_S:
                    return
            await asyncio.sleep(0.5)

    async def _is_committed(self) -> bool:
        try:
            return not behind(await self._committed(), await self._ends())
        except BrokerError:  # it may just have been restarted; the deadline is the caller's
            return False

    async def _stop_processes(self) -> None:
        await asyncio.gather(*(self._workers.stop(worker) for worker in self._workers.alive))

    async def _evidence(self) -> Observations:
        return Observations(
            sent=self._producer.sent,
            written=await self._log(),
            entries=self._read(),
            committed=await self._committed(),
            end=await self._ends(),
            finished_s=time.monotonic(),
            outages=self._chaos.outages,
            unclean=self._workers.unclean,
            promises=self._promises,
        )

    # ------------------------------------------------------------------ looking

    def _read(self) -> list[Entry]:
        self._entries.extend(self._reader.news())
        return self._entries

    @property
    def _promises(self) -> Promises:
        """What the processes said of themselves when they came up."""
        said = next(entry.more for entry in self._read() if entry.what == "up" and entry.more is not None)
        return Promises(**said)

    async def _committed(self) -> Mapping[int, int]:
        offsets = await group_offsets(self._connection, self._group_id)
        return {at.partition: offset for at, offset in offsets.items() if at.topic == self._topic}

    async def _ends(self) -> Mapping[int, int]:
        return await end_offsets(self._connection, self._topic)

    async def _log(self) -> list[Written]:
        written = []

        def take(record: Record) -> None:
            number = next((value for name, value in record.headers if name == NUMBER_HEADER), None)
            key = None if record.key is None else record.key.decode()
            written.append(Written(record.partition, record.offset, int(number or b"-1"), key))

        await read_log(self._connection, self._topic, take)
        return written

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Whatever becomes of the run, no process outlives it."""
        try:
            yield
        finally:
            self._workers.end()
            self._journal.close()
