"""The keys of exactly-once consumers."""

from __future__ import annotations

import pytest

from evkafka.config import masked_settings, missing_group_id_fault
from evkafka.config.settings import TransactionSettings
from tests.support.configurations import consumer, refusal


def test_the_other_modes_have_no_transactions() -> None:
    assert consumer().transaction_settings is None
    assert consumer(auto_commit_mode="pre-commit").transaction_settings is None
    assert "transaction_interval_ms" not in masked_settings(consumer())


def test_the_mode_alone_has_the_defaults() -> None:
    settings = consumer(auto_commit_mode="exactly-once")
    assert settings.transaction_settings == TransactionSettings(0.1, 10.0, None)
    assert settings.commit_interval_s == 0.1
    assert not settings.at_most_once
    assert masked_settings(settings)["transaction_interval_ms"] == "100"


def test_each_key_is_read() -> None:
    settings = consumer(
        auto_commit_mode="exactly-once",
        transaction_interval_ms=50,
        transaction_timeout_ms=5_000,
        transactional_id="billing-0",
    )
    assert settings.transaction_settings == TransactionSettings(0.05, 5.0, "billing-0")


@pytest.mark.parametrize("mode", ["post-commit", "pre-commit"])
@pytest.mark.parametrize(
    ("key", "value"), [("transaction_interval_ms", 50), ("transaction_timeout_ms", 5_000), ("transactional_id", "t")]
)
def test_a_key_without_the_mode_is_refused(mode: str, key: str, value: object) -> None:
    assert f"{key}: it has no effect with auto_commit_mode {mode!r}; set auto_commit_mode to 'exactly-once'" in refusal(
        consumer, auto_commit_mode=mode, **{key: value}
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("isolation_level", "read_uncommitted", "reads records of aborted transactions"),
        ("auto_commit_interval_ms", 1_000, "set transaction_interval_ms instead"),
        ("transaction_interval_ms", 10_000, "10000 is not below transaction_timeout_ms 10000"),
        ("transaction_interval_ms", 0, "0 is out of range"),
        ("transaction_timeout_ms", 999, "999 is out of range"),
    ],
)
def test_what_contradicts_the_mode_is_refused(key: str, value: object, said: str) -> None:
    assert said in refusal(consumer, auto_commit_mode="exactly-once", **{key: value})


def test_a_group_is_needed() -> None:
    fault = missing_group_id_fault(consumer(auto_commit_mode="exactly-once", group_id=None))
    assert fault is not None
    assert "auto_commit_mode 'exactly-once'" in fault
