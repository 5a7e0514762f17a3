"""A group that EVKafka shares with confluent-kafka (librdkafka), with both group protocols. On a real Kafka."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from evkafka.broker import KafkaBroker
from evkafka.config.settings import ConnectionSettings
from evkafka.kafka.admin.groups import describe_group
from tests.support.kafka_topics import MakeTopic, committed, metadata
from tests.support.processes import StartWorker, Worker, assigned, endless_work, ids, lines, send_work
from tests.support.processes import committed as all_committed
from tests.support.waiting import eventually

pytestmark = pytest.mark.long

Client = Literal["evkafka", "confluent"]
Protocol = Literal["classic", "consumer"]

PARTITIONS = 4
SESSION_MS = 3000
PROTOCOLS: tuple[Protocol, ...] = ("consumer", "classic")
COOPERATIVE = "cooperative-sticky"


class Group:
    """One group with members of both clients: starts them, and knows what they have done."""

    def __init__(
        self, servers: str, topic: str, group_id: str, journal: Path, evkafka: StartWorker, confluent: StartWorker
    ) -> None:
        self.servers = servers
        self.topic = topic
        self.id = group_id
        self.journal = journal
        self._evkafka = evkafka
        self._confluent = confluent

    # ------------------------------------------------------------------ members

    def start(self, client: Client, protocol: Protocol = "consumer", assignor: str | None = None) -> Worker:
        """Start a member. Without an assignor it has its client's default."""
        if client == "evkafka":
            chosen = {} if assignor is None else {"partition_assignment_strategy": assignor}
            return self.start_evkafka(group_protocol=protocol, **(chosen if protocol == "classic" else {}))
        chosen = {} if assignor is None else {"partition.assignment.strategy": assignor}
        return self._confluent(self.topic, protocol, **(chosen if protocol == "classic" else {}))

    def start_evkafka(self, **config: Any) -> Worker:
        return self._evkafka(self.topic, **config)

    async def stop(self, member: Worker) -> None:
        assert await asyncio.to_thread(member.terminate) == 0, member.log

    # ------------------------------------------------------------------ partitions

    def assigned(self, member: Worker) -> set[int]:
        return assigned(self.journal, member.pid)

    def revoked(self, member: Worker) -> list[int]:
        """The partitions that were taken from the member, each as often as that has happened."""
        changes = [line for line in lines(self.journal, pid=member.pid) if line["what"] in ("revoked", "lost")]
        return sorted(partition for line in changes for partition in line["partitions"])

    async def share(self, *members: Worker) -> None:
        """Wait until each of the members has its share of the partitions, and reads on."""

        def have_their_shares() -> bool:
            shares = [self.assigned(member) for member in members]
            sizes = {len(share) for share in shares}
            return sizes == {PARTITIONS // len(members)} and len(set().union(*shares)) == PARTITIONS

        await eventually(have_their_shares, what="a share of the partitions for each member")
        before = {member: len(self.ids("done", member)) for member in members}
        await eventually(
            lambda: all(len(self.ids("done", member)) > count + 20 for member, count in before.items()),
            what="20 more records handled by each member",
        )

    async def protocol(self) -> Protocol:
        return (await describe_group(ConnectionSettings(bootstrap_servers=(self.servers,)), self.id)).protocol

    async def shorten_sessions(self) -> None:
        """When its session is over, the brokers give a killed member's partitions to others."""
        set_to = AlterConfigOpType.SET
        entry = ConfigEntry("consumer.session.timeout.ms", str(SESSION_MS), incremental_operation=set_to)
        resource = ConfigResource(ResourceType.GROUP, self.id, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.servers})
        [done] = admin.incremental_alter_configs([resource]).values()
        await asyncio.to_thread(done.result, 60)

    # ------------------------------------------------------------------ records

    def ids(self, what: str, member: Worker) -> list[Any]:
        return [line["id"] for line in lines(self.journal, what, member.pid)]

    async def handles_all(self, sent: Counter[int]) -> None:
        await eventually(lambda: len(set(ids(self.journal))) == sent.total(), what="all records handled")

    def handled_again(self) -> list[str]:
        return [one for one, count in Counter(ids(self.journal)).items() if count > 1]

    async def all_are_committed(self, sent: Counter[int]) -> bool:
        return await all_committed(self.servers, self.id, self.topic) == sent


