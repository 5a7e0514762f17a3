"""The options of a run: which keys the processes get, and which the broker that is started for them."""

from __future__ import annotations

import pytest

from evkafka.config import consumer_settings
from evkafka.exceptions import ConfigError
from evkafka.verify import Options
from evkafka.verify.options import parse_group_protocol

TIMES = {"session_timeout_ms": 1_500, "heartbeat_interval_ms": 300}


class TestTheGroupProtocol:
    @pytest.mark.parametrize("protocol", ["classic", "consumer", "auto"])
    def test_is_a_key_of_the_processes(self, protocol: str) -> None:
        options = Options(group_protocol=parse_group_protocol(protocol))
        settings = consumer_settings({"topics": ["any"], "group_id": "g", **options.consumer_config})
        assert settings.group_protocol == protocol

    def test_of_a_given_app_is_its_own(self) -> None:
        assert Options(app="shop:app", payload="{}").consumer_config == {}
        given = Options(app="shop:app", payload="{}", group_protocol="consumer")
        assert given.consumer_config == {"group_protocol": "consumer"}

    def test_classic_leaves_the_times_to_the_processes(self) -> None:
        options = Options(group_protocol="classic", config=TIMES)
        assert options.consumer_config["session_timeout_ms"] == 1_500
        assert (options.broker_properties, options.broker_session_s) == ({}, None)

    @pytest.mark.parametrize("protocol", ["consumer", "auto"])
    def test_consumer_gives_the_times_to_the_broker(self, protocol: str) -> None:
        options = Options(group_protocol=parse_group_protocol(protocol), config=TIMES)
        assert not options.consumer_config.keys() & TIMES
        assert options.broker_properties == {
            "group.consumer.min.session.timeout.ms": 1_500,
            "group.consumer.session.timeout.ms": 1_500,
            "group.consumer.min.heartbeat.interval.ms": 300,
            "group.consumer.heartbeat.interval.ms": 300,
        }
        assert options.broker_session_s == 1.5

    def test_consumer_cannot_set_the_session_of_given_brokers(self) -> None:
        with pytest.raises(ConfigError, match=r"group\.consumer\.session\.timeout\.ms: leave it out"):
            Options(group_protocol="consumer", bootstrap_servers="kafka:9092", kinds=(), config=TIMES)
        options = Options(group_protocol="consumer", bootstrap_servers="kafka:9092", kinds=())
        assert options.broker_session_s is None

    def test_that_does_not_exist_is_refused(self) -> None:
        assert parse_group_protocol(None) is None
        with pytest.raises(
            ConfigError, match="unknown group protocol 'new'; the protocols are classic, consumer, auto"
        ):
            parse_group_protocol("new")
