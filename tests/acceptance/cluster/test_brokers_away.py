"""A broker of three dies, restarts, stands still, or gives its partitions up: nothing is lost, or handled twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.cluster.load import under_load
from tests.support.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

FENCED_S = 9.0
"""broker.session.timeout.ms: before that no cluster puts another node in the place of a silent one."""


class TestKilled:
    async def test_a_leader_costs_nothing(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            node = (await cluster.leaders(load.topic))[0]
            cluster.kill(node)
            await load.gets_on()
            await cluster.start(node)
            await cluster.in_sync(load.topic)

    async def test_a_coordinator_costs_nothing(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            node = await cluster.coordinator(load.groups[0])
            cluster.kill(node)
            await load.gets_on()
            await cluster.start(node)
            await cluster.in_sync(load.topic)

    async def test_the_controller_costs_nothing(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            node = await cluster.controller()
            cluster.kill(node)
            await load.gets_on()
            await cluster.start(node)
            await cluster.in_sync(load.topic)

    async def test_two_of_three_are_waited_for(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            left = await cluster.coordinator(load.groups[0])
            gone = [node for node in (1, 2, 3) if node != left]
            for node in gone:
                cluster.kill(node)
            await cluster.start(*gone)
            await load.gets_on()
            await cluster.in_sync(load.topic)


class TestOnPurpose:
    async def test_a_rolling_restart_costs_nothing(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            for node in (1, 2, 3):
                await cluster.restart(node)
                await cluster.in_sync(load.topic)
                await load.gets_on()

    async def test_reassigned_partitions_cost_nothing(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path) as load:
            await cluster.reassign(load.topic, {0: [2, 3, 1], 1: [3, 1, 2], 2: [1, 2, 3]})
            await cluster.elect_preferred(load.topic, [0, 1, 2])
            await load.gets_on()
            await cluster.reassign(load.topic, {0: [3, 1], 1: [1, 2], 2: [2, 3]})
            await load.gets_on()
            await cluster.reassign(load.topic, {0: [1, 2, 3], 1: [2, 3, 1], 2: [3, 1, 2]})
            await cluster.elect_preferred(load.topic, [0, 1, 2])
            await load.gets_on()


class TestFrozen:
    async def test_a_coordinator_is_left_for_the_one_in_its_place(self, cluster: KafkaCluster, tmp_path: Path) -> None:
        async with under_load(cluster, tmp_path, per_second=30, groups=8, processes=1) as load:
            coordinators = Counter([await cluster.coordinator(group) for group in load.groups])
            [(node, _)] = coordinators.most_common(1)
            cluster.freeze(node)
            await load.gets_on()
            # Thawed before it has been replaced, it would itself expel the members that it has not heard since.
            await load.commits_on()
            cluster.thaw(node)
            await cluster.in_sync(load.topic)
            await load.gets_on()
        # As soon as the cluster has replaced it, not when a request timeout (65 s) has passed.
        assert load.longest_gap_s() < FENCED_S + 20
        assert load.longest_s < FENCED_S + 20
