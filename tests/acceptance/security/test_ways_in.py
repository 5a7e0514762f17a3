"""Every way to log in, with all that an app does at a cluster: consuming, sending, dead letters."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.certificates import Certificates
from tests.acceptance.security.logins import MECHANISMS, PASSWORD, login
from tests.acceptance.security.shop import works
from tests.acceptance.security.tokens import Tokens


def credentials(mechanism: str) -> dict[str, Any]:
    return login(mechanism, **({"sasl_oauth_token_provider": Tokens()} if mechanism == "OAUTHBEARER" else {}))


class TestAnAppWorks:
    async def test_over_tls(self, secured: KafkaBroker, certificates: Certificates) -> None:
        # Nobody has logged in there: the cluster takes it for the anonymous user.
        await works(secured, "TLS", {"security_protocol": "SSL", "ssl_context": certificates.trusting()})

    async def test_by_a_certificate_of_its_own(self, secured: KafkaBroker, certificates: Certificates) -> None:
        await works(secured, "MUTUAL", {"security_protocol": "SSL", "ssl_context": certificates.trusting(client=True)})

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    async def test_by_login(self, secured: KafkaBroker, mechanism: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

        await works(secured, "LOGIN", credentials(mechanism))

        assert "SaslAuthenticateRequest" in caplog.text  # the client's own log was there, logins and all
        assert PASSWORD not in caplog.text
        assert "Bearer" not in caplog.text

    @pytest.mark.parametrize("mechanism", MECHANISMS)
    async def test_by_login_over_tls(self, secured: KafkaBroker, certificates: Certificates, mechanism: str) -> None:
        keys = credentials(mechanism) | {"security_protocol": "SASL_SSL", "ssl_context": certificates.trusting()}

        await works(secured, "SECURE", keys)
