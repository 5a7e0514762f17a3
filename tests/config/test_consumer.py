"""A consumer's configuration: values, defaults and errors."""

from __future__ import annotations

import inspect
import logging
import re

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from evkafka.config import consumer_config, consumer_settings, missing_group_id_fault
from evkafka.config.settings import ConsumerSettings, TopicSettings
from evkafka.exceptions import ConfigError
from tests.support.configurations import consumer, refusal


class TestDefaults:
    def test_the_seeds_configuration_is_all_that_is_needed(self) -> None:
        settings = consumer_settings({"topics": ["topic"], "bootstrap_servers": "kafka:9092", "group_id": "test"})
        assert settings.topics == (TopicSettings("topic"),)
        assert settings.connection.bootstrap_servers == ("kafka:9092",)
        assert settings.group_id == "test"

    def test_are_those_of_the_settings(self) -> None:
        settings, default = consumer(), ConsumerSettings()
        for name in default.__dataclass_fields__:
            if name not in ("connection", "topics", "group_id"):
                assert getattr(settings, name) == getattr(default, name), name

    @pytest.mark.parametrize(
        ("keys", "rebalance_s", "request_s"),
        [
            ({}, 60.0, 65.0),
            ({"max_endpoint_exec_time_ms": 120_000}, 130.0, 135.0),
            ({"rebalance_timeout_ms": 30_000}, 30.0, 35.0),
            ({"request_timeout_ms": 90_000}, 60.0, 90.0),
            ({"request_timeout_ms": 40_000}, 60.0, 40.0),
        ],
    )
    def test_a_rebalance_waits_for_an_attempt_and_a_request_for_a_rebalance(
        self, keys: dict[str, object], rebalance_s: float, request_s: float
    ) -> None:
        settings = consumer(**keys)
        assert settings.rebalance_timeout_s == rebalance_s
        assert settings.connection.request_timeout_s == request_s

    def test_a_short_session_takes_its_heartbeat_along(self) -> None:
        assert consumer(session_timeout_ms=600).heartbeat_interval_s == pytest.approx(0.2)

    def test_a_short_rebalance_takes_its_drain_along(self) -> None:
        assert consumer(rebalance_timeout_ms=4_000).revoke_drain_timeout_s == 2.0


class TestValues:
    def test_times_become_seconds(self) -> None:
        assert consumer(auto_commit_interval_ms=250).auto_commit_interval_s == 0.25

    def test_topics_may_be_described(self) -> None:
        topic = {"name": "orders", "description": "Orders.", "event_type": "OrderPlaced"}
        assert consumer(topics=("a", topic)).topics == (
            TopicSettings("a"),
            TopicSettings("orders", "Orders.", "OrderPlaced"),
        )

    def test_a_pattern_replaces_topics(self) -> None:
        settings = consumer_settings({"topic_pattern": r"orders-\d+"})
        assert settings.topic_pattern == re.compile(r"orders-\d+")
        assert settings.topics == ()

    def test_a_pattern_may_be_compiled(self) -> None:
        assert consumer_settings({"topic_pattern": re.compile("a")}).topic_pattern == re.compile("a")

    def test_a_pattern_that_python_warns_of_is_taken(self) -> None:
        assert consumer_settings({"topic_pattern": "[[a]"}).topic_pattern is not None

    def test_the_clients_own_options_pass_through_under_their_names(self) -> None:
        options = {
            "fetch_min_bytes": 10,
            "fetch_max_wait_ms": 50,
            "fetch_max_bytes": 1000,
            "max_partition_fetch_bytes": 2000,
            "check_crcs": False,
            "exclude_internal_topics": False,
            "client_rack": "eu-1a",
        }
        assert consumer(**options).options == options

    @pytest.mark.parametrize(
        ("given", "unpacked"),
        [
            ({}, 64 * 2**20),
            ({"max_partition_fetch_bytes": 2000}, 64 * 2**20),
            ({"max_partition_fetch_bytes": 2**22}, 64 * 2**22),
            ({"max_partition_fetch_bytes": 2**30}, 2_000_000_000),
            ({"max_partition_fetch_bytes": 2**22, "max_decompressed_bytes": 2**23}, 2**23),
        ],
    )
    def test_a_batch_may_unpack_to_a_multiple_of_a_fetch(self, given: dict[str, int], unpacked: int) -> None:
        assert consumer(**given).max_decompressed_bytes == unpacked

    def test_options_that_are_not_given_are_left_to_the_client(self) -> None:
        assert consumer(client_rack=None).options == {}

    def test_none_means_the_default_for_keys_where_the_client_does_so(self) -> None:
        settings = consumer(max_poll_records=None, rebalance_timeout_ms=None, group_instance_id=None)
        assert (settings.max_poll_records, settings.rebalance_timeout_s, settings.group_instance_id) == (
            500,
            60.0,
            None,
        )

    @pytest.mark.parametrize("given", [RangePartitionAssignor, [RangePartitionAssignor], (RangePartitionAssignor,)])
    def test_one_assignor_may_be_given_alone_or_in_a_list(self, given: object) -> None:
        options = consumer(partition_assignment_strategy=given).options
        assert options == {"partition_assignment_strategy": (RangePartitionAssignor,)}

    def test_an_untyped_mapping_is_checked_and_given_back(self) -> None:
        values = {"topics": ["orders"], "concurrency": 4}
        assert consumer_config(values) == values

    def test_an_untyped_mapping_with_a_fault_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="concurrency"):
            consumer_config({"topics": ["orders"], "concurrency": 0})


