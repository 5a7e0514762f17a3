"""`evkafka lag` and `evkafka offsets show` print the protocol and the epochs of a group."""

from __future__ import annotations

import pytest

from evkafka.cli.impl.group_offsets import print_group_heading, print_member
from evkafka.kafka.admin.groups import Group, Member

CLASSIC, CONSUMER = Member("shop", "10.0.0.1"), Member("shop", "10.0.0.2", "consumer", 7)


class TestAHeading:
    @pytest.mark.parametrize(
        ("group", "line"),
        [
            (Group("Stable", (CLASSIC,)), "group g: stable, 1 member, classic protocol, no committed offsets"),
            (Group("Empty", ()), "group g: empty, 0 members, no committed offsets"),
            (
                Group("Reconciling", (CONSUMER, CONSUMER), "consumer", 8, "uniform"),
                "group g: reconciling, 2 members, consumer protocol, epoch 8, no committed offsets",
            ),
        ],
    )
    def test_has_the_protocol_and_the_epoch(self, group: Group, line: str, capsys: pytest.CaptureFixture[str]) -> None:
        print_group_heading("g", group, [])
        assert capsys.readouterr().out.rstrip() == line


class TestAMember:
    @pytest.mark.parametrize(
        ("member", "line"),
        [
            (CLASSIC, "member shop on 10.0.0.1"),
            (CONSUMER, "member shop on 10.0.0.2: consumer protocol, epoch 7"),
            (
                Member("shop", "10.0.0.2", "classic", 7, is_moving=True),
                "member shop on 10.0.0.2: classic protocol, epoch 7, its partitions are changing",
            ),
            (
                Member("shop", "10.0.0.2", "consumer", is_away=True),
                "member shop on 10.0.0.2: stopped; its partitions wait for it",
            ),
        ],
    )
    def test_of_the_consumer_protocol_has_its_epoch(
        self, member: Member, line: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        print_member(member)
        assert capsys.readouterr().out.rstrip() == line
