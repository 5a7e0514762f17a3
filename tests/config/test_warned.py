"""Connections that are less secure than they seem are logged at the start, once."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest

from evkafka.config import consumer_settings, producer_settings

LOGIN = {"sasl_plain_username": "ann", "sasl_plain_password": "hunter2"}


def warnings_of(config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING, "evkafka.config"):
        consumer_settings({"topics": ["orders"], "group_id": "g", **config})
        producer_settings(config)
    return caplog.messages


def context(*, names: bool = True, certificates: bool = True) -> ssl.SSLContext:
    ssl_context = ssl.create_default_context()
    ssl_context.check_hostname = names
    if not certificates:
        ssl_context.verify_mode = ssl.CERT_NONE
    return ssl_context


class TestReadablePasswords:
    @pytest.mark.parametrize("mechanism", [{}, {"sasl_mechanism": "PLAIN"}])
    def test_are_warned_about(self, mechanism: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
        [said] = warnings_of({"security_protocol": "SASL_PLAINTEXT", **mechanism, **LOGIN}, caplog)
        assert "PLAIN with security_protocol SASL_PLAINTEXT: the password is sent unencrypted" in said
        assert "set security_protocol to SASL_SSL" in said
        assert "hunter2" not in said

    def test_a_token_too(self, caplog: pytest.LogCaptureFixture) -> None:
        from aiokafka.abc import AbstractTokenProvider

        class Tokens(AbstractTokenProvider):
            async def token(self) -> str:
                return ""

        config = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
        [said] = warnings_of({**config, "sasl_oauth_token_provider": Tokens()}, caplog)
        assert "OAUTHBEARER with security_protocol SASL_PLAINTEXT: the token is sent unencrypted" in said

    @pytest.mark.parametrize(
        "config",
        [
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", **LOGIN},
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "ssl_context": context(), **LOGIN},
        ],
    )
    def test_others_are_not(self, config: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
        assert warnings_of(config, caplog) == []


class TestContexts:
    @pytest.mark.parametrize("login", [{"security_protocol": "SSL"}, {"security_protocol": "SASL_SSL", **LOGIN}])
    def test_that_check_no_certificate_are_warned_about(
        self, login: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        [said] = warnings_of({**login, "ssl_context": context(names=False, certificates=False)}, caplog)
        assert "CERT_NONE" in said
        assert "create_ssl_context" in said

    def test_that_compare_no_name_are_warned_about(self, caplog: pytest.LogCaptureFixture) -> None:
        [said] = warnings_of({"security_protocol": "SSL", "ssl_context": context(names=False)}, caplog)
        assert "check_hostname is False" in said

    def test_that_do_both_are_not(self, caplog: pytest.LogCaptureFixture) -> None:
        assert warnings_of({"security_protocol": "SSL", "ssl_context": context()}, caplog) == []
