"""One run from beginning to end. Its steps are in `_Run.run`."""

from __future__ import annotations

import asyncio
import json
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
from evkafka.kafka.admin.groups import group_offsets, offset_bounds_of_topics
from evkafka.kafka.admin.topic_reader import end_offsets, for_each_record_of_topic
from evkafka.kafka.admin.topics import create_topic
from evkafka.kafka.client.preflight import find_reachable_server
from evkafka.records import Record
from evkafka.verify.broker_log import coordinator_faults_text, count_coordinator_faults
from evkafka.verify.checker import check_run, uncommitted_partitions
from evkafka.verify.fault_schedule import plan_faults
from evkafka.verify.history import Entry, History, HistoryReader
from evkafka.verify.load import NUMBER_HEADER, NumberedProducer
from evkafka.verify.nemesis import Nemesis
from evkafka.verify.observations import Observations, Output, Promises, Written
from evkafka.verify.options import Options
from evkafka.verify.processes import Workers
from evkafka.verify.record_values import ValueOf, create_template_value_function
from evkafka.verify.report import Report
from evkafka.verify.worker_task import WorkerTask

REACH_S = 10.0
"""How long the brokers may take to answer."""

UP_S = 60.0
"""How long the processes may take to start."""

QUIET_S = 5.0
"""If everything is committed and nothing has begun for so long, nothing more will begin."""

OPEN_TRANSACTIONS_S = 60.0
"""How long a transaction may stay open after the processes have ended: its own timeout, and the ten seconds between two
checks by the brokers."""

HISTORY_FILE = "journal"

Progress = Callable[[str], object]


async def verify(
    options: Options, progress: Progress = lambda what: None, *, value_of: ValueOf | None = None
) -> Report:
    """Run the app, inject faults, and check the guarantees.

    Args:
        progress: called with a line for each step and each fault.
        value_of: gives the records' values; None for the payload of the options as it is.

    Raises:
        ConfigError: the options are invalid; the extra `evkafka[broker]` is needed and not installed; this system has
            no POSIX signals.
        BrokerError: the broker, or a process of the app, did not start.
    """
    if os.name == "nt":
        raise ConfigError("verify kills and freezes processes with POSIX signals: run it on Linux, macOS or WSL")
    consumer_settings({"topics": ["any"], **options.consumer_config})
    home = options.home or Path(tempfile.mkdtemp(prefix="evkafka-verify-"))
    home.mkdir(parents=True, exist_ok=True)
    report = None
    try:
        async with _connect_or_start_broker(options, progress) as (servers, broker):
            with _log_to_file(home / "run.log"):
                values = value_of or create_template_value_function(options.payload)
                report = await _Run(options, home, servers, broker, progress, values).run()
    finally:
        removable = report.clean if report is not None else not any(home.glob("process-*"))
        if options.home is None and removable:
            shutil.rmtree(home, ignore_errors=True)
        else:
            progress(f"the journal and logs are in {home}")
    return report


@asynccontextmanager
async def _connect_or_start_broker(
    options: Options, progress: Progress
) -> AsyncIterator[tuple[str, KafkaBroker | None]]:
    if options.bootstrap_servers is not None:
        yield options.bootstrap_servers, None
        return
    progress("starting Apache Kafka")
    async with KafkaBroker(properties={"auto.create.topics.enable": False, **options.broker_properties}) as broker:
        yield broker.bootstrap_servers, broker


