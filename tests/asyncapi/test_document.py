"""The AsyncAPI document: info, servers, channels, operations, messages."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from evkafka import ConfigError, Context, EVKafkaApp, Handler, Sender
from evkafka.asyncapi.dead_letters import HEADERS, SPRING_HEADERS
from evkafka.asyncapi.retry_topics import HEADERS as RETRY_HEADERS
from evkafka.config.settings import ErrorPolicySettings
from evkafka.runtime.dead_letters.headers import FailureInfo, dead_letter_headers
from evkafka.runtime.dead_letters.retry_topics import retry_headers
from evkafka.testing.memory.partition_log import MemoryRecord
from tests.asyncapi.documents import Order, document_of, look_up, message, official, one_consumer, shop


class TestInfo:
    def test_title_version_description_terms_contact_and_license_are_the_apps(self) -> None:
        assert document_of(shop())["info"] == {
            "title": "Shop",
            "version": "2.1.0",
            "description": "Sells *things*.",
            "termsOfService": "https://shop.example/terms",
            "contact": {"name": "The shop", "email": "shop@shop.example"},
            "license": {"name": "MIT"},
        }

    def test_an_app_without_declarations_has_a_document(self) -> None:
        document = document_of(EVKafkaApp())
        assert document["asyncapi"] == "3.0.0"
        assert document["info"] == {"title": "EVKafka", "version": "0.1.0"}
        assert document["channels"] == document["operations"] == {}


class TestServers:
    def test_a_cluster_is_a_server_with_its_name_and_description(self) -> None:
        servers = document_of(shop())["servers"]
        assert servers["Main-cluster"] == {
            "host": "one:9092,two:9092",
            "protocol": "kafka",
            "title": "Main cluster",
            "description": "Where the shop lives.",
        }

    def test_a_producer_with_the_same_brokers_is_on_the_same_cluster(self) -> None:
        document = document_of(shop())
        assert list(document["servers"]) == ["Main-cluster", "kafka"]
        assert document["channels"]["invoices"]["servers"] == [{"$ref": "#/servers/Main-cluster"}]

    def test_a_login_shows_only_its_mechanism(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None: ...

        app = one_consumer(
            handler,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="user",
            sasl_plain_password="hunter2",
        )
        document = document_of(app)
        assert document["servers"]["kafka"]["security"] == [{"$ref": "#/components/securitySchemes/sasl-scram-sha-512"}]
        assert document["components"]["securitySchemes"]["sasl-scram-sha-512"]["type"] == "scramSha512"
        assert "hunter2" not in app.asyncapi()
        assert "user" not in json.dumps(document["servers"])


class TestChannels:
    def test_a_topic_is_a_channel_with_its_description_and_binding(self) -> None:
        channel = document_of(shop())["channels"]["orders"]
        assert channel["address"] == "orders"
        assert channel["description"] == "All orders."
        assert channel["bindings"] == {"kafka": {"topic": "orders", "bindingVersion": "0.5.0"}}

    def test_a_topic_of_the_same_name_in_another_cluster_is_another_channel(self) -> None:
        channels = document_of(shop())["channels"]
        assert channels["orders.kafka"]["address"] == "orders"
        assert channels["orders.kafka"]["servers"] == [{"$ref": "#/servers/kafka"}]

    def test_a_topic_pattern_is_a_channel_without_an_address(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None: ...

        app = EVKafkaApp()
        app.add_consumer({"topic_pattern": r"orders\..*", "group_id": "g"}, handler, name="all")
        channel = document_of(app)["channels"]["all.topics"]
        assert channel["address"] is None
        assert channel["x-topic-pattern"] == r"orders\..*"
        assert channel["description"] == r"Every topic whose name matches `orders\..*`."

    def test_a_topic_without_endpoints_is_not_in_the_contract(self) -> None:
        assert document_of(one_consumer(Handler()))["channels"] == {}


class TestOperations:
    def test_a_received_event_type_names_its_group_and_client_as_schemas(self) -> None:
        operation = document_of(shop())["operations"]["receive.billing.orders.OrderPlaced"]
        assert operation["action"] == "receive"
        assert operation["channel"] == {"$ref": "#/channels/orders"}
        assert operation["messages"] == [{"$ref": "#/channels/orders/messages/OrderPlaced"}]
        assert operation["bindings"]["kafka"] == {
            "groupId": {"type": "string", "enum": ["billing"]},
            "clientId": {"type": "string", "enum": ["evkafka"]},
            "bindingVersion": "0.5.0",
        }
        assert operation["x-delivery"] == "at least once"
        assert operation["x-handler"].endswith("on_order")

    def test_an_event_type_is_received_from_each_of_the_consumers_topics(self) -> None:
        operations = document_of(shop())["operations"]
        assert {"receive.billing.orders.OrderPlaced", "receive.billing.orders-eu.OrderPlaced"} <= set(operations)

    def test_a_sent_event_is_a_send_operation_on_its_topic(self) -> None:
        operation = document_of(shop())["operations"]["send.invoices.invoices.InvoiceSent"]
        assert operation["action"] == "send"
        assert operation["channel"] == {"$ref": "#/channels/invoices"}

    def test_an_app_callable_is_an_operation_without_messages(self) -> None:
        async def take_all(context: Context) -> None: ...

        app = EVKafkaApp()
        app.add_consumer({"topics": ["raw"], "group_id": "g", "auto_commit_mode": "pre-commit"}, take_all)
        document = document_of(app)
        operation = document["operations"]["receive.consumer-1.raw.any"]
        assert operation["messages"] == []
        assert operation["x-delivery"] == "at most once"

    def test_an_exactly_once_consumer_says_so(self) -> None:
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_order(order: dict[str, str]) -> None: ...

        app = one_consumer(handler, auto_commit_mode="exactly-once")
        [operation] = document_of(app)["operations"].values()
        assert operation["x-delivery"] == "exactly once"

    def test_an_event_without_a_topic_is_sent_to_the_producers_topic(self) -> None:
        sender, app = Sender(), EVKafkaApp()

        @sender.event("X")
        async def send_x(event: dict[str, Any]) -> None: ...

        app.add_producer({"topic": "fallback"}, sender)
        assert list(document_of(app)["channels"]) == ["fallback"]


class TestMessages:
    def test_summary_description_and_tags_come_from_the_endpoint(self) -> None:
        found = message(document_of(shop()), "OrderPlaced")
        assert found["name"] == found["title"] == "OrderPlaced"
        assert found["summary"] == "An order came in"
        assert found["description"] == "Bills **it**."
        assert found["tags"] == [{"name": "orders"}, {"name": "billing"}]

    def test_the_headers_have_the_event_type(self) -> None:
        headers = message(document_of(shop()), "OrderPlaced")["headers"]
        assert headers["properties"]["Event-Type"]["const"] == "OrderPlaced"
        assert headers["required"] == ["Event-Type"]

    def test_the_key_of_a_sent_event_is_in_its_binding(self) -> None:
        binding = message(document_of(shop()), "InvoiceSent")["bindings"]["kafka"]
        assert binding["key"] == {"type": "string", "description": "The payload's `order_id`, as UTF-8"}

    def test_different_descriptions_of_an_event_type_are_different_messages(self) -> None:
        document = document_of(shop())
        assert message(document, "OrderPlaced.consumer-1")["description"] == "Writes it down."

    def test_an_event_that_is_received_and_sent_is_one_message(self) -> None:
        handler, sender = Handler(), Sender()

        @handler.event("OrderPlaced", summary="Handled here")
        async def on_order(order: Order) -> None: ...

        @sender.event("OrderPlaced", topic="orders", key_field="order_id")
        async def send_order(order: Order) -> None: ...

        app = one_consumer(handler)
        app.add_producer({}, sender)
        document = document_of(app)
        assert list(document["components"]["messages"]) == ["OrderPlaced"]
        assert message(document, "OrderPlaced")["summary"] == "Handled here"
        assert "kafka" in message(document, "OrderPlaced")["bindings"]


class TestDeadLetters:
    def test_the_topic_of_dead_letters_is_a_channel_with_its_headers(self) -> None:
        document = document_of(shop())
        channel = document["channels"]["orders.billing.dlq"]
        assert channel["address"] == "orders.billing.dlq"
        [reference] = channel["messages"].values()
        dead = message(document, reference["$ref"].rpartition("/")[2])
        assert {"Event-Type", "evkafka-dlq-topic", "evkafka-dlq-error-message"} <= set(dead["headers"]["properties"])
        assert dead["payload"] == message(document, "OrderPlaced")["payload"]

    def test_parts_of_the_name_that_depend_on_the_record_are_parameters(self) -> None:
        handler = Handler()

        @handler.event("X", on_error={"max_attempts": 1, "then": "dead_letter", "dead_letter_topic": "dead.{topic}"})
        async def on_x(event: dict[str, Any]) -> None: ...

        app = EVKafkaApp()
        app.add_consumer({"topic_pattern": "o.*", "group_id": "g"}, handler)
        channels = document_of(app)["channels"]
        [channel] = [one for one in channels.values() if one["address"] == "dead.{topic}"]
        assert set(channel["parameters"]) == {"topic"}

    @pytest.mark.parametrize(("style", "told"), [("evkafka", HEADERS), ("spring", SPRING_HEADERS)])
    def test_its_headers_match_those_of_real_dead_letters(self, style: Any, told: dict[str, str]) -> None:
        record = MemoryRecord(topic="t", partition=0, offset=0, timestamp=0, key=None, value=b"", headers=())
        story = FailureInfo("g", "X", 1, "", ValueError(), datetime.now(UTC))
        written = dead_letter_headers(record, story, ErrorPolicySettings(dead_letter_header_style=style), id_="id")
        assert {name for name, _ in written} == set(told)

    def test_a_dead_letter_producer_of_another_cluster_is_on_that_server(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None: ...

        policy = {"max_attempts": 1, "then": "dead_letter", "dead_letter_producer": {"bootstrap_servers": "far:9092"}}
        document = document_of(one_consumer(handler, on_error=policy))
        [reference] = document["channels"]["orders.billing.dlq"]["servers"]
        assert document["servers"][reference["$ref"].rpartition("/")[2]]["host"] == "far:9092"

    def test_unmatched_records_may_be_dead_letters(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None: ...

        document = document_of(one_consumer(handler, unmatched="dead_letter"))
        assert list(document["channels"]) == ["orders", "orders.billing.dlq"]

    def test_without_a_dead_letter_policy_there_is_no_channel(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: dict[str, Any]) -> None: ...

        assert list(document_of(one_consumer(handler))["channels"]) == ["orders"]


class TestText:
    def test_the_same_app_gives_the_same_text_in_another_process(self) -> None:
        program = "from tests.asyncapi.test_document import shop; print(shop().asyncapi())"
        told = {
            subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
            for _ in range(2)
        }
        assert told == {shop().asyncapi() + "\n"}

    def test_an_unresolved_annotation_is_an_error_that_names_it(self) -> None:
        handler = Handler()

        @handler.event("X")
        async def on_x(event: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(ConfigError, match="Nowhere"):
            one_consumer(handler).asyncapi()

    def test_the_validator_of_these_tests_refuses_an_invalid_document(self) -> None:
        document = document_of(shop())
        document["operations"]["receive.billing.orders.OrderPlaced"]["action"] = "publish"
        assert not official().is_valid(document)


class TestRetryTopics:
    def test_are_channels_that_the_app_writes_and_its_retry_consumer_reads(self) -> None:
        handler = Handler()

        @handler.event("OrderPlaced")
        async def on_placed(order: Order) -> None: ...

        @handler.event("Other", on_error={"retry_topics": None})
        async def on_other(other: dict[str, int]) -> None: ...

        policy = {"max_attempts": 2, "retry_topics": [5_000, 60_000], "then": "skip"}
        document = document_of(one_consumer(handler, on_error=policy))
        addresses = {channel["address"] for channel in document["channels"].values()}
        assert addresses == {"orders", "orders.billing.retry.5000", "orders.billing.retry.60000"}
        of_tiers = [one for one in document["operations"].values() if "x-retries-of" in one]
        assert sorted((one["action"], one["x-consumer"]) for one in of_tiers) == [
            *[("receive", "billing.retry")] * 2,
            *[("send", "billing")] * 2,
        ]
        reading = next(one for one in of_tiers if one["action"] == "receive")
        assert reading["bindings"]["kafka"]["groupId"] == {"type": "string", "enum": ["billing.retry"]}
        [reference] = reading["messages"]
        told = look_up(document, reference["$ref"])
        assert told["payload"] == message(document, "OrderPlaced")["payload"]
        assert {"Event-Type", "evkafka-retry-attempts", "evkafka-retry-offset"} <= set(told["headers"]["properties"])

    def test_have_the_headers_of_real_records(self) -> None:
        record = MemoryRecord(topic="t", partition=0, offset=0, timestamp=0, key=None, value=b"", headers=())
        written = retry_headers(record, FailureInfo("g", "X", 1, "", ValueError(), datetime.now(UTC)), id_="id")
        assert [name for name, _ in written] == [f"evkafka-retry-{name}" for name in RETRY_HEADERS]
