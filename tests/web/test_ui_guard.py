"""Who may look at the operations page, and who may act: each refusal by causing it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.testing import InMemoryKafka

ORDER = '{"consumer": "shop", "topic": "orders", "partition": 0}'
JSON = {"content-type": "application/json"}


@asynccontextmanager
async def serving(
    host: str = "127.0.0.1", token: str | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, EVKafkaApp]]:
    app = EVKafkaApp(title="Shop", web=True, web_host=host, web_port=0, ui_token=token)
    app.add_consumer({"topics": ["orders"], "group_id": "shop"}, Handler(), name="shop")
    async with InMemoryKafka() as kafka, kafka.running(app), httpx.AsyncClient(trust_env=False) as client:
        assert app.web_url is not None
        client.base_url = httpx.URL(app.web_url)
        yield client, app


def bearer(token: str) -> dict[str, str]:
    return {**JSON, "authorization": f"Bearer {token}"}


class TestOnThisMachineOnly:
    async def test_everybody_may_look(self) -> None:
        async with serving() as (client, _):
            page = await client.get("ui")
            assert page.status_code == 200
            assert "static/ui/main.js" in page.text
            assert (await client.get("ui/api/config")).status_code == 200

    async def test_acting_needs_the_token_that_was_made_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "evkafka"):
            async with serving() as (client, app):
                [said] = [line for line in caplog.messages if "the token of this run is" in line]
                token = said.rpartition(" ")[2]
                assert (await client.post("ui/api/pause", content=ORDER, headers=bearer("wrong"))).status_code == 401
                assert (await client.post("ui/api/pause", content=ORDER, headers=JSON)).status_code == 401
                assert not app.consumer("shop").paused
                assert (await client.post("ui/api/pause", content=ORDER, headers=bearer(token))).status_code == 200
                assert app.consumer("shop").paused

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"sec-fetch-site": "cross-site"}, 403),
            ({"sec-fetch-site": "same-site"}, 403),
            ({"origin": "http://evil.example"}, 403),
            ({"content-type": "text/plain"}, 415),
            ({"host": "evil.example"}, 421),
        ],
    )
    async def test_an_order_of_another_site_s_page_is_refused_though_it_has_the_token(
        self, headers: dict[str, str], status: int
    ) -> None:
        async with serving(token="t") as (client, app):
            answer = await client.post("ui/api/pause", content=ORDER, headers={**bearer("t"), **headers})
            assert answer.status_code == status
            assert not app.consumer("shop").paused

    async def test_an_order_leaves_a_line_in_the_audit_log_and_so_does_a_refusal(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "evkafka.audit"):
            async with serving(token="t") as (client, _):
                await client.post("ui/api/pause", content=ORDER, headers=bearer("t"))
                await client.post("ui/api/pause", content=ORDER, headers=bearer("x"))
        done, refused = (record.getMessage() for record in caplog.records if record.name == "evkafka.audit")
        assert done.startswith("pause from 127.0.0.1")
        assert '"topic": "orders"' in done
        assert "paused" in done
        assert "refused" in refused

    async def test_an_order_that_is_too_long_is_refused(self) -> None:
        async with serving(token="t") as (client, _):
            answer = await client.post("ui/api/pause", content="x" * 70_000, headers=bearer("t"))
            assert answer.status_code == 413

    async def test_the_environment_may_give_the_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVKAFKA_UI_TOKEN", "from-outside")
        async with serving() as (client, _):
            answer = await client.post("ui/api/pause", content=ORDER, headers=bearer("from-outside"))
            assert answer.status_code == 200


class TestWhereOthersReachIt:
    async def test_without_a_token_it_is_not_served_and_the_log_says_why_but_health_is(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving("0.0.0.0") as (client, _):
            for path in ("ui", "ui/api/config", "ui/api/events"):
                answer = await client.get(path)
                assert answer.status_code == 404
                assert "EVKAFKA_UI_TOKEN" in answer.text
            assert (await client.get("livez")).status_code == 200
        assert any("the operations page is not served" in line for line in caplog.messages)

    async def test_looking_needs_the_token_in_a_form_once(self) -> None:
        async with serving("0.0.0.0", token="t") as (client, _):
            form = await client.get("ui")
            assert form.status_code == 401
            assert 'type="password"' in form.text
            for path in ("config", "events", "letters", "records", "topics", "check"):
                assert (await client.get(f"ui/api/{path}")).status_code == 401
            wrong = await client.post("ui/enter", data={"token": "x"}, follow_redirects=True)
            assert "not the right one" in wrong.text

            entered = await client.post("ui/enter", data={"token": "t"})

            cookie = entered.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert "t;" not in cookie.split("=", 1)[1][:3]  # the token itself stays out of it
            assert (await client.get("ui")).status_code == 200
            assert (await client.get("ui/api/config")).status_code == 200

    async def test_who_may_look_may_not_act_without_the_token(self) -> None:
        async with serving("0.0.0.0", token="t") as (client, _):
            await client.post("ui/enter", data={"token": "t"})
            assert (await client.post("ui/api/pause", content=ORDER, headers=JSON)).status_code == 401

    async def test_mounted_in_another_app_it_needs_a_token_too(self) -> None:
        app = EVKafkaApp(title="Shop", ui_token="t")
        app.add_consumer({"topics": ["orders"], "group_id": "shop"}, Handler(), name="shop")
        mounted = httpx.ASGITransport(app.asgi())
        asking = httpx.AsyncClient(transport=mounted, base_url="http://api.example")
        async with InMemoryKafka() as kafka, kafka.running(app), asking as client:
            assert (await client.get("/ui")).status_code == 401
            assert (await client.get("/ui/api/config", headers=bearer("t"))).status_code == 200


class TestEveryAnswer:
    async def test_carries_the_strict_policy_and_is_not_kept(self) -> None:
        async with serving() as (client, _):
            for path in ("ui", "ui/api/config", "ui/api/nothing"):
                headers = (await client.get(path)).headers
                assert "unsafe-inline" not in headers["content-security-policy"]
                assert headers["cache-control"] == "no-store"
                assert headers["x-content-type-options"] == "nosniff"
