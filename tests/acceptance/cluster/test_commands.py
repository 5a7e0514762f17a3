"""The commands on a cluster of three brokers."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import pytest

from tests.cli.support import as_json, evkafka, write_app
from tests.support.kafka_cluster import BROKER_SESSION_S, KafkaCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


async def test_check_names_a_frozen_broker_and_ends_soon(cluster: KafkaCluster, tmp_path: Path) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"
    for name in (topic, f"{topic}.invoices"):
        await cluster.create(name, {0: [1, 2, 3], 1: [2, 3, 1], 2: [3, 1, 2]})
    write_app(tmp_path, servers=cluster.bootstrap_servers, topic=topic)
    healthy = await asyncio.to_thread(evkafka, tmp_path, "check", "shop:app", "--json")
    assert healthy.returncode == 0, healthy.stdout
    for node in (1, 2):
        cluster.freeze(node)
        start_s = time.monotonic()
        completed = await asyncio.to_thread(evkafka, tmp_path, "check", "shop:app", "--json")
        took_s = time.monotonic() - start_s
        cluster.thaw(node)
        await cluster.in_sync(topic)
        if completed.returncode == 0:  # on a slow machine: the cluster has given the broker up, so it is not asked
            assert took_s > BROKER_SESSION_S
            continue
        assert completed.returncode == 1
        findings = as_json(completed)["findings"]
        [error] = [one for one in findings if one["level"] == "error"]
        assert (error["check"], error["about"]) == ("broker", f"node {node} ({cluster.server(node)})")
        assert "no answer in time" in error["message"]
        assert took_s < 20, f"it took {took_s:.0f} s"


async def test_verify_creates_its_topic_with_the_brokers_defaults(cluster: KafkaCluster, tmp_path: Path) -> None:
    completed = await asyncio.to_thread(
        evkafka,
        tmp_path,
        *("verify", "--bootstrap-servers", cluster.bootstrap_servers, "--seconds", "5", "--processes", "1"),
        *("--rate", "50", "--kill-every", "0", "--fault-every", "0"),
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    [topic] = [name for name in await cluster.topics() if name.startswith("evkafka-verify-")]
    assert await cluster.replicas(topic) == {3}
