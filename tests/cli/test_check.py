"""`evkafka check`, `routes`, `info`: findings, output and exit codes."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from evkafka.broker import KafkaBroker
from tests.acceptance.security.logins import PASSWORD, logins
from tests.cli.support import as_json, environment, evkafka, stderr_of, write_app
from tests.support.kafka_topics import MakeTopic

DOUBTFUL = """
from typing import Any
from evkafka import EVKafkaApp, Handler, Sender

handler, empty, sender = Handler(), Handler(), Sender()

@handler.event("OrderPlaced", timeout_ms=60_000)
async def on_order(event: dict[str, Any]) -> None: ...

@sender.event("Lost")
async def send_lost(event: dict[str, Any]) -> None: ...

app = EVKafkaApp()
app.add_consumer({"topics": ["orders"], "drain_timeout_ms": 40_000, "heartbeat_interval_ms": 5000}, handler, "orders")
app.add_consumer({"topics": ["orders"], "group_id": "g"}, empty, "empty")
app.add_producer({}, sender, "lost")
"""

SHARED_ID = """
from evkafka import EVKafkaApp, Handler

app = EVKafkaApp()
for name, id_ in (("a", "shop"), ("b", "shop.retry")):
    handler = Handler()

    @handler.event("E", on_error={"max_attempts": 2, "retry_topics": [1000], "then": "skip"})
    async def on_event(event: dict) -> None: ...

    config = {"topics": [name], "group_id": name, "auto_commit_mode": "exactly-once", "transactional_id": id_}
    app.add_consumer(config, handler, name)
"""

WEAK_ACKS = """
from evkafka import EVKafkaApp, Handler, Sender

handler, sender = Handler(), Sender()

@handler.event("E")
async def on_event(event: dict) -> None: ...

@sender.event("Out", topic="out")
async def send_out(event: dict) -> None: ...

app = EVKafkaApp()
app.add_consumer({"topics": ["in"], "group_id": "g", "auto_commit_mode": "exactly-once"}, handler, "orders")
app.add_producer({"acks": 1}, sender, "bills")
"""

UNDESCRIBED = """
from pydantic import BaseModel
from evkafka import EVKafkaApp, Handler

handler = Handler()

class Order(BaseModel):
    code: str

    @classmethod
    def __get_pydantic_json_schema__(cls, schema, handler):
        raise KeyError("a bug")

@handler.event("OrderPlaced")
async def on_order(order: Order) -> None: ...

app = EVKafkaApp()
app.add_consumer({"topics": ["orders"], "group_id": "g"}, handler)
"""

SECURED = """
from typing import Any
from evkafka import EVKafkaApp, Handler, Sender

LOGIN = {{
    "bootstrap_servers": "{servers}", "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN",
    "sasl_plain_username": "{user}", "sasl_plain_password": "{password}",
}}
handler, sender = Handler(), Sender()

@handler.event("OrderPlaced")
async def on_order(event: dict[str, Any]) -> None: ...

@sender.event("Invoice", topic="invoices")
async def send_invoice(event: dict[str, Any]) -> None: ...

