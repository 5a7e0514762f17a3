"""Error policies: a consumer's, an event type's that overrides it, dead letters."""

from __future__ import annotations

import ssl

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.config import (
    checked_dead_letter_topic_name,
    consumer_settings,
    dead_letter_producer_settings,
    override_error_policy,
)
from evkafka.config.settings import DeadLetterLimitSettings, ErrorPolicySettings
from evkafka.exceptions import ConfigError
from tests.support.configurations import consumer, refusal

FINITE = {"max_attempts": 3}


def policy(**keys: object) -> ErrorPolicySettings:
    return consumer(on_error=keys).on_error


def over(base: ErrorPolicySettings, **keys: object) -> ErrorPolicySettings:
    return override_error_policy(base, keys, where="event type 'OrderPlaced'")


class TestPolicy:
    def test_defaults_are_those_of_the_settings(self) -> None:
        assert policy() == ErrorPolicySettings()

    def test_every_key_is_read(self) -> None:
        assert policy(
            max_attempts=5,
            backoff_ms=100,
            backoff_multiplier=3,
            max_backoff_ms=10_000,
            jitter=0,
            non_retryable=[ValueError],
            then="dead_letter",
            dead_letter_topic="dead.{topic}.{event_type}",
            dead_letter_limit={"consecutive": 7},
            dead_letter_header_style="spring",
        ) == ErrorPolicySettings(
            max_attempts=5,
            backoff_s=0.1,
            backoff_multiplier=3.0,
            max_backoff_s=10.0,
            jitter=0.0,
            non_retryable=(ValueError,),
            then="dead_letter",
            dead_letter_topic="dead.{topic}.{event_type}",
            dead_letter_limit=DeadLetterLimitSettings(consecutive=7),
            dead_letter_header_style="spring",
        )

    def test_a_limit_of_none_is_no_limit(self) -> None:
        assert policy(dead_letter_limit=None).dead_letter_limit is None

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("max_attempts", 0, "0 is out of range; give 1 to"),
            ("backoff_multiplier", 0.5, "0.5 is out of range; give 1 to 1000"),
            ("backoff_multiplier", float("nan"), "nan is out of range"),
            ("backoff_multiplier", float("inf"), "inf is out of range"),
            ("jitter", 1.1, "1.1 is out of range; give 0 to 1"),
            ("jitter", True, "True is not a number"),
            ("backoff_ms", 30_001, "backoff_ms 30001 is above max_backoff_ms 30000"),
            ("max_backoff_ms", 499, "backoff_ms 500 is above max_backoff_ms 499"),
            ("non_retryable", ValueError, "write [ValueError]"),
            ("non_retryable", ["ValueError"], "'ValueError' is not an exception class"),
            ("non_retryable", [KeyboardInterrupt], "the class KeyboardInterrupt is not an exception class"),
            ("non_retryable", [ValueError()], "a value of type ValueError is not an exception class"),
            ("dead_letter_limit", 100, "give a dict or None"),
            ("dead_letter_limit", {"ratio": 0}, "ratio: 0 is out of range; give more than 0, at most 1"),
            ("dead_letter_limit", {"windows": 5}, "windows: unknown key; did you mean 'window'?"),
            ("max_attemps", 3, "unknown key; did you mean 'max_attempts'?"),
        ],
    )
    def test_faults_name_key_and_value_and_the_way_out(self, key: str, value: object, said: str) -> None:
        message = refusal(policy, **{key: value})
        assert f"on_error.{key}" in message
        assert said in message
        assert "errors" not in message


class TestThen:
    @pytest.mark.parametrize("then", ["stop", "skip", "dead_letter"])
    def test_that_would_never_be_reached_is_refused(self, then: str) -> None:
        assert "on_error.then: " in refusal(policy, then=then)
        assert "set max_attempts" in refusal(policy, then=then, max_attempts=None)

    def test_is_reached_after_the_last_attempt(self) -> None:
        assert policy(then="skip", max_attempts=1).then == "skip"

    def test_is_reached_by_an_error_that_is_not_retried(self) -> None:
        assert policy(then="skip", non_retryable=[ValueError]).then == "skip"

    def test_of_an_event_type_may_be_reached_by_the_consumers_attempts(self) -> None:
        assert over(policy(**FINITE), then="skip").then == "skip"

    def test_that_is_inherited_may_be_cut_off_on_purpose(self) -> None:
        assert over(policy(then="skip", **FINITE), max_attempts=None).max_attempts is None


