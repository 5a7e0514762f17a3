"""Who may read the dashboard, and who may act: a test causes each refusal."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.testing import InMemoryKafka
from evkafka.ui.sessions import SESSION_S, SESSIONS_MAX, Sessions
from evkafka.ui.wrong_tokens import CLIENTS_MAX, WRONG_TOKENS_MAX, WRONG_TOKENS_PERIOD_S, WrongTokenLimit

ORDER = '{"consumer": "shop", "topic": "orders", "partition": 0}'
TOKEN = "5f0c2be7d8a94e13"
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
    async def test_reading_is_open(self) -> None:
        async with serving() as (client, _):
            page = await client.get("ui")
            assert page.status_code == 200
            assert "static/ui/main.js" in page.text
            assert (await client.get("ui/api/config")).status_code == 200

    async def test_acting_needs_the_generated_token_from_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "evkafka"):
            async with serving() as (client, app):
                [said] = [line for line in caplog.messages if "token of this run" in line]
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
    async def test_an_action_from_another_site_is_refused_even_with_the_token(
        self, headers: dict[str, str], status: int
    ) -> None:
        async with serving(token="t") as (client, app):
            answer = await client.post("ui/api/pause", content=ORDER, headers={**bearer("t"), **headers})
            assert answer.status_code == status
            assert not app.consumer("shop").paused

    async def test_actions_and_refusals_are_written_to_the_audit_log(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "evkafka.audit"):
            async with serving(token="t") as (client, _):
                await client.post("ui/api/pause", content=ORDER, headers=bearer("t"))
                await client.post("ui/api/pause", content=ORDER, headers=bearer("x"))
        done, refused = (record.getMessage() for record in caplog.records if record.name == "evkafka.audit")
        assert done.startswith("pause from 127.0.0.1")
        assert '"topic": "orders"' in done
        assert "paused" in done
        assert "refused" in refused

    async def test_a_request_body_that_is_too_long_is_refused(self) -> None:
        async with serving(token="t") as (client, _):
            answer = await client.post("ui/api/pause", content="x" * 70_000, headers=bearer("t"))
            assert answer.status_code == 413

    async def test_the_token_may_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVKAFKA_UI_TOKEN", "from-outside")
        async with serving() as (client, _):
            answer = await client.post("ui/api/pause", content=ORDER, headers=bearer("from-outside"))
            assert answer.status_code == 200


FOREIGN = ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil.example"})
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


class TestAnotherSitesPage:
    @pytest.mark.parametrize("headers", FOREIGN)
    async def test_cannot_read_anything(self, headers: dict[str, str]) -> None:
        async with serving() as (client, _):
            for path in ("config", "events", "letters", "records?topic=orders", "topics", "check"):
                answer = await client.get(f"ui/api/{path}", headers=headers)
                assert answer.status_code == 403
                assert "not other sites" in answer.json()["error"]
            for path in ("", "?q=a", "ui"):
                assert (await client.get(path, headers=headers)).status_code == 403

    async def test_may_link_to_the_pages_and_not_to_the_api(self) -> None:
        async with serving() as (client, _):
            for path in ("", "?q=a", "ui"):
                assert (await client.get(path, headers=LINK)).status_code == 200
            assert (await client.get("ui/api/records?topic=orders", headers=LINK)).status_code == 403
            framed = {**LINK, "sec-fetch-dest": "iframe"}
            assert (await client.get("ui", headers=framed)).status_code == 403

    async def test_is_recognized_by_the_browsers_headers(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            hidden = {"origin": "null"}  # the form is on a page that sends no referrer
            for headers, status in (({**hidden, "sec-fetch-site": "same-origin"}, 303), (hidden, 403)):
                answer = await client.post("ui/enter", data={"token": TOKEN}, headers=headers)
                assert answer.status_code == status
            own = {"origin": str(client.base_url).rstrip("/")}
            assert (await client.post("ui/enter", data={"token": TOKEN}, headers=own)).status_code == 303

    async def test_cannot_guess_the_token(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            answer = await client.post("ui/enter", data={"token": TOKEN}, headers=LINK)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers

    async def test_can_read_health_metrics_and_the_contract_document(self) -> None:
        async with serving() as (client, _):
            for path in ("livez", "readyz", "metrics", "asyncapi.json", "asyncapi.yaml"):
                assert (await client.get(path, headers=FOREIGN[0])).status_code in (200, 503)


class TestTheForm:
    async def test_each_entry_is_a_separate_session(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            cookies = []
            for _ in range(2):
                await client.post("ui/enter", data={"token": TOKEN})
                cookies.append(client.cookies["evkafka-ui"])
                client.cookies.clear()
            assert cookies[0] != cookies[1]
            first, second = ({"cookie": f"evkafka-ui={one}"} for one in cookies)
            assert "Sign out" in (await client.get("ui", headers=first)).text

            left = await client.post("ui/leave", headers=first)

            assert (left.status_code, left.headers["location"]) == (303, "../ui")
            assert (await client.get("ui/api/config", headers=first)).status_code == 401
            assert (await client.get("ui/api/config", headers=second)).status_code == 200

    async def test_a_session_ends_with_the_process(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            await client.post("ui/enter", data={"token": TOKEN})
            cookie = {"cookie": f"evkafka-ui={client.cookies['evkafka-ui']}"}
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            assert (await client.get("ui/api/config", headers=cookie)).status_code == 401

    async def test_a_body_that_is_too_long_is_refused_without_a_traceback(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            for body in (b"token=" + b"x" * 70_000, b"&".join(b"a%d=1" % number for number in range(1000))):
                answer = await client.post("ui/enter", content=body)
                assert answer.status_code in (400, 413)
        assert not [record for record in caplog.records if record.exc_info]

    async def test_the_form_says_where_the_token_is_set(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            form = (await client.get("ui")).text
        assert f"{EVKafkaApp.__name__}(ui_token=...)" in form

    async def test_after_ten_wrong_tokens_an_address_has_to_wait(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            codes = [(await client.post("ui/enter", data={"token": f"x{n}"})).status_code for n in range(12)]
            assert codes == [303] * 10 + [429] * 2
            right = await client.post("ui/enter", data={"token": TOKEN})
            assert right.status_code == 429
            assert "Too many wrong tokens from 127.0.0.1: try again in" in right.text
            assert 'action="../ui/enter"' in right.text
            assert (await client.get("ui/api/config", headers=bearer(TOKEN))).status_code == 429
            assert (await client.get("livez")).status_code == 200

    async def test_wrong_tokens_are_logged_one_by_one_until_there_are_too_many(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "evkafka.audit"):
            async with serving("0.0.0.0", token=TOKEN) as (client, _):
                for number in range(20):
                    await client.post("ui/enter", data={"token": f"x{number}"})
        lines = [record.getMessage() for record in caplog.records if record.name == "evkafka.audit"]
        assert len([line for line in lines if "the token is wrong" in line]) == 10
        assert [line for line in lines if "too many wrong tokens from 127.0.0.1" in line] == lines[9:10]
        assert len(lines) == 11

    async def test_wrong_tokens_in_a_header_count_like_those_of_the_form(self) -> None:
        async with serving(token=TOKEN) as (client, _):
            codes = [
                (await client.post("ui/api/pause", content=ORDER, headers=bearer(f"x{n}"))).status_code
                for n in range(12)
            ]
            assert codes == [401] * 10 + [429] * 2
            assert (await client.post("ui/api/pause", content=ORDER, headers=bearer(TOKEN))).status_code == 429

    async def test_a_token_can_be_checked_without_an_action(self) -> None:
        async with serving(token=TOKEN) as (client, _):
            wrong = await client.post("ui/api/unlock", content="{}", headers=bearer("a guess"))
            right = await client.post("ui/api/unlock", content="{}", headers=bearer(TOKEN))
            assert (wrong.status_code, right.status_code) == (401, 200)

    async def test_sessions_stay_valid_while_others_send_wrong_tokens(self) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            await client.post("ui/enter", data={"token": TOKEN})
            for number in range(12):
                await client.post("ui/enter", data={"token": f"x{number}"}, headers={"cookie": ""})
            assert (await client.get("ui/api/config")).status_code == 200


class TestSessions:
    def test_end_after_twelve_hours(self) -> None:
        now_s = [0.0]
        sessions = Sessions(lambda: now_s[0])
        secret = sessions.begin()
        now_s[0] = SESSION_S - 1
        assert sessions.has(secret)
        now_s[0] = SESSION_S
        assert not sessions.has(secret)

    def test_are_limited_in_number(self) -> None:
        sessions = Sessions()
        secrets = [sessions.begin() for _ in range(SESSIONS_MAX + 1)]
        assert not sessions.has(secrets[0])
        assert all(map(sessions.has, secrets[1:]))


class TestTheLimitOfWrongTokens:
    def test_ends_after_a_minute(self) -> None:
        now_s = [0.0]
        limit = WrongTokenLimit(lambda: now_s[0])
        for _ in range(WRONG_TOKENS_MAX):
            assert not limit.wait_s("1.2.3.4")
            limit.note_wrong("1.2.3.4")
        assert limit.wait_s("1.2.3.4") == WRONG_TOKENS_PERIOD_S
        assert not limit.wait_s("1.2.3.5")
        now_s[0] = WRONG_TOKENS_PERIOD_S
        assert not limit.wait_s("1.2.3.4")
        limit.note_wrong("1.2.3.4")
        assert not limit.wait_s("1.2.3.4")

    def test_counts_one_ipv6_network_as_one_client(self) -> None:
        limit = WrongTokenLimit(lambda: 0.0)
        for number in range(WRONG_TOKENS_MAX):
            limit.note_wrong(f"2001:db8::{number:x}:1")
        assert limit.wait_s("2001:db8::ffff")
        assert not limit.wait_s("2001:db8:0:1::1")

    def test_counts_too_many_addresses_together(self) -> None:
        limit = WrongTokenLimit(lambda: 0.0)
        for number in range(CLIENTS_MAX + WRONG_TOKENS_MAX):
            limit.note_wrong(f"10.0.{number // 256}.{number % 256}")
        assert limit.wait_s("192.0.2.1")


class TestInvalidActions:
    @pytest.mark.parametrize(
        "body",
        [
            "[" * 60_000,
            r'{"consumer": "\ud800"}',
            '{"consumer": "shop", "topic": "orders", "partition": ' + "9" * 4000 + "}",
            '{"consumer": "shop", "topic": "orders", "partition": NaN}',
            '{"consumer": "shop", "topic": "orders", "partition": 1e999}',
            r'{"consumer": "\u001b[31m\nforged", "topic": "orders", "partition": 0}',
        ],
        ids=lambda body: body[:40],
    )
    async def test_are_refused_with_a_sentence_and_one_safe_audit_line(
        self, body: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, "evkafka.audit"):
            async with serving(token=TOKEN) as (client, _):
                answer = await client.post("ui/api/pause", content=body, headers=bearer(TOKEN))
        assert answer.status_code == 400
        assert answer.json()["error"]
        [line] = [record.getMessage() for record in caplog.records if record.name == "evkafka.audit"]
        assert line.isprintable()
        assert len(line) < 6000

    @pytest.mark.parametrize("offset", [10**26, 2**63, -1])
    async def test_a_seek_past_the_end_is_refused(self, offset: int) -> None:
        async with serving(token=TOKEN) as (client, _):
            body = f'{{"consumer": "shop", "topic": "orders", "partition": 0, "offset": {offset}}}'
            answer = await client.post("ui/api/seek", content=body, headers=bearer(TOKEN))
            assert answer.status_code == 400
            assert "from 0" in answer.json()["error"]

    @pytest.mark.parametrize("name", ["at_ms", "offset", "partition", "limit"])
    @pytest.mark.parametrize("value", [str(10**26), "-1", "9" * 5000, "x", "1e3", "1.5"])
    async def test_a_number_out_of_range_is_refused_with_its_name(self, name: str, value: str) -> None:
        async with serving() as (client, _):
            answer = await client.get("ui/api/records", params={"topic": "orders", name: value})
            assert answer.status_code == 400
            assert answer.json()["error"].startswith(f"{name} must be a whole number")


class TestWeakTokens:
    @pytest.mark.parametrize("token", ["t", "a" * 40, "0123456789abcde"])
    async def test_are_logged_at_the_start_if_other_machines_reach_the_page(
        self, token: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving("0.0.0.0", token=token):
            pass
        [line] = [record for record in caplog.records if "short enough to be guessed" in record.getMessage()]
        assert line.levelname == "WARNING"
        assert "openssl rand -hex 16" in line.getMessage()
        assert token not in line.getMessage().split("its token")[1] or token == "t"

    async def test_are_logged_in_a_mounted_app(self, caplog: pytest.LogCaptureFixture) -> None:
        app = EVKafkaApp(title="Shop", ui_token="t")
        app.asgi()
        assert "short enough to be guessed" in caplog.text

    @pytest.mark.parametrize(("host", "token"), [("0.0.0.0", TOKEN), ("127.0.0.1", "t"), ("0.0.0.0", None)])
    async def test_others_are_not(self, host: str, token: str | None, caplog: pytest.LogCaptureFixture) -> None:
        async with serving(host, token=token):
            pass
        assert "short enough to be guessed" not in caplog.text


class TestOnOtherAddresses:
    async def test_without_a_token_only_health_is_served_and_the_log_has_the_reason(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving("0.0.0.0") as (client, _):
            for path in ("ui", "ui/api/config", "ui/api/events"):
                answer = await client.get(path)
                assert answer.status_code == 404
                assert "EVKAFKA_UI_TOKEN" in answer.text
            assert (await client.get("livez")).status_code == 200
        assert any("the dashboard is not served" in line for line in caplog.messages)

    async def test_reading_needs_the_token_once(self) -> None:
        async with serving("0.0.0.0", token="t") as (client, _):
            form = await client.get("ui")
            assert form.status_code == 401
            assert 'type="password"' in form.text
            for path in ("config", "events", "letters", "records", "topics", "check"):
                assert (await client.get(f"ui/api/{path}")).status_code == 401
            wrong = await client.post("ui/enter", data={"token": "x"}, follow_redirects=True)
            assert "This token is wrong." in wrong.text

            entered = await client.post("ui/enter", data={"token": "t"})

            cookie = entered.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert "t;" not in cookie.split("=", 1)[1][:3]  # the cookie does not contain the token
            assert (await client.get("ui")).status_code == 200
            assert (await client.get("ui/api/config")).status_code == 200

    async def test_reading_is_open_and_acting_needs_the_token(self) -> None:
        async with serving("0.0.0.0", token="t") as (client, _):
            await client.post("ui/enter", data={"token": "t"})
            assert (await client.post("ui/api/pause", content=ORDER, headers=JSON)).status_code == 401

    async def test_a_mounted_app_needs_the_token_too(self) -> None:
        app = EVKafkaApp(title="Shop", ui_token="t")
        app.add_consumer({"topics": ["orders"], "group_id": "shop"}, Handler(), name="shop")
        mounted = httpx.ASGITransport(app.asgi())
        asking = httpx.AsyncClient(transport=mounted, base_url="http://api.example")
        async with InMemoryKafka() as kafka, kafka.running(app), asking as client:
            assert (await client.get("/ui")).status_code == 401
            assert (await client.get("/ui/api/config", headers=bearer("t"))).status_code == 200


class TestEveryAnswer:
    async def test_to_an_unexpected_error_has_the_headers_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with serving() as (client, app):
            monkeypatch.setattr(app, "asyncapi", lambda: 1 / 0)
            answer = await client.get("")
        assert answer.status_code == 500
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("path", ["ui/", "ui/api/config/", "livez/", "static", "ui/api/"])
    async def test_does_not_redirect_to_the_host_header(self, path: str) -> None:
        async with serving("0.0.0.0", token=TOKEN) as (client, _):
            answer = await client.get(path, headers={"host": "evil.example"})
        assert "evil.example" not in answer.headers.get("location", "")
        assert "evil.example" not in answer.text

    async def test_with_a_trailing_slash_redirects_to_the_page(self) -> None:
        async with serving() as (client, _):
            answer = await client.get("ui/", follow_redirects=True)
        assert (answer.status_code, answer.url.path) == (200, "/ui")

    async def test_has_the_strict_policy_and_is_not_cached(self) -> None:
        async with serving() as (client, _):
            for path in ("ui", "ui/api/config", "ui/api/nothing"):
                headers = (await client.get(path)).headers
                assert "unsafe-inline" not in headers["content-security-policy"]
                assert headers["cache-control"] == "no-store"
                assert headers["x-content-type-options"] == "nosniff"
