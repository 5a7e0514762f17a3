"""The configuration keys are typed, are read, and include all options of the installed aiokafka."""

from __future__ import annotations

import inspect
import typing

import pytest
import typing_extensions
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from evkafka import config
from evkafka.config.consumer import _read_consumer_keys
from evkafka.config.display import SHOWN_KEYS
from evkafka.config.error_policy import read_error_policy
from evkafka.config.producer import _read_producer_keys
from evkafka.config.section import Faults, Section
from evkafka.config.settings import ErrorPolicySettings
from evkafka.exceptions import ConfigError

REFUSED_BY_CONSUMERS = {"key_deserializer", "value_deserializer", "loop"}
REFUSED_BY_PRODUCERS = {"key_serializer", "value_serializer", "loop", "transactional_id", "transaction_timeout_ms"}
HIDDEN = {"sasl_plain_password", "ssl_context", "sasl_oauth_token_provider"}
NOT_USED = {"api_version", "enable_auto_commit", "max_poll_interval_ms"}
OUTER = {"on_error", "dead_letter_producer"}

TYPED_DICTS = [
    config.BrokerConfig,
    config.ConsumerConfig,
    config.DeadLetterLimit,
    config.ErrorPolicy,
    config.ProducerConfig,
    config.TopicConfig,
]


def keys_of(typed_dict: object) -> set[str]:
    return set(typing.get_type_hints(typed_dict))


def options_of(client: type) -> set[str]:
    parameters = inspect.signature(client).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL}


def section() -> Section:
    return Section({}, Faults("t"), doc="t")


class TestBesideAiokafka:
    def test_a_consumer_takes_or_refuses_each_option_of_the_clients_consumer(self) -> None:
        assert options_of(AIOKafkaConsumer) - keys_of(config.ConsumerConfig) == REFUSED_BY_CONSUMERS

    def test_a_producer_takes_or_refuses_each_option_of_the_clients_producer(self) -> None:
        assert options_of(AIOKafkaProducer) - keys_of(config.ProducerConfig) == REFUSED_BY_PRODUCERS

    @pytest.mark.parametrize("key", sorted(REFUSED_BY_CONSUMERS))
    def test_a_key_that_a_consumer_refuses_has_an_error_of_its_own(self, key: str) -> None:
        message = self._refused(config.consumer_settings, key)
        assert f"{key}: " in message
        assert "unknown key" not in message

    @pytest.mark.parametrize("key", sorted(REFUSED_BY_PRODUCERS))
    def test_a_key_that_a_producer_refuses_has_an_error_of_its_own(self, key: str) -> None:
        message = self._refused(config.producer_settings, key)
        assert f"{key}: " in message
        assert "unknown key" not in message

    def _refused(self, make: typing.Callable[[dict[str, object]], object], key: str) -> str:
        with pytest.raises(ConfigError) as caught:
            make({key: None})
        return str(caught.value)


class TestTyped:
    def test_every_key_of_a_consumer_is_read_and_no_other(self) -> None:
        read = section()
        _read_consumer_keys(read)
        assert set(read.known_keys) == keys_of(config.ConsumerConfig)

    def test_every_key_of_a_producer_is_read_and_no_other(self) -> None:
        read = section()
        _read_producer_keys(read)
        assert set(read.known_keys) == keys_of(config.ProducerConfig)

    def test_every_key_of_a_policy_is_read_and_no_other(self) -> None:
        read = section()
        read_error_policy(read, ErrorPolicySettings())
        assert set(read.known_keys) == keys_of(config.ErrorPolicy)

    def test_every_key_is_known_to_be_shown_or_to_be_hidden(self) -> None:
        keys = set().union(*map(keys_of, TYPED_DICTS)) - {"name", "description", "event_type"}
        assert keys - SHOWN_KEYS == HIDDEN | NOT_USED | OUTER

    @pytest.mark.parametrize("typed_dict", TYPED_DICTS)
    def test_the_dictionaries_are_closed(self, typed_dict: type) -> None:
        assert typed_dict.__closed__ is True  # type: ignore[attr-defined]
        assert typing_extensions.is_typeddict(typed_dict)

    def test_the_keys_of_a_broker_are_keys_of_consumers_and_producers(self) -> None:
        assert keys_of(config.BrokerConfig) <= keys_of(config.ConsumerConfig) & keys_of(config.ProducerConfig)