class TestOverlay:
    def test_none_changes_nothing(self) -> None:
        base = policy(**FINITE)
        assert override_error_policy(base, None, where="x") is base

    def test_other_keys_stay_the_consumers(self) -> None:
        base = policy(backoff_ms=70, max_attempts=9)
        assert over(base, max_attempts=2) == policy(backoff_ms=70, max_attempts=2)

    def test_nested_dicts_are_merged_key_by_key(self) -> None:
        base = policy(dead_letter_limit={"consecutive": 7}, dead_letter_producer={"acks": "all", "linger_ms": 5})
        merged = over(base, dead_letter_limit={"window": 10}, dead_letter_producer={"linger_ms": 6})
        assert merged.dead_letter_limit == DeadLetterLimitSettings(consecutive=7, window=10)
        assert merged.dead_letter_producer == {"acks": "all", "linger_ms": 6}

    def test_sequences_are_replaced(self) -> None:
        assert over(policy(non_retryable=[ValueError]), non_retryable=[KeyError]).non_retryable == (KeyError,)

    def test_a_limit_comes_back_after_none(self) -> None:
        merged = over(policy(dead_letter_limit=None), dead_letter_limit={"window": 10})
        assert merged.dead_letter_limit == DeadLetterLimitSettings(window=10)

    def test_faults_say_whose_policy_it_is(self) -> None:
        assert refusal(over, base=ErrorPolicySettings(), max_attempts=0).startswith(
            "event type 'OrderPlaced': on_error.max_attempts: 0"
        )

    def test_faults_of_the_producer_are_found_too(self) -> None:
        message = refusal(over, base=ErrorPolicySettings(), dead_letter_producer={"acks": 0, "topic": "x"})
        assert "dead_letter_producer.acks" in message
        assert "dead_letter_producer.topic" in message

    def test_a_policy_is_a_mapping(self) -> None:
        with pytest.raises(ConfigError, match="event type 'X': it is a value of type list; give a dict"):
            override_error_policy(ErrorPolicySettings(), [], where="event type 'X'")  # type: ignore[arg-type]


class TestDeadLetterTopic:
    @pytest.mark.parametrize(
        "template",
        ["{foo}.dlq", "{}.dlq", "{0}.dlq", "{topic!r}", "{topic:>9}", "{topic.__class__}", "{topic", "topic}", "{{x}}"],
    )
    def test_that_is_no_template_is_refused(self, template: str) -> None:
        assert "on_error.dead_letter_topic: " in refusal(policy, dead_letter_topic=template)

    @pytest.mark.parametrize("template", ["a b", "", ".", "..", "ä.{topic}", "x" * 250, "{topic}" + "x" * 249])
    def test_that_can_name_no_topic_is_refused(self, template: str) -> None:
        assert "on_error.dead_letter_topic: " in refusal(policy, dead_letter_topic=template)

    def test_that_is_too_long_for_a_topic_is_refused(self) -> None:
        keys = {"topics": ["x" * 240], "on_error": {**FINITE, "then": "dead_letter"}}
        message = refusal(consumer, **keys)
        assert "on_error.dead_letter_topic: " in message
        assert "a topic name has 1 to 249" in message

    def test_that_is_illegal_for_a_group_is_refused(self) -> None:
        message = refusal(consumer, group_id="a/b", unmatched="dead_letter")
        assert "on_error.dead_letter_topic: " in message
        assert "'orders.a/b.dlq'" in message

    def test_that_nobody_asks_for_may_be_illegal(self) -> None:
        assert consumer(group_id="a/b", topics=["x" * 249]).group_id == "a/b"

    @pytest.mark.parametrize("template", ["{topic}", "orders", "returns"])
    def test_that_is_read_itself_is_refused(self, template: str) -> None:
        message = refusal(consumer, topics=["orders", "returns"], on_error={"dead_letter_topic": template})
        assert "which this consumer reads itself" in message

    def test_that_a_pattern_reads_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="which this consumer reads itself"):
            consumer_settings({"topic_pattern": "orders.*", "on_error": {"dead_letter_topic": "orders-dead"}})

    def test_a_patterns_own_dlq_topics_are_left_out_of_it(self) -> None:
        consumer_settings({"topic_pattern": "orders.*", "on_error": {"dead_letter_topic": "orders.dlq"}})

    def test_is_made_of_the_records_own_names(self) -> None:
        name = checked_dead_letter_topic_name(
            policy(dead_letter_topic="{group_id}.{topic}.{event_type}"), topic="t", group_id="g", event_type="E"
        )
        assert name == "g.t.E"

    def test_of_an_illegal_event_type_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match=r"dead_letter_topic: .*a/b"):
            checked_dead_letter_topic_name(
                policy(dead_letter_topic="{event_type}"), topic="t", group_id="g", event_type="a/b"
            )


