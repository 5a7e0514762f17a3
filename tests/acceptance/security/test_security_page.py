"""The page "Security": its connections, its error messages and its table of permissions. On a real Kafka."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.administration import allow
from tests.acceptance.security.certificates import Certificates
from tests.acceptance.security.logins import PASSWORD, login
from tests.acceptance.security.shop import Shop, check_app, refusal
from tests.acceptance.security.tokens import token
from tests.support.doc_pages import ROOT, blocks, file
from tests.support.waiting import eventually

PAGE = "docs/security.md"
ADDRESS = "kafka.example.org:9093"
LISTENERS = {"tls.py": "TLS", "mutual.py": "MUTUAL", "scram.py": "SECURE", "token.py": "SECURE"}


def connection(name: str, servers: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the page's file of this name beside `ca.pem` and `client.pem`; return its connection."""
    monkeypatch.chdir(certificates.folder)
    namespace: dict[str, Any] = {"__name__": "connection"}
    exec(compile(file(PAGE, name).replace(ADDRESS, servers), name, "exec", dont_inherit=True), namespace)
    keys: dict[str, Any] = namespace["connection"]
    return keys


def test_every_python_block_is_run() -> None:
    assert {block.title for block in blocks(PAGE) if block.language == "python"} == set(LISTENERS)


@pytest.mark.parametrize("name", LISTENERS)
async def test_an_app_works_with_each_connection(
    name: str, secured: KafkaBroker, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(token())
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    monkeypatch.setenv("KAFKA_TOKEN_FILE", str(tmp_path / "token"))
    listener = LISTENERS[name]
    keys = connection(name, secured.servers(listener), certificates, monkeypatch)
    assert keys["bootstrap_servers"] == secured.servers(listener)
    await check_app(secured, listener, keys)


def test_the_error_of_a_refused_login_is_the_one_of_the_page(
    secured: KafkaBroker, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "wrong")
    servers = secured.servers("SECURE")
    keys = connection("scram.py", servers, certificates, monkeypatch)
    code, message = refusal(Shop(secured.servers()).app(servers, keys, sends=False), caplog)
    [shown] = [block.code.strip() for block in blocks(PAGE) if block.language == "text"]
    assert code == 3
    assert message.replace(servers, ADDRESS) == shown


def test_every_error_of_the_table_has_a_test() -> None:
    """Each is in test_refused.py."""
    seen = (ROOT / "tests/acceptance/security/test_refused.py").read_text()
    table = (ROOT / PAGE).read_text().partition("| what is wrong |")[2].partition("\n\n")[0]
    sentences = [one for row in table.splitlines()[2:] for one in re.findall(r"`([^`]+)`", row.split("|")[2])]
    assert len(sentences) > 8
    assert not [one for one in sentences if one not in seen]


async def test_the_permissions_of_the_table_suffice(
    secured: KafkaBroker,
) -> None:
    shop = Shop(secured.servers())
    retries = f"{shop.orders}.{shop.group}.retry.50"
    await shop.make_topics(shop.orders, shop.bills, shop.dead, retries)
    for topic, rights in {
        shop.orders: ["read"],
        shop.bills: ["write"],
        shop.dead: ["write"],
        retries: ["read", "write"],
    }.items():
        await allow(shop.admin, "nora", "topic", topic, *rights)
    for group in (shop.group, f"{shop.group}.retry"):
        await allow(shop.admin, "nora", "group", group, "read")
    await shop.place(1, -1, 2)
    policy = {"max_attempts": 1, "retry_topics": [50], "then": "dead_letter"}
    async with shop.app(secured.servers("LOGIN"), login(user="nora"), on_error=policy).running():
        await eventually(lambda: shop.handled == [1, 2])
        assert await asyncio.wait_for(shop.read(shop.dead, 1), 60) == [-1]
        assert await shop.read(shop.bills, 2) == [1, 2]
