"""The box that `evkafka dev` prints before the app starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from evkafka import EVKafkaApp, Handler
from evkafka.cli.impl import dev_box
from evkafka.config import ConsumerConfig
from evkafka.web.component import TOKEN_VARIABLE

TOKEN = "a-token-that-nobody-can-guess"

Box = Callable[[EVKafkaApp], str]


class Order(BaseModel):
    id: str


def handler_of(*event_types: str) -> Handler:
    handler = Handler()

    async def endpoint(order: Order) -> None: ...

    for event_type in event_types:
        handler.event(event_type)(endpoint)
    return handler


def make_app(handler: Handler, ui_token: str | None = None, **config: object) -> EVKafkaApp:
    app = EVKafkaApp(title="Shop", version="1.2", web=True, web_port=8081, ui_token=ui_token)
    source: ConsumerConfig = {"topics": ["orders"], "bootstrap_servers": "nowhere:1", "group_id": "g"}
    app.add_consumer({**source, **config}, handler, "orders")
    return app


@pytest.fixture
def box(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Box:
    """Prints the box of an app on a narrow terminal."""
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setenv("COLUMNS", "60")

    def printed(app: EVKafkaApp) -> str:
        dev_box.print_box(app, "localhost:9092", "--app shop:app")
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return printed


class TestBox:
    def test_names_the_dashboard_the_api_docs_the_token_and_the_broker(self, box: Box) -> None:
        printed = box(make_app(handler_of("OrderPlaced")))
        assert "Shop 1.2" in printed
        assert "Dashboard  http://127.0.0.1:8081/ui\n" in printed
        assert "API docs   http://127.0.0.1:8081/\n" in printed
        assert f"Token      {TOKEN}\n" in printed
        assert "Broker     localhost:9092\n" in printed

    def test_lists_each_consumer_with_its_topics_and_events(self, box: Box) -> None:
        app = make_app(handler_of("OrderPlaced", "OrderPaid"))
        app.add_consumer({"topic_pattern": "audit-.*", "bootstrap_servers": "nowhere:1"}, handler_of(), "audit")
        printed = box(app)
        assert "Consumers  orders reads orders: OrderPlaced, OrderPaid\n" in printed
        assert "           audit reads /audit-.*/: no events\n" in printed

    def test_a_default_endpoint_takes_all_other_events(self, box: Box) -> None:
        handler = handler_of("OrderPlaced")

        @handler.default()
        async def others(value: bytes) -> None: ...

        assert "orders: OrderPlaced, all other events\n" in box(make_app(handler))

    def test_of_many_event_types_it_lists_eight_and_counts_the_others(self, box: Box) -> None:
        printed = box(make_app(handler_of(*(f"Type{number}" for number in range(30)))))
        assert "Type7, and 22 more\n" in printed
        assert "Type8," not in printed

    def test_the_command_that_sends_an_event_is_one_line_which_a_shell_reads(self, box: Box) -> None:
        printed = box(make_app(handler_of("OrderPlaced")))
        found = re.search(r"^ *(evkafka send .*)$", printed, re.MULTILINE)
        assert found is not None
        command = shlex.split(found[1])
        assert command[:3] == ["evkafka", "send", "orders"]
        Order.model_validate_json(command[3])
        assert command[4:] == ["--type", "OrderPlaced", "--app", "shop:app"]

    def test_without_an_example_it_has_no_command(self, box: Box) -> None:
        assert "evkafka send" not in box(make_app(handler_of()))

    def test_a_token_of_the_app_itself_is_not_printed(self, box: Box) -> None:
        printed = box(make_app(handler_of("OrderPlaced"), ui_token="a secret of the deployment"))
        assert "a secret of the deployment" not in printed
        assert "Token      the app's ui_token\n" in printed

    def test_without_the_extra_it_says_how_to_get_the_dashboard(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dev_box, "missing_packages", lambda: ["starlette"])
        assert "Dashboard  not served: pip install 'evkafka[web]'\n" in box(make_app(handler_of("OrderPlaced")))

    def test_a_title_begins_no_line_of_its_own(self, box: Box) -> None:
        app = make_app(handler_of("OrderPlaced"))
        app.title = "Shop\nToken      forged"
        assert not re.search("^ *Token +forged", box(app), re.MULTILINE)
