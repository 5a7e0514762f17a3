"""A producer's configuration."""

from __future__ import annotations

import logging

import pytest

from evkafka.config import producer_config
from evkafka.config.settings import ProducerSettings
from evkafka.exceptions import ConfigError
from tests.support.configurations import producer, refusal


def first(key: bytes | None, every: list[int], available: list[int]) -> int:
    return every[0]


class TestValues:
    def test_defaults_are_those_of_the_settings(self) -> None:
        settings, default = producer(), ProducerSettings()
        for name in default.__dataclass_fields__:
            if name != "connection":
                assert getattr(settings, name) == getattr(default, name), name
        assert settings.connection.request_timeout_s == 40.0

    def test_the_clients_own_options_pass_through_under_their_names(self) -> None:
        options = {
            "linger_ms": 5,
            "max_batch_size": 1000,
            "max_request_size": 2000,
            "compression_type": "zstd",
            "partitioner": first,
        }
        assert producer(**options).options == options

    def test_an_untyped_mapping_is_checked_and_given_back(self) -> None:
        assert producer_config({"acks": "all"}) == {"acks": "all"}
        with pytest.raises(ConfigError, match="acks"):
            producer_config({"acks": 2})


class TestAcks:
    @pytest.mark.parametrize(
        ("keys", "acks", "idempotent"),
        [
            ({}, "all", True),
            ({"acks": "all"}, "all", True),
            ({"acks": -1}, "all", True),
            ({"acks": 1}, 1, False),
            ({"acks": 0}, 0, False),
            ({"enable_idempotence": False}, "all", False),
            ({"acks": 1, "enable_idempotence": False}, 1, False),
            ({"acks": -1, "enable_idempotence": True}, "all", True),
        ],
    )
    def test_decide_on_idempotence_where_it_is_not_given(
        self, keys: dict[str, object], acks: object, idempotent: bool
    ) -> None:
        settings = producer(**keys)
        assert (settings.acks, settings.enable_idempotence) == (acks, idempotent)

    def test_turning_it_off_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "evkafka"):
            producer(acks=1)
            producer(acks=1)
        [record] = caplog.records
        assert "acks 1 turns enable_idempotence off" in record.getMessage()

    @pytest.mark.parametrize("acks", [0, 1])
    def test_both_given_and_at_odds_are_refused(self, acks: int) -> None:
        assert "enable_idempotence: True needs acks 'all'" in refusal(producer, acks=acks, enable_idempotence=True)

    @pytest.mark.parametrize("acks", [True, False, "1", 2, None, 1.0, []])
    def test_nothing_else_is_taken(self, acks: object) -> None:
        assert "acks: " in refusal(producer, acks=acks)


class TestFaults:
    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("transactional_id", "t", "are those of a consumer with auto_commit_mode 'exactly-once'"),
            ("key_serializer", str.encode, "encode before sending"),
            ("value_serializer", str.encode, "encode before sending"),
            ("compression_type", "brotli", "use 'gzip', 'snappy', 'lz4' or 'zstd' or None"),
            ("partitioner", "first", "'first' is not callable"),
            ("topic", "a b", "'a b' is not a valid topic name"),
            ("delivery_timeout_ms", 0, "0 is out of range"),
            ("linger_ms", 120_000, "is not below delivery_timeout_ms 120000"),
            ("topics", ["a"], "unknown key; did you mean 'topic'?"),
        ],
    )
    def test_name_key_and_value_and_the_way_out(self, key: str, value: object, said: str) -> None:
        message = refusal(producer, **{key: value})
        assert message.startswith(f"the producer's configuration: {key}: ")
        assert said in message
