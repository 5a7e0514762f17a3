"""The requests to a schema registry, with Confluent's REST API, which Apicurio, Karapace and Redpanda have too.

Each request goes to the first of the registry's URLs that answers. What an answer means is decided in `_parse_answer`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from evkafka.exceptions import RegistryError, RegistryRefused, RegistryUnavailable, SchemaNotFound
from evkafka.serde.formats.interface import Reference, Schema, SchemaType
from evkafka.serde.safe_text import escape_line

if TYPE_CHECKING:
    import httpx

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
MESSAGE_CHARACTERS = 2000
LONGEST_PAUSE_S = 30.0
"""The longest pause that a registry's `Retry-After` is granted."""

MAY_HELP_LATER = frozenset({408, 425, 429})
"""Status codes below 500 after which the same request may succeed later."""


class Busy(RegistryUnavailable):
    """The registry asks for a pause.

    Attributes:
        pause_s: how long to wait before the next request.
    """

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a registry knows this client: a user name and a password, or a bearer token; neither is in the repr."""

    basic: tuple[str, str] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a registry is, and how to connect.

    Attributes:
        urls: without a user name, tried in turn.
        timeout_s: for one request to one URL.
        transport: replaces the connection, in tests.
    """

    urls: tuple[str, ...]
    credentials: Credentials
    ssl_context: ssl.SSLContext | None = field(repr=False)
    timeout_s: float
    transport: Any = field(default=None, repr=False)


