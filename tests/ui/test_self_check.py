"""What the self-check says of a consumer's configuration; `test_routes.py` asks for the whole one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.ui.self_check import config_rows

REVOKED = "an attempt may take 8000 ms, and revoke_drain_timeout_ms is 5000"


@pytest.mark.parametrize(
    ("keys", "result", "sentence"),
    [
        ({"commit_metadata_max_bytes": 32_000}, "warn", "commit_metadata_max_bytes 32000 is more than the brokers"),
        ({"concurrency": 100, "max_pending_records": 10}, "warn", "concurrency 100 is more than max_pending_records"),
        ({"revoke_drain_timeout_ms": 5_000}, "note", REVOKED),
        ({}, "ok", "Timeouts are consistent"),
    ],
)
def test_it_has_the_findings_of_the_check_command(keys: Mapping[str, int], result: str, sentence: str) -> None:
    app = EVKafkaApp()
    config: Any = {"topics": ["orders"], "group_id": "billing", "max_endpoint_exec_time_ms": 8_000, **keys}
    app.add_consumer(config, Handler(), "orders")
    [row] = [row for row in config_rows(app.consumers["orders"]) if row["name"] == "orders: configuration"]
    assert (row["result"], row["sentence"][: len(sentence)]) == (result, sentence)
