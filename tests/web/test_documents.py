"""Documentation, alerts and dashboard name only existing metrics, labels, events and fields."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from evkafka import EVKafkaApp, telemetry
from evkafka.observe.log_format import FIELDS
from tests.asyncapi.documents import document_of
from tests.support.doc_pages import blocks
from tests.web.apps import app_with

DOCS = Path(__file__).parents[2] / "docs"

PAGES = ["docs/asyncapi.md", "docs/observability.md"]


def metrics() -> dict[str, set[str]]:
    """Every metric's series with its labels, as they are scraped."""
    app = app_with()
    app.asgi()
    assert app.metrics is not None
    found: dict[str, set[str]] = {}
    for family in app.metrics.collector.collect():
        labels = set(family._labelnames)  # type: ignore[attr-defined]
        for suffix in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}[family.type]:
            found[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def named(text: str) -> set[str]:
    return set(re.findall(r"evkafka_[a-z_]+", text))


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str) -> None:
    for block in blocks(page):
        if block.language == "python":
            exec(compile(block.code, page, "exec", dont_inherit=True), {"__name__": "example"})


def test_the_contract_of_the_page_is_valid() -> None:
    [code] = [block.code for block in blocks("docs/asyncapi.md") if block.language == "python"]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/asyncapi.md", "exec", dont_inherit=True), names)
    app = names["app"]
    assert isinstance(app, EVKafkaApp)
    assert list(document_of(app)["channels"]) == ["orders", "invoices"]


def test_the_page_lists_exactly_the_existing_metrics() -> None:
    told = named((DOCS / "observability.md").read_text())
    histograms = {name.removesuffix("_bucket") for name in metrics() if name.endswith("_bucket")}
    others = {name for name in metrics() if not name.endswith(("_bucket", "_sum", "_count"))}
    assert told == histograms | others


def expressions() -> list[str]:
    alerts = yaml.safe_load((DOCS / "monitoring" / "alerts.yaml").read_text())
    dashboard = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
    return [
        *(rule["expr"] for group in alerts["groups"] for rule in group["rules"]),
        *(target["expr"] for panel in dashboard["panels"] for target in panel["targets"]),
        *(variable["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"),
    ]


@pytest.mark.parametrize("expression", expressions())
def test_alerts_and_dashboard_use_existing_metrics_and_labels(expression: str) -> None:
    known = metrics()
    used = named(expression)
    assert used
    assert used <= set(known)
    labels = {label for name in used for label in known[name]} | {"instance"}
    labels |= set(re.findall(r'label_replace\(.*?, "(\w+)"', expression))  # created by the expression
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    matched = set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
    joined = {
        label.strip() for on in re.findall(r"(?:on|group_left) \(([^)]*)\)", expression) for label in on.split(",")
    }
    assert grouped | matched | joined <= labels


def test_alerts_use_existing_statuses() -> None:
    used = set(re.findall(r'evkafka_events_processed_total\{status="(\w+)"', " ".join(expressions())))
    assert used
    assert used <= set(get_args(telemetry.Status))


def section(title: str) -> str:
    """The text below a heading of the page."""
    page = (DOCS / "observability.md").read_text()
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> set[str]:
    """The code in the first column of the tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def sources() -> dict[Path, str]:
    return {path: path.read_text() for path in (DOCS.parent / "src" / "evkafka").rglob("*.py")}


class TestLists:
    """The lists of the page match the code."""

    def test_of_events(self) -> None:
        kinds = {
            name
            for name, kind in vars(telemetry).items()
            if isinstance(kind, type) and issubclass(kind, telemetry.Event) and kind is not telemetry.Event
        }
        assert first_cells(section("Events")) == kinds

    def test_of_spans_and_their_attributes(self) -> None:
        code = (DOCS.parent / "src" / "evkafka" / "observe" / "opentelemetry.py").read_text()
        attributes = set(re.findall(r'"((?:messaging|evkafka|error)\.[a-z_.]+)"', code))
        spans = {
            name.replace("record.topic", "topic").replace("first.topic", "topic")
            for name in re.findall(r'f"(\w+ \{[a-z.]*topic\})"', code)
        }
        assert first_cells(section("Traces")) == attributes | spans

    def test_of_log_fields(self) -> None:
        assert first_cells(section("Logs")) == set(FIELDS)

    def test_of_log_fields_is_complete(self) -> None:
        carried = {
            key.value
            for code in sources().values()
            for node in ast.walk(ast.parse(code))
            if isinstance(node, ast.keyword) and node.arg == "extra"
            for fields in ast.walk(node.value)
            if isinstance(fields, ast.Dict)
            for key in fields.keys
            if isinstance(key, ast.Constant)
        }
        assert {"consumer", "topic", "attempt", "duration_ms"} <= carried
        assert carried <= set(FIELDS)

    def test_of_statuses(self) -> None:
        rows = section("Metrics").splitlines()
        [row] = [row for row in rows if row.startswith("| `evkafka_events_processed_total`")]
        assert set(re.findall(r"`(\w+)`", row)) - {"evkafka_events_processed_total"} == set(get_args(telemetry.Status))
