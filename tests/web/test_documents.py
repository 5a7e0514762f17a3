"""The pages, the alerts and the dashboard name what there really is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evkafka import EVKafkaApp
from tests.asyncapi.documents import document_of
from tests.documents.pages import blocks
from tests.web.apps import app_with

DOCS = Path(__file__).parents[2] / "docs"

PAGES = ["docs/asyncapi.md", "docs/observability.md"]


def metrics() -> dict[str, set[str]]:
    """Every metric's series as they are scraped, with their labels."""
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
            exec(compile(block.code, page, "exec"), {"__name__": "example"})


def test_the_contract_of_the_page_is_valid() -> None:
    [code] = [block.code for block in blocks("docs/asyncapi.md") if block.language == "python"]
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/asyncapi.md", "exec"), names)
    app = names["app"]
    assert isinstance(app, EVKafkaApp)
    assert list(document_of(app)["channels"]) == ["orders", "invoices"]


def test_the_page_names_every_metric_and_no_other() -> None:
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
def test_alerts_and_dashboard_use_metrics_and_labels_that_there_are(expression: str) -> None:
    known = metrics()
    used = named(expression)
    assert used
    assert used <= set(known)
    labels = {label for name in used for label in known[name]} | {"instance"}
    labels |= set(re.findall(r'label_replace\(.*?, "(\w+)"', expression))  # made here
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    matched = set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
    joined = {
        label.strip() for on in re.findall(r"(?:on|group_left) \(([^)]*)\)", expression) for label in on.split(",")
    }
    assert grouped | matched | joined <= labels


def test_statuses_in_the_alerts_are_those_of_the_metric() -> None:
    from typing import get_args

    from evkafka.telemetry import Status

    used = set(re.findall(r'evkafka_events_processed_total\{status="(\w+)"', " ".join(expressions())))
    assert used
    assert used <= set(get_args(Status))