class TestFaults:
    def test_all_of_them_come_in_one_error(self) -> None:
        message = refusal(consumer, concurrency="4", unmatched="drop", bootstrap_servers=[], topcis=["a"])
        assert "4 errors" in message
        assert all(key in message for key in ("concurrency", "unmatched", "bootstrap_servers", "topcis"))

    def test_one_is_a_value_error_too(self) -> None:
        with pytest.raises(ValueError, match="concurrency"):
            consumer(concurrency=0)

    @pytest.mark.parametrize(
        ("key", "near"),
        [
            ("topcis", "topics"),
            ("bootstrap_server", "bootstrap_servers"),
            ("group.id", "group_id"),
            ("auto-offset-reset", "auto_offset_reset"),
            ("maxPollRecords", "max_poll_records"),
        ],
    )
    def test_an_unknown_key_is_named_with_the_nearest_one(self, key: str, near: str) -> None:
        assert f"{key}: unknown key; did you mean {near!r}?" in refusal(consumer, **{key: 1})

    def test_a_key_that_is_near_none_is_named_alone(self) -> None:
        assert "zzz: unknown key; remove it" in refusal(consumer, zzz=1)

    def test_a_key_need_not_be_a_string(self) -> None:
        with pytest.raises(ConfigError, match="7: unknown key"):
            consumer_settings({"topics": ["a"], 7: 1})  # type: ignore[dict-item]

    @pytest.mark.parametrize("values", [None, [], "topics", 5])
    def test_a_configuration_is_a_mapping(self, values: object) -> None:
        with pytest.raises(ConfigError, match="give a dict"):
            consumer_config(values)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("concurrency", 0, "0 is out of range; give 1 to 10000"),
            ("concurrency", True, "True is not a whole number"),
            ("concurrency", 10**30, "more than 20 digits"),
            ("session_timeout_ms", 1.5, "1.5 is not a whole number of milliseconds"),
            ("session_timeout_ms", "10000", "'10000' is not a whole number of milliseconds"),
            ("session_timeout_ms", None, "None is not a whole number"),
            ("session_timeout_ms", 2**31, "is out of range; give 1 to 2147483647"),
            ("drain_timeout_ms", -1, "-1 is out of range; give 0 to"),
            ("required", "yes", "'yes' is not a bool; give True or False"),
            ("auto_commit_mode", "at-most-once", "use 'pre-commit', 'post-commit' or 'exactly-once'"),
            ("group_id", "", "it is empty"),
            ("group_id", 5, "5 is not a str"),
            ("group_id", "g" * 40_000, "32767 bytes"),
            ("group_id", "\ud800", "not valid UTF-8"),
            ("group_instance_id", "a/b", "'a/b' is invalid in Kafka"),
            ("on_error", "stop", "give a dict"),
            ("topics", "orders", "one str, but must be a list of topics; write ['orders']"),
            ("topics", {"name": "orders"}, "a value of type dict; give a list of topics"),
            ("topics", {"orders"}, "a value of type set; give a list of topics"),
            ("topics", None, "it is None; give a list of topics"),
            ("topics", [], "the list is empty"),
            ("topics", [5], "5 is not a topic"),
            ("topics", ["orders", {"name": "orders"}], "'orders' is listed twice"),
            ("topics", [{"description": "x"}], "topics[0].name: it is missing"),
            (
                "topics",
                [{"name": "x", "evnt_type": "y"}],
                "topics[0].evnt_type: unknown key; did you mean 'event_type'?",
            ),
            ("topics", ["a b"], "'a b' is not a valid topic name; use letters"),
            ("topics", [".."], "'..' is not a valid topic name"),
            ("topics", [""], "a topic name is empty"),
            ("topics", ["x" * 250], "has 250 characters; a topic name has 1 to 249"),
            ("partition_assignment_strategy", "range", "one str, but must be a list of one assignor class"),
            ("partition_assignment_strategy", [], "it names 0 strategies"),
            ("partition_assignment_strategy", [int], "the class int is not an assignor"),
            (
                "partition_assignment_strategy",
                [RangePartitionAssignor, RoundRobinPartitionAssignor],
                "it names 2 strategies, but the client supports only one; give exactly one",
            ),
        ],
    )
    def test_name_key_and_value_and_the_way_out(self, key: str, value: object, said: str) -> None:
        message = refusal(consumer, **{key: value})
        assert key in message
        assert said in message
        assert "errors" not in message, "one value, one fault"

    def test_a_number_too_long_to_be_written_is_refused_all_the_same(self) -> None:
        message = refusal(consumer, concurrency=10**5000)
        assert "an int of more than 20 digits is out of range" in message

    @pytest.mark.parametrize("key", ["key_deserializer", "value_deserializer"])
    def test_a_deserializer_is_pointed_to_middleware(self, key: str) -> None:
        assert "middleware" in refusal(consumer, **{key: lambda raw: raw})

    @pytest.mark.parametrize("pattern", ["[a", "(", "a{99999999999999}", "(?P<x>a)(?P<x>b)"])
    def test_a_pattern_that_is_none_is_named(self, pattern: str) -> None:
        with pytest.raises(ConfigError, match=r"topic_pattern: .* is not a regular expression"):
            consumer_settings({"topic_pattern": pattern})


