"""A refused connection ends the app within ten seconds, with exit code 3 and one sentence that names server and fix."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.administration import allow
from tests.acceptance.security.certificates import Certificates
from tests.acceptance.security.logins import PASSWORD, login
from tests.acceptance.security.shop import Shop, refusal
from tests.acceptance.security.tokens import Tokens

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
WRONG = "wrong-canary"


@pytest.fixture
def shop(secured: KafkaBroker) -> Shop:
    return Shop(secured.servers())


def refused(
    shop: Shop, servers: str, keys: dict[str, Any], caplog: pytest.LogCaptureFixture, *, sends: bool = True
) -> str:
    """Run the app; return its error, which names the server and no secret."""
    patient = {"start_timeout_ms": 120_000}  # `refusal` does not wait that long: the start fails at once
    code, message = refusal(shop.app(servers, {**keys, **patient}, sends=sends), caplog)
    assert code == 3, message
    assert servers in message
    assert "bootstrap from" not in message
    assert "\n" not in message
    for secret in (PASSWORD, WRONG, "Bearer"):
        assert secret not in caplog.text
    return message


class TestCertificates:
    def tls(self, context: ssl.SSLContext) -> dict[str, Any]:
        return {"security_protocol": "SSL", "ssl_context": context}

    def test_that_have_expired_are_reported(
        self, shop: Shop, secured: KafkaBroker, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = refused(shop, secured.servers("EXPIRED"), self.tls(certificates.client_context()), caplog)
        assert "certificate has expired; renew it on the brokers" in message

    def test_for_another_host_name_the_host(
        self, shop: Shop, secured: KafkaBroker, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        servers = secured.servers("TLS").replace("127.0.0.1", "localhost")
        message = refused(shop, servers, self.tls(certificates.client_context()), caplog)
        assert "not valid for 'localhost'; connect by a name that the certificate contains" in message

    def test_of_an_unknown_authority_name_the_setting(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = refused(shop, secured.servers("TLS"), self.tls(ssl.create_default_context()), caplog)
        assert "add the authority that signed it to the ssl_context (create_ssl_context(cafile=...))" in message

    def test_that_the_client_lacks_are_asked_for(
        self, shop: Shop, secured: KafkaBroker, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = refused(shop, secured.servers("MUTUAL"), self.tls(certificates.client_context()), caplog)
        assert "load_cert_chain" in message


class TestWrongProtocol:
    def test_plaintext_on_a_tls_port(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
        message = refused(shop, secured.servers("TLS"), {}, caplog)
        assert "the server speaks TLS on this port, and security_protocol is PLAINTEXT; set it to 'SSL'" in message

    def test_a_plaintext_login_on_a_tls_port(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = refused(shop, secured.servers("SECURE"), login(), caplog)
        assert "security_protocol is SASL_PLAINTEXT; set it to 'SASL_SSL'" in message

    @pytest.mark.parametrize("keys", [{}, login()])
    def test_tls_on_a_plaintext_port(
        self,
        shop: Shop,
        secured: KafkaBroker,
        certificates: Certificates,
        keys: dict[str, Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        keys = keys | {"security_protocol": "SASL_SSL" if keys else "SSL", "ssl_context": certificates.client_context()}
        message = refused(shop, secured.servers("LOGIN"), keys, caplog)
        assert "the server does not speak TLS on this port" in message

    def test_no_login_on_a_port_that_requires_one(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = refused(shop, secured.servers("LOGIN"), {}, caplog)
        assert "the server requires SASL" in message
        assert "SCRAM-SHA-512" in message
        assert "set it to 'SASL_PLAINTEXT'" in message

    def test_a_login_on_a_port_without_logins(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        message = refused(shop, secured.servers(), login(), caplog)
        assert "the server does not accept SASL logins on this port; set security_protocol to 'PLAINTEXT'" in message


class TestLogins:
    @pytest.mark.parametrize("mechanism", MECHANISMS)
    @pytest.mark.parametrize("who", [{"password": WRONG}, {"user": "zed"}], ids=["wrong password", "unknown user"])
    def test_that_are_unknown_are_refused(
        self,
        shop: Shop,
        secured: KafkaBroker,
        mechanism: str,
        who: dict[str, str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        message = refused(shop, secured.servers("LOGIN"), login(mechanism, **who), caplog)
        assert f"login by {mechanism} refused" in message
        assert "check sasl_plain_username and sasl_plain_password" in message

    @pytest.mark.parametrize("tokens", [Tokens(lasts_s=-60), Tokens(text=WRONG)], ids=["expired", "no token at all"])
    def test_with_an_invalid_token_are_refused(
        self, shop: Shop, secured: KafkaBroker, tokens: Tokens, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)
        message = refused(shop, secured.servers("LOGIN"), keys, caplog)
        assert "login by OAUTHBEARER refused" in message
        assert "invalid_token" in message
        assert "sasl_oauth_token_provider" in message

    def test_without_a_token_end_after_the_start_timeout(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=Tokens(fails=OSError("the token server is away")))
        app = shop.app(secured.servers("LOGIN"), keys, sends=False, start_timeout_ms=1000)
        code, message = refusal(app, caplog)
        assert code == 3
        assert "sasl_oauth_token_provider failed: OSError: the token server is away" in message


class TestPermissions:
    """Nora can log in, and has only the permissions that a test gives her."""

    def refusal_of_nora(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> str:
        return refused(shop, secured.servers("LOGIN"), login(user="nora"), caplog, sends=False)

    def test_a_missing_topic_permission_is_named(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        asyncio.run(shop.make_topics())
        assert f"not authorized for topic {shop.orders}: an ACL is missing" in self.refusal_of_nora(
            shop, secured, caplog
        )

    def test_a_missing_group_permission_is_named(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        asyncio.run(shop.make_topics())
        asyncio.run(allow(shop.admin, "nora", "topic", shop.orders, "read"))
        assert f"not authorized for group {shop.group}: an ACL for READ" in self.refusal_of_nora(shop, secured, caplog)

    def test_a_missing_dead_letter_permission_is_named(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        asyncio.run(shop.make_topics())
        asyncio.run(shop.make_topics(shop.dead))
        asyncio.run(allow(shop.admin, "nora", "topic", shop.orders, "read"))
        asyncio.run(allow(shop.admin, "nora", "group", shop.group, "read"))
        message = self.refusal_of_nora(shop, secured, caplog)
        assert f"topic '{shop.dead}' does not exist, and creating it is not allowed: an ACL is missing" in message

    def test_a_missing_write_permission_is_named(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        asyncio.run(shop.make_topics())
        message = refused(shop, secured.servers("LOGIN"), login("SCRAM-SHA-256", user="olga"), caplog)
        assert "starting the producer: not authorized: an ACL is missing" in message


class TestOnTheCommandLine:
    def test_the_error_is_the_last_line_and_the_exit_code_is_3(
        self, shop: Shop, secured: KafkaBroker, tmp_path: Path
    ) -> None:
        keys = login(password=WRONG, bootstrap_servers=secured.servers("LOGIN"), topics=["t"], group_id="g")
        (tmp_path / "shop.py").write_text(
            f"from evkafka import EVKafkaApp, Handler\napp = EVKafkaApp()\napp.add_consumer({keys!r}, Handler())\n"
        )
        completed = subprocess.run(
            [sys.executable, "-m", "evkafka.cli", "run", "shop:app"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert completed.returncode == 3, completed.stderr
        last = (completed.stdout + completed.stderr).strip().splitlines()[-1]
        assert "login by PLAIN refused: Invalid username or password" in last
        assert WRONG not in completed.stdout + completed.stderr
