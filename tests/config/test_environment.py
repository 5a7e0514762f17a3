"""Configuration from outside of the program: precedence, values, errors."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import certifi
import pytest
from pydantic import SecretStr

from evkafka.config import consumer_settings, producer_settings
from evkafka.environment import consumer_config, producer_config
from evkafka.exceptions import ConfigError

Set = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _empty(monkeypatch: Set, tmp_path: Path) -> None:
    for variable in list(os.environ):
        if variable.startswith("EVKAFKA_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


class TestPrecedence:
    def test_without_outside_values_the_dictionary_is_unchanged(self) -> None:
        assert consumer_config({"topics": ["orders"], "group_id": "billing"}) == {
            "topics": ["orders"],
            "group_id": "billing",
        }

    def test_from_weakest_to_strongest(self, monkeypatch: Set, tmp_path: Path) -> None:
        keys = ["client_id", "group_id", "group_instance_id", "client_rack", "cluster_name", "cluster_description"]
        given = dict.fromkeys(keys, "dictionary")

        def lines(what: str, first: int) -> str:
            return "".join(f'{key} = "{what}"\n' for key in keys[first:])

        tables = f"[tool.evkafka]\n{lines('table', 1)}[tool.evkafka.main]\n{lines('named table', 2)}"
        (tmp_path / "pyproject.toml").write_text(tables)
        (tmp_path / ".env").write_text("".join(f"EVKAFKA_{key.upper()}=file\n" for key in keys[3:]))
        for key in keys[4:]:
            monkeypatch.setenv(f"EVKAFKA_{key.upper()}", "environment")
        monkeypatch.setenv("EVKAFKA_MAIN__CLUSTER_DESCRIPTION", "named environment")
        found = consumer_config(given, name="main", env_file=".env")
        assert [found[key] for key in keys] == [  # type: ignore[literal-required]
            "dictionary",
            "table",
            "named table",
            "file",
            "environment",
            "named environment",
        ]

    def test_nested_keys_are_laid_over_one_by_one(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_ON_ERROR__MAX_ATTEMPTS", "4")
        found = consumer_config({"on_error": {"then": "skip", "max_attempts": 2}})
        assert found["on_error"] == {"then": "skip", "max_attempts": 4}

    def test_consumers_and_producers_read_their_own_keys_of_a_shared_table(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text(
            '[tool.evkafka]\nbootstrap_servers = "k:9092"\ngroup_id = "billing"\nacks = 1\n'
        )
        assert consumer_config() == {"bootstrap_servers": "k:9092", "group_id": "billing"}
        assert producer_config() == {"bootstrap_servers": "k:9092", "acks": 1}


class TestValues:
    def test_lists_have_commas_or_are_json(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_TOPICS", "orders, refunds")
        assert consumer_config()["topics"] == ["orders", "refunds"]
        monkeypatch.setenv("EVKAFKA_TOPICS", '["orders", {"name": "refunds", "event_type": "Refund"}]')
        topics = consumer_settings(consumer_config()).topics
        assert [(topic.name, topic.event_type) for topic in topics] == [("orders", None), ("refunds", "Refund")]

    def test_none_is_none(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_COMPRESSION_TYPE", "none")
        monkeypatch.setenv("EVKAFKA_ON_ERROR__DEAD_LETTER_LIMIT", "none")
        assert producer_config()["compression_type"] is None
        assert consumer_config()["on_error"] == {"dead_letter_limit": None}

    @pytest.mark.parametrize(("text", "acks"), [("all", "all"), ("1", 1), ("0", 0)])
    def test_acks_are_a_number_or_all(self, monkeypatch: Set, text: str, acks: object) -> None:
        monkeypatch.setenv("EVKAFKA_ACKS", text)
        assert producer_settings(producer_config()).acks == acks

    def test_a_password_is_kept_secret(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_SASL_PLAIN_PASSWORD", "hunter2")
        found = producer_config({"security_protocol": "SASL_PLAINTEXT", "sasl_plain_username": "billing"})
        assert found["sasl_plain_password"] == SecretStr("hunter2")
        assert "hunter2" not in repr(found) + repr(producer_settings(found))

    def test_a_password_may_stand_in_a_file_of_its_own(self, monkeypatch: Set, tmp_path: Path) -> None:
        (tmp_path / "evkafka_sasl_plain_password").write_text("hunter2\n")
        monkeypatch.setenv("EVKAFKA_SECRETS_DIR", str(tmp_path))
        assert producer_config()["sasl_plain_password"] == SecretStr("hunter2")

    def test_files_become_a_tls_context(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_SECURITY_PROTOCOL", "SSL")
        monkeypatch.setenv("EVKAFKA_SSL_CAFILE", certifi.where())
        context = producer_config()["ssl_context"]
        assert isinstance(context, ssl.SSLContext)
        assert context.get_ca_certs()


class TestErrors:
    def test_a_value_of_the_wrong_kind_names_its_variable(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_CONCURRENCY", "many")
        with pytest.raises(ConfigError, match=r"EVKAFKA_CONCURRENCY: .*integer"):
            consumer_config()

    def test_no_value_is_repeated(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_CONCURRENCY", "hunter2")
        with pytest.raises(ConfigError) as refused:
            consumer_config()
        assert "hunter2" not in str(refused.value)

    def test_an_unknown_key_of_the_table_names_the_nearest(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.evkafka]\nbootstrap_server = "k:9092"\n')
        with pytest.raises(ConfigError, match="unknown key 'bootstrap_server'; did you mean 'bootstrap_servers'"):
            consumer_config()

    def test_a_file_that_is_no_toml(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text("[tool")
        with pytest.raises(ConfigError, match=r"pyproject\.toml is not valid TOML"):
            consumer_config()

    def test_a_missing_env_file(self) -> None:
        with pytest.raises(ConfigError, match="the file does not exist"):
            consumer_config(env_file="nothing.env")

    def test_a_certificate_that_is_not_there(self, monkeypatch: Set) -> None:
        monkeypatch.setenv("EVKAFKA_SSL_CAFILE", "nothing.pem")
        with pytest.raises(ConfigError, match=r"TLS from ssl_cafile=nothing\.pem"):
            producer_config({"security_protocol": "SSL"})

    def test_a_name_that_cannot_be_a_part_of_a_variable(self) -> None:
        with pytest.raises(ConfigError, match="letters, digits and underscores"):
            consumer_config(name="a-b")

    def test_a_misspelt_variable_is_logged(self, monkeypatch: Set, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setenv("EVKAFKA_BOOTSTRAP_SERVER", "k:9092")
        with caplog.at_level(logging.WARNING):
            consumer_config()
        assert "EVKAFKA_BOOTSTRAP_SERVER is ignored: did you mean EVKAFKA_BOOTSTRAP_SERVERS?" in caplog.text