class TestContradictions:
    @pytest.mark.parametrize(
        ("keys", "at_fault"),
        [
            ({"heartbeat_interval_ms": 9_000}, "heartbeat_interval_ms"),
            ({"heartbeat_interval_ms": 10_000}, "heartbeat_interval_ms"),
            ({"heartbeat_interval_ms": 3_000, "session_timeout_ms": 2_000}, "heartbeat_interval_ms"),
            ({"topic_pattern": "a"}, "topic_pattern"),
            ({"topics": [], "topic_pattern": "a"}, "topic_pattern"),
            ({"revoke_drain_timeout_ms": 60_000}, "revoke_drain_timeout_ms"),
            ({"max_decompressed_bytes": 2**20 - 1}, "max_decompressed_bytes"),
            ({"max_decompressed_bytes": 2**21, "max_partition_fetch_bytes": 2**22}, "max_decompressed_bytes"),
            ({"rebalance_timeout_ms": 5_000, "revoke_drain_timeout_ms": 5_000}, "revoke_drain_timeout_ms"),
            ({"fetch_max_wait_ms": 65_000}, "fetch_max_wait_ms"),
            ({"fetch_max_wait_ms": 300, "request_timeout_ms": 300}, "fetch_max_wait_ms"),
            ({"request_timeout_ms": 500}, "request_timeout_ms"),
            ({"auto_commit_mode": "pre-commit", "on_error": {}}, "on_error"),
            ({"auto_commit_mode": "pre-commit", "unmatched": "stop"}, "unmatched"),
            ({"auto_commit_mode": "pre-commit", "commit_metadata_max_bytes": 3_500}, "commit_metadata_max_bytes"),
            ({"group_protocol": "consumer", "session_timeout_ms": 6_000}, "session_timeout_ms"),
            ({"group_protocol": "consumer", "heartbeat_interval_ms": 100}, "heartbeat_interval_ms"),
            (
                {"group_protocol": "consumer", "partition_assignment_strategy": RangePartitionAssignor},
                "partition_assignment_strategy",
            ),
            ({"group_protocol": "consumer", "auto_commit_mode": "pre-commit", "group_id": None}, "group_protocol"),
            ({"group_remote_assignor": "uniform"}, "group_remote_assignor"),
        ],
    )
    def test_are_refused_at_one_key(self, keys: dict[str, object], at_fault: str) -> None:
        assert refusal(consumer, **keys).startswith(f"the consumer's configuration: {at_fault}: ")

    @pytest.mark.parametrize(
        ("keys", "setting"),
        [
            ({"session_timeout_ms": 6_000}, "group.consumer.session.timeout.ms"),
            ({"heartbeat_interval_ms": 100}, "group.consumer.heartbeat.interval.ms"),
            ({"partition_assignment_strategy": RangePartitionAssignor}, "group_remote_assignor"),
        ],
    )
    def test_a_key_of_the_classic_protocol_names_the_brokers_setting(
        self, keys: dict[str, object], setting: str
    ) -> None:
        assert setting in refusal(consumer, group_protocol="consumer", **keys)

    def test_auto_takes_the_keys_of_both_protocols(self) -> None:
        settings = consumer(group_protocol="auto", session_timeout_ms=6_000, group_remote_assignor="range")
        assert (settings.group_protocol, settings.session_timeout_s) == ("auto", 6.0)
        assert settings.group_remote_assignor == "range"

    def test_neither_topics_nor_pattern(self) -> None:
        with pytest.raises(ConfigError, match="topics: it is missing"):
            consumer_settings({})

    def test_times_that_just_hold_together_are_taken(self) -> None:
        settings = consumer(
            heartbeat_interval_ms=8_999,
            request_timeout_ms=5_000,
            revoke_drain_timeout_ms=59_999,
            fetch_max_wait_ms=4_999,
        )
        assert settings.heartbeat_interval_s < settings.session_timeout_s

    def test_a_value_with_a_fault_of_its_own_contradicts_nothing(self) -> None:
        message = refusal(consumer, session_timeout_ms="2s", heartbeat_interval_ms=20_000)
        assert "session_timeout_ms: '2s'" in message
        assert "heartbeat_interval_ms:" not in message


