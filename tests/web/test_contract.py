"""The API documentation: content, search, links, and hostile descriptions."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel, Field, create_model

from evkafka import EVKafkaApp, Handler, Sender
from evkafka.testing import InMemoryKafka
from evkafka.web import application
from evkafka.web.contract import render_contract_page
from evkafka.web.markdown import render_markdown, url_or_hash_if_unsafe
from evkafka.web.schema_text import describe_schema
from evkafka.web.search import RESULTS_MAX, SearchIndex
from tests.asyncapi.documents import shop
from tests.support.http_client import get
from tests.web.apps import app_with, handling
from tests.web.asgi import ask

OWN_SCRIPTS = ["static/ui/theme.js", "static/ui/documentation.js"]
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """A parsed page: its text, ids and links. Raises AssertionError if tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.attributes: list[str] = []
        self.headings: list[int] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append(name)
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
        if tag == "script":
            self.scripts.append(dict(attrs).get("src") or "inline")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "br":
            self.words.append(" ")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def page_of(app: EVKafkaApp, query: str = "") -> Page:
    return Page(render_contract_page(json.loads(app.asyncapi()), query))


class Line(BaseModel):
    product: str = Field(description="Its *name*.", max_length=20)
    count: int = Field(1, ge=1)


class Basket(BaseModel):
    """What somebody wants."""

    lines: list[Line]
    note: str | None = None


def baskets() -> EVKafkaApp:
    handler, sender = Handler(), Sender()

    @handler.event("BasketFilled", summary="Somebody wants things", tags=["shop"])
    async def on_basket(basket: Basket) -> None:
        """Takes it in."""

    @sender.event("Packed", topic="parcels", key_field="note")
    async def packed(basket: Basket) -> None: ...

    app = EVKafkaApp(title="Shop", version="3.1")
    app.add_consumer({"topics": ["baskets"], "group_id": "packing"}, handler, name="packing")
    app.add_producer({}, sender, name="parcels")
    return app


class TestReading:
    def test_it_shows_who_receives_and_sends_what(self) -> None:
        text = page_of(baskets()).text
        assert "Shop 3.1" in text
        assert "receives BasketFilled consumer packing, group packing, at least once" in text
        assert "sends Packed producer parcels" in text
        assert "Somebody wants things" in text
        assert "Takes it in." in text
        assert "Key: string The payload's `note`, as UTF-8" in text

    def test_it_shows_fields_with_bounds_and_defaults(self) -> None:
        text = page_of(baskets()).text
        assert "product required string, at most 20 characters Its name." in text
        assert "count integer, ≥ 1 default 1" in text
        assert "lines required list of Line" in text

    def test_it_shows_an_example(self) -> None:
        assert '"product": "text"' in page_of(baskets()).text

    def test_it_shows_clusters_terms_contact_and_license(self) -> None:
        page = page_of(shop())
        assert "Main cluster Where the shop lives. one:9092,two:9092" in page.text
        assert {"https://shop.example/terms", "mailto:shop@shop.example"} <= set(page.links)
        assert "MIT" in page.text

    def test_a_column_without_content_is_left_out(self) -> None:
        html = page_of(baskets()).html
        tables = dict(re.findall(r'aria-label="Fields of (\w+)">(.*?)</table>', html, re.DOTALL))
        assert ">Description</th>" in tables["Line"]
        assert ">Description</th>" not in tables["Basket"]
        assert all(">Field</th>" in table and ">Type</th>" in table for table in tables.values())

    def test_copies_of_events_in_dead_letter_topics_are_folded(self) -> None:
        app = app_with(handling(), on_error={"max_attempts": 1, "retry_topics": [5_000], "then": "dead_letter"})
        html = page_of(app).html
        before, _, folded = html.partition("<summary>Copies of events in dead-letter and retry topics (")
        assert 'id="message-OrderPlaced"' in before
        assert "dead-letter" in "".join(re.findall(r'id="message-([^"]*)"', folded))
        assert "dead-letter" not in "".join(re.findall(r'id="message-([^"]*)"', before))
        assert 'id="channel-orders"' in before.partition("<summary>Dead-letter and retry topics (2)</summary>")[0]
        assert 'class="folded" open' not in html

    def test_copies_of_events_are_unfolded_by_a_search(self) -> None:
        app = app_with(handling(), on_error={"max_attempts": 1, "then": "dead_letter"})
        assert 'class="folded" open' in page_of(app, "dlq").html

    def test_it_marks_dead_letter_topics(self) -> None:
        assert "dead letters of orders" in page_of(shop()).text

    def test_an_app_without_declarations_has_a_page(self) -> None:
        text = page_of(EVKafkaApp()).text
        assert "This app reads and writes no topic: add a consumer or a producer." in text
        assert "This app declares no event." in text

    @pytest.mark.parametrize("app", [baskets(), shop(), EVKafkaApp()])
    def test_every_internal_link_has_a_target_and_ids_are_unique(self, app: EVKafkaApp) -> None:
        page = page_of(app)
        assert len(page.ids) == len(set(page.ids))
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)

    @pytest.mark.parametrize("app", [baskets(), shop(), EVKafkaApp()])
    def test_its_scripts_are_its_own_and_nothing_is_inline(self, app: EVKafkaApp) -> None:
        page = page_of(app)
        assert page.scripts == OWN_SCRIPTS
        assert not {"style", "iframe", "object"} & set(page.tags)
        assert not [name for name in page.attributes if name == "style" or name.startswith("on")]

    def test_headings_go_down_one_level_at_a_time(self) -> None:
        headings = page_of(baskets()).headings
        assert headings[0] == 1
        assert headings.count(1) == 1
        assert all(below <= above + 1 for above, below in pairwise(headings))

    def test_nothing_is_fetched_from_other_hosts(self) -> None:
        html = page_of(shop()).html
        assert not re.findall(r'(?:src|action)="https?:', html)
        assert re.findall(r'<link[^>]*href="([^"]*)"', html) == ["data:,", "static/ui/ui.css", "static/contract.css"]


