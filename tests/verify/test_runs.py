"""Runs on a real Kafka with processes that are killed: a correct app is clean, and faults are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.exceptions import BrokerError
from evkafka.verify import Options, verify
from evkafka.verify.history import HistoryReader

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2]


def options(broker: KafkaBroker | None, home: Path, **more: Any) -> Options:
    wanted = {
        "lasts_s": 8.0,
        "processes": 2,
        "seed": 7,
        "rate": 100,
        "partitions": 4,
        "keys": 50,
        "kill_every_s": 2.5,
        "fault_every_s": 0.0,
        "kinds": (),
        "bootstrap_servers": broker.bootstrap_servers if broker is not None else None,
        "config": {"session_timeout_ms": 2000, "heartbeat_interval_ms": 400},
        "home": home,
        **more,
    }
    return Options(**wanted)


class TestBuiltInApp:
    async def test_killed_again_and_again_loses_nothing_and_keeps_each_key_in_order(
        self, kafka_broker: KafkaBroker, tmp_path: Path
    ) -> None:
        report = await verify(options(kafka_broker, tmp_path))
        assert report.problems == ()
        assert report.faults["kill"] >= 2
        assert report.handled == report.written == report.acknowledged == report.sent
        assert report.sent > 100
        assert report.committed == report.end == report.sent

    @pytest.mark.long
    @pytest.mark.parametrize("protocol", ["classic", "consumer"])
    async def test_exactly_once_writes_one_output_for_each_record(self, tmp_path: Path, protocol: Any) -> None:
        run = options(
            None,
            tmp_path,
            lasts_s=20.0,
            fault_every_s=4.0,
            kinds=("stop", "freeze", "members", "broker"),
            seed=9,
            delivery="exactly-once",
            group_protocol=protocol,
        )
        report = await verify(run)
        assert report.problems == ()
        assert report.outputs == report.written > 100
        assert report.faults["kill"] >= 2

    @pytest.mark.long
    async def test_with_the_consumer_protocol_loses_nothing(self, tmp_path: Path) -> None:
        """On a broker of its own, whose session timeout the run sets."""
        run = options(
            None, tmp_path, fault_every_s=3.0, kinds=("stop", "freeze", "members"), seed=5, group_protocol="consumer"
        )
        report = await verify(run)
        assert report.problems == ()
        assert report.group_protocol == "consumer"
        assert report.faults["kill"] >= 2

    @pytest.mark.long
    async def test_stopped_frozen_and_joined_loses_nothing(self, kafka_broker: KafkaBroker, tmp_path: Path) -> None:
        run = options(
            kafka_broker,
            tmp_path,
            lasts_s=12.0,
            kill_every_s=0,
            fault_every_s=3.0,
            kinds=("stop", "freeze", "members"),
            seed=3,
        )
        report = await verify(run)
        assert report.problems == ()
        assert set(report.faults) == {"stop", "freeze", "members"}

    @pytest.mark.long
    async def test_whose_tasks_are_cancelled_loses_nothing_and_ends_only_on_request(
        self, kafka_broker: KafkaBroker, tmp_path: Path
    ) -> None:
        run = options(
            kafka_broker, tmp_path, lasts_s=60.0, kill_every_s=0, fault_every_s=1.0, kinds=("cancel",), processes=3
        )
        report = await verify(run)
        assert report.problems == ()
        assert report.faults["cancel"] > 30


GIVEN = {"app_dir": HERE, "event_type": "OrderPlaced", "payload": '{"order_id": "{n}", "customer": "{key}"}'}


class TestGivenApp:
    """With a broker that the run starts, because the apps have logins for their own cluster."""

    @pytest.mark.long
    async def test_runs_with_its_own_settings_on_the_runs_cluster(
        self, kafka_broker: KafkaBroker, tmp_path: Path
    ) -> None:
        run = options(
            kafka_broker,
            tmp_path,
            bootstrap_servers=None,
            app="tests.verify.apps:sound",
            config={},
            lasts_s=12.0,
            fault_every_s=6.0,
            kinds=("broker",),
            **GIVEN,
        )
        report = await verify(run)
        assert report.problems == ()
        assert report.faults["broker"] >= 1
        assert report.handled == report.sent > 100
        up = next(entry for entry in HistoryReader(tmp_path / "journal").read_new() if entry.event == "up")
        assert up.more == {"in_order": True, "session_s": 2.0, "drain_s": 10.0, "group_protocol": "classic"}

    @pytest.mark.long
    @pytest.mark.parametrize("app", ["tests.verify.apps:at_most_once", "tests.verify.sabotaged:app"])
    async def test_that_commits_too_far_loses_records(
        self, kafka_broker: KafkaBroker, tmp_path: Path, app: str
    ) -> None:
        run = options(
            kafka_broker, tmp_path, bootstrap_servers=None, app=app, config={}, lasts_s=8.0, kill_every_s=3.0, **GIVEN
        )
        report = await verify(run)
        assert not report.clean
        assert len(report.lost) > 0
        assert any("lost: in the log, but never handled" in problem for problem in report.problems)
        assert report.behind == ()  # they were committed, which is why nobody will ever handle them

    @pytest.mark.long
    async def test_without_an_endpoint_for_the_records_is_not_clean(
        self, kafka_broker: KafkaBroker, tmp_path: Path
    ) -> None:
        run = options(
            kafka_broker,
            tmp_path,
            bootstrap_servers=None,
            app="tests.verify.apps:sound",
            config={},
            lasts_s=2.0,
            **{**GIVEN, "event_type": "OrderShipped"},
        )
        report = await verify(run)
        assert report.passed_over == report.sent
        assert not report.clean


async def test_an_app_that_cannot_start_is_an_error_with_the_end_of_its_log(
    kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    with pytest.raises(BrokerError, match="could not start"):
        await verify(options(kafka_broker, tmp_path, app="no_such_module:app", payload="{}"))
