"""`evkafka check` says which protocol a consumer will use, and whether its group can move."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from evkafka.cli.impl.check_protocol import protocol_findings
from evkafka.kafka.admin.groups import Group, Member
from evkafka.kafka.client.consumer_protocol_offer import FEATURE_OFF, TOO_OLD, ConsumerProtocolOffer
from evkafka.service.config_checks import ConfigFinding
from tests.support.configurations import consumer

OFFERED = ConsumerProtocolOffer(1, 1, None)
DEAD = Group("Dead", ())
RUNNING = Group("Stable", (Member("a", "h"), Member("b", "h")), assignor="roundrobin")


def found(
    protocol: str, offer: ConsumerProtocolOffer, group: Group = DEAD, known: Mapping[str, str] | None = None
) -> list[ConfigFinding]:
    return list(protocol_findings(consumer(group_protocol=protocol), offer, group, known))


class TestTheProtocol:
    @pytest.mark.parametrize("protocol", ["consumer", "auto"])
    def test_is_the_consumer_protocol_if_it_is_offered(self, protocol: str) -> None:
        [finding] = found(protocol, OFFERED)
        assert finding == ("ok", "consumer protocol, ConsumerGroupHeartbeat version 1", "")

    def test_that_is_classic_may_be_changed_where_the_other_is_offered(self) -> None:
        [finding] = found("classic", OFFERED, RUNNING)
        assert finding.level == "ok"
        assert "offer the consumer protocol too" in finding.problem

    @pytest.mark.parametrize("obstacle", [TOO_OLD, FEATURE_OFF])
    def test_that_the_brokers_do_not_offer_is_an_error_only_if_it_is_needed(self, obstacle: str) -> None:
        offer = ConsumerProtocolOffer(None, 0, obstacle)
        [needed], [wanted], [classic] = (found(one, offer) for one in ("consumer", "auto", "classic"))
        assert (needed.level, wanted.level, classic.level) == ("error", "ok", "ok")
        assert all(obstacle in one.problem for one in (needed, wanted, classic))
        assert "group_protocol 'auto'" in needed.fix


class TestAGroupOfTheClassicProtocol:
    @pytest.mark.parametrize("policy", [None, "bidirectional", "UPGRADE"])
    def test_can_move(self, policy: str | None) -> None:
        known = {} if policy is None else {"group.consumer.migration.policy": policy}
        [_, finding] = found("consumer", OFFERED, RUNNING, known)
        assert finding.level == "ok"
        assert "'billing' has 2 members of the classic protocol: the brokers convert it" in finding.problem

    @pytest.mark.parametrize("policy", ["disabled", "downgrade"])
    def test_cannot_move_if_the_brokers_do_not_convert_it(self, policy: str) -> None:
        [_, finding] = found("consumer", OFFERED, RUNNING, {"group.consumer.migration.policy": policy})
        assert finding.level == "error"
        assert "stop them all before" in finding.fix

    def test_with_an_unusual_assignor_may_not_move(self) -> None:
        group = Group("Stable", RUNNING.members, assignor="by-customer")
        [_, finding] = found("auto", OFFERED, group)
        assert (finding.level, "'by-customer'" in finding.problem) == ("warning", True)

    def test_whose_assignor_adds_data_of_its_own_cannot_move(self) -> None:
        group = Group("Stable", RUNNING.members, assignor="cooperative-sticky", assignor_adds_data=True)
        [_, finding] = found("consumer", OFFERED, group)
        assert (finding.level, "'cooperative-sticky'" in finding.problem) == ("error", True)
        assert "stop them all before" in finding.fix

    @pytest.mark.parametrize("group", [DEAD, Group("Empty", ()), Group("Stable", RUNNING.members, "consumer", 3)])
    def test_that_has_no_members_or_has_moved_needs_no_finding(self, group: Group) -> None:
        assert len(found("consumer", OFFERED, group, {"group.consumer.migration.policy": "disabled"})) == 1