app = EVKafkaApp()
app.add_consumer({{**LOGIN, "topics": ["orders"], "group_id": "billing"}}, handler, "orders")
app.add_producer(LOGIN, sender, "invoices")
"""


class TestCheck:
    async def test_a_working_app_is_exit_code_0_and_a_missing_topic_is_1(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path
    ) -> None:
        name = await topic(partitions=3)
        write_app(tmp_path, servers=kafka_broker.bootstrap_servers, topic=name)
        missing = evkafka(tmp_path, "check", "shop:app", "--json")
        assert missing.returncode == 1
        [error] = [one for one in as_json(missing)["findings"] if one["level"] == "error"]
        assert (error["check"], error["about"]) == ("topic", f"{name}.invoices")
        assert "evkafka topics create" in error["fix"]

        await topic(name=f"{name}.invoices")
        ended = evkafka(tmp_path, "check", "shop:app")
        assert ended.returncode == 0, ended.stdout
        assert ended.stdout.splitlines()[-1] == "OK"
        assert f"may join group '{name}.group'" in ended.stdout
        assert "invoices may write" in ended.stdout
        assert "classic protocol; the brokers offer the consumer protocol too" in ended.stdout

    async def test_more_metadata_than_the_brokers_accept_is_a_warning(
        self, kafka_broker: KafkaBroker, topic: MakeTopic, tmp_path: Path
    ) -> None:
        name = await topic(partitions=3)
        await topic(name=f"{name}.invoices")
        write_app(tmp_path, servers=kafka_broker.bootstrap_servers, topic=name)
        shop = tmp_path / "shop.py"
        shop.write_text(shop.read_text().replace('"group_id":', '"commit_metadata_max_bytes": 5000, "group_id":', 1))

        def warnings(*options: str) -> list[str]:
            findings = as_json(evkafka(tmp_path, "check", "shop:app", "--json", *options))["findings"]
            return [f"{one['about']}: {one['message']}" for one in findings if one["level"] == "warning"]

        sentence = "commit_metadata_max_bytes 5000 is more than the brokers accept"
        assert f"orders: {sentence} (offset.metadata.max.bytes 4096)" in warnings()
        assert f"orders: {sentence} by default (offset.metadata.max.bytes 4096)" in warnings("--no-broker")

    def test_without_a_broker_only_the_app_is_checked(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(DOUBTFUL)
        ended = evkafka(tmp_path, "check", "shop:app", "--no-broker", "--json")
        assert ended.returncode == 1
        findings = as_json(ended)["findings"]
        messages = {(one["level"], one["check"], one["about"]): one["message"] for one in findings}
        assert "group_id" in messages["error", "config", "orders"]
        assert messages["error", "wiring", "lost"] == "'Lost' has no topic"
        assert messages["warning", "wiring", "empty"] == "its handler has no endpoint"
        warnings = " ".join(one["message"] for one in findings if one["level"] == "warning")
        for sentence in ("heartbeat_interval_ms 5000", "drain_timeout_ms 40000 is longer", "may take 60000 ms"):
            assert sentence in warnings

    def test_a_note_fails_no_check_not_even_a_strict_one(self, tmp_path: Path) -> None:
        write_app(tmp_path, servers="127.0.0.1:1", topic="orders")
        shop = tmp_path / "shop.py"
        shop.write_text(shop.read_text().replace('"on_error"', '"max_endpoint_exec_time_ms": 18_000, "on_error"'))
        ended = evkafka(tmp_path, "check", "shop:app", "--no-broker", "--strict", "--json")
        assert ended.returncode == 0
        notes = {one["about"]: one["message"] for one in as_json(ended)["findings"] if one["level"] == "note"}
        assert "revoke_drain_timeout_ms" in notes["orders"]

    def test_consumers_with_one_transactional_id_are_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(SHARED_ID)
        ended = evkafka(tmp_path, "check", "shop:app", "--no-broker", "--json")
        assert ended.returncode == 1
        [error] = [one for one in as_json(ended)["findings"] if one["level"] == "error"]
        assert "consumers 'a.retry' and 'b' have the same transactional_id 'shop.retry'" in error["message"]

    def test_a_producer_that_confirms_less_than_a_transaction_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(WEAK_ACKS)
        ended = evkafka(tmp_path, "check", "shop:app", "--no-broker", "--json")
        assert ended.returncode == 1
        [error] = [one for one in as_json(ended)["findings"] if one["level"] == "error"]
        assert "producer 'bills' has acks 1" in error["message"]

    def test_a_contract_that_cannot_be_built_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(UNDESCRIBED)
        ended = evkafka(tmp_path, "check", "shop:app", "--no-broker", "--json")
        assert ended.returncode == 1
        [finding] = [one for one in as_json(ended)["findings"] if one["check"] == "asyncapi"]
        assert finding["level"] == "error"
        assert "the payload Order cannot be described as a JSON Schema: KeyError: 'a bug'" in finding["message"]

    def test_a_failing_import_is_an_error(self, tmp_path: Path) -> None:
        ended = evkafka(tmp_path, "check", "shop:app")
        assert ended.returncode == 1
        assert "no module 'shop'" in ended.stdout
        assert ended.stderr == ""

    @pytest.mark.long
    def test_a_broker_that_is_not_there(self, tmp_path: Path) -> None:
        write_app(tmp_path, servers="127.0.0.1:1", topic="orders")
        ended = evkafka(tmp_path, "check", "shop:app")
        assert ended.returncode == 1
        assert "connection refused" in ended.stdout

    @pytest.mark.long
    def test_missing_permissions_are_named(self, tmp_path: Path) -> None:
        properties: dict[str, str | int | bool] = {
            "auto.create.topics.enable": False,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:ann",
            **logins("LOGIN"),
        }
        with KafkaBroker(properties=properties, listeners={"LOGIN": "SASL_PLAINTEXT"}) as broker:
            servers = broker.servers("LOGIN")

            def check(user: str) -> tuple[int, str]:
                text = SECURED.format(servers=servers, user=user, password=PASSWORD)
                (tmp_path / "shop.py").write_text(text)
                ended = evkafka(tmp_path, "check", "shop:app")
                return ended.returncode, ended.stdout

            (tmp_path / "shop.py").write_text(SECURED.format(servers=servers, user="ann", password=PASSWORD))
            assert evkafka(tmp_path, "topics", "create", "shop:app").returncode == 0
            assert check("ann") == (0, check("ann")[1])
            code, printed = check("nora")
            assert code == 1
            # A user who may not DESCRIBE a topic gets the answer that it does not exist.
            assert "orders" in printed
            assert "READ of group 'billing'" in printed


class TestOtherCommands:
    def test_routes_are_a_tree_or_json(self, tmp_path: Path) -> None:
        write_app(tmp_path, servers="127.0.0.1:1", topic="orders")
        tree = evkafka(tmp_path, "routes", "shop:app").stdout
        assert "consumer orders reads orders as group orders.group" in tree
        assert "OrderPlaced -> shop.on_order  Order" in tree
        assert "Invoice -> orders.invoices" in tree
        routes = as_json(evkafka(tmp_path, "routes", "shop:app", "--json"))
        assert routes["consumers"][0]["endpoints"][0]["payload"] == "Order"

    def test_info_shows_versions_and_extras(self, tmp_path: Path) -> None:
        info = as_json(evkafka(tmp_path, "info", "--json"))
        assert info["extras"]["cli"] is True
        assert info["packages"]["aiokafka"].startswith("0.14")
        assert set(info["extras"]) == set(importlib.metadata.metadata("evkafka").get_all("Provides-Extra") or ())

    def test_a_misspelt_command_names_the_nearest(self, tmp_path: Path) -> None:
        assert "Did you mean 'check'?" in stderr_of(evkafka(tmp_path, "chek"), 2)

    def test_completion_is_available(self, tmp_path: Path) -> None:
        script = Path(sys.executable).with_name("evkafka")
        asked = {"_EVKAFKA_COMPLETE": "complete_bash", "COMP_WORDS": "evkafka t", "COMP_CWORD": "1"}
        ended = subprocess.run([script], env=environment(**asked), capture_output=True, text=True, timeout=240)
        assert ended.stdout.split() == ["tail", "topics"]
