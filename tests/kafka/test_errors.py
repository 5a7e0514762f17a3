"""Errors of the client become errors that a reader can act on."""

from __future__ import annotations

from aiokafka import errors as kafka

from evkafka.exceptions import BrokerRefused
from evkafka.kafka.errors import translate_error


class TestTranslation:
    def test_of_a_request_that_the_brokers_do_not_have_says_what_it_needs(self) -> None:
        error = translate_error(kafka.IncompatibleBrokerVersion("it needs Kafka 4.0 or newer"), "kafka:9092")

        assert type(error) is BrokerRefused
        assert str(error) == "kafka:9092: it needs Kafka 4.0 or newer"
