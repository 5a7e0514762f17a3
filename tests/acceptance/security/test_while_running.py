"""Logins that end, or are refused, after the start."""

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


async def ends(app: EVKafkaApp, shop: Shop, begin: Callable[[], Awaitable[None]]) -> BrokerRefused:
    """What the app ends with, when something has begun while it ran."""
    serving = asyncio.ensure_future(app.serve(install_signal_handlers=False))
    await eventually(lambda: shop.handled or serving.done())
    await begin()
    with pytest.raises(BrokerRefused) as raised:
        await asyncio.wait_for(serving, 60)
    return raised.value


@pytest.fixture
def peace(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """In the end nothing was said but what is always said."""
    yield
    said = [line for line in caplog.get_records("call") if line.levelno >= logging.WARNING]
    assert [line.getMessage() for line in said if "in the clear" not in line.getMessage()] == []


class TestALoginThatRunsOut:
    """At the listener SHORT each login lasts for SESSION_MS; the broker hangs up on what comes later."""

    @pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "OAUTHBEARER"])
    @pytest.mark.usefixtures("peace")
    async def test_is_renewed_without_an_error_a_rebalance_or_a_repetition(
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
            at_first = logins()
            while logins() < at_first + 8:  # each of four connections, twice
                await shop.place(sent)
                sent += 1
                await eventually(lambda wanted=sent: len(shop.handled) == wanted)
        assert shop.handled == list(range(sent))
        assert await shop.read(shop.bills, sent) == list(range(sent))
        assert sum("was assigned" in line.getMessage() for line in caplog.records) == 1

    async def test_waits_for_a_token_server_that_is_away(
        self, shop: Shop, secured: KafkaBroker, caplog: pytest.LogCaptureFixture
    ) -> None:
        tokens = Tokens()
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)
        async with shop.app(secured.servers("SHORT"), keys).running():
            await eventually(lambda: shop.handled == [0])
            tokens.fails = OSError("the token server is away")
            await eventually(lambda: "gave no token: OSError: the token server is away" in caplog.text)
            tokens.fails = None
            await shop.place(1)
            await eventually(lambda: shop.handled == [0, 1])


class TestALoginThatIsRefusedLater:
    async def test_by_a_token_that_has_expired_ends_the_app(self, shop: Shop, secured: KafkaBroker) -> None:
        tokens = Tokens()
        keys = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)

        async def expire() -> None:
            tokens.lasts_s = -60.0

        error = await ends(shop.app(secured.servers("SHORT"), keys, sends=False), shop, expire)
        assert "login by OAUTHBEARER refused" in str(error)

    async def test_by_a_password_that_was_changed_ends_the_app(self, shop: Shop, secured: KafkaBroker) -> None:
        async def change() -> None:
            await change_password(shop.admin, "carl", "another-canary")

        keys = login("SCRAM-SHA-256", user="carl")
        try:
            error = await ends(shop.app(secured.servers("SHORT"), keys, sends=False), shop, change)
        finally:
            await change_password(shop.admin, "carl", PASSWORD)
        assert "login by SCRAM-SHA-256 refused" in str(error)
        assert "check sasl_plain_username and sasl_plain_password" in str(error)


class TestAnAppOfSeveralConnections:
    async def test_ends_once_and_with_what_the_broker_said(self, shop: Shop, secured: KafkaBroker) -> None:
        """Consumer, producer and dead letters log in each for themselves; whoever is first has the word."""
        tokens = Tokens()
        keys: dict[str, Any] = login("OAUTHBEARER", sasl_oauth_token_provider=tokens)

        async def expire() -> None:
            tokens.text = "none-canary"

        error = await ends(shop.app(secured.servers("SHORT"), keys), shop, expire)
        assert "invalid_token" in str(error)
