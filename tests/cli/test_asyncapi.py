"""`evkafka asyncapi`: output to the terminal and into files, and its errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli.support import evkafka

APP = """
from typing import Any
from evkafka import EVKafkaApp, Handler

handler = Handler()

@handler.event("OrderPlaced")
async def on_order(event: dict[str, Any]) -> None: ...

def make():
    app = EVKafkaApp(title="Billing, größer")
    app.add_consumer({"topics": ["orders"], "group_id": "billing"}, handler)
    return app

app = make()
number = 3
"""


def asyncapi(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "shop.py").write_text(APP)
    return evkafka(directory, "asyncapi", *arguments)


def test_it_prints_the_document_and_nothing_else(tmp_path: Path) -> None:
    ended = asyncapi(tmp_path, "shop:app")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert json.loads(ended.stdout)["info"]["title"] == "Billing, größer"


@pytest.mark.parametrize("name", ["contract.json", "contract.yaml", "contract.yml", "contract"])
def test_it_writes_json_or_yaml_by_the_files_name(tmp_path: Path, name: str) -> None:
    ended = asyncapi(tmp_path, "shop:app", "-o", name)
    assert (ended.returncode, ended.stdout) == (0, "")
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert text.startswith("asyncapi: 3.0.0" if ".y" in name else "{")
    assert yaml.safe_load(text)["channels"]["orders"]["address"] == "orders"


def test_a_factory_makes_the_app(tmp_path: Path) -> None:
    assert json.loads(asyncapi(tmp_path, "shop:make", "--factory").stdout)["asyncapi"] == "3.0.0"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    ended = asyncapi(tmp_path, "shop:app", "-o", "nowhere/contract.json")
    assert ended.returncode == 2
    assert ended.stderr == "evkafka: nowhere/contract.json cannot be written: No such file or directory\n"


def test_a_target_that_is_no_app_is_one_sentence(tmp_path: Path) -> None:
    ended = asyncapi(tmp_path, "shop:number")
    assert ended.returncode == 2
    assert "not an EVKafkaApp" in ended.stderr
