"""The page "Deploys without a pause": its app, its figures, what its commands print, the brokers' defaults."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka.broker import KafkaBroker
from evkafka.cli.impl.check_protocol import protocol_findings
from evkafka.cli.impl.group_offsets import print_group_heading, print_member
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.groups import Group, Member
from evkafka.kafka.admin.topics import settings_of_any_broker
from evkafka.kafka.client.consumer_protocol_offer import ConsumerProtocolOffer
from evkafka.telemetry import PartitionsRevoked
from evkafka.testing import InMemoryKafka
from tests.support.configurations import consumer
from tests.support.doc_pages import ROOT, file

PAGE = "docs/rolling-deploys.md"
TEXT = (ROOT / PAGE).read_text()


def shop() -> Any:
    namespace: dict[str, Any] = {"__name__": "shop"}
    exec(compile(file(PAGE, "shop.py"), "shop.py", "exec", dont_inherit=True), namespace)
    return namespace["app"]


async def test_its_app_keeps_the_partitions_that_do_not_move() -> None:
    first, second = shop(), shop()
    revoked: list[PartitionsRevoked] = []
    first.telemetry.listen(PartitionsRevoked, revoked.append)
    async with InMemoryKafka(partitions=4) as kafka, kafka.running(first):
        await kafka.settle()
        async with kafka.running(second):
            await kafka.settle()
            [moved] = revoked
            assert len(moved.partitions) == 2


@pytest.mark.parametrize("page", [PAGE, "docs/performance.md"])
def test_its_figures_are_those_of_the_last_benchmark(page: str) -> None:
    table, method, _ = (ROOT / "bench" / "results" / "rebalance.md").read_text().split("\n\n")
    assert f"{table}\n\n{method}\n" in (ROOT / page).read_text()


def test_its_lines_of_the_check_are_those_of_the_program() -> None:
    group = Group("Stable", (Member("pod-1", "h"), Member("pod-2", "h")), assignor="roundrobin")
    settings = consumer(group_protocol="consumer")
    for finding in protocol_findings(settings, ConsumerProtocolOffer(1, 1, None), group, {}):
        assert f"ok  protocol     consumer-1       {finding.problem}\n" in TEXT


def test_its_lines_of_the_members_are_those_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    classic: Any = [Member(name, "127.0.0.1", "classic", 3) for name in ("pod-2", "pod-1")]
    members = (classic[0], Member("pod-3", "127.0.0.1", "consumer", 3), classic[1])
    some_partitions: Any = [object()]
    print_group_heading("billing", Group("Stable", members, "consumer", 3), some_partitions)
    for member in members:
        print_member(member)
    print_member(Member("pod-0", "127.0.0.1", is_away=True))

    *lines, away = capsys.readouterr().out.splitlines()
    assert all(f"    {line.rstrip()}\n" in TEXT for line in lines)
    assert f"`{away.partition(': ')[2].rstrip()}`" in TEXT


async def test_its_defaults_of_the_brokers_are_those_of_kafka(kafka_broker: KafkaBroker) -> None:
    found = await settings_of_any_broker(ConnectionSettings(bootstrap_servers=(kafka_broker.bootstrap_servers,)))
    assert found["group.consumer.assignors"].replace(",", ", ") in TEXT
    assert f"(`{found['group.consumer.migration.policy']}`)" in TEXT
