"""A password is put into a configuration and searched for in every output."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, Mount, Route

from evkafka import EVKafkaApp, EVKafkaProducer
from evkafka.broker import KafkaBroker
from evkafka.config import ConsumerConfig, consumer_settings, producer_settings
from evkafka.exceptions import ConfigError
from evkafka.kafka.admin.topics import create_topic
from evkafka.testing import InMemoryKafka
from tests.support.http_client import Answer, get
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
PASSWORD = "kolibri-Pa55/word+9"
JAAS = "org.apache.kafka.common.security.plain.PlainLoginModule required"
LOGIN = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "ann",
    "sasl_plain_password": PASSWORD,
}

STREAM = "/ui/api/events"
WITH_QUERIES = (
    "/readyz?verbose",
    "/ui/api/letters?topic=orders.billing.dlq",
    "/ui/api/records?topic=orders",
    "/ui/api/records?topic=orders.billing.dlq",
)

APP = "--app tests.acceptance.security.canary_app:app"
REFUSED = ("run tests.acceptance.security.canary_app:app --log-level debug", f"dlq list orders.billing.dlq {APP}")
COMMANDS = (
    "check tests.acceptance.security.canary_app:app --json",
    f"dlq list orders.billing.dlq {APP}",
    "asyncapi tests.acceptance.security.canary_app:app",
    "routes tests.acceptance.security.canary_app:app",
    "topics plan tests.acceptance.security.canary_app:app",
    f"lag {APP} --json",
    f"offsets show {APP}",
    f"tail no-such-topic {APP}",
    f"send no-such-topic {{}} {APP}",
    "replay tests.acceptance.security.canary_app:app --topic no-such-topic --from earliest --dry-run",
    "info",
)

NAMES = {"consumer": "billing", "topic": "orders"}
"""Values for the names in paths; 0 for numbers."""


def occurrences(text: str) -> list[str]:
    """Return the places of the password in a text, in any encoding, with the surrounding text."""
    raw = PASSWORD.encode()
    encoded = [base64.b64encode(piece + raw).decode().rstrip("=")[4:-4] for piece in (b"", b"x", b"xx", b"\0ann\0")]
    forms = [PASSWORD, json.dumps(PASSWORD)[1:-1], "kolibri", "Pa55", raw.hex(), *encoded]
    return [
        text[max(found.start() - 80, 0) : found.end() + 20]
        for form in forms
        for found in re.finditer(re.escape(form), text)
    ]


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """A broker that accepts only this password."""
    with KafkaBroker(
        properties={
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": (
                f'{JAAS} username="ann" password="{PASSWORD}" user_ann="{PASSWORD}";'
            ),
        }
    ) as broker:
        yield broker.bootstrap_servers


def environment(servers: str, password: str = PASSWORD) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("EVKAFKA_")}
    return kept | {"SERVERS": servers, "PLANTED": password, "NO_COLOR": "1", "COLUMNS": "200"}


class Evkafka:
    """`evkafka ARGUMENTS` in its own process, with its output in a file."""

    def __init__(self, log: Path, *arguments: str, servers: str, password: str = PASSWORD) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "evkafka.cli", *arguments],
                cwd=ROOT,
                env=environment(servers, password),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    async def wait(self) -> int:
        return await asyncio.to_thread(self.process.wait, 60)


@pytest.fixture
def planted(servers: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app's module."""
    monkeypatch.setenv("SERVERS", servers)
    monkeypatch.setenv("PLANTED", PASSWORD)
    from tests.acceptance.security import canary_app

    return canary_app


def paths(routes: list[BaseRoute], below: str = "") -> Iterator[str]:
    """Yield every GET path, with the app's names for its parameters."""
    for route in routes:
        if isinstance(route, Mount):
            yield from paths(route.routes, below + route.path)
        elif isinstance(route, Route) and "GET" in (route.methods or ()):
            yield below + re.sub(r"\{(\w+)(:\w+)?\}", lambda found: NAMES.get(found[1], "0"), route.path)


def test_the_search_finds_every_encoding_of_the_password() -> None:
    for text in (PASSWORD, f"login('{PASSWORD}')", base64.b64encode(b"\0ann\0" + PASSWORD.encode()).decode()):
        assert occurrences(text)
    assert not occurrences("sasl_plain_password=***")


