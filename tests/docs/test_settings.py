"""The page "Environment variables and settings files": its files."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from evkafka import EVKafkaApp
from tests.support.doc_pages import file

PAGE = "docs/settings.md"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EVKafkaApp:
    """Import the page's app with its files and environment variables."""
    for name in ("shop.py", "pyproject.toml", "production.env"):
        (tmp_path / name).write_text(file(PAGE, name))
    for variable, value in dotenv_values(tmp_path / "production.env").items():
        monkeypatch.setenv(variable, value or "")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "shop"}
    exec(compile(file(PAGE, "shop.py"), "shop.py", "exec", dont_inherit=True), namespace)
    app = namespace["app"]
    assert isinstance(app, EVKafkaApp)
    return app


def test_the_app_has_the_settings_of_the_page(shop: EVKafkaApp) -> None:
    [consumer] = [one.settings for one in shop._consumers.values()]
    assert consumer.group_id == "billing-blue"
    assert consumer.concurrency == 8
    assert consumer.on_error.max_attempts == 20
    assert [topic.name for topic in consumer.topics] == ["orders"]
    assert consumer.connection.bootstrap_servers == ("kafka-1.example.org:9093", "kafka-2.example.org:9093")
    assert "correct-horse" not in repr(consumer)