@pytest.fixture
async def group(
    kafka_broker: KafkaBroker,
    topic: MakeTopic,
    group_id: str,
    journal: Path,
    worker: StartWorker,
    confluent_worker: StartWorker,
) -> Group:
    return Group(kafka_broker.bootstrap_servers, await topic(PARTITIONS), group_id, journal, worker, confluent_worker)


class TestSideBySide:
    async def test_members_that_come_and_go_move_only_what_moves_and_each_record_is_handled_once(
        self, group: Group
    ) -> None:
        async with endless_work(group.servers, group.topic, partitions=PARTITIONS, takes_ms=5) as sent:
            confluent = group.start("confluent")
            await group.share(confluent)
            ours = group.start("evkafka")
            await group.share(confluent, ours)
            assert group.revoked(confluent) == sorted(group.assigned(ours))
            await group.stop(confluent)
            await group.share(ours)
            assert group.revoked(ours) == []
            successor = group.start("confluent")
            await group.share(ours, successor)
            assert group.revoked(ours) == sorted(group.assigned(successor))
            await group.stop(ours)
            await group.share(successor)
            assert group.revoked(successor) == []
        await group.handles_all(sent)
        await group.stop(successor)
        assert group.handled_again() == []
        assert await group.all_are_committed(sent)

    @pytest.mark.parametrize(("killed", "other"), [("evkafka", "confluent"), ("confluent", "evkafka")])
    async def test_a_killed_member_hands_its_partitions_to_the_other_one(
        self, group: Group, killed: Client, other: Client
    ) -> None:
        await group.shorten_sessions()
        async with endless_work(group.servers, group.topic, partitions=PARTITIONS, takes_ms=5) as sent:
            victim, survivor = group.start(killed), group.start(other)
            await group.share(victim, survivor)
            revoked = group.revoked(survivor)
            victim.kill()
            await group.share(survivor)
            assert group.revoked(survivor) == revoked
        await group.handles_all(sent)
        await group.stop(survivor)
        assert set(group.handled_again()) <= set(group.ids("done", victim))
        assert await group.all_are_committed(sent)