def routes_of(app: EVKafkaApp) -> list[str]:
    return sorted(set(paths(app.asgi().app.routes)))


async def first_snapshot(url: str) -> Answer:
    """Return the first event of the stream, which never ends."""
    async with httpx.AsyncClient(base_url=url, timeout=240) as client, client.stream("GET", STREAM) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                return Answer(answer.status_code, dict(answer.headers), line)
    raise AssertionError("the stream has ended")


@pytest.mark.kafka
class TestProcess:
    """The output of a running app, with its log and the client's log at DEBUG."""

    async def test_that_runs_shows_no_password(self, servers: str, planted: Any, tmp_path: Path) -> None:
        connection = producer_settings(LOGIN | {"bootstrap_servers": servers}).connection
        for topic in ("orders", "billed"):
            await create_topic(connection, topic)
        evkafka = Evkafka(
            tmp_path / "log", "run", "tests.acceptance.security.canary_app:app", "--log-level", "debug", servers=servers
        )
        try:
            found = await eventually(lambda: re.search(r"app: (http://\S+)", evkafka.output))
            url = found[1]
            async with EVKafkaProducer(LOGIN | {"bootstrap_servers": servers, "topic": "orders"}) as producer:  # type: ignore[arg-type]
                for fails in (False, True):
                    await producer.send_event({"fails": fails}, "OrderPlaced")

            async def is_dead_lettered() -> bool:
                return 'status="dead_lettered"' in (await get(url, "metrics")).text

            await eventually(is_dead_lettered)
            requested = [*routes_of(planted.make_app()), *WITH_QUERIES]
            shown = {path: await get(url, path.lstrip("/")) for path in requested if path != STREAM}
            shown[STREAM] = await first_snapshot(url)
            await self._use_token(url)
            evkafka.process.send_signal(signal.SIGTERM)
            assert await evkafka.wait() == 0
        finally:
            evkafka.process.kill()
        assert {"/", "/metrics", "/asyncapi.json", "/asyncapi.yaml", "/readyz", "/ui", "/ui/api/config"} <= set(shown)
        # `/ui/api/records` lacks its topic; `/ui/` redirects to `/ui`.
        assert {path: answer.code for path, answer in shown.items() if answer.code != 200} == {
            "/ui/api/records": 400,
            "/ui/": 307,
        }
        assert "sasl_plain_password" in shown["/ui/api/config"].text
        assert not {path: places for path, answer in shown.items() if (places := occurrences(answer.text))}
        assert not {path for path, answer in shown.items() if occurrences(str(answer.headers))}
        assert re.search(r"SaslAuthenticateRequest\w*\(<hidden>\)", evkafka.output)  # the client does log at DEBUG
        assert "sasl_plain_password=***" in evkafka.output
        assert "no such customer" in evkafka.output
        assert "evkafka.audit" in evkafka.output
        assert not occurrences(evkafka.output)

    async def _use_token(self, url: str) -> None:
        """Use the token, which is the password."""
        order = {"consumer": "billing", "topic": "orders", "partition": 0}
        async with httpx.AsyncClient(base_url=url, timeout=240) as client:
            for token, status in ((PASSWORD, 200), (PASSWORD + "x", 401)):
                headers = {"authorization": f"Bearer {token}"}
                answer = await client.post("ui/api/pause", json=order, headers=headers)
                assert answer.status_code == status
                assert not occurrences(answer.text)
            answer = await client.post("ui/enter", data={"token": PASSWORD})
            assert not occurrences(f"{answer.text} {answer.headers}")

    async def test_whose_login_is_refused_shows_no_password(self, servers: str, tmp_path: Path) -> None:
        for output in await commands(tmp_path, REFUSED, servers=servers, password="kolibri-wrong"):
            assert re.search("login|username or password", output)
            assert not occurrences(output)

    @pytest.mark.long
    async def test_of_every_command_shows_no_password(self, servers: str, tmp_path: Path) -> None:
        for line, output in zip(COMMANDS, await commands(tmp_path, COMMANDS, servers=servers), strict=True):
            assert output, line
            assert not occurrences(output), line