@contextmanager
def _log_to_file(path: Path) -> Iterator[None]:
    """Write the log of our own producer and its client to a file: failures of the killed broker are expected."""
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
    def __init__(
        self,
        options: Options,
        home: Path,
        servers: str,
        broker: KafkaBroker | None,
        progress: Progress,
        value_of: ValueOf,
    ) -> None:
        self._options = options
        self._servers = servers
        self._broker = broker
        self._progress = progress
        self._topic = self._group_id = f"evkafka-verify-{uuid.uuid4().hex[:8]}"
        self._output_topic = f"{self._topic}-out" if options.delivery == "exactly-once" else None
        self._history = History(home / HISTORY_FILE, "run")
        self._reader = HistoryReader(home / HISTORY_FILE)
        self._entries: list[Entry] = []
        self._workers = Workers(self._create_worker_task(home / HISTORY_FILE), home, self._history, progress)
        self._nemesis = Nemesis(self._workers, broker, self._history, progress)
        self._producer = NumberedProducer(
            servers,
            self._topic,
            seed=options.seed,
            rate=options.rate,
            keys=options.keys,
            event_type=options.event_type,
            value_of=value_of,
        )

    async def run(self) -> Report:
        with self._kill_workers_at_end_of_run():
            await self._create_topics()
            await self._start_processes()
            await self._run_load_and_faults()
            await self._wait_until_handled_and_committed()
            await self._stop_processes()
            await self._wait_for_open_transactions()
            report = check_run(
                await self._collect_observations_or_explain_error(), max_duplicates=self._options.max_duplicates
            )
        return replace(
            report,
            seed=self._options.seed,
            group_protocol=self._promises.group_protocol,
            coordinator_faults=self._count_coordinator_faults(),
        )

    # ------------------------------------------------------------------ preparation

    def _create_worker_task(self, history: Path) -> WorkerTask:
        options = self._options
        return WorkerTask(
            who="",
            history=str(history),
            topic=self._topic,
            group_id=self._group_id,
            bootstrap_servers=self._servers,
            config=options.consumer_config,
            event_type=options.event_type,
            work_ms=options.work_ms,
            app=options.app,
            app_dir=str(options.app_dir.resolve()),
            consumer=options.consumer,
            app_topic=options.topic,
            output_topic=self._output_topic,
            own_broker=self._broker is not None,
        )

    @property
    def _connection(self) -> ConnectionSettings:
        return producer_settings({"bootstrap_servers": self._servers}).connection

    async def _create_topics(self) -> None:
        await find_reachable_server(self._connection, timeout_s=REACH_S)  # its error says why no broker answers
        for topic in filter(None, (self._topic, self._output_topic)):
            await create_topic(self._connection, topic, partitions=self._options.partitions)

    async def _start_processes(self) -> None:
        workers = [self._workers.start_worker(slot) for slot in range(self._options.processes)]
        deadline_s = time.monotonic() + UP_S
        while {entry.who for entry in self._read_history() if entry.event == "up"} != {
            worker.who for worker in workers
        }:
            for worker in workers:
                if worker.exit_code is not None:
                    raise BrokerError(f"process {worker.who} could not start. The end of its log:\n{worker.log_tail()}")
            if time.monotonic() > deadline_s:
                raise BrokerError(f"the processes did not start within {UP_S:g} s")
            await asyncio.sleep(0.1)
        self._progress(f"{len(workers)} processes are running; sending records for {self._options.lasts_s:g} s")

    # ------------------------------------------------------------------ load and faults

    async def _run_load_and_faults(self) -> None:
        options = self._options
        schedule = plan_faults(
            options.seed,
            lasts_s=options.lasts_s,
            kill_every_s=options.kill_every_s,
            fault_every_s=options.fault_every_s,
            kinds=options.kinds,
            session_s=self._promises.session_s,
        )
        watching = asyncio.ensure_future(self._watch_workers())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._producer.run(options.lasts_s))
                tasks.create_task(self._nemesis.inject_scheduled_faults(schedule))
        finally:
            watching.cancel()

    async def _watch_workers(self) -> None:
        while True:
            self._workers.replace_ended_workers()
            self._workers.mark_named_workers_running(
                {entry.who for entry in self._read_history() if entry.event == "up"}
            )
            await asyncio.sleep(0.5)

    # ------------------------------------------------------------------ the end

    async def _wait_until_handled_and_committed(self) -> None:
        """Wait until everything is handled and committed. If everything is committed and nothing happens, the rest is
        lost."""
        self._progress("all records are sent; waiting until they are handled and committed")
        deadline_s = time.monotonic() + self._options.settle_s
        while time.monotonic() < deadline_s:
            self._workers.replace_ended_workers()
            if await self._is_everything_committed():
                handled = {
                    (entry.partition, entry.offset) for entry in self._read_history() if entry.event in ("end", "pass")
                }
                idle_s = time.monotonic() - self._entries[-1].at_s
                if self._producer.acknowledged_addresses <= handled or idle_s > QUIET_S:
                    return
            await asyncio.sleep(0.5)

    async def _is_everything_committed(self) -> bool:
        try:
            return not uncommitted_partitions(await self._read_committed_offsets(), await self._read_end_offsets())
        except BrokerError:  # the broker may have been restarted; the caller has a deadline
            return False

    async def _stop_processes(self) -> None:
        await asyncio.gather(*(self._workers.stop_worker(worker) for worker in self._workers.alive))

    async def _wait_for_open_transactions(self) -> None:
        """Nothing after a transaction of a killed process can be read until the brokers have aborted it."""
        if self._output_topic is None:
            return
        deadline_s = time.monotonic() + OPEN_TRANSACTIONS_S
        while time.monotonic() < deadline_s:
            bounds = await offset_bounds_of_topics(self._connection, [self._output_topic])
            if all(one.end == one.high_watermark for one in bounds.values()):
                return
            await asyncio.sleep(0.5)

    def _count_coordinator_faults(self) -> int:
        return 0 if self._broker is None else count_coordinator_faults(self._broker.home / "broker.log")

    async def _collect_observations_or_explain_error(self) -> Observations:
        """Collect what is known of the run.

        Raises:
            BrokerError: the brokers do not answer.
        """
        try:
            return await self._collect_observations()
        except BrokerError as error:
            if faults := self._count_coordinator_faults():
                raise BrokerError(f"{error}. {coordinator_faults_text(faults)}") from error
            raise

    async def _collect_observations(self) -> Observations:
        return Observations(
            sent=self._producer.sent,
            written=await self._read_log(),
            outputs=await self._read_outputs(),
            entries=self._read_history(),
            committed=await self._read_committed_offsets(),
            end=await self._read_end_offsets(),
            finished_s=time.monotonic(),
            outages=self._nemesis.outages,
            unclean=self._workers.unclean,
            promises=self._promises,
        )

    # ------------------------------------------------------------------ reading

    def _read_history(self) -> list[Entry]:
        self._entries.extend(self._reader.read_new())
        return self._entries

    @property
    def _promises(self) -> Promises:
        """The promises that the processes recorded when they started."""
        promises = next(entry.more for entry in self._read_history() if entry.event == "up" and entry.more is not None)
        session_s = self._options.broker_session_s
        return Promises(**{**promises, **({} if session_s is None else {"session_s": session_s})})

    async def _read_committed_offsets(self) -> Mapping[int, int]:
        offsets = await group_offsets(self._connection, self._group_id)
        return {at.partition: offset for at, offset in offsets.items() if at.topic == self._topic}

    async def _read_end_offsets(self) -> Mapping[int, int]:
        return await end_offsets(self._connection, self._topic)

    async def _read_log(self) -> list[Written]:
        written = []

        def take(record: Record) -> None:
            number = next((value for name, value in record.headers if name == NUMBER_HEADER), None)
            key = None if record.key is None else record.key.decode()
            written.append(Written(record.partition, record.offset, int(number or b"-1"), key))

        await for_each_record_of_topic(self._connection, self._topic, take)
        return written

    async def _read_outputs(self) -> list[Output] | None:
        """The committed records of the output topic."""
        if self._output_topic is None:
            return None
        outputs = []

        def take(record: Record) -> None:
            source = json.loads(record.value or b"{}")
            key = None if record.key is None else record.key.decode()
            outputs.append(Output(record.partition, record.offset, (source["partition"], source["offset"]), key))

        await for_each_record_of_topic(self._connection, self._output_topic, take)
        return outputs

    @contextmanager
    def _kill_workers_at_end_of_run(self) -> Iterator[None]:
        """No process outlives the run."""
        try:
            yield
        finally:
            self._workers.kill_all()
            self._history.close()
