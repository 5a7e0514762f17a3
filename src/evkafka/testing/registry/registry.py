"""`InMemoryRegistry`, the test's interface: it registers schemas, injects faults, and shows the requests."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from evkafka.testing.registry.rest import MEDIA_TYPE, error_body, respond
from evkafka.testing.registry.server import Answer, RegistryServer
from evkafka.testing.registry.subjects import RegisteredSchema, Schema, Subjects

Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    """A request that the registry has received.

    Attributes:
        path: with its query, as in the URL.
        status: the status of the response.
    """

    method: str
    path: str
    status: int


class InMemoryRegistry:
    """A schema registry inside the test, with the REST API of Confluent's Schema Registry.

        with InMemoryRegistry() as registry:
            registry.register("orders-value", {"type": "record", "name": "Order", "fields": [...]})
            ...  # registry.url is its address

    `with` and `async with` serve it on a free port of 127.0.0.1, and `registry.url` is its address. It also is an ASGI
    app, for clients that call one without a connection: `httpx.ASGITransport(registry)`. It is thread-safe.

    It has the paths below `/schemas`, `/subjects`, `/compatibility` and `/config` that clients use. It compares
    schemas, but does not interpret them: new schemas of a subject are compatible until `make_incompatible`.

    Args:
        auth: name and password that requests must have (basic authentication); None (default) accepts all.

    Attributes:
        requests: what clients have asked for, oldest first; a plain list, which may be cleared.
    """

    def __init__(self, *, auth: tuple[str, str] | None = None) -> None:
        self.requests: list[RegistryRequest] = []
        self._auth = None if auth is None else _basic_auth_header(*auth)
        self._subjects = Subjects()
        self._lock = threading.Lock()
        self._server: RegistryServer | None = None
        self._away = False
        self._latency_s = 0.0
        self._latency_ended = threading.Event()
        self._failures: list[int] = []

    # ------------------------------------------------------------------ the port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`. Raises RuntimeError outside of the `with` block."""
        if self._server is None:
            raise RuntimeError("the registry has no address: use `with InMemoryRegistry() as registry:`")
        return f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError("this registry is served already")
        self._server = RegistryServer(self._respond_in_thread, MEDIA_TYPE)
        if not self._away:
            self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        server, self._server = self._server, None
        assert server is not None
        self._latency_ended.set()
        server.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.__exit__)

    # ------------------------------------------------------------------ content

    def register(
        self,
        subject: str,
        schema: str | Mapping[str, Any],
        schema_type: str = "AVRO",
        references: Sequence[Mapping[str, Any]] = (),
    ) -> RegisteredSchema:
        """Register a schema, also in an outage. A schema that the subject has already keeps its version.

        Args:
            schema: its text, or its JSON as a mapping.
            schema_type: `AVRO`, `JSON` or `PROTOBUF`.
            references: other schemas that it uses: `name`, `subject` and `version` of each.

        Raises:
            RegistryRefused: it is invalid, refers to an unknown schema, or the subject was made incompatible.
        """
        text = schema if isinstance(schema, str) else json.dumps(schema)
        with self._lock:
            return self._subjects.find_or_add_version(subject, Schema(text, schema_type, tuple(references)))

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """The versions of a subject, oldest first; none if there is no such subject."""
        with self._lock:
            return list(self._subjects.schemas_of_subject(subject)) if subject in self._subjects.names() else []

    def make_incompatible(self, subject: str, reason: str) -> None:
        """New schemas of this subject are incompatible from now on, unless its compatibility level is NONE.

        Args:
            reason: the registry's message to clients.
        """
        with self._lock:
            self._subjects.make_incompatible(subject, reason)

    # ------------------------------------------------------------------ faults

    def go_away(self) -> None:
        """Begin an outage: connections are closed, and new ones refused. As an ASGI app, it raises ConnectionError."""
        self._away = True
        if self._server is not None:
            self._server.stop()

    def come_back(self) -> None:
        """End the outage, on the same port."""
        if self._away and self._server is not None:
            self._server.start()
        self._away = False

    @contextmanager
    def outage(self) -> Iterator[None]:
        """An outage inside."""
        self.go_away()
        try:
            yield
        finally:
            self.come_back()

    @contextmanager
    def latency(self, ms: float) -> Iterator[None]:
        """Inside, each response takes this long, in real time. At the end, requests that wait are answered."""
        self._latency_s, self._latency_ended = ms / 1000, threading.Event()
        try:
            yield
        finally:
            self._latency_s = 0.0
            self._latency_ended.set()

    def fail_requests(self, *statuses: int) -> None:
        """The next requests fail with these statuses, one each: `fail_requests(503, 500)`."""
        self._failures.extend(statuses)

    # ------------------------------------------------------------------ answering

    def _respond_in_thread(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request of the port, in a thread."""
        if self._latency_s:
            self._latency_ended.wait(self._latency_s)
        return None if self._away else self._respond(method, target, headers, body)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer a request, as an ASGI app."""
        if scope["type"] != "http":
            raise RuntimeError(f"the registry serves HTTP, not {scope['type']}")
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        if self._away:
            raise ConnectionError("the in-memory registry is unavailable: `come_back()` ends the outage")
        path, query = scope.get("raw_path") or scope["path"].encode(), scope.get("query_string", b"")
        target = (path + (b"?" + query if query else b"")).decode("latin-1")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, content = self._respond(scope["method"], target, headers, body)
        response_headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": content})

    def _respond(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        with self._lock:
            if self._failures:
                status = self._failures.pop(0)
                content: object = error_body(status, "a failure that the test asked for")
            elif self._auth is not None and headers.get("authorization") != self._auth:
                status, content = 401, error_body(401, "Unauthorized")
            else:
                status, content = respond(self._subjects, method, target.partition("?")[0], body)
            self.requests.append(RegistryRequest(method, target, status))
        return status, json.dumps(content).encode()


def _basic_auth_header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