class TestDeadLetterProducer:
    def test_uses_the_consumers_connection(self) -> None:
        context = ssl.create_default_context()
        settings = consumer(bootstrap_servers="a:1", security_protocol="SSL", ssl_context=context, client_id="c")
        producer = dead_letter_producer_settings(settings)
        assert producer.connection.bootstrap_servers == ("a:1",)
        assert producer.connection.client_id == "c"
        assert producer.connection.options == {"security_protocol": "SSL", "ssl_context": context}
        assert (producer.acks, producer.enable_idempotence) == ("all", True)

    def test_does_not_wait_as_long_as_a_rebalance(self) -> None:
        settings = consumer(rebalance_timeout_ms=600_000)
        assert dead_letter_producer_settings(settings).connection.request_timeout_s == 40.0

    def test_has_its_own_keys_laid_over_it(self) -> None:
        settings = consumer(on_error={"dead_letter_producer": {"bootstrap_servers": "b:2", "max_request_size": 5}})
        producer = dead_letter_producer_settings(settings)
        assert producer.connection.bootstrap_servers == ("b:2",)
        assert producer.options == {"max_request_size": 5}

    def test_takes_an_event_types_policy(self) -> None:
        settings = consumer()
        merged = over(settings.on_error, dead_letter_producer={"bootstrap_servers": "c:3"})
        assert dead_letter_producer_settings(settings, merged).connection.bootstrap_servers == ("c:3",)

    def test_to_a_plain_cluster_leaves_the_encryption_behind(self) -> None:
        settings = consumer(
            security_protocol="SASL_SSL",
            ssl_context=ssl.create_default_context(),
            sasl_plain_username="me",
            sasl_plain_password="pw",
            on_error={"dead_letter_producer": {"security_protocol": "PLAINTEXT"}},
        )
        assert dead_letter_producer_settings(settings).connection.options == {"security_protocol": "PLAINTEXT"}

    @pytest.mark.parametrize(
        ("key", "value"),
        [("acks", 1), ("topic", "dead"), ("transactional_id", "t"), ("security_protocol", "SSL"), ("lingerms", 5)],
    )
    def test_that_cannot_work_is_refused(self, key: str, value: object) -> None:
        assert "on_error.dead_letter_producer." in refusal(policy, dead_letter_producer={key: value})

    def test_a_fault_of_the_connection_is_reported_once(self) -> None:
        message = refusal(consumer, security_protocol="SSL", on_error={"dead_letter_producer": {"linger_ms": 1}})
        assert message.count("needs one") == 1


class TestRetryTopics:
    def test_are_read_as_delays(self) -> None:
        assert policy(retry_topics=[5_000, 60_000], **FINITE).retry_topics == (5_000, 60_000)
        assert policy(retry_topics=None).retry_topics == ()

    def test_need_an_end_of_attempts_in_the_lane(self) -> None:
        said = refusal(policy, retry_topics=[1_000])
        assert "on_error.retry_topics: they would never be reached" in said
        assert "set max_attempts" in said

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ([5_000, 1_000], "each delay must be longer than the one before it"),
            ([5_000, 5_000], "each delay must be longer"),
            ([0], "0 is out of range; give 1 to 2147483647 milliseconds"),
            ([1.5], "1.5 is not a whole number of milliseconds"),
            (["5s"], "'5s' is not a whole number"),
            (5_000, "on_error.retry_topics"),
        ],
    )
    def test_that_cannot_be_say_why(self, value: object, said: str) -> None:
        assert said in refusal(policy, retry_topics=value, **FINITE)

    def test_of_an_event_type_replace_those_of_its_consumer(self) -> None:
        base = policy(retry_topics=[5_000], **FINITE)
        assert over(base, retry_topics=[1_000, 2_000]).retry_topics == (1_000, 2_000)
        assert over(base, retry_topics=None).retry_topics == ()
        assert over(base, max_attempts=7).retry_topics == (5_000,)

    def test_are_cut_off_on_purpose_by_attempts_without_end(self) -> None:
        assert over(policy(retry_topics=[5_000], **FINITE), max_attempts=None).retry_topics == (5_000,)

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"topics": ["t" * 200], "group_id": "g" * 40}, "retry_topics: 1000 .* has 252 characters"),
            ({"topics": ["t"], "group_id": "a group"}, "retry_topics: 1000 for topic 't' .* use letters"),
            (
                {"topics": ["t", "t.g.retry.1000"], "group_id": "g"},
                "creates retry topic 't.g.retry.1000', which `topics` lists",
            ),
            ({"topic_pattern": "t.*", "group_id": "g"}, "cannot be combined with topic_pattern 't.*'"),
        ],
    )
    def test_have_names_that_kafka_takes_and_nobody_else_reads(self, config: dict[str, object], said: str) -> None:
        on_error = {"max_attempts": 1, "retry_topics": [1_000], "then": "skip"}
        with pytest.raises(ConfigError, match=said):
            EVKafkaApp().add_consumer({**config, "on_error": on_error}, Handler())  # type: ignore[typeddict-item]

    def test_of_an_event_type_are_checked_where_the_consumer_is_added(self) -> None:
        handler = Handler()

        @handler.event("E", on_error={"max_attempts": 1, "retry_topics": [1_000]})
        async def on_event(event: dict[str, object]) -> None: ...

        with pytest.raises(ConfigError, match="use letters"):
            EVKafkaApp().add_consumer({"topics": ["t"], "group_id": "a group"}, handler)

    def test_are_none_of_a_consumer_that_commits_first(self) -> None:
        assert "on_error" in refusal(
            consumer, auto_commit_mode="pre-commit", on_error={"retry_topics": [1_000], "max_attempts": 1}
        )
