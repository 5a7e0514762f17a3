"""The brokers' addresses and the login."""

from __future__ import annotations

import importlib.util
import logging
import ssl

import pytest
from aiokafka import AIOKafkaClient
from aiokafka.abc import AbstractTokenProvider

from evkafka.kafka.options import connection_options
from tests.support.configurations import consumer, producer, refusal

LOGIN = {"sasl_plain_username": "me", "sasl_plain_password": "pw"}


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    async def token(self) -> str:
        return "token"


class TestBrokers:
    @pytest.mark.parametrize(
        ("given", "servers"),
        [
            ("kafka", ("kafka",)),
            ("kafka_1:9092", ("kafka_1:9092",)),
            ("a:1, b:2,", ("a:1", "b:2")),
            (["a:1", "b:2,c:3"], ("a:1", "b:2", "c:3")),
            (("[::1]:9092", "::1", "127.0.0.1:65535"), ("[::1]:9092", "::1", "127.0.0.1:65535")),
        ],
    )
    def test_are_one_str_or_a_list(self, given: object, servers: tuple[str, ...]) -> None:
        assert producer(bootstrap_servers=given).connection.bootstrap_servers == servers

    def test_are_local_by_default(self) -> None:
        assert producer().connection.bootstrap_servers == ("localhost:9092",)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("", "it names no broker"),
            (" , ", "it names no broker"),
            ([], "it names no broker"),
            ("kafka:port", "'kafka:port' is not 'host:port'"),
            ("kafka:0", "'kafka:0' has a port out of range"),
            ("kafka:65536", "'kafka:65536' has a port out of range"),
            ("ka fka:9092", "is not 'host:port'"),
            ("kafka://host:9092", "is a URL; give only 'host:port'"),
            ([9092], "9092 is not a str"),
            (9092, "a value of type int; give a list of 'host:port'"),
            (None, "it is None"),
            (b"kafka:9092", "a value of type bytes"),
        ],
    )
    def test_that_are_none_are_named(self, given: object, said: str) -> None:
        message = refusal(producer, bootstrap_servers=given)
        assert message.startswith("the producer's configuration: bootstrap_servers: ")
        assert said in message


class TestEncryption:
    @pytest.mark.parametrize(("protocol", "login"), [("SSL", {}), ("SASL_SSL", LOGIN)])
    def test_needs_a_context_and_says_how_to_make_one(self, protocol: str, login: dict[str, str]) -> None:
        message = refusal(consumer, security_protocol=protocol, **login)
        assert "ssl_context" in message
        assert "from aiokafka.helpers import create_ssl_context" in message

    def test_a_context_that_would_not_be_used_is_refused(self) -> None:
        assert "set security_protocol to 'SSL'" in refusal(consumer, ssl_context=ssl.create_default_context())

    def test_a_context_is_a_context(self) -> None:
        message = refusal(consumer, security_protocol="SSL", ssl_context="ca.pem")
        assert "it is a value of type str; give an ssl.SSLContext" in message
        assert "ca.pem'" not in message

    def test_with_a_context_passes_through(self) -> None:
        context = ssl.create_default_context()
        options = consumer(security_protocol="SSL", ssl_context=context).connection.options
        assert options == {"security_protocol": "SSL", "ssl_context": context}


class TestLogin:
    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    @pytest.mark.parametrize("missing", ["sasl_plain_username", "sasl_plain_password"])
    def test_by_password_needs_user_and_password(self, mechanism: str, missing: str) -> None:
        keys = {**LOGIN, missing: None, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism}
        assert f"{missing}: sasl_mechanism {mechanism} needs one" in refusal(consumer, **keys)

    def test_by_token_needs_a_provider(self) -> None:
        message = refusal(consumer, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER")
        assert "sasl_oauth_token_provider: sasl_mechanism OAUTHBEARER needs one" in message

    def test_by_token_takes_a_provider(self) -> None:
        tokens = Tokens()
        keys = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
        options = consumer(**keys, sasl_oauth_token_provider=tokens).connection.options
        assert options["sasl_oauth_token_provider"] is tokens

    @pytest.mark.parametrize("provider", ["token", Tokens, object()])
    def test_a_provider_is_an_instance_of_the_clients_class(self, provider: object) -> None:
        keys = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
        assert "aiokafka.abc.AbstractTokenProvider" in refusal(consumer, **keys, sasl_oauth_token_provider=provider)

    def test_a_provider_with_another_mechanism_is_refused(self) -> None:
        message = refusal(consumer, security_protocol="SASL_PLAINTEXT", **LOGIN, sasl_oauth_token_provider=Tokens())
        assert "not used with sasl_mechanism PLAIN" in message

    def test_by_kerberos_needs_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        message = refusal(consumer, security_protocol="SASL_PLAINTEXT", sasl_mechanism="GSSAPI")
        assert "pip install gssapi" in message

    def test_that_is_not_used_is_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "evkafka"):
            consumer(**LOGIN)
        assert "sasl_plain_username and sasl_plain_password: not used with security_protocol PLAINTEXT" in caplog.text

    def test_from_an_empty_environment_is_no_login(self, caplog: pytest.LogCaptureFixture) -> None:
        assert consumer(sasl_plain_password=None).connection.options == {}
        assert caplog.records == []


class TestOptions:
    def test_none_keeps_idle_connections_open(self) -> None:
        assert producer(connections_max_idle_ms=None).connection.options == {"connections_max_idle_ms": None}

    def test_api_version_logs_once_that_it_is_unused(self, caplog: pytest.LogCaptureFixture) -> None:
        producer(api_version="auto")
        producer(api_version="2.0")
        assert len(caplog.records) == 1

    async def test_are_taken_by_the_client(self) -> None:
        settings = consumer(
            security_protocol="SASL_SSL",
            ssl_context=ssl.create_default_context(),
            retry_backoff_ms=50,
            connections_max_idle_ms=None,
            sasl_mechanism="SCRAM-SHA-256",
            sasl_kerberos_service_name="k",
            **LOGIN,
        )
        client = AIOKafkaClient(**connection_options(settings.connection))
        await client.close()
