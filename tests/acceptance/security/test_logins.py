"""An app consumes, sends and writes dead letters with every kind of login."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.certificates import Certificates
from tests.acceptance.security.logins import MECHANISMS, PASSWORD, login
from tests.acceptance.security.shop import check_app
from tests.acceptance.security.tokens import Tokens


def credentials(mechanism: str) -> dict[str, Any]:
    return login(mechanism, **({"sasl_oauth_token_provider": Tokens()} if mechanism == "OAUTHBEARER" else {}))


class TestAnAppWorks:
    async def test_over_tls(self, secured: KafkaBroker, certificates: Certificates) -> None:
        # Without a login the cluster sees the anonymous user.
        await check_app(secured, "TLS", {"security_protocol": "SSL", "ssl_context": certificates.client_context()})

    async def test_with_a_client_certificate(self, secured: KafkaBroker, certificates: Certificates) -> None:
        await check_app(
            secured, "MUTUAL", {"security_protocol": "SSL", "ssl_context": certificates.client_context(client=True)}
        )

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    async def test_with_a_login(self, secured: KafkaBroker, mechanism: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

        await check_app(secured, "LOGIN", credentials(mechanism))

        assert "SaslAuthenticateRequest" in caplog.text  # the client's log has the logins too
        assert PASSWORD not in caplog.text
        assert "Bearer" not in caplog.text

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    async def test_with_a_login_over_tls(
        self, secured: KafkaBroker, certificates: Certificates, mechanism: str
    ) -> None:
        keys = credentials(mechanism) | {"security_protocol": "SASL_SSL", "ssl_context": certificates.client_context()}

        await check_app(secured, "SECURE", keys)
