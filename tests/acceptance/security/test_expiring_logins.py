"""Logins that expire, or are refused, while the app runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from evkafka import EVKafkaApp
from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerRefused
from tests.acceptance.security.administration import change_password
from tests.acceptance.security.logins import PASSWORD, login
from tests.acceptance.security.shop import Shop
from tests.acceptance.security.tokens import Tokens
from tests.support.waiting import eventually


@pytest.fixture
async def shop(secured: KafkaBroker) -> Shop:
    shop = Shop(secured.servers())
    await shop.make_topics()
    await shop.place(0)
    return shop


async def ends(app: EVKafkaApp, shop: Shop, cause: Callable[[], Awaitable[None]]) -> BrokerRefused:
    """Run the app, cause the fault with `cause`, and return the error that ends the app."""
    serving = asyncio.ensure_future(app.serve(install_signal_handlers=False))
    await eventually(lambda: shop.handled or serving.done())
    await cause()
    with pytest.raises(BrokerRefused) as raised:
        await asyncio.wait_for(serving, 60)
    return raised.value


@pytest.fixture
def no_warnings(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no warning was logged, except that of an unencrypted connection."""
    yield
    warnings = [line for line in caplog.get_records("call") if line.levelno >= logging.WARNING]
    assert [
        line.getMessage() for line in warnings if "set security_protocol to SASL_SSL" not in line.getMessage()
    ] == []


class TestALoginThatExpires:
    """At the listener SHORT a login expires after SESSION_MS; the broker then closes the connection."""

    @pytest.mark.parametrize("mechanism", [pytest.param("SCRAM-SHA-256", marks=pytest.mark.long), "OAUTHBEARER"])
    @pytest.mark.usefixtures("no_warnings")
    async def test_is_renewed_without_an_error_a_rebalance_or_a_repeated_record(
        self, shop: Shop, secured: KafkaBroker, mechanism: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        tokens = Tokens()
        keys = login(mechanism, **({"sasl_oauth_token_provider": tokens} if mechanism == "OAUTHBEARER" else {}))
        sent = 1

        def logins() -> int:
            return sum("Authenticated" in line.getMessage() for line in caplog.records)

        async with shop.app(secured.servers("SHORT"), keys).running():
            await eventually(lambda: shop.handled == [0])
            first = logins()
            while logins() < first + 8:  # each of four connections, twice
                await shop.place(sent)
                sent += 1
                await eventually(lambda wanted=sent: len(shop.handled) == wanted)
        assert shop.handled == list(range(sent))
        assert await shop.read(shop.bills, sent) == list(range(sent))
        assert sum("was assigned" in line.getMessage() for line in caplog.records) == 1

    async def test_waits_for_an_unreachable_token_server(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        tokens = Tokens()
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)
        async with shop.app(secured.servers("SHORT"), keys).running():
            await eventually(lambda: shop.handled == [0])
            tokens.fails = OSError("the token server is away")
            await eventually(lambda: "failed: OSError: the token server is away" in caplog.text)
            tokens.fails = None
            await shop.place(1)
            await eventually(lambda: shop.handled == [0, 1])


class TestALoginThatIsRefusedLater:
    async def test_because_its_token_expired_ends_the_app(self, shop: Shop, secured: KafkaBroker) -> None:
        tokens = Tokens()
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)

        async def expire() -> None:
            tokens.lasts_s = -60.0

        error = await ends(shop.app(secured.servers("SHORT"), keys, sends=False), shop, expire)
        assert "login by OAUTHBEARER refused" in str(error)

    async def test_because_its_password_changed_ends_the_app(self, shop: Shop, secured: KafkaBroker) -> None:
        async def change() -> None:
            await change_password(shop.admin, "carl", "another-canary")

        keys = login("SCRAM-SHA-256", user="carl")
        try:
            error = await ends(shop.app(secured.servers("SHORT"), keys, sends=False), shop, change)
        finally:
            await change_password(shop.admin, "carl", PASSWORD)
        assert "login by SCRAM-SHA-256 refused" in str(error)
        assert "check sasl_plain_username and sasl_plain_password" in str(error)


class TestAnAppWithSeveralConnections:
    async def test_ends_once_with_the_brokers_error(self, shop: Shop, secured: KafkaBroker) -> None:
        """Consumer, producer and dead letters each log in; the first refusal ends the app."""
        tokens = Tokens()
        keys: dict[str, Any] = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)

        async def expire() -> None:
            tokens.text = "none-canary"

        error = await ends(shop.app(secured.servers("SHORT"), keys), shop, expire)
        assert "invalid_token" in str(error)
