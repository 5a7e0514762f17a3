"""`LocalRegistry` with a program in place of Java, and with a real registry."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from evkafka.broker import LocalRegistry, local_server
from evkafka.broker import registry as registry_module
from evkafka.exceptions import BrokerError, ConfigError
from tests.support.waiting import eventually_sync

FAKE_JAVA = """#!{python}
import http.server, json, os, re, sys

if "-version" in sys.argv:
    print('openjdk version "{version}" 2026-01-01', file=sys.stderr)
    sys.exit()
print("starting", flush=True)
if "dies" in "{mode}":
    print("out of luck", flush=True)
    sys.exit(7)
options = dict(re.findall(r"-D(.*?)=(.*)", "\\n".join(sys.argv)))
if "hangs" in "{mode}":
    while True:
        sys.stdin.read(1) or __import__("signal").pause()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        print("got", self.path, self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.do_GET()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(options).encode())


http.server.HTTPServer(("127.0.0.1", int(options["quarkus.http.port"])), Handler).serve_forever()
"""


def fake_java(directory: Path, *, version: str = "25", mode: str = "") -> Path:
    path = directory / f"java-{version}-{mode}"
    text = FAKE_JAVA.replace("{python}", sys.executable).replace("{version}", version).replace("{mode}", mode)
    path.write_text(text)
    path.chmod(0o755)
    return path


def get(registry: LocalRegistry, path: str = "subjects") -> Any:
    with urllib.request.urlopen(f"{registry.url}/{path}", timeout=30) as response:
        return json.load(response)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.skipif(sys.platform == "win32", reason="the fake Java is a script")
class TestWithAFakeJava:
    @pytest.fixture(autouse=True)
    def without_a_download(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry_module, "ensure_registry_jar", lambda: tmp_path / "runner.jar")
        monkeypatch.setenv("no_proxy", "127.0.0.1")

    def test_it_is_ready_after_the_start_and_gone_after_the_stop(self, tmp_path: Path) -> None:
        registry = LocalRegistry(java=fake_java(tmp_path))
        with registry:
            options = get(registry)
            home, pid = registry.home, registry.pid
            assert registry.url == f"http://127.0.0.1:{registry.port}/apis/ccompat/v7"
            assert (options["quarkus.http.host"], options["quarkus.management.host"]) == ("127.0.0.1", "127.0.0.1")
            assert options["quarkus.management.port"] != options["quarkus.http.port"]
            assert "apicurio.datasource.url" not in options
        assert pid is not None
        assert is_gone(pid)
        assert not home.exists()
        with pytest.raises(RuntimeError, match="the registry has no address before start"):
            _ = registry.url

    def test_a_new_one_checks_that_schemas_are_backward_compatible(self, tmp_path: Path) -> None:
        with LocalRegistry(java=fake_java(tmp_path)) as registry:
            assert 'got /apis/ccompat/v7/config {"compatibility": "BACKWARD"}' in registry.log_tail()

    def test_the_level_of_kept_schemas_is_not_changed(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "schemas.mv.db").touch()
        with LocalRegistry(java=fake_java(tmp_path), data_dir=tmp_path / "data") as registry:
            assert "got" not in registry.log_tail()
            assert get(registry)["apicurio.datasource.url"] == f"jdbc:h2:file:{tmp_path}/data/schemas"
        assert (tmp_path / "data" / "schemas.mv.db").exists()

    async def test_async_with_starts_it_in_a_thread(self, tmp_path: Path) -> None:
        async with LocalRegistry(java=fake_java(tmp_path)) as registry:
            assert await asyncio.to_thread(get, registry)
        assert not registry.running

    def test_a_kill_and_a_restart_keep_the_port(self, tmp_path: Path) -> None:
        with LocalRegistry(java=fake_java(tmp_path)) as registry:
            port = registry.port
            registry.kill()
            assert not registry.running
            registry.start()
            assert (registry.port, bool(get(registry))) == (port, True)
            registry.restart()
            assert (registry.port, bool(get(registry))) == (port, True)

    def test_java_that_ends_is_an_error_with_the_end_of_its_log(self, tmp_path: Path) -> None:
        with pytest.raises(
            BrokerError, match=r"Apicurio Registry .* ended while starting \(exit code 7\)\. .*\nstarting\nout of luck"
        ):
            LocalRegistry(java=fake_java(tmp_path, mode="dies")).start()

    def test_java_that_does_not_become_ready_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = LocalRegistry(java=fake_java(tmp_path, mode="hangs"), start_timeout_s=0.5)
        # The time is over once Java has begun its log, however long that takes.
        clock = SimpleNamespace(monotonic=lambda: 1.0 if registry.log_tail() else 0.0)
        for module in (registry_module, local_server):
            monkeypatch.setattr(module, "time", clock)
        with pytest.raises(BrokerError, match=r"was not ready within 0\.5 s\. The end of its log:\nstarting"):
            registry.start()
        assert not registry.running

    def test_an_old_java_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"is Java 17, but Apicurio Registry .* needs 21 or later"):
            LocalRegistry(java=fake_java(tmp_path, version="17")).start()

    def test_a_taken_port_is_named(self, tmp_path: Path, taken_port: int) -> None:
        with pytest.raises(ConfigError, match=f"port {taken_port} of 127.0.0.1 is in use"):
            LocalRegistry(taken_port, java=fake_java(tmp_path)).start()

    def test_the_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "jgo", None)
        with pytest.raises(ConfigError, match=r"the registry needs an extra .* pip install 'evkafka\[broker\]'"):
            LocalRegistry().start()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
    def test_it_ends_with_a_parent_that_is_killed(self, tmp_path: Path) -> None:
        code = (
            "from evkafka.broker import LocalRegistry, registry; import pathlib, time;"
            "registry.ensure_registry_jar = lambda: pathlib.Path('runner.jar');"
            f"one = LocalRegistry(java={str(fake_java(tmp_path))!r}).start();"
            "print(one.pid, flush=True); time.sleep(600)"
        )
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            parent.send_signal(signal.SIGKILL)
        eventually_sync(lambda: is_gone(pid))


ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
MORE = {**ORDER, "fields": [*ORDER["fields"], {"name": "cents", "type": "long"}]}


def post(registry: LocalRegistry, path: str, schema: Any) -> tuple[int, Any]:
    body = json.dumps({"schema": json.dumps(schema)}).encode()
    request = urllib.request.Request(f"{registry.url}/{path}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_real_registry_keeps_schemas_and_refuses_incompatible_ones(tmp_path: Path) -> None:
    registry = LocalRegistry(data_dir=tmp_path / "data", start_timeout_s=400)
    try:
        registry.start()
    except BrokerError as error:
        if "cannot be downloaded" not in str(error):
            raise
        pytest.skip(f"the registry cannot be downloaded here: {error}")
    with registry:
        status, registered = post(registry, "subjects/orders-value/versions", ORDER)
        assert status == 200
        found = get(registry, f"schemas/ids/{registered['id']}")
        assert json.loads(found["schema"]) == ORDER
        status, refused = post(registry, "subjects/orders-value/versions", MORE)
        assert (status, refused["error_code"]) == (409, 409)
        assert post(registry, "compatibility/subjects/orders-value/versions/latest", MORE)[1]["is_compatible"] is False
        registry.restart()
        assert get(registry, "subjects") == ["orders-value"]
        assert json.loads(get(registry, f"schemas/ids/{registered['id']}")["schema"]) == ORDER
