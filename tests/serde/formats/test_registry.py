"""The registry: what users may pass, and what each answer of it means."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trustme
from pydantic import SecretStr

from evkafka.exceptions import ConfigError, RegistryError, RegistryRefused, RegistryUnavailable, SchemaNotFound
from evkafka.formats import SchemaRegistry
from evkafka.serde.formats.interface import Reference, Schema, StoredSchema
from evkafka.serde.formats.registry import use_test_registry
from evkafka.serde.formats.rest import Busy
from evkafka.testing import InMemoryRegistry

ORDER = {"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "string"}]}
ORDER_TEXT = '{"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "id", "type": "string"}]}'


def answers(*responses: httpx.Response | Exception) -> tuple[SchemaRegistry, httpx.MockTransport, list[httpx.Request]]:
    """A registry whose requests are answered with these, the last one again and again."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        response = responses[min(len(requests), len(responses)) - 1]
        if isinstance(response, Exception):
            raise response
        return response

    return SchemaRegistry("http://registry:8081"), httpx.MockTransport(answer), requests


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evkafka.serde.formats.registry.TRY_AGAIN_S", 0.0)


class TestArguments:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "registry:8081",
            "ftp://registry",
            [],
            ["http://a", ""],
            None,
            "http://a/?x=1",
            "http://:80",
            "http://a:x",
        ],
    )
    def test_a_url_that_is_none_is_an_error(self, url: Any) -> None:
        with pytest.raises(ConfigError, match="url"):
            SchemaRegistry(url)

    @pytest.mark.parametrize("auth", [("user",), 1, "", ("user", 1), {}])
    def test_an_auth_that_is_none_is_an_error(self, auth: Any) -> None:
        with pytest.raises(ConfigError, match=r"auth is a \(user name, password\) pair, or a bearer token"):
            SchemaRegistry("http://registry", auth=auth)

    @pytest.mark.parametrize("auth", ["secret\n", ("user\n", "secret"), ("user", "secret\r"), "s\u00e9cret"])
    def test_an_auth_that_no_header_can_have_is_an_error_without_it(self, auth: Any) -> None:
        with pytest.raises(ConfigError, match="auth has a line break, or another character") as raised:
            SchemaRegistry("http://registry", auth=auth)
        assert "cret" not in str(raised.value).replace("SchemaRegistry", "")

    @pytest.mark.parametrize("timeout_ms", [0, -1, 1.5, True])
    def test_a_timeout_is_a_positive_number_of_milliseconds(self, timeout_ms: Any) -> None:
        with pytest.raises(ConfigError, match="timeout_ms"):
            SchemaRegistry("http://registry", timeout_ms=timeout_ms)

    @pytest.mark.parametrize(
        ("url", "auth"),
        [
            ("http://me:s3cret@registry:8081", None),
            ("http://registry:8081", ("me", "s3cret")),
            ("http://registry:8081", SecretStr("s3cret")),
            ("http://registry:8081", ("me", SecretStr("s3cret"))),
        ],
    )
    async def test_a_secret_is_in_no_text(self, url: str, auth: Any) -> None:
        registry = SchemaRegistry(url, auth=auth)
        _, replacement, _ = answers(httpx.ConnectError("refused"))
        with use_test_registry(replacement), pytest.raises(RegistryUnavailable) as raised:
            await registry.latest("orders-value")
        assert "s3cret" not in f"{registry!r} {registry.urls_text} {raised.value} {vars(registry)}"
        assert "http://registry:8081" in str(raised.value)


