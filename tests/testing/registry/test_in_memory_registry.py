"""The in-memory registry answers clients as Confluent's does, over HTTP and as an ASGI app."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from evkafka.testing import InMemoryRegistry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
PAID = {"type": "record", "name": "Paid", "fields": [{"name": "cents", "type": "long"}]}


@pytest.fixture
def registry() -> Iterator[InMemoryRegistry]:
    with InMemoryRegistry() as registry:
        yield registry


@pytest.fixture
def client(registry: InMemoryRegistry) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=registry.url, timeout=30) as client:
        yield client


def body(schema: Any, **more: Any) -> dict[str, Any]:
    return {"schema": schema if isinstance(schema, str) else json.dumps(schema), **more}


class TestSchemas:
    def test_a_registered_schema_is_found_by_its_id(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        number = client.post("/subjects/orders-value/versions", json=body(ORDER)).json()["id"]
        found = client.get(f"/schemas/ids/{number}").json()
        assert json.loads(found["schema"]) == ORDER
        assert "schemaType" not in found  # AVRO is the default, which the registry leaves out
        assert registry.versions("orders-value")[0].id == number

    def test_a_schema_is_found_by_its_guid(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        guid = registry.register("orders-value", ORDER).guid
        assert isinstance(guid, UUID)
        assert json.loads(client.get(f"/schemas/guids/{guid}").json()["schema"]) == ORDER

    def test_the_same_schema_has_one_id_in_all_subjects(self, registry: InMemoryRegistry) -> None:
        first = registry.register("orders-value", ORDER)
        other = registry.register("returns-value", json.dumps(ORDER, indent=4))
        assert (other.id, other.guid, other.version) == (first.id, first.guid, 1)
        assert registry.register("orders-value", PAID).id != first.id

    def test_a_schema_that_is_registered_again_stays_one_version(self, registry: InMemoryRegistry) -> None:
        assert registry.register("orders-value", ORDER) == registry.register("orders-value", ORDER)
        assert len(registry.versions("orders-value")) == 1

    def test_type_and_references_are_part_of_a_schema(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        registry.register("money", 'syntax = "proto3"; message Money {}', "PROTOBUF")
        reference = {"name": "money.proto", "subject": "money", "version": 1}
        text = 'syntax = "proto3"; import "money.proto"; message Order { Money total = 1; }'
        sent = body(text, schemaType="PROTOBUF", references=[reference])
        number = client.post("/subjects/orders-value/versions", json=sent).json()["id"]
        found = client.get(f"/schemas/ids/{number}").json()
        assert (found["schema"], found["schemaType"], found["references"]) == (text, "PROTOBUF", [reference])

    def test_the_versions_with_an_id_are_listed(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        number = registry.register("orders-value", ORDER).id
        registry.register("returns-value", ORDER)
        listed = client.get(f"/schemas/ids/{number}/versions").json()
        assert listed == [{"subject": "orders-value", "version": 1}, {"subject": "returns-value", "version": 1}]


class TestSubjects:
    def test_versions_count_up_and_the_latest_is_found(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        registry.register("orders-value", ORDER)
        second = registry.register("orders-value", PAID)
        assert client.get("/subjects/orders-value/versions").json() == [1, 2]
        latest = client.get("/subjects/orders-value/versions/latest").json()
        assert (latest["subject"], latest["version"], latest["id"]) == ("orders-value", 2, second.id)
        assert client.get("/subjects/orders-value/versions/1").json()["version"] == 1

    def test_a_schema_is_looked_up_without_registering_it(
        self, registry: InMemoryRegistry, client: httpx.Client
    ) -> None:
        number = registry.register("orders-value", ORDER).id
        assert client.post("/subjects/orders-value", json=body(ORDER)).json()["id"] == number
        unknown = client.post("/subjects/orders-value", json=body(PAID))
        assert (unknown.status_code, unknown.json()["error_code"]) == (404, 40403)
        assert len(registry.versions("orders-value")) == 1

    def test_a_subject_may_have_any_name(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        registry.register("a/b c-ü", ORDER)
        assert client.get("/subjects/a%2Fb%20c-%C3%BC/versions").json() == [1]
        assert client.get("/subjects").json() == ["a/b c-ü"]

    def test_a_deleted_subject_is_unknown(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        registry.register("orders-value", ORDER)
        assert client.delete("/subjects/orders-value").json() == [1]
        assert registry.versions("orders-value") == []


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "sent", "status", "code"),
        [
            ("GET", "/schemas/ids/99", None, 404, 40403),
            ("GET", "/schemas/guids/99", None, 404, 40403),
            ("GET", "/subjects/unknown/versions", None, 404, 40401),
            ("GET", "/subjects/orders-value/versions/9", None, 404, 40402),
            ("GET", "/subjects/orders-value/versions/x", None, 422, 42202),
            ("POST", "/subjects/unknown", body(ORDER), 404, 40401),
            ("POST", "/subjects/orders-value/versions", body("{"), 422, 42201),
            ("POST", "/subjects/orders-value/versions", body("{}", schemaType="XML"), 422, 42201),
            ("POST", "/subjects/orders-value/versions", {}, 422, 42201),
            ("POST", "/subjects/orders-value/versions", [], 400, 400),
            ("PUT", "/config/orders-value", {"compatibility": "SOME"}, 422, 42203),
            ("GET", "/config/orders-value", None, 404, 40408),
            ("GET", "/elsewhere", None, 404, 404),
        ],
    )
    def test_an_error_has_confluents_status_and_code(
        self,
        registry: InMemoryRegistry,
        client: httpx.Client,
        method: str,
        path: str,
        sent: Any,
        status: int,
        code: int,
    ) -> None:
        registry.register("orders-value", ORDER)
        failed = client.request(method, path, json=sent)
        assert (failed.status_code, failed.json()["error_code"]) == (status, code)
        assert failed.json()["message"]

    def test_a_reference_to_an_unknown_schema_is_refused(self, client: httpx.Client) -> None:
        sent = body("message A {}", schemaType="PROTOBUF", references=[{"name": "b", "subject": "b", "version": 1}])
        assert client.post("/subjects/a/versions", json=sent).json()["error_code"] == 40401


class TestCompatibility:
    def test_a_schema_is_compatible_until_the_subject_is_made_incompatible(
        self, registry: InMemoryRegistry, client: httpx.Client
    ) -> None:
        registry.register("orders-value", ORDER)
        path = "/compatibility/subjects/orders-value/versions/latest"
        assert client.post(path, json=body(PAID)).json()["is_compatible"] is True
        registry.make_incompatible("orders-value", "the field cents has no default")
        checked = client.post(path, params={"verbose": "true"}, json=body(PAID)).json()
        assert checked == {"is_compatible": False, "messages": ["the field cents has no default"]}
        refused = client.post("/subjects/orders-value/versions", json=body(PAID))
        assert refused.status_code == 409
        assert "the field cents has no default" in refused.json()["message"]

    def test_a_known_schema_of_an_incompatible_subject_keeps_its_id(
        self, registry: InMemoryRegistry, client: httpx.Client
    ) -> None:
        number = registry.register("orders-value", ORDER).id
        registry.make_incompatible("orders-value", "no")
        assert client.post("/subjects/orders-value/versions", json=body(ORDER)).json() == {"id": number}

    def test_the_level_none_accepts_everything(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        registry.make_incompatible("orders-value", "no")
        client.put("/config/orders-value", json={"compatibility": "NONE"})
        assert client.get("/config/orders-value").json() == {"compatibilityLevel": "NONE"}
        assert client.post("/subjects/orders-value/versions", json=body(PAID)).status_code == 200
        assert client.get("/config").json() == {"compatibilityLevel": "BACKWARD"}


class TestFaults:
    def test_an_outage_refuses_connections_and_ends_on_the_same_address(
        self, registry: InMemoryRegistry, client: httpx.Client
    ) -> None:
        assert client.get("/subjects").json() == []
        with registry.outage():
            with pytest.raises(httpx.TransportError):  # the connection that was open
                client.get("/subjects")
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{registry.url}/subjects")
        assert client.get("/subjects").json() == []

    def test_a_request_that_waits_when_the_outage_begins_has_no_response(self, registry: InMemoryRegistry) -> None:
        arrived, errors = threading.Event(), []

        class Arriving(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                arrived.set()
                return super().wait(timeout)

        def ask() -> None:
            try:
                httpx.get(f"{registry.url}/subjects", timeout=30)
            except httpx.TransportError as error:
                errors.append(error)

        with registry.latency(60_000):
            registry._latency_ended = Arriving()
            asking = threading.Thread(target=ask)
            asking.start()
            assert arrived.wait(30)
            registry.go_away()
        asking.join(30)
        assert len(errors) == 1
        assert registry.requests == []

    def test_a_slow_response_times_out_and_is_answered_at_the_end_of_the_latency(
        self, registry: InMemoryRegistry, client: httpx.Client
    ) -> None:
        with registry.latency(60_000), pytest.raises(httpx.ReadTimeout):
            client.get("/subjects", timeout=httpx.Timeout(30, read=0.05))
        assert client.get("/subjects").status_code == 200

    def test_requests_fail_with_the_given_statuses_in_order(
        self, registry: InMemoryRegistry, client: httpx.Client
    ) -> None:
        registry.fail_requests(503, 429)
        statuses = [client.get("/subjects").status_code for _ in range(3)]
        assert statuses == [503, 429, 200]
        assert [request.status for request in registry.requests] == statuses

    def test_a_wrong_password_is_refused(self) -> None:
        with InMemoryRegistry(auth=("ann", "secret")) as registry:
            url = f"{registry.url}/subjects"
            assert httpx.get(url, auth=("ann", "secret")).status_code == 200
            assert httpx.get(url, auth=("ann", "wrong")).status_code == 401
            assert httpx.get(url).json()["error_code"] == 401

    def test_every_request_is_listed(self, registry: InMemoryRegistry, client: httpx.Client) -> None:
        client.get("/schemas/ids/1", params={"subject": "orders-value"})
        [request] = registry.requests
        assert (request.method, request.path, request.status) == ("GET", "/schemas/ids/1?subject=orders-value", 404)


class TestWithoutAPort:
    async def test_a_client_calls_it_as_an_asgi_app(self) -> None:
        registry = InMemoryRegistry(auth=("ann", "secret"))
        number = registry.register("a/b-value", ORDER).id
        transport, login = httpx.ASGITransport(registry), httpx.BasicAuth("ann", "secret")
        async with httpx.AsyncClient(transport=transport, base_url="http://registry", auth=login) as client:
            assert json.loads((await client.get(f"/schemas/ids/{number}")).json()["schema"]) == ORDER
            found = await client.post("/subjects/a%2Fb-value?normalize=true", json=body(ORDER))
            assert found.json()["version"] == 1
            with registry.outage(), pytest.raises(ConnectionError, match="come_back"):
                await client.get("/subjects")
        assert [request.path for request in registry.requests] == [
            f"/schemas/ids/{number}",
            "/subjects/a%2Fb-value?normalize=true",
        ]

    def test_it_has_no_address_outside_of_the_block(self) -> None:
        with pytest.raises(RuntimeError, match="with InMemoryRegistry"):
            _ = InMemoryRegistry().url

    async def test_it_is_served_in_an_async_block(self) -> None:
        async with InMemoryRegistry() as registry, httpx.AsyncClient() as client:
            token = base64.b64encode(b"ignored:ignored").decode()
            answered = await client.get(f"{registry.url}/subjects", headers={"Authorization": f"Basic {token}"})
        assert answered.json() == []