def aiokafkas_defaults() -> dict[str, object]:
    """The arguments of AIOKafkaConsumer with their defaults, without those that EVKafka refuses."""
    refused = {"loop", "key_deserializer", "value_deserializer"}
    named = inspect.signature(AIOKafkaConsumer).parameters.values()
    return {one.name: one.default for one in named if one.default is not one.empty and one.name not in refused}


class TestAiokafkasDefaults:
    @pytest.mark.parametrize(("key", "value"), aiokafkas_defaults().items(), ids=aiokafkas_defaults().keys())
    def test_may_be_written_out(self, key: str, value: object) -> None:
        consumer(**{key: value})

    def test_of_a_request_is_accepted_though_a_rebalance_may_take_longer(self) -> None:
        assert consumer(request_timeout_ms=40_000).rebalance_timeout_s == 60.0


class TestNotUsed:
    def test_enable_auto_commit_logs_once_that_it_is_unused(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "evkafka"):
            consumer(enable_auto_commit=True)
            consumer(enable_auto_commit=False)
        [record] = caplog.records
        assert "enable_auto_commit is not used" in record.getMessage()

    def test_max_poll_interval_is_taken_without_a_word(self, caplog: pytest.LogCaptureFixture) -> None:
        assert consumer(max_poll_interval_ms=300_000) == consumer()
        assert caplog.records == []

    def test_the_sticky_assignor_is_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        consumer(partition_assignment_strategy=[StickyPartitionAssignor])
        assert "sticky" in caplog.text


class TestGroup:
    def test_a_group_may_be_missing_until_the_start(self) -> None:
        sentence = missing_group_id_fault(consumer_settings({"topics": ["orders"]}))
        assert sentence is not None
        assert sentence.startswith("group_id is missing")

    def test_a_pre_commit_consumer_needs_none(self) -> None:
        assert missing_group_id_fault(consumer_settings({"topics": ["a"], "auto_commit_mode": "pre-commit"})) is None

    def test_a_consumer_with_a_group_gets_no_error(self) -> None:
        assert missing_group_id_fault(consumer()) is None