class TestLogins:
    @pytest.mark.parametrize(
        ("url", "auth", "header"),
        [
            ("http://me:s3c%40ret@registry", None, httpx.BasicAuth("me", "s3c@ret")._auth_header),
            ("http://registry", ("me", SecretStr("pw")), httpx.BasicAuth("me", "pw")._auth_header),
            ("http://registry", "token", "Bearer token"),
            ("http://registry", SecretStr("token"), "Bearer token"),
        ],
    )
    async def test_is_sent_with_each_request(self, url: str, auth: Any, header: str) -> None:
        _, replacement, requests = answers(httpx.Response(200, json={"id": 7}))
        with use_test_registry(replacement):
            await SchemaRegistry(url, auth=auth).fetch_schema_id("orders-value", Schema(ORDER_TEXT, "AVRO"))
        assert [request.headers.get("Authorization") for request in requests] == [header]

    async def test_a_wrong_password_is_refused(self) -> None:
        with InMemoryRegistry(auth=("me", "right")) as server:
            registry = SchemaRegistry(server.url, auth=("me", "wrong"))
            with pytest.raises(RegistryRefused, match=r"401.*check `auth`"):
                await registry.latest("orders-value")
            await registry.close()

    async def test_a_client_certificate_is_shown_to_the_server(self) -> None:
        ca = trustme.CA()
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(server_context)
        ca.configure_trust(server_context)
        server_context.verify_mode = ssl.CERT_REQUIRED
        client_context = ssl.create_default_context()
        ca.configure_trust(client_context)
        ca.issue_cert("client@example.org").configure_cert(client_context)
        seen: list[Any] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peercert")["subjectAltName"])
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"id": 7}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context) as server:
            port = server.sockets[0].getsockname()[1]
            registry = SchemaRegistry(f"https://127.0.0.1:{port}", ssl_context=client_context)
            assert await registry.fetch_schema_id("orders-value", Schema(ORDER_TEXT, "AVRO")) == 7
            await registry.close()
        assert seen == [(("email", "client@example.org"),)]


HTML = httpx.Response(200, text="<html>Welcome</html>", headers={"Content-Type": "text/html"})


class TestAnswers:
    @pytest.mark.parametrize(
        ("response", "kind", "text"),
        [
            (httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"}), SchemaNotFound, "404"),
            (httpx.Response(404, json={"error_code": 40401, "message": "no subject"}), SchemaNotFound, "no subject"),
            (httpx.Response(404, json={"error_code": 404, "message": "no path"}), RegistryUnavailable, "check the URL"),
            (httpx.Response(404, text="<html>"), RegistryUnavailable, "not the answer of a schema registry"),
            (httpx.Response(401, text="<html>"), RegistryRefused, "check `auth`"),
            (httpx.Response(403, json={"error_code": 403, "message": "no"}), RegistryRefused, "403: no"),
            (httpx.Response(409, json={"error_code": 409, "message": "incompatible"}), RegistryRefused, "incompatible"),
            (httpx.Response(422, json={"error_code": 42201, "message": "invalid"}), RegistryRefused, "invalid"),
            (httpx.Response(429, json={"error_code": 429, "message": "slow down"}), RegistryUnavailable, "slow down"),
            (httpx.Response(500, json={"error_code": 50001, "message": "store"}), RegistryUnavailable, "500: store"),
            (httpx.Response(502, text="<html>"), RegistryUnavailable, "502"),
            (httpx.Response(302, headers={"Location": "http://login"}), RegistryUnavailable, "302"),
            (HTML, RegistryUnavailable, r"200 \(text/html\), which is not the answer of a schema registry"),
            (httpx.Response(200, json=[]), RegistryUnavailable, "not the answer"),
            (httpx.Response(200, json={"id": 1}), RegistryUnavailable, "without a schema"),
            (httpx.ConnectError("refused"), RegistryUnavailable, "cannot be reached: refused"),
            (httpx.ReadTimeout("late"), RegistryUnavailable, r"did not answer within 5000 ms \(timeout_ms\)"),
        ],
    )
    async def test_has_one_meaning(self, response: Any, kind: type[RegistryError], text: str) -> None:
        registry, replacement, _ = answers(response)
        with use_test_registry(replacement), pytest.raises(kind, match=text) as raised:
            await registry.latest("orders-value")
        assert isinstance(raised.value, kind)

    async def test_that_ask_for_a_pause_say_how_long(self) -> None:
        registry, replacement, _ = answers(httpx.Response(503, headers={"Retry-After": "7"}))
        with use_test_registry(replacement), pytest.raises(Busy) as raised:
            await registry.latest("orders-value")
        assert raised.value.pause_s == 7

    async def test_that_may_be_different_later_are_asked_for_again(self) -> None:
        good = httpx.Response(200, json={"id": 3, "schema": ORDER_TEXT})
        registry, replacement, requests = answers(httpx.Response(500), httpx.ConnectError("refused"), good)
        with use_test_registry(replacement):
            assert await registry.latest("orders-value") == StoredSchema(3, Schema(ORDER_TEXT, "AVRO"))
        assert len(requests) == 3

    async def test_that_refuse_are_not_asked_for_again(self) -> None:
        registry, replacement, requests = answers(httpx.Response(401))
        with use_test_registry(replacement), pytest.raises(RegistryRefused):
            await registry.latest("orders-value")
        assert len(requests) == 1

    async def test_a_subject_may_have_any_characters(self) -> None:
        registry, replacement, requests = answers(httpx.Response(200, json={"id": 3, "schema": ORDER_TEXT}))
        with use_test_registry(replacement):
            await registry.latest("a/b c?-value")
        assert requests[0].url.raw_path == b"/subjects/a%2Fb%20c%3F-value/versions/latest"


class TestSeveralUrls:
    async def test_are_tried_in_turn_and_the_one_that_answers_is_kept(self) -> None:
        asked: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.url.host)
            if request.url.host == "a":
                raise httpx.ConnectError("refused")
            return httpx.Response(200, json={"id": 3, "schema": ORDER_TEXT})

        registry = SchemaRegistry("http://a:8081/, http://b:8081/base/")
        with use_test_registry(httpx.MockTransport(answer)):
            await registry.latest("orders-value")
            await registry.latest("orders-value")
        assert asked == ["a", "b", "b"]

    async def test_an_error_names_each(self) -> None:
        registry = SchemaRegistry(["http://a:8081", "http://b:8081"])
        _, replacement, _ = answers(httpx.ConnectError("refused"))
        with use_test_registry(replacement), pytest.raises(RegistryUnavailable, match=r"http://a:8081.*http://b:8081"):
            await registry.latest("orders-value")