class Rest:
    """One connection pool to a registry, for one event loop."""

    def __init__(self, address: Address) -> None:
        import httpx

        self._address = address
        self._first = 0
        self._failures: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, OSError)
        self._timed_out: type[Exception] = httpx.TimeoutException
        self._client = httpx.AsyncClient(
            auth=address.credentials.basic,
            headers={"Accept": f"{MEDIA_TYPE}, application/json", **address.credentials.headers},
            verify=address.ssl_context if address.ssl_context is not None else True,
            timeout=address.timeout_s,
            transport=address.transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    # ------------------------------------------------------------------ the calls

    async def fetch_schema(self, key: int | str) -> Schema:
        """A schema by its id, or by its GUID.

        Raises:
            SchemaNotFound: there is none.
            RegistryRefused, RegistryUnavailable: the registry rejects the request, or does not answer it.
        """
        path = f"schemas/ids/{key}" if isinstance(key, int) else f"schemas/guids/{quote(key, safe='')}"
        return _parse_schema(await self._send_request("GET", path))

    async def fetch_version(self, subject: str, version: int | str) -> tuple[int, Schema]:
        """A version of a subject, by number or `latest`: the schema's id, and the schema. Raises as `fetch_schema`."""
        found = await self._send_request("GET", f"subjects/{quote(subject, safe='')}/versions/{version}")
        return _parse_schema_id(found), _parse_schema(found)

    async def fetch_schema_id(self, subject: str, schema: Schema) -> int:
        """The id of this schema, if it is a version of the subject. Raises as `fetch_schema`."""
        return _parse_schema_id(
            await self._send_request("POST", f"subjects/{quote(subject, safe='')}", _schema_body(schema))
        )

    async def register(self, subject: str, schema: Schema) -> int:
        """Add a version to the subject, unless it has this schema already; returns the schema's id.

        Raises:
            RegistryRefused: among others, the schema is incompatible with earlier versions.
            RegistryUnavailable: it is not known whether it was added.
        """
        return _parse_schema_id(
            await self._send_request("POST", f"subjects/{quote(subject, safe='')}/versions", _schema_body(schema))
        )

    async def incompatibilities(self, subject: str, schema: Schema) -> list[str]:
        """Why this schema cannot be the subject's next version; empty if it can. Raises as `fetch_schema`."""
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
        found = await self._send_request("POST", path, _schema_body(schema))
        if found.get("is_compatible") is not False:
            return []
        return [str(one) for one in found.get("messages") or ()] or ["the registry gives no reason"]

    # ------------------------------------------------------------------ one request

    async def _send_request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Send it to each URL until one answers, beginning with the one that has answered before."""
        urls, failures = self._address.urls, list[RegistryUnavailable]()
        for turn in range(len(urls)):
            number = (self._first + turn) % len(urls)
            try:
                answer = await self._send_to(urls[number], method, path, body)
                result = _parse_answer(urls[number], answer)
            except RegistryUnavailable as failure:
                failures.append(failure)
            else:
                self._first = number
                return result
        if len(failures) == 1:
            raise failures[0]
        raise RegistryUnavailable("; ".join(str(one) for one in failures))

    async def _send_to(self, url: str, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": MEDIA_TYPE} if content is not None else {}
        timeout_s = self._address.timeout_s
        try:
            # httpx limits each step of a request: with a server that sends byte by byte the whole would have no limit.
            async with asyncio.timeout(timeout_s):
                return await self._client.request(method, f"{url}/{path}", content=content, headers=headers)
        except (TimeoutError, self._timed_out):
            raise RegistryUnavailable(
                f"schema registry {url} did not answer within {timeout_s * 1000:g} ms (timeout_ms)"
            ) from None
        except self._failures as error:
            why = escape_line(str(error), MESSAGE_CHARACTERS) or type(error).__name__
            raise RegistryUnavailable(f"schema registry {url} cannot be reached: {why}") from None


def _parse_answer(url: str, answer: httpx.Response) -> Mapping[str, Any]:
    """The content of an answer.

    Raises:
        RegistryUnavailable: also if the answer is not a schema registry's, as that of a proxy: it says nothing about
            the schema.
    """
    status, content = answer.status_code, _json_object_or_none(answer)
    message = escape_line(str(content.get("message", "")), MESSAGE_CHARACTERS) if content is not None else ""
    said = f"schema registry {url} answered {status}{f': {message}' if message else ''}"
    match status:
        case 200 if content is not None:
            return content
        case 401 | 403:
            raise RegistryRefused(f"{said}; check `auth` and `ssl_context` of the SchemaRegistry, and its permissions")
        case 404 if (
            content is not None
            and str(content.get("error_code", "")).startswith("404")
            and len(str(content["error_code"])) == 5
        ):
            raise SchemaNotFound(said)
        case 429 | 503 if answer.headers.get("Retry-After", "").isdecimal():
            raise Busy(said, min(float(answer.headers["Retry-After"]), LONGEST_PAUSE_S))
        case 400 | 409 | 422 if content is not None and message:
            raise RegistryRefused(said)
        case _ if status >= 500 or status in MAY_HELP_LATER:
            raise RegistryUnavailable(said)
        case _:
            kind = answer.headers.get("Content-Type", "no content type")
            raise RegistryUnavailable(
                f"schema registry {url} answered {status} ({escape_line(kind, 80)}), which is not the answer of a"
                " schema registry; check the URL with its path: Apicurio's is /apis/ccompat/v7"
            )


def _json_object_or_none(answer: httpx.Response) -> Mapping[str, Any] | None:
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


# ---------------------------------------------------------------------------- the content


def _schema_body(schema: Schema) -> dict[str, Any]:
    body: dict[str, Any] = {"schema": schema.text}
    if schema.type != "AVRO":
        body["schemaType"] = schema.type
    if schema.references:
        body["references"] = [asdict(one) for one in schema.references]
    return body


def _parse_schema(content: Mapping[str, Any]) -> Schema:
    match content:
        case {"schema": str() as text}:
            kind: SchemaType = content.get("schemaType") or "AVRO"
            return Schema(text, kind, tuple(_parse_references(content.get("references") or ())))
        case _:
            raise RegistryUnavailable("the schema registry answered without a schema")


def _parse_references(given: Sequence[Mapping[str, Any]]) -> list[Reference]:
    return [Reference(str(one["name"]), str(one["subject"]), int(one["version"])) for one in given]


def _parse_schema_id(content: Mapping[str, Any]) -> int:
    match content:
        case {"id": int() as number}:
            return number
        case _:
            raise RegistryError("the schema registry answered without the schema's id")
