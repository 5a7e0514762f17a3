"""`SchemaRegistry`, as users declare it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from evkafka.exceptions import ConfigError, RegistryUnavailable, SchemaNotFound
from evkafka.records import NotReady
from evkafka.serde.formats.interface import Encode, FormatError, Schema, StoredSchema
from evkafka.serde.formats.rest import Address, Credentials, Rest
from evkafka.serde.formats.schema_cache import Key, SchemaRequests, SchemaStore

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

TRIES = 3
TRY_AGAIN_S = 0.3
"""The pause between two tries of a call at the start or of a command."""

MOST_NESTED = 50
"""How many schemas one may refer to, directly and through others."""


current_test_registry: ContextVar[httpx.AsyncBaseTransport | None] = ContextVar("evkafka_test_registry", default=None)


@contextmanager
def use_test_registry(replacement: httpx.AsyncBaseTransport) -> Iterator[None]:
    """Inside, this answers in place of every `SchemaRegistry`, and senders register schemas that it does not have."""
    before = current_test_registry.get()
    current_test_registry.set(replacement)
    try:
        yield
    finally:
        current_test_registry.set(before)


class SchemaRegistry:
    """A schema registry with Confluent's REST API: Confluent's own, Apicurio, Karapace, Redpanda.

    Nothing connects before the app starts. One registry may be shared by formats, consumers and producers. A user name
    and password in the URL are used like `auth`.

    Args:
        url: where it is, for example "http://localhost:8081", Apicurio's with its path "/apis/ccompat/v7". Several
            URLs, in a list or with commas, are tried in turn.
        auth: a user name and a password; or a bearer token, as a str or a pydantic `SecretStr`. Never shown.
        ssl_context: for https with a CA or a client certificate of its own (mTLS); default: the system's CAs.
        timeout_ms: how long one request to one URL may take, in milliseconds. Default 5000.

    Raises:
        ConfigError: an argument is invalid, or httpx is not installed.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        auth: tuple[str, Any] | Any = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout_ms: int = 5000,
    ) -> None:
        _check_httpx_installed()
        given: object = timeout_ms
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            raise ConfigError("SchemaRegistry: timeout_ms is a positive whole number of milliseconds")
        context: object = ssl_context
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise ConfigError("SchemaRegistry: ssl_context is an ssl.SSLContext")
        parts = [_parse_url(one) for one in _split_urls(url)]
        credentials = _checked_credentials(auth, parts)
        urls = tuple(_url_without_login(one) for one in parts)
        self._address = Address(urls, credentials, ssl_context, timeout_ms / 1000)
        self._store = SchemaStore()
        self._test_store: tuple[httpx.AsyncBaseTransport, SchemaStore] | None = None
        self._connections: dict[asyncio.AbstractEventLoop, Connection] = {}

    def __repr__(self) -> str:
        return f"SchemaRegistry({self.urls_text!r})"

    @property
    def urls_text(self) -> str:
        """Its URLs, without login."""
        return ", ".join(self._address.urls)

    @property
    def is_replaced(self) -> bool:
        """Whether a test has replaced it (`use_test_registry`)."""
        return current_test_registry.get() is not None

    # ------------------------------------------------------------------ asking it

    @property
    def store(self) -> SchemaStore:
        """The schemas that are known. From any thread."""
        replacement = current_test_registry.get()
        if replacement is None:
            return self._store
        if self._test_store is None or self._test_store[0] is not replacement:
            self._test_store = replacement, SchemaStore()
        return self._test_store[1]

    def get_known_or_ask(self, key: Key) -> StoredSchema:
        """A schema.

        Raises:
            NotReady: the registry is being asked for it.
            FormatError: the registry has no such schema.
        """
        known = self.store.get(key)
        if known is None:
            raise NotReady(self._connection_of_loop().requests.ask(key))
        return known

    def future_done_when_schema_known(self, key: Key) -> asyncio.Future[None] | None:
        """Ask for this schema, unless there is an answer already: then None. Done once there is an answer."""
        return None if self.store.has_answer(key) else self._connection_of_loop().requests.ask(key)

    async def schema(self, key: Key) -> StoredSchema:
        """A schema by its id, or its GUID.

        Raises:
            SchemaNotFound: there is none.
            RegistryError: the registry cannot be asked.
        """
        store = self.store
        try:
            known = store.get(key)
        except FormatError as error:
            raise SchemaNotFound(str(error)) from None
        if known is None:
            known = await self._ask_with_retries(lambda connection: connection.fetch_schema(key))
            store.add(known)
        return known

    @property
    def encoder_cache(self) -> dict[Hashable, Encode]:
        """The encoders that formats have compiled for this event loop. They add those that they compile."""
        return self._connection_of_loop().encoder_cache

    async def latest(self, subject: str) -> StoredSchema:
        """The latest version of a subject.

        Raises:
            SchemaNotFound: it has none.
            RegistryError: it cannot be asked.
        """

        async def ask(connection: Connection) -> StoredSchema:
            key, schema = await connection.rest.fetch_version(subject, "latest")
            return await connection.complete_with_references(key, schema)

        return await self._ask_with_retries(ask)

    async def fetch_schema_id(self, subject: str, schema: Schema) -> int:
        """The id of this schema, if it is a version of the subject. Raises as `latest`."""
        return await self._ask_with_retries(lambda connection: connection.rest.fetch_schema_id(subject, schema))

    async def register(self, subject: str, schema: Schema) -> int:
        """Add this schema to the subject, unless it has it already; returns its id.

        Raises:
            RegistryRefused: among others, it is incompatible with earlier versions.
            RegistryError: it cannot be asked.
        """
        return await self._ask_with_retries(lambda connection: connection.rest.register(subject, schema))

    async def incompatibilities(self, subject: str, schema: Schema) -> list[str]:
        """Why this schema cannot be the subject's next version; empty if it can. Raises as `latest`."""
        return await self._ask_with_retries(lambda connection: connection.rest.incompatibilities(subject, schema))

    @property
    def is_asking(self) -> bool:
        """Whether a request for a schema is under way."""
        return any(one.requests.is_asking for one in self._connections.values())

    def unavailable_reason(self) -> str:
        """Why records wait for schemas; empty if none does."""
        reasons = (one.requests.unavailable_reason() for one in tuple(self._connections.values()))
        return next(filter(None, reasons), "")

    async def close(self) -> None:
        """Close its connections of this event loop; idempotent. It may be used again afterwards."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.close()

    # ------------------------------------------------------------------ its connection

    async def _ask_with_retries(self, ask: Callable[[Connection], Awaitable[T]]) -> T:
        for number in range(1, TRIES + 1):
            try:
                return await ask(self._connection_of_loop())
            except RegistryUnavailable:
                if number == TRIES:
                    raise
            await asyncio.sleep(TRY_AGAIN_S * number)
        raise AssertionError

    def _connection_of_loop(self) -> Connection:
        loop, replacement = asyncio.get_running_loop(), current_test_registry.get()
        connection = self._connections.get(loop)
        if connection is None or connection.replacement is not replacement:
            others = {one: kept for one, kept in self._connections.items() if not one.is_closed()}
            connection = Connection(self._address, self.store, replacement)
            self._connections = {**others, loop: connection}
        return connection


class Connection:
    """A registry's connections, for one event loop and, in tests, one replacement."""

    def __init__(self, address: Address, store: SchemaStore, replacement: httpx.AsyncBaseTransport | None) -> None:
        self.replacement = replacement
        self.encoder_cache: dict[Hashable, Encode] = {}
        self.rest = Rest(address if replacement is None else replace(address, transport=replacement))
        self.requests = SchemaRequests(store, self.fetch_schema, f"schema registry {', '.join(address.urls)}")

    async def close(self) -> None:
        await self.requests.close()
        await self.rest.close()

    async def fetch_schema(self, key: Key) -> StoredSchema:
        return await self.complete_with_references(key, await self.rest.fetch_schema(key))

    async def complete_with_references(self, key: Key, schema: Schema) -> StoredSchema:
        """The schema with all that it refers to."""
        used: dict[str, Schema] = {}
        await self._fetch_references_into(schema, used)
        return StoredSchema(key, schema, tuple(used.items()))

    async def _fetch_references_into(self, schema: Schema, used: dict[str, Schema]) -> None:
        for reference in schema.references:
            if reference.name in used:
                continue
            if len(used) >= MOST_NESTED:
                raise FormatError(f"the schema refers to more than {MOST_NESTED} others")
            _, other = await self.rest.fetch_version(reference.subject, reference.version)
            used[reference.name] = other  # before its own references, which may be circular
            await self._fetch_references_into(other, used)
            used[reference.name] = used.pop(reference.name)