class TestSearching:
    def test_it_finds_messages_by_the_names_of_their_fields(self) -> None:
        page = page_of(baskets(), "product")
        assert "schema-Line" in page.ids
        assert "schema-Basket" not in page.ids

    def test_all_words_must_match_in_any_case(self) -> None:
        page = page_of(baskets(), "BASKETFILLED somebody")
        assert "message-BasketFilled" in page.ids
        assert "message-Packed" not in page.ids

    def test_no_result_is_reported(self) -> None:
        assert "0 found for “nothing-like-it”" in page_of(baskets(), "nothing-like-it").text

    def test_the_query_is_shown_in_the_field_as_text(self) -> None:
        page = page_of(baskets(), '"><script>alert(1)</script>')
        assert page.scripts == OWN_SCRIPTS

    async def test_the_field_is_a_plain_form(self) -> None:
        app = app_with()
        answer = await ask(app.asgi(), "/", "q=OrderPlaced")
        assert "2 found for “OrderPlaced”" in Page(answer.text).text

    def test_a_very_long_search_is_cut(self) -> None:
        assert "x" * 101 not in page_of(baskets(), "x" * 5000).html


HOSTILE = """
# Heading <script>alert(1)</script>

<img src=x onerror=alert(2)> <style>*{display:none}</style>

[click](javascript:alert(3)) [data](data:text/html,x) ![i](https://evil.example/x.png) [a](https://ok.example/)

{{ 7 * 7 }} </main>
"""


class TestHostileText:
    def hostile(self) -> EVKafkaApp:
        handler = Handler()

        @handler.event("X", summary=HOSTILE, description=HOSTILE, tags=["<b>", "t"])
        async def on_x(event: dict[str, Any]) -> None: ...

        app = EVKafkaApp(
            title="<script>alert(0)</script>",
            description=HOSTILE,
            terms_of_service="javascript:alert(4)",
            contact={"url": "javascript:alert(5)", "name": "<i>"},
        )
        app.add_consumer(
            {"topics": [{"name": "t", "description": HOSTILE}], "group_id": "<g>", "cluster_description": HOSTILE},
            handler,
        )
        return app

    def test_descriptions_add_no_tags_scripts_or_unsafe_addresses(self) -> None:
        page = page_of(self.hostile())
        assert page.scripts == OWN_SCRIPTS
        assert not {"style", "img", "b", "i"} & set(page.tags)
        assert not [href for href in page.links if href.startswith(("javascript:", "data:text"))]
        assert "https://ok.example/" in page.links
        assert "{{ 7 * 7 }}" in page.text

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x", "http://["]
    )
    def test_unsafe_links_are_disabled(self, url: str) -> None:
        assert url_or_hash_if_unsafe(url) == "#"

    def test_lists_tables_and_code_are_rendered(self) -> None:
        html = render_markdown("* a\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n`code`")
        assert "<li>a</li>" in html
        assert "<td>1</td>" in html
        assert "<code>code</code>" in html


class TestSchemaDescriptions:
    @pytest.mark.parametrize(
        ("schema", "sentence"),
        [
            (True, "anything"),
            (False, "nothing"),
            ({}, "anything"),
            ({"type": "string", "format": "date-time"}, "string (date-time)"),
            ({"type": "integer", "exclusiveMinimum": 0, "maximum": 9}, "integer, > 0, ≤ 9"),
            ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
            ({"enum": ["a", 1]}, 'one of "a", 1'),
            ({"const": "x"}, '"x"'),
            ({"type": "array", "items": [{"type": "integer"}, {"type": "string"}]}, "list of integer, then string"),
            ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
            ({"oneOf": [{"$ref": "#/components/schemas/A"}], "x-discriminator": "kind"}, "A (told apart by kind)"),
            ({"type": ["string", "null"]}, "string or null"),
        ],
    )
    def test_each_schema_has_a_description(self, schema: Any, sentence: str) -> None:
        assert "".join(part.text for part in describe_schema(schema)) == sentence


