"""No secret is in an error, a repr or a log; and an invalid configuration only raises ConfigError."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from evkafka.config import (
    ConsumerConfig,
    ErrorPolicy,
    ProducerConfig,
    consumer_settings,
    dead_letter_producer_settings,
    masked_settings,
    override_error_policy,
    producer_settings,
)
from evkafka.config.settings import ConsumerSettings, ErrorPolicySettings, ProducerSettings
from evkafka.exceptions import ConfigError
from tests.support.configurations import consumer, producer, refusal

PASSWORD = "s3cr3t-Pa$$,w0rd"
SASL = {"security_protocol": "SASL_PLAINTEXT", "sasl_plain_username": "me", "sasl_plain_password": PASSWORD}


def everything_said_of(made: ConsumerSettings | ProducerSettings) -> str:
    return f"{made!r} {made} {made.connection!r} {made.connection.shown} {masked_settings(made)}"


class TestPasswords:
    @pytest.mark.parametrize("make", [consumer, producer])
    def test_are_in_the_options_and_in_no_text(self, make: Callable[..., ConsumerSettings | ProducerSettings]) -> None:
        made = make(**SASL)
        assert made.connection.options["sasl_plain_password"] == PASSWORD
        assert PASSWORD not in everything_said_of(made)

    def test_may_be_wrapped(self) -> None:
        wrapped = {**SASL, "sasl_plain_password": SecretStr(PASSWORD)}
        assert producer(**wrapped).connection.options["sasl_plain_password"] == PASSWORD

    def test_a_wrapped_user_is_hidden_too(self) -> None:
        made = producer(**{**SASL, "sasl_plain_username": SecretStr("user-9")})
        assert made.connection.options["sasl_plain_username"] == "user-9"
        assert "user-9" not in everything_said_of(made)

    @pytest.mark.parametrize("value", [PASSWORD.encode(), [PASSWORD], {"pw": PASSWORD}, SecretBytes(PASSWORD.encode())])
    def test_of_the_wrong_type_are_named_by_type(self, value: object) -> None:
        message = refusal(producer, **{**SASL, "sasl_plain_password": value})
        assert "sasl_plain_password: it is a value of type" in message
        assert PASSWORD not in message

    def test_of_the_dead_letters_producer_stay_hidden(self) -> None:
        made = consumer(on_error={"dead_letter_producer": SASL})
        assert PASSWORD not in everything_said_of(made)
        assert masked_settings(made)["on_error.dead_letter_producer.sasl_plain_password"] == "***"
        assert dead_letter_producer_settings(made).connection.options["sasl_plain_password"] == PASSWORD

    def test_in_a_place_that_is_none_for_them_stay_hidden(self) -> None:
        message = refusal(
            consumer,
            topics=[{"sasl_plain_password": PASSWORD}, {"name": "a", "password": PASSWORD}],
            sasl_password=PASSWORD,
            ssl_context={"password": PASSWORD},
            sasl_oauth_token_provider=PASSWORD,
            on_error=[PASSWORD],
        )
        assert PASSWORD not in message

    @pytest.mark.parametrize(
        "servers",
        [
            f"me:{PASSWORD}@kafka:9092",
            f"SASL_SSL://me:{PASSWORD}@kafka:9092",
            [f"a:1,me:{PASSWORD}@kafka:9092"],
            f"me:p@{PASSWORD}@kafka:9092",
        ],
    )
    def test_in_an_address_are_masked(self, servers: object) -> None:
        message = refusal(producer, bootstrap_servers=servers)
        assert "'***@kafka:9092'" in message
        assert "w0rd" not in message
        assert "s3cr3t" not in message

    def test_in_any_other_text_that_is_an_address_are_masked(self) -> None:
        message = refusal(consumer, concurrency=f"kafka://me:{PASSWORD}@kafka")
        assert "w0rd" not in message


class TestShown:
    def test_a_connection_is_shown_as_it_will_be(self) -> None:
        assert producer(**SASL).connection.shown == {
            "bootstrap_servers": "localhost:9092",
            "client_id": "evkafka",
            "request_timeout_ms": "40000",
            "metadata_max_age_ms": "60000",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_plain_username": "me",
            "sasl_plain_password": "***",
        }

    def test_settings_are_shown_by_their_keys(self) -> None:
        lines = masked_settings(
            consumer(topics=["a", "b"], on_error={"max_attempts": 3, "non_retryable": [ValueError]})
        )
        assert lines["topics"] == "a, b"
        assert lines["session_timeout_ms"] == "10000"
        assert lines["on_error.max_attempts"] == "3"
        assert lines["on_error.non_retryable"] == "ValueError"
        assert lines["on_error.dead_letter_limit.window"] == "1000"

    def test_nothing_known_is_shown_as_hidden_by_mistake(self) -> None:
        assert "***" not in masked_settings(consumer(client_rack="r", fetch_min_bytes=1)).values()
        assert "***" not in masked_settings(producer(linger_ms=1, topic="t")).values()


KEYS = sorted({*ConsumerConfig.__annotations__, *ProducerConfig.__annotations__, *ErrorPolicy.__annotations__})
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 500, 10_000, 2**31, 10**30])
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.sampled_from(
        [
            "all",
            "SASL_SSL",
            "SSL",
            "PLAINTEXT",
            "OAUTHBEARER",
            "GSSAPI",
            "dead_letter",
            "pre-commit",
            "stop",
            "[[a",
            "\ud800",
        ]
    )
    | st.sampled_from([ValueError, int, object(), SecretStr("x"), SecretStr, len, SecretBytes(b"x"), range(3)])
)
keys = st.sampled_from(KEYS) | st.text(max_size=8) | st.integers() | st.none()
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4) | st.tuples(inner),
    max_leaves=8,
)
configurations = st.dictionaries(keys, junk, max_size=8)
SECRET = st.sampled_from([PASSWORD, SecretStr(PASSWORD), PASSWORD.encode(), [PASSWORD], {PASSWORD: PASSWORD}])
planted = st.fixed_dictionaries(
    {},
    optional={
        "sasl_plain_password": SECRET,
        "sasl_oauth_token_provider": SECRET,
        "ssl_context": SECRET,
        "bootstrap_servers": st.sampled_from([f"u:{PASSWORD}@h:1", [f"x://u:{PASSWORD}@h"], f"a,u:{PASSWORD}@b:2,c"]),
        "on_error": st.fixed_dictionaries(
            {"dead_letter_producer": st.fixed_dictionaries({"sasl_plain_password": SECRET})}
        ),
        "topics": st.just([{"name": "a", "sasl_plain_password": PASSWORD}]),
        "sasl.password": SECRET,
    },
)
MAKERS: list[Callable[[dict[str, object]], object]] = [
    consumer_settings,
    producer_settings,
    lambda values: override_error_policy(ErrorPolicySettings(), values, where="x"),
]


class TestJunk:
    @pytest.mark.parametrize("make", MAKERS, ids=["consumer", "producer", "policy"])
    @given(values=configurations, secret=planted)
    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_becomes_settings_or_one_config_error_and_shows_no_secret(
        self, make: Callable[[dict[str, object]], object], values: dict[str, object], secret: dict[str, object]
    ) -> None:
        said: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("evkafka")
        logger.addHandler(handler)
        try:
            made = make({**values, **secret})
        except ConfigError as error:
            said += traceback.format_exception(error, limit=0)  # with what it came from
        else:
            said.append(repr(made))
            if isinstance(made, ConsumerSettings | ProducerSettings):
                said.append(everything_said_of(made))
        finally:
            logger.removeHandler(handler)
        assert not any(PASSWORD in text or "w0rd" in text for text in said)