# ---------------------------------------------------------------------------- arguments


def _check_httpx_installed() -> None:
    try:
        import httpx  # noqa: F401 - only whether it is there
    except ModuleNotFoundError:
        raise ConfigError(
            "a schema registry needs httpx: pip install 'evkafka[avro]', 'evkafka[protobuf]' or 'evkafka[jsonschema]'"
        ) from None


def _split_urls(url: object) -> list[str]:
    given = url.split(",") if isinstance(url, str) else list(url) if isinstance(url, Sequence) else []
    urls = [one.strip().rstrip("/") for one in given if isinstance(one, str) and one.strip()]
    if not urls or len(urls) < len(given):
        raise ConfigError('SchemaRegistry: url is the address of the registry, as "http://localhost:8081"')
    return urls


def _parse_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise ConfigError('SchemaRegistry: a url is not one of http or https, as "http://localhost:8081"')
    return parts


def _url_without_login(parts: SplitResult) -> str:
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _checked_credentials(auth: Any, parts: Sequence[SplitResult]) -> Credentials:
    found = _credentials_from_auth_or_url(auth, parts)
    texts = [text for text in (*(found.basic or ()), found.token) if text]
    if not all(map(str.isprintable, texts)) or not (found.token or "").isascii():
        raise ConfigError(
            "SchemaRegistry: auth has a line break, or another character that a header cannot have; use .strip() on"
            " what is read from a file"
        )
    return found


def _credentials_from_auth_or_url(auth: Any, parts: Sequence[SplitResult]) -> Credentials:
    login = next((one for one in parts if one.username is not None), None)
    match _reveal_secret(auth):
        case None if login is not None:
            return Credentials((unquote(login.username or ""), unquote(login.password or "")))
        case None:
            return Credentials()
        case str() as token if token:
            return Credentials(token=token)
        case (user, password) if isinstance(_reveal_secret(user), str) and isinstance(_reveal_secret(password), str):
            return Credentials((_reveal_secret(user), _reveal_secret(password)))
        case _:
            raise ConfigError("SchemaRegistry: auth is a (user name, password) pair, or a bearer token")


def _reveal_secret(value: Any) -> Any:
    """The text in a `SecretStr`."""
    return value.get_secret_value() if hasattr(value, "get_secret_value") and not isinstance(value, type) else value
