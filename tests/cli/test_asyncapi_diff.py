"""`evkafka asyncapi diff`: which changes break a client that writes to the app, or reads from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, create_model

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.cli.impl.asyncapi_diff import differences
from tests.cli.support import as_json, evkafka, stderr_of, write_app


def contract(direction: str, fields: dict[str, Any], *, topic: str = "orders", event: str = "OrderPlaced") -> Any:
    model = create_model("Order", **fields)
    app = EVKafkaApp()

    async def endpoint(order: model) -> None: ...  # type: ignore[valid-type]

    endpoint.__annotations__["order"] = model
    if direction == "receives":
        handler = Handler()
        handler.event(event)(endpoint)
        app.add_consumer({"topics": [topic], "group_id": "g"}, handler)
    else:
        sender = Sender()
        sender.event(event, topic=topic)(endpoint)
        app.add_producer({}, sender)
    return json.loads(app.asyncapi())


ID = {"id": (str, ...)}


@pytest.mark.parametrize(
    ("old", "new", "receiving_breaks", "sending_breaks"),
    [
        (ID, ID, None, None),
        (ID, {**ID, "note": (str, ...)}, True, False),
        (ID, {**ID, "note": (str, "")}, False, False),
        ({**ID, "note": (str, "")}, ID, False, True),
        (ID, {"id": (int, ...)}, True, True),
        (ID, {"id": (str | None, ...)}, False, True),
        ({"id": (str | None, ...)}, ID, True, False),
        ({"n": (int, ...)}, {"n": (float, ...)}, False, True),
    ],
)
def test_a_changed_payload(old: Any, new: Any, receiving_breaks: bool | None, sending_breaks: bool | None) -> None:
    for direction, breaks in (("receives", receiving_breaks), ("sends", sending_breaks)):
        changes = list(differences(contract(direction, old), contract(direction, new)))
        if breaks is None:
            assert changes == []
        else:
            assert any(change.breaks for change in changes) is breaks, (direction, changes)


def test_a_removed_event_breaks_and_a_new_event_does_not() -> None:
    before, after = contract("receives", ID), contract("receives", ID, event="OrderChanged")
    changes = {change.where: change.breaks for change in differences(before, after)}
    assert changes == {"receives OrderPlaced at orders": True, "receives OrderChanged at orders": False}


def test_a_change_in_a_nested_model_is_found() -> None:
    old, new = (create_model("Address", street=(kind, ...)) for kind in (str, int))
    before, after = (contract("receives", {**ID, "addresses": (list[one], ...)}) for one in (old, new))  # type: ignore[valid-type]
    changes = list(differences(before, after))
    assert {(change.breaks, change.where.rpartition(", ")[2]) for change in changes} == {
        (True, "payload.addresses[].street"),
        (False, "payload.addresses[].street"),
    }


def test_a_recursive_model_is_compared_to_its_end() -> None:
    class Part(BaseModel):
        parts: list[Part] = []

    Part.model_rebuild(_types_namespace={"Part": Part})
    assert (
        list(differences(contract("receives", {"root": (Part, ...)}), contract("receives", {"root": (Part, ...)})))
        == []
    )


class TestCommand:
    def test_a_file_against_an_app(self, tmp_path: Path) -> None:
        write_app(tmp_path, servers="k:9092", topic="orders")
        assert evkafka(tmp_path, "asyncapi", "shop:app", "-o", "old.yaml").returncode == 0
        same = evkafka(tmp_path, "asyncapi", "diff", "old.yaml", "shop:app")
        assert (same.returncode, same.stdout) == (0, "no differences\n")
        source = (tmp_path / "shop.py").read_text()
        (tmp_path / "shop.py").write_text(source.replace("cents: int", "cents: int\n    currency: str"))
        changed = evkafka(tmp_path, "asyncapi", "diff", "old.yaml", "shop:app", "--json")
        assert changed.returncode == 1
        report = as_json(changed)
        assert report["breaking"] == 1
        [breaking] = [change for change in report["changes"] if change["breaks"]]
        assert "payload.currency" in breaking["where"]

    def test_a_file_without_a_contract_is_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text("{}")
        assert "a.json is not an AsyncAPI 3 document" in stderr_of(
            evkafka(tmp_path, "asyncapi", "diff", "a.json", "a.json"), 2
        )
