"""One of three brokers is killed, restarted, frozen, or loses its partitions: no record is lost or handled twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.cluster.load import under_load
from tests.support.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

FENCED_S = 9.0
"""broker.session.timeout.ms: the controller replaces a silent broker only after this time."""


class TestKilledBrokers:
    async def test_a_killed_leader_loses_and_repeats_no_record(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            node = (await cluster.leaders(load.topic))[0]
            cluster.kill(node)
            await load.make_progress()
            await cluster.start(node)
            await cluster.in_sync(load.topic)

    async def test_a_killed_coordinator_loses_and_repeats_no_record(
        self, cluster: KafkaCluster, tmp_path: Path
    ) -> None:
        async with under_load(cluster, tmp_path) as load:
            node = await cluster.coordinator(load.groups[0])
            cluster.kill(node)
            await load.make_progress()
            await cluster.start(node)
            await cluster.in_sync(load.topic)

    async def test_a_killed_controller_loses_and_repeats_no_record(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            node = await cluster.controller()
            cluster.kill(node)
            await load.make_progress()
            await cluster.start(node)
            await cluster.in_sync(load.topic)

    async def test_the_app_waits_for_two_brokers_of_three(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            coordinator = await cluster.coordinator(load.groups[0])
            killed = [node for node in (1, 2, 3) if node != coordinator]
            for node in killed:
                cluster.kill(node)
            await cluster.start(*killed)
            await load.make_progress()
            await cluster.in_sync(load.topic)


class TestMaintenance:
    async def test_a_rolling_restart_loses_and_repeats_no_record(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            for node in (1, 2, 3):
                await cluster.restart(node)
                await cluster.in_sync(load.topic)
                await load.make_progress()

    async def test_reassigned_partitions_lose_and_repeat_no_record(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            await cluster.reassign(load.topic, {0: [2, 3, 1], 1: [3, 1, 2], 2: [1, 2, 3]})
            await cluster.elect_preferred(load.topic, [0, 1, 2])
            await load.make_progress()
            await cluster.reassign(load.topic, {0: [3, 1], 1: [1, 2], 2: [2, 3]})
            await load.make_progress()
            await cluster.reassign(load.topic, {0: [1, 2, 3], 1: [2, 3, 1], 2: [3, 1, 2]})
            await cluster.elect_preferred(load.topic, [0, 1, 2])
            await load.make_progress()


class TestFrozenBroker:
    async def test_groups_move_to_the_new_coordinator_without_a_request_timeout(
        self, cluster: KafkaCluster, tmp_path: Path
    ) -> None:
        async with under_load(cluster, tmp_path, per_second=30, groups=8, processes=1) as load:
            coordinators = Counter([await cluster.coordinator(group) for group in load.groups])
            [(node, _)] = coordinators.most_common(1)
            cluster.freeze(node)
            await load.make_progress()
            # Wait until it is replaced: otherwise, once thawed, it would remove the members that it has not heard from.
            await load.commit_progress()
            cluster.thaw(node)
            await cluster.in_sync(load.topic)
            await load.make_progress()
        # The groups move when the cluster has replaced the broker, not after a request timeout (65 s).
        assert load.longest_gap_s() < FENCED_S + 20
        assert load.longest_s < FENCED_S + 20