class TestCaching:
    async def test_the_page_is_rendered_once_after_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from evkafka.testing import InMemoryKafka

        app = app_with(handling())
        made: list[str] = []
        asyncapi = app.asyncapi
        monkeypatch.setattr(app, "asyncapi", lambda: made.append("made") or asyncapi())
        pages = app.asgi()
        await ask(pages, "/")
        await ask(pages, "/")
        assert len(made) == 2
        async with InMemoryKafka() as kafka, kafka.running(app):
            for _ in range(3):
                await ask(pages, "/")
                await ask(pages, "/asyncapi.json")
        assert len(made) == 3


class TestRetryTopics:
    def page(self) -> Page:
        app = app_with(on_error={"max_attempts": 2, "retry_topics": [5_000, 60_000], "then": "dead_letter"})
        return Page(render_contract_page(json.loads(app.asyncapi())))

    def test_are_shown_as_channels_that_are_written_and_read(self) -> None:
        text = " ".join("".join(self.page().words).split())
        for topic in ("orders.billing.retry.5000", "orders.billing.retry.60000", "orders.billing.dlq"):
            assert topic in text
        assert "consumer billing, retries of orders Written, and confirmed, before" in text
        assert "Handled after 5000 ms. The order of keys is not kept." in text

    def test_are_linked_with_their_messages(self) -> None:
        page = self.page()
        inner = {link[1:] for link in page.links if link.startswith("#")}
        assert inner <= set(page.ids)


class TestOperationsPage:
    async def test_is_linked_if_it_is_served(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("EVKAFKA_UI_TOKEN", raising=False)
        app = app_with(handling())
        assert (
            "ui" not in Page((await ask(app.asgi(), "/")).text).links
        )  # other machines may reach it, and there is no token
        guarded = EVKafkaApp(ui_token="t")
        assert "ui" in Page((await ask(guarded.asgi(), "/")).text).links


class TestManyTypes:
    def test_a_page_of_twice_as_many_types_takes_twice_the_steps(self) -> None:
        few, many = steps(50), steps(100)
        assert many < 2.2 * few

    async def test_page_and_documents_are_rendered_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[str] = []
        describe = EVKafkaApp.asyncapi

        def asyncapi(app: EVKafkaApp) -> str:
            made.append(threading.current_thread().name)
            return describe(app)

        monkeypatch.setattr(EVKafkaApp, "asyncapi", asyncapi)
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            answers = await asyncio.gather(*(get(app.web_url, path) for path in PATHS * 2))
        assert {answer.code for answer in answers} == {200}
        assert len(made) == 1
        assert made != [threading.current_thread().name]


PATHS = ("", "?q=order", "asyncapi.json", "asyncapi.yaml")


def steps(types: int) -> int:
    """How many functions are called to describe an app with so many types, and to render its page."""
    handler = Handler()
    for number in range(types):

        async def on_event(event: Any) -> None: ...

        on_event.__annotations__["event"] = create_model(f"M{number}", id=(str, ...))
        handler.event(f"Type{number}")(on_event)
    app, calls = app_with(handler), 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += 1

    render_contract_page(json.loads(app.asyncapi()))  # once before: the first time creates templates and adapters
    sys.setprofile(count)
    try:
        render_contract_page(json.loads(app.asyncapi()))
    finally:
        sys.setprofile(None)
    return calls


class TestSearchingALargeContract:
    def test_shows_the_first_results_and_reports_more(self) -> None:
        app = with_types(120)
        page = render_contract_page(json.loads(app.asyncapi()), "type")
        assert page.count('id="message-') == RESULTS_MAX
        assert "found for “type”; the first are shown" in page
        assert "the first are shown" not in render_contract_page(json.loads(app.asyncapi()), "type119")

    async def test_indexes_the_document_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[object] = []

        class Counted(SearchIndex):
            def __init__(self, document: Any) -> None:
                made.append(document)
                super().__init__(document)

        monkeypatch.setattr(application, "SearchIndex", Counted)
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            for word in ("a", "order", "z"):
                assert (await get(app.web_url, f"?q={word}")).code == 200
        assert len(made) == 1

    async def test_limits_the_number_of_waiting_searches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(application, "MAX_WAITING", 0)
        app = app_with()
        async with InMemoryKafka() as kafka, kafka.running(app):
            for path in ("?q=a", "", "asyncapi.yaml"):
                answer = await get(app.web_url, path)
                assert (answer.code, "try again in a moment" in answer.text) == (503, True)
            assert (await get(app.web_url, "livez")).code == 200


def with_types(count: int) -> EVKafkaApp:
    handler = Handler()
    for number in range(count):

        async def on(event: dict[str, Any]) -> None: ...

        handler.event(f"Type{number}")(on)
    app = EVKafkaApp()
    app.add_consumer({"topics": ["orders"], "group_id": "g"}, handler)
    return app
