"""Our settings as options of aiokafka."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from evkafka.config.settings import ConnectionSettings, ConsumerSettings
from evkafka.exceptions import ConfigError
from evkafka.kafka.options import CLIENT_OPTIONS, connection_options, consumer_options, uses_auto_commit


def options(**settings: Any) -> dict[str, Any]:
    return consumer_options(ConsumerSettings(**{"group_id": "g", **settings}))


class TestConsumerOptions:
    def test_times_are_milliseconds(self) -> None:
        found = options(session_timeout_s=12.5, heartbeat_interval_s=4.0, rebalance_timeout_s=70.0)

        assert found["session_timeout_ms"] == 12_500
        assert found["heartbeat_interval_ms"] == 4_000
        assert found["rebalance_timeout_ms"] == 70_000

    def test_the_request_timeout_is_the_users_also_if_a_rebalance_may_take_longer(self) -> None:
        connection = ConnectionSettings(request_timeout_s=10.0)

        assert options(connection=connection, rebalance_timeout_s=120.0)["request_timeout_ms"] == 10_000

    def test_unknown_options_are_passed_on(self) -> None:
        found = options(
            options={"fetch_max_wait_ms": 7, "client_rack": "r"},
            connection=ConnectionSettings(options={"retry_backoff_ms": 9}),
        )

        assert (found["fetch_max_wait_ms"], found["client_rack"], found["retry_backoff_ms"]) == (7, "r", 9)

    @pytest.mark.parametrize(
        ("mode", "interval_s", "group", "expected"),
        [
            ("post-commit", 5.0, "g", False),
            ("post-commit", 0, "g", False),
            ("pre-commit", 0, "g", False),
            ("pre-commit", 5.0, None, False),
            ("pre-commit", 5.0, "g", True),
        ],
    )
    def test_aiokafkas_auto_commit_is_on_in_one_case_only(
        self, mode: Any, interval_s: float, group: str | None, expected: bool
    ) -> None:
        settings = ConsumerSettings(group_id=group, auto_commit_mode=mode, auto_commit_interval_s=interval_s)

        assert uses_auto_commit(settings) is expected
        assert consumer_options(settings)["enable_auto_commit"] is expected

    def test_aiokafkas_reset_is_off(self) -> None:
        assert options(auto_offset_reset="latest")["auto_offset_reset"] == "none"

    def test_metadata_is_at_most_a_minute_old(self) -> None:
        assert options()["metadata_max_age_ms"] == 60_000

    @pytest.mark.parametrize("given", [RangePartitionAssignor, (RangePartitionAssignor,), [RangePartitionAssignor]])
    def test_one_assignor(self, given: Any) -> None:
        assert options(options={"partition_assignment_strategy": given})["partition_assignment_strategy"] == (
            RangePartitionAssignor,
        )
        assert options()["partition_assignment_strategy"] == (RoundRobinPartitionAssignor,)

    def test_more_than_one_assignor_is_an_error(self) -> None:
        two = [RangePartitionAssignor, RoundRobinPartitionAssignor]

        with pytest.raises(ConfigError, match="exactly one"):
            options(options={"partition_assignment_strategy": two})


class TestConnectionOptions:
    def test_are_options_of_aiokafka(self) -> None:
        assert set(connection_options(ConnectionSettings())) <= CLIENT_OPTIONS