async def commands(tmp_path: Path, lines: Sequence[str], *, servers: str, password: str = PASSWORD) -> Sequence[str]:
    """Run the commands; return the output of each."""
    limit = asyncio.Semaphore(2)

    async def output_of(number: int, line: str) -> str:
        async with limit:
            evkafka = Evkafka(tmp_path / str(number), *line.split(), servers=servers, password=password)
            try:
                await evkafka.wait()
            finally:
                evkafka.process.kill()
            return evkafka.output

    return await asyncio.gather(*(output_of(number, line) for number, line in enumerate(lines)))


class TestAddresses:
    async def test_with_a_password_are_masked_in_the_error(self, tmp_path: Path) -> None:
        evkafka = Evkafka(
            tmp_path / "log",
            "run",
            "tests.acceptance.security.canary_app:app",
            "--log-level",
            "debug",
            servers=f"ann:{PASSWORD}@kafka:9092",
        )
        assert await evkafka.wait() == 2
        assert "***@kafka:9092" in evkafka.output
        assert not occurrences(evkafka.output)


class TestObjects:
    async def test_of_a_running_app_have_no_password_in_their_repr(self, planted: Any) -> None:
        app: EVKafkaApp = planted.make_app()
        async with InMemoryKafka() as kafka, kafka.running(app):
            await kafka.send("orders", {"fails": True}, event_type="OrderPlaced")
            await kafka.settle()
            seen = {id(found): repr(found) for found in reached_from(app)}
        assert len(seen) > 50
        assert not [text for text in seen.values() if occurrences(text)]

    def test_of_a_configuration_have_no_password_in_their_repr(self) -> None:
        config: Any = {"topics": ["orders"], "group_id": "g", **LOGIN}
        settings = consumer_settings({**config, "on_error": {"dead_letter_producer": LOGIN}})
        producer = EVKafkaProducer(LOGIN)  # type: ignore[arg-type]
        for made in (settings, settings.connection, producer, producer.settings, producer_settings(LOGIN)):
            assert not occurrences(f"{made!r} {made}")


class TestErrors:
    @pytest.mark.parametrize(
        "config",
        [
            {"sasl_plain_pasword": PASSWORD},
            {"sasl_plain_password": [PASSWORD]},
            {"ssl_key_password": PASSWORD},
            {"ssl_context": PASSWORD},
            {"sasl_oauth_token_provider": PASSWORD},
            {"schema_registry": {"url": f"http://ann:{PASSWORD}@registry", "basic.auth.user.info": f"ann:{PASSWORD}"}},
            {"bootstrap_servers": f"SASL_SSL://ann:{PASSWORD}@kafka:9092"},
            {"bootstrap_servers": [f"ann:{PASSWORD}@kafka"]},
            {"on_error": {"dead_letter_producer": {"sasl_plain_password": {PASSWORD: 1}}}},
            {"on_error": {"dead_letter_producer": {"token": PASSWORD}}},
            {"topics": [{"name": "a", "password": PASSWORD}]},
            {**LOGIN, "concurrency": 0},
        ],
        ids=lambda config: next(iter(config)),
    )
    def test_and_tracebacks_of_a_configuration_have_no_password(self, config: Mapping[str, Any]) -> None:
        app, full_config = EVKafkaApp(), ConsumerConfig(**{"topics": ["a"], "group_id": "g", **config})  # type: ignore[typeddict-item]
        with pytest.raises(ConfigError) as raised:
            app.add_consumer(full_config, lambda context: asyncio.sleep(0))
        assert not occurrences("".join(traceback.format_exception(raised.value)))
        assert not occurrences(repr(raised.value))


def reached_from(app: EVKafkaApp) -> list[object]:
    """Return the objects of EVKafka and aiokafka that are reachable from the app."""
    found: dict[int, object] = {}
    pending: list[object] = [app]
    while pending:
        one = pending.pop()
        if id(one) in found or isinstance(one, type) or type(one).__name__ in ("module", "function", "frame"):
            continue
        found[id(one)] = one
        if len(found) > 200_000:
            break
        pending += gc.get_referents(one)
    return [one for one in found.values() if type(one).__module__.startswith(("evkafka", "aiokafka"))]
