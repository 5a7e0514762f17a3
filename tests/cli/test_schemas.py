"""`evkafka schemas`: the schemas of the events that an app sends."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evkafka.cli.impl.check_schemas import schema_findings
from evkafka.testing import InMemoryRegistry
from tests.cli.support import evkafka

APP = """
from typing import Any
from pydantic import BaseModel
from evkafka import EVKafkaApp, Sender
from evkafka.formats import Avro, JsonSchema, SchemaRegistry

class OrderPaid(BaseModel):
    order: str
    cents: int

registry = SchemaRegistry({url!r}, timeout_ms=2000)
sender = Sender(value_format=Avro(registry))

@sender.event("OrderPaid", topic="payments")
async def send_paid(event: OrderPaid) -> None: ...

@sender.event("Note", topic="notes", value_format=JsonSchema(registry))
async def send_note(event: OrderPaid) -> None: ...

@sender.event("Loose", topic="loose")
async def send_loose(event: dict[str, Any]) -> None: ...

@sender.event("Plain", topic="plain", value_format="json")
async def send_plain(event: OrderPaid) -> None: ...

app = EVKafkaApp()
app.add_producer({{}}, sender)
"""

OLDER = {"type": "record", "name": "OrderPaid", "fields": [{"name": "order", "type": "string"}]}


@pytest.fixture
def registry() -> Iterator[InMemoryRegistry]:
    with InMemoryRegistry() as registry:
        registry.register("loose-value", {"type": "record", "name": "Loose", "fields": []})
        yield registry


@pytest.fixture
def directory(tmp_path: Path, registry: InMemoryRegistry) -> Iterator[str]:
    (tmp_path / "paid_shop.py").write_text(APP.format(url=registry.url), encoding="utf-8")
    yield str(tmp_path)
    sys.modules.pop("paid_shop", None)


def states(printed: str) -> dict[str, str]:
    return {one["subject"]: one["state"] for one in json.loads(printed)}


class TestShow:
    def test_prints_each_schema_under_its_subject(self, call: Any, directory: str, registry: InMemoryRegistry) -> None:
        ended = call("schemas", "show", "paid_shop:app", "--app-dir", directory)
        assert ended.code == 0, ended.err
        assert "payments-value  Avro, event OrderPaid to topic payments" in ended.out
        assert '"type": "record"' in ended.out
        assert "notes-value  JsonSchema, event Note to topic notes" in ended.out
        assert "(the latest schema of the subject)" in ended.out
        assert "plain" not in ended.out
        assert registry.requests == []

    def test_prints_json_for_programs(self, call: Any, directory: str) -> None:
        ended = call("schemas", "show", "paid_shop:app", "--app-dir", directory, "--json")
        paid, note, loose = json.loads(ended.out)
        assert (paid["subject"], paid["type"], paid["schema"]["name"]) == ("payments-value", "AVRO", "OrderPaid")
        assert (note["type"], note["schema"]["title"]) == ("JSON", "OrderPaid")
        assert loose["schema"] is None


class TestRegister:
    def test_registers_what_is_missing(self, call: Any, directory: str, registry: InMemoryRegistry) -> None:
        for state in ("registered", "unchanged"):
            ended = call("schemas", "register", "paid_shop:app", "--app-dir", directory, "--json")
            assert ended.code == 0, ended.err
            assert states(ended.out) == {"payments-value": state, "notes-value": state, "loose-value": "unchanged"}
        assert len(registry.versions("payments-value")) == 1

    def test_says_why_one_was_refused_and_registers_the_others(
        self, call: Any, directory: str, registry: InMemoryRegistry
    ) -> None:
        registry.register("payments-value", OLDER)
        registry.make_incompatible("payments-value", "cents has no default")
        ended = call("schemas", "register", "paid_shop:app", "--app-dir", directory)
        assert ended.code == 1
        assert "payments-value: refused by the registry" in ended.out
        assert "cents has no default" in ended.out
        assert "notes-value: registered, id" in ended.out


class TestCheck:
    def test_changes_nothing(self, call: Any, directory: str, registry: InMemoryRegistry) -> None:
        registry.register("payments-value", OLDER)
        ended = call("schemas", "check", "paid_shop:app", "--app-dir", directory, "--json")
        assert (ended.code, states(ended.out)) == (
            0,
            {"payments-value": "compatible", "notes-value": "new", "loose-value": "unchanged"},
        )
        assert len(registry.versions("payments-value")) == 1
        assert registry.versions("notes-value") == []

    def test_exits_with_1_if_a_schema_is_incompatible(
        self, call: Any, directory: str, registry: InMemoryRegistry
    ) -> None:
        for subject, kind in (("payments-value", "AVRO"), ("notes-value", "JSON")):
            registry.register(subject, OLDER if kind == "AVRO" else {"type": "object"}, kind)
            registry.make_incompatible(subject, f"why {kind}")
        ended = call("schemas", "check", "paid_shop:app", "--app-dir", directory)
        assert ended.code == 1
        assert "payments-value: incompatible with the latest version" in ended.out
        assert "why AVRO" in ended.out
        assert 'ConfigDict(extra="forbid")' in ended.out

    def test_exits_with_1_if_there_is_no_schema_to_write_by(self, call: Any, tmp_path: Path) -> None:
        with InMemoryRegistry() as empty:
            (tmp_path / "paid_shop.py").write_text(APP.format(url=empty.url), encoding="utf-8")
            ended = call("schemas", "check", "paid_shop:app", "--app-dir", str(tmp_path), "--json")
            sys.modules.pop("paid_shop", None)
        assert (ended.code, states(ended.out)["loose-value"]) == (1, "missing")


class TestErrors:
    def test_a_registry_that_is_away_is_exit_code_3(
        self, call: Any, directory: str, registry: InMemoryRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evkafka.serde.formats.registry.TRY_AGAIN_S", 0.0)
        registry.go_away()
        ended = call("schemas", "check", "paid_shop:app", "--app-dir", directory)
        assert ended.code == 3
        assert "cannot be reached" in ended.err

    def test_a_type_without_a_schema_is_exit_code_2(self, call: Any, directory: str) -> None:
        module = Path(directory) / "paid_shop.py"
        module.write_text(module.read_text().replace("cents: int", "cents: Any"))
        ended = call("schemas", "show", "paid_shop:app", "--app-dir", directory)
        assert ended.code == 2
        assert "OrderPaid.cents: Avro has no type for Any" in ended.err

    def test_an_app_without_schemas_says_so(self, call: Any, tmp_path: Path) -> None:
        (tmp_path / "paid_shop.py").write_text("from evkafka import EVKafkaApp\napp = EVKafkaApp()\n")
        ended = call("schemas", "check", "paid_shop:app", "--app-dir", str(tmp_path))
        sys.modules.pop("paid_shop", None)
        assert (ended.code, ended.out.strip()) == (
            0,
            "the app sends no events with a schema: no sender has a value_format",
        )


class TestCheckOfTheApp:
    """The findings of `evkafka check` about schemas."""

    def findings(self, directory: str) -> dict[str, tuple[str, str]]:
        sys.path.insert(0, directory)
        try:
            app: Any = importlib.import_module("paid_shop").app
            found = asyncio.run(schema_findings(app, "paid_shop:app"))
        finally:
            sys.path.remove(directory)
        return {about: (level, fix) for level, about, _, fix in found}

    def test_names_the_command_for_schemas_that_are_missing(self, directory: str, registry: InMemoryRegistry) -> None:
        found = self.findings(directory)
        assert found[registry.url] == ("ok", "")
        assert found["payments-value"] == ("error", "evkafka schemas register paid_shop:app")
        assert found["loose-value"] == ("ok", "")

    def test_says_that_a_registry_is_away(
        self, directory: str, registry: InMemoryRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("evkafka.serde.formats.registry.TRY_AGAIN_S", 0.0)
        with registry.outage():
            found = self.findings(directory)
        assert found == {registry.url: ("error", "check its URL, `auth` and `ssl_context`")}


def test_a_schema_is_shown_registered_and_checked(tmp_path: Path, registry: InMemoryRegistry) -> None:
    (tmp_path / "paid_shop.py").write_text(APP.format(url=registry.url), encoding="utf-8")
    ended = [evkafka(tmp_path, "schemas", command, "paid_shop:app") for command in ("show", "register", "check")]
    assert [one.returncode for one in ended] == [0, 0, 0], ended
    assert "payments-value: already registered" in ended[-1].stdout
