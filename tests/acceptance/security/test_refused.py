"""What is refused: within ten seconds, in one sentence that names server and fix, with exit code 3."""

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
    """The sentence, which names the server, and no secret."""
    patient = {"start_timeout_ms": 120_000}  # `refusal` does not wait for that: the start is refused at once
    code, said = refusal(shop.app(servers, {**keys, **patient}, sends=sends), caplog)
    assert code == 3, said
    assert servers in said
    assert "bootstrap from" not in said
    assert "\n" not in said
    for secret in (PASSWORD, WRONG, "Bearer"):
        assert secret not in caplog.text
    return said


class TestCertificates:
    def tls(self, context: ssl.SSLContext) -> dict[str, Any]:
        return {"security_protocol": "SSL", "ssl_context": context}

    def test_expired(
        self, shop: Shop, secured: KafkaBroker, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(shop, secured.servers("EXPIRED"), self.tls(certificates.trusting()), caplog)
        assert "certificate has expired; renew it on the brokers" in said

    def test_for_another_host(
        self, shop: Shop, secured: KafkaBroker, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        servers = secured.servers("TLS").replace("127.0.0.1", "localhost")
        said = refused(shop, servers, self.tls(certificates.trusting()), caplog)
        assert "not valid for 'localhost'; connect by a name that stands in it" in said

    def test_of_an_unknown_authority(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
        said = refused(shop, secured.servers("TLS"), self.tls(ssl.create_default_context()), caplog)
        assert "give the ssl_context the authority that signed it (create_ssl_context(cafile=...))" in said

    def test_of_the_client_that_is_missing(
        self, shop: Shop, secured: KafkaBroker, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(shop, secured.servers("MUTUAL"), self.tls(certificates.trusting()), caplog)
        assert "load_cert_chain" in said


class TestTheWrongPort:
    def test_plain_where_tls_is_spoken(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(shop, secured.servers("TLS"), {}, caplog)
        assert "the server speaks TLS on this port, and security_protocol is PLAINTEXT; set it to 'SSL'" in said

    def test_a_login_in_clear_where_tls_is_spoken(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(shop, secured.servers("SECURE"), login(), caplog)
        assert "security_protocol is SASL_PLAINTEXT; set it to 'SASL_SSL'" in said

    @pytest.mark.parametrize("keys", [{}, login()])
    def test_tls_where_none_is_spoken(
        self,
        shop: Shop,
        secured: KafkaBroker,
        certificates: Certificates,
        keys: dict[str, Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        keys = keys | {"security_protocol": "SASL_SSL" if keys else "SSL", "ssl_context": certificates.trusting()}
        said = refused(shop, secured.servers("LOGIN"), keys, caplog)
        assert "the server does not speak TLS on this port" in said

    def test_no_login_where_one_is_asked_for(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(shop, secured.servers("LOGIN"), {}, caplog)
        assert "the server asks for a login" in said
        assert "SCRAM-SHA-512" in said
        assert "set it to 'SASL_PLAINTEXT'" in said

    def test_a_login_where_none_is_taken(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(shop, secured.servers(), login(), caplog)
        assert "the server takes no logins on this port; set security_protocol to 'PLAINTEXT'" in said


class TestLogins:
    @pytest.mark.parametrize("mechanism", MECHANISMS)
    @pytest.mark.parametrize("who", [{"password": WRONG}, {"user": "zed"}], ids=["wrong password", "unknown user"])
    def test_that_are_not_known(
        self,
        shop: Shop,
        secured: KafkaBroker,
        mechanism: str,
        who: dict[str, str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        said = refused(shop, secured.servers("LOGIN"), login(mechanism, **who), caplog)
        assert f"login by {mechanism} refused" in said
        assert "check sasl_plain_username and sasl_plain_password" in said

    @pytest.mark.parametrize("tokens", [Tokens(lasts_s=-60), Tokens(text=WRONG)], ids=["expired", "no token at all"])
    def test_by_a_token_that_is_not_good(
        self, shop: Shop, secured: KafkaBroker, tokens: Tokens, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)
        said = refused(shop, secured.servers("LOGIN"), keys, caplog)
        assert "login by OAUTHBEARER refused" in said
        assert "invalid_token" in said
        assert "sasl_oauth_token_provider" in said

    def test_for_want_of_a_token_that_is_waited_for(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=Tokens(fails=OSError("the token server is away")))
        app = shop.app(secured.servers("LOGIN"), keys, sends=False, start_timeout_ms=1000)
        code, said = refusal(app, caplog)
        assert code == 3
        assert "sasl_oauth_token_provider gave no token: OSError: the token server is away" in said


class TestRights:
    """Nora may log in, and has no rights but those that a test gives her."""

    def said(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> str:
        return refused(shop, secured.servers("LOGIN"), login(user="nora"), caplog, sends=False)

    def test_none_for_the_topic(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
        asyncio.run(shop.make_topics())
        assert f"not authorized for topic {shop.orders}: an ACL is missing" in self.said(shop, secured, caplog)

    def test_none_for_the_group(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
        asyncio.run(shop.make_topics())
        asyncio.run(allow(shop.admin, "nora", "topic", shop.orders, "read"))
        assert f"not authorized for group {shop.group}: an ACL for READ" in self.said(shop, secured, caplog)

    def test_none_for_the_dead_letters(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        asyncio.run(shop.make_topics())
        asyncio.run(shop.make_topics(shop.dead))
        asyncio.run(allow(shop.admin, "nora", "topic", shop.orders, "read"))
        asyncio.run(allow(shop.admin, "nora", "group", shop.group, "read"))
        said = self.said(shop, secured, caplog)
        assert f"topic '{shop.dead}' does not exist, and creating it is not allowed: an ACL is missing" in said

    def test_none_to_write(self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
        asyncio.run(shop.make_topics())
        said = refused(shop, secured.servers("LOGIN"), login("SCRAM-SHA-256", user="olga"), caplog)
        assert "starting the producer: not authorized: an ACL is missing" in said


class TestOnTheCommandLine:
    def test_the_sentence_is_the_last_line_and_the_code_is_3(
        self, shop: Shop, secured: KafkaBroker, tmp_path: Path
    ) -> None:
        keys = login(password=WRONG, bootstrap_servers=secured.servers("LOGIN"), topics=["t"], group_id="g")
        (tmp_path / "shop.py").write_text(
            f"from evkafka import EVKafkaApp, Handler\napp = EVKafkaApp()\napp.add_consumer({keys!r}, Handler())\n"
        )
        ended = subprocess.run(
            [sys.executable, "-m", "evkafka.cli", "run", "shop:app"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert ended.returncode == 3, ended.stderr
        last = (ended.stdout + ended.stderr).strip().splitlines()[-1]
        assert "login by PLAIN refused: Invalid username or password" in last
        assert WRONG not in ended.stdout + ended.stderr
