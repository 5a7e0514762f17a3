"""Starting: within its time, with the cause in the error; no password in any log."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable
from evkafka.kafka.consumer.source import KafkaSource
from tests.support.kafka_reader import Listener, Read, consumer_settings
from tests.support.kafka_topics import MakeTopic, produce
from tests.support.ports import closed_port
from tests.support.proxy import METADATA, Proxy
from tests.support.waiting import PATIENCE_S, SLACK_S, eventually

JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"


async def failing_start(servers: str, **overrides: Any) -> tuple[BrokerError, float]:
    """The error of a start, and after how many seconds it is raised."""
    loop = asyncio.get_running_loop()
    source = KafkaSource(consumer_settings(servers, "orders", "g", **overrides))
    began = loop.time()
    try:
        with pytest.raises(BrokerError) as raised:
            await source.start(Listener())
    finally:
        took = loop.time() - began
        await source.stop(timeout_s=1)
    return raised.value, took


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a self-signed certificate for 127.0.0.1: `ca.pem`, and `keys.pem` with the key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kafka"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    # Kafka wants PKCS 8, key and certificate in one file.
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-out", "pkcs8.pem"], cwd=folder, check=True
    )
    (folder / "keys.pem").write_text((folder / "pkcs8.pem").read_text() + (folder / "ca.pem").read_text())
    return folder


@pytest.fixture(scope="module")
def broker(certificate: Path) -> Iterator[KafkaBroker]:
    """A broker that creates topics. Its listener LOGIN requires a login (ann, with the password s3cret-canary), its
    listener TLS has TLS only."""
    with KafkaBroker(
        listeners={"LOGIN": "SASL_PLAINTEXT", "TLS": "SSL"},
        properties={
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": f'{JAAS} user_ann="s3cret-canary";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificate / "keys.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificate / "ca.pem"),
        },
    ) as broker:
        yield broker


@pytest.fixture(scope="module")
def with_login(broker: KafkaBroker) -> str:
    return broker.servers("LOGIN")


@pytest.fixture(scope="module")
def with_tls(broker: KafkaBroker) -> str:
    return broker.servers("TLS")


def login(password: str, **more: Any) -> dict[str, Any]:
    return {
        "request_timeout_s": 5.0,
        "options": {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "ann",
            "sasl_plain_password": password,
            **more,
        },
    }


def tls(context: ssl.SSLContext) -> dict[str, Any]:
    return {"options": {"security_protocol": "SSL", "ssl_context": context}}


class TestUnreachableServers:
    async def test_a_closed_port_is_named_with_its_cause(self) -> None:
        with closed_port() as port:
            error, took = await failing_start(f"127.0.0.1:{port}", start_timeout_s=1.0)

        assert isinstance(error, BrokerUnavailable)
        assert f"127.0.0.1:{port}: connection refused" in str(error)
        assert "within 1000 ms (start_timeout_ms)" in str(error)
        assert "bootstrap_servers" in str(error)
        assert took < 1.0 + SLACK_S

    async def test_a_name_that_does_not_exist(self) -> None:
        error, took = await failing_start("no-such-host.invalid:9092", start_timeout_s=1.0)

        assert isinstance(error, BrokerUnavailable)
        assert "no-such-host.invalid:9092: name not found" in str(error)
        assert took < 1.0 + SLACK_S

    async def test_a_server_that_never_answers(self, proxy: Proxy) -> None:
        await proxy.set("blackhole")

        error, took = await failing_start(proxy.bootstrap_servers, start_timeout_s=1.0)

        assert isinstance(error, BrokerUnavailable)
        assert "no answer in time" in str(error)
        assert took < 1.0 + SLACK_S

    async def test_a_broker_that_comes_up_within_the_time_is_waited_for(
        self, topic: MakeTopic, proxy: Proxy, name: str, read: Read
    ) -> None:
        orders = await topic()
        await proxy.set("refuse")
        starting = asyncio.ensure_future(read(proxy.bootstrap_servers, orders, name))
        _, pending = await asyncio.wait({starting}, timeout=0.2)
        assert pending
        await proxy.set("pass")

        reader = await starting
        await eventually(lambda: reader.source.state() == "steady")

    async def test_one_living_server_of_several_is_enough(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, name: str, read: Read
    ) -> None:
        with closed_port() as dead:
            reader = await read(f"127.0.0.1:{dead},{kafka_broker.bootstrap_servers}", await topic(), name)

            await eventually(lambda: reader.source.state() == "steady")

    async def test_brokers_with_an_unreachable_advertised_listener(
        self, kafka_broker: KafkaBroker, proxy: Proxy
    ) -> None:
        own = int(proxy.bootstrap_servers.rsplit(":")[1])
        with closed_port() as dead:
            proxy.rewrite(METADATA, lambda frame: frame.replace(own.to_bytes(4, "big"), dead.to_bytes(4, "big")))

            error, took = await failing_start(proxy.bootstrap_servers, start_timeout_s=1.5)

        assert isinstance(error, BrokerUnavailable)
        assert f"127.0.0.1:{dead}" in str(error)
        assert "advertised.listeners" in str(error)
        assert took < 1.5 + SLACK_S


class TestLogins:
    async def test_a_correct_password_is_accepted(self, with_login: str, name: str, read: Read) -> None:
        reader = await read(with_login, name, name, connection=login("s3cret-canary"))

        await eventually(lambda: reader.source.state() == "connecting")
        assert reader.errors == []

    async def test_a_wrong_password_is_refused_at_once_and_not_repeated_in_the_message(self, with_login: str) -> None:
        error, took = await failing_start(with_login, connection=login("wrong-canary"), start_timeout_s=2 * PATIENCE_S)

        assert isinstance(error, BrokerRefused)
        assert "login by PLAIN refused" in str(error)
        assert "wrong-canary" not in str(error)
        assert took < PATIENCE_S

    async def test_a_mechanism_that_the_broker_does_not_have(self, with_login: str) -> None:
        error, _ = await failing_start(with_login, connection=login("s3cret-canary", sasl_mechanism="SCRAM-SHA-256"))

        assert isinstance(error, BrokerRefused)
        assert "sasl_mechanism" in str(error)

    async def test_no_login_although_one_is_required(self, with_login: str) -> None:
        error, _ = await failing_start(with_login, start_timeout_s=1.5)

        assert "security_protocol" in str(error)

    async def test_a_login_that_is_refused_after_the_start_ends_the_source(
        self, with_login: str, name: str, read: Read
    ) -> None:
        async with Proxy(with_login) as proxy:
            reader = await read(proxy.bootstrap_servers, name, name, connection=login("s3cret-canary"))
            reader.source._started_consumer().client._connection_options["sasl_plain_password"] = "changed-canary"
            await eventually(lambda: reader.polls > 2)
            proxy.disconnect()

            await eventually(lambda: reader.errors)
        assert isinstance(reader.errors[0], BrokerRefused)
        assert "login by PLAIN refused" in str(reader.errors[0])

    async def test_no_password_in_any_log(
        self, with_login: str, name: str, read: Read, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        reader = await read(with_login, name, name, connection=login("s3cret-canary"))
        await eventually(lambda: reader.polls > 2)
        await failing_start(with_login, connection=login("wrong-canary"))

        assert "SaslAuthenticateRequest" in caplog.text
        assert "canary" not in caplog.text


class TestTls:
    async def test_a_trusted_certificate_is_accepted(
        self, with_tls: str, certificate: Path, name: str, read: Read
    ) -> None:
        context = ssl.create_default_context(cafile=certificate / "ca.pem")
        reader = await read(with_tls, name, name, connection=tls(context))

        await eventually(lambda: reader.source.state() == "connecting")
        assert reader.errors == []

    async def test_a_certificate_of_an_unknown_authority(self, with_tls: str) -> None:
        error, took = await failing_start(
            with_tls,
            connection=tls(ssl.create_default_context()),
            start_timeout_s=2 * PATIENCE_S,
        )

        assert isinstance(error, BrokerRefused)
        assert "certificate was not accepted" in str(error)
        assert took < PATIENCE_S

    async def test_a_certificate_for_another_name(self, with_tls: str, certificate: Path) -> None:
        context = ssl.create_default_context(cafile=certificate / "ca.pem")
        servers = with_tls.replace("127.0.0.1", "localhost")
        error, _ = await failing_start(servers, connection=tls(context))

        assert isinstance(error, BrokerRefused)
        assert "localhost" in str(error)

    async def test_tls_to_a_port_without_tls(self, kafka_broker: KafkaBroker) -> None:
        error, took = await failing_start(
            kafka_broker.bootstrap_servers, connection=tls(ssl.create_default_context()), start_timeout_s=2.0
        )

        assert "security_protocol" in str(error)
        assert took < 2.0 + SLACK_S

    async def test_no_tls_to_a_port_with_tls(self, with_tls: str) -> None:
        error, took = await failing_start(with_tls, start_timeout_s=2.0)

        assert "security_protocol" in str(error)
        assert took < 2.0 + SLACK_S


class TestAbsentTopics:
    async def test_an_absent_topic_is_waited_for_named_and_not_created(
        self, broker: KafkaBroker, name: str, read: Read, caplog: pytest.LogCaptureFixture
    ) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic

        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        await admin.start()
        try:
            reader = await read(broker.bootstrap_servers, name, name, connection={"metadata_max_age_s": 0.1})
            await eventually(lambda: name in caplog.text)
            await eventually(lambda: reader.listener.assigned == [set()])
            await eventually(lambda: reader.polls > 20)
            assert reader.source.state() == "connecting"
            assert name not in await admin.list_topics()
            lines = [record for record in caplog.records if "not found" in record.getMessage()]
            assert lines == []  # aiokafka would log it several times a second

            await admin.create_topics([NewTopic(name, 1, 1)])
            await eventually(lambda: reader.source.state() == "steady" and reader.source.assignment())
        finally:
            await admin.close()
        await produce(broker.bootstrap_servers, name, 3)
        await eventually(lambda: reader.offsets() == [0, 1, 2])
        assert reader.errors == []
        await reader.stop()

    async def test_is_created_if_configured(self, broker: KafkaBroker, name: str, read: Read) -> None:
        reader = await read(
            broker.bootstrap_servers,
            name,
            name,
            allow_auto_create_topics=True,
            connection={"metadata_max_age_s": 0.1},
        )
        await eventually(lambda: reader.source.assignment())
        await reader.stop()