class TestASlowRegistry:
    async def test_is_given_up_after_the_timeout(self, server: InMemoryRegistry) -> None:
        registry = SchemaRegistry(server.url, timeout_ms=1)
        with server.latency(60_000), pytest.raises(RegistryUnavailable, match=r"did not answer within 1 ms"):
            await registry.latest("orders-value")
        await registry.close()


class TestReferences:
    async def test_of_references_come_before_what_uses_them(
        self, server: InMemoryRegistry, registry: SchemaRegistry
    ) -> None:
        server.register("currency", {"type": "enum", "name": "Currency", "symbols": ["EUR"]})
        money = {"type": "record", "name": "Money", "fields": [{"name": "currency", "type": "Currency"}]}
        server.register("money", money, references=[{"name": "Currency", "subject": "currency", "version": 1}])
        order = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "Money"}]}
        references = [{"name": "Money", "subject": "money", "version": 1}]
        server.register("orders-value", order, references=references)
        stored = await registry.latest("orders-value")
        assert [name for name, _ in stored.used] == ["Currency", "Money"]
        assert stored.schema.references == (Reference("Money", "money", 1),)


class TestInSeveralEventLoops:
    def test_a_registry_works_in_each(self, server: InMemoryRegistry) -> None:
        registry = SchemaRegistry(server.url)
        server.register("orders-value", ORDER)

        async def ask() -> Any:
            try:
                return (await registry.latest("orders-value")).key
            finally:
                await registry.close()

        run: Callable[..., Any] = asyncio.run
        assert [run(ask()), run(ask())] == [1, 1]


async def test_registering_looking_up_and_comparing(server: InMemoryRegistry, registry: SchemaRegistry) -> None:
    schema = Schema(ORDER_TEXT, "AVRO")
    with pytest.raises(SchemaNotFound):
        await registry.fetch_schema_id("orders-value", schema)
    assert await registry.register("orders-value", schema) == 1
    assert await registry.fetch_schema_id("orders-value", schema) == 1
    assert await registry.incompatibilities("orders-value", schema) == []
    server.make_incompatible("orders-value", "field id is missing")
    other = Schema('{"type": "record", "name": "Order", "fields": []}', "AVRO")
    assert any("field id is missing" in one for one in await registry.incompatibilities("orders-value", other))
    with pytest.raises(RegistryRefused, match="incompatible"):
        await registry.register("orders-value", other)