class TestCompletedOffsets:
    """A commit of EVKafka's names finished offsets behind it. confluent-kafka neither reads nor repeats that."""

    async def test_stay_while_a_member_of_confluent_kafka_has_the_partition_and_commits_nothing(
        self, group: Group, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        text = await finish_all_but(group, {0: gate}, [{"id": number} for number in range(6)])
        confluent = group.start("confluent")
        await eventually(lambda: group.ids("begun", confluent) == [0])
        await group.stop(confluent)
        assert await metadata(group.servers, group.id, group.topic) == text

        gate.touch()
        ours = group.start("evkafka")
        await eventually(lambda: group.ids("done", ours) == [0])
        await group.stop(ours)
        assert await committed(group.servers, group.id, group.topic) == 6
        assert sorted(ids(group.journal)) == [0, 1, 2, 3, 4, 5]

    async def test_are_forgotten_with_a_commit_of_confluent_kafka_and_reading_goes_on_there(
        self, group: Group, tmp_path: Path
    ) -> None:
        first, second = tmp_path / "first gate", tmp_path / "second gate"
        works = [{"id": number, "metadata": f"another program's {number}"} for number in range(6)]
        await finish_all_but(group, {0: first, 3: second}, works)
        first.touch()
        confluent = group.start("confluent")
        await eventually(lambda: group.ids("begun", confluent) == [0, 1, 2, 3])
        await group.stop(confluent)
        text = await metadata(group.servers, group.id, group.topic)
        assert text.rstrip("\0") == "another program's 2"  # confluent-kafka ends it with a zero byte

        second.touch()
        ours = group.start("evkafka")
        await eventually(lambda: group.ids("done", ours) == [3, 4, 5])
        await group.stop(ours)
        assert await committed(group.servers, group.id, group.topic) == 6


async def finish_all_but(group: Group, waiting: dict[int, Path], works: list[dict[str, Any]]) -> str:
    """A member of EVKafka finishes all records but those that wait, and stops. Returns the metadata of its commit."""
    for number, gate in waiting.items():
        works[number]["wait_for"] = str(gate)
    await send_work(group.servers, group.topic, works, partition=0)
    member = group.start_evkafka(group_protocol="consumer", concurrency=8, ordering="unordered", drain_timeout_ms=300)
    finished = [number for number in range(len(works)) if number not in waiting]
    await eventually(lambda: sorted(group.ids("done", member)) == finished)
    assert await asyncio.to_thread(member.terminate) == 128 + signal.SIGTERM
    assert await committed(group.servers, group.id, group.topic) == 0
    text = await metadata(group.servers, group.id, group.topic)
    assert text.startswith("evkafka-offsets/1 ")
    return text


class TestAnUpgrade:
    @pytest.mark.parametrize(
        ("clients", "assignor"),
        [
            (["evkafka", "confluent", "evkafka", "confluent"], "range"),
            (["confluent", "evkafka", "confluent", "evkafka"], None),
        ],
        ids=["evkafka-first-range", "confluent-first-default-assignors"],
    )
    async def test_member_by_member_and_back_handles_each_record_once(
        self, group: Group, clients: list[Client], assignor: str | None
    ) -> None:
        async with endless_work(group.servers, group.topic, partitions=PARTITIONS, takes_ms=5) as sent:
            members = [group.start(client, "classic", assignor) for client in clients]
            await group.share(*members)
            assert await group.protocol() == "classic"
            for protocol in PROTOCOLS:
                for index, client in enumerate(clients):
                    await group.stop(members[index])
                    members[index] = group.start(client, protocol, assignor)
                    await group.share(*members)
                assert await group.protocol() == protocol
        await group.handles_all(sent)
        for member in members:
            await group.stop(member)
        assert group.handled_again() == []
        assert await group.all_are_committed(sent)


class TestAGroupOfCooperativeMembers:
    """EVKafka has no cooperative assignor. librdkafka's adds data to assignments, from a member's second one on, and
    the brokers do not convert such a group."""

    async def test_takes_no_member_of_evkafka_while_it_runs_and_goes_on(self, group: Group) -> None:
        first = group.start("confluent", "classic", COOPERATIVE)
        async with endless_work(group.servers, group.topic, partitions=PARTITIONS, takes_ms=5):
            await group.share(first)
            second = group.start("confluent", "classic", COOPERATIVE)
            await group.share(first, second)
            for protocol, fix in zip(PROTOCOLS, ("stop them first", "stop the whole group to change it"), strict=True):
                refused = group.start("evkafka", protocol)
                assert await asyncio.to_thread(refused.process.wait, 60) == 1
                assert fix in refused.log
            await group.share(first, second)

    async def test_moves_after_a_stop_and_back_while_it_runs(self, group: Group) -> None:
        async with endless_work(group.servers, group.topic, partitions=PARTITIONS, takes_ms=5) as sent:
            cooperative = group.start("confluent", "classic", COOPERATIVE)
            await group.share(cooperative)
            await group.stop(cooperative)
            ours = group.start("evkafka")
            await group.share(ours)
            cooperative = group.start("confluent", "classic", COOPERATIVE)
            await group.share(ours, cooperative)
            assert await group.protocol() == "consumer"
            await group.stop(ours)
            await group.share(cooperative)
            assert await group.protocol() == "classic"
        await group.handles_all(sent)
        await group.stop(cooperative)
        assert group.handled_again() == []
        assert await group.all_are_committed(sent)
