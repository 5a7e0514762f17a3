"""`evkafka broker`, as a process: started, used, stopped by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `evkafka broker ARGUMENTS`; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **env: str) -> subprocess.Popen[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("EVKAFKA_BROKER")}
        process = subprocess.Popen(
            [sys.executable, "-m", "evkafka.cli", "broker", *arguments],
            cwd=tmp_path,
            env=kept | {"TMPDIR": str(tmp_path)} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def java_of(process: subprocess.Popen[str]) -> psutil.Process:
    [java] = psutil.Process(process.pid).children()
    return java


async def topics(address: str, create: str | None = None) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        if create is not None:
            await admin.create_topics([NewTopic(create, 1, 1)])
        return list(await admin.list_topics())
    finally:
        await admin.close()


@pytest.mark.kafka
class TestBroker:
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP])
    async def test_signal_ends_it_cleanly_and_leaves_nothing(self, start, tmp_path, signum):
        process = start("--port", "0", "--quiet")
        address = process.stdout.readline().strip()
        assert await topics(address) == []
        java = java_of(process)
        process.send_signal(signum)
        out, err = process.communicate(timeout=240)
        assert (out, err, process.returncode) == ("", "", 0)
        assert not java.is_running()
        assert not list(tmp_path.glob("evkafka-broker-*"))

    async def test_prints_its_address_and_keeps_its_data(self, start, tmp_path):
        process = start("--port", "0", "--data", "kept")
        address = process.stdout.readline().strip().removeprefix("Apache Kafka is ready: bootstrap_servers = ")
        assert "kept in kept" in process.stdout.readline()
        await topics(address, create="orders")
        process.terminate()
        assert process.wait(timeout=240) == 0

        again = start(EVKAFKA_BROKER_PORT="0", EVKAFKA_BROKER_DATA="kept", EVKAFKA_BROKER_QUIET="1")
        assert await topics(again.stdout.readline().strip()) == ["orders"]

    def test_ends_with_1_and_the_log_when_kafka_ends_by_itself(self, start):
        process = start("--port", "0", "--quiet")
        process.stdout.readline()
        java_of(process).kill()
        _, err = process.communicate(timeout=240)
        assert process.returncode == 1
        assert err.startswith("evkafka: Kafka exited. The end of its log:\n")

    def test_signal_while_starting_ends_it_cleanly(self, start, tmp_path):
        process = start("--port", "0")
        assert process.stderr.readline() == "Starting Apache Kafka...\n"
        process.terminate()
        out, _ = process.communicate(timeout=240)
        assert (out, process.returncode) == ("", 0)
        assert not list(tmp_path.glob("evkafka-broker-*"))

    def test_taken_port_is_one_line_and_2(self, start, kafka_broker):
        process = start("--port", str(kafka_broker.port), "--quiet")
        _, err = process.communicate(timeout=240)
        assert process.returncode == 2
        assert err == (
            f"evkafka: port {kafka_broker.port} of 127.0.0.1 is in use: stop the program that uses it, or choose"
            " another port\n"
        )

    def test_property_that_kafka_refuses_is_3_with_the_log(self, start):
        process = start("--port", "0", "--quiet", "--property", "log.retention.ms=soon")
        _, err = process.communicate(timeout=240)
        assert process.returncode == 3
        assert "log.retention.ms" in err
        assert "Traceback" not in err


class TestUsage:
    def test_property_without_a_value_is_2(self, start):
        process = start("--property", "nonsense")
        _, err = process.communicate(timeout=240)
        assert process.returncode == 2
        assert err == "evkafka: --property 'nonsense' is not KEY=VALUE, as in num.partitions=6\n"
