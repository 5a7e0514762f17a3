"""Answers of the consumer group protocol become errors that name the group and the fix."""

from __future__ import annotations

import pytest

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable
from evkafka.kafka.errors import ErrorCode, group_error


class TestGroupErrors:
    @pytest.mark.parametrize(
        ("code", "kind", "fix"),
        [
            (ErrorCode.UNSUPPORTED_VERSION, BrokerRefused, "group.coordinator.rebalance.protocols"),
            (ErrorCode.GROUP_ID_NOT_FOUND, BrokerRefused, "group.consumer.migration.policy"),
            (ErrorCode.UNSUPPORTED_ASSIGNOR, BrokerRefused, "change or remove group_remote_assignor"),
            (ErrorCode.UNRELEASED_INSTANCE_ID, BrokerRefused, "give every process its own"),
            (ErrorCode.INVALID_REGULAR_EXPRESSION, BrokerRefused, "RE2"),
            (ErrorCode.GROUP_AUTHORIZATION_FAILED, BrokerRefused, "an ACL for READ of the group is missing"),
            (ErrorCode.COORDINATOR_NOT_AVAILABLE, BrokerUnavailable, ""),
            (ErrorCode.GROUP_MAX_SIZE_REACHED, BrokerError, "group.consumer.max.size"),
            (ErrorCode.FENCED_MEMBER_EPOCH, BrokerError, "FENCED_MEMBER_EPOCH (110)"),
        ],
    )
    def test_name_the_group_and_the_fix(self, code: int, kind: type[BrokerError], fix: str) -> None:
        error = group_error(code, "billing")

        assert type(error) is kind
        assert str(error).startswith("membership of group 'billing': ")
        assert fix in str(error)

    def test_have_the_brokers_own_words(self) -> None:
        error = group_error(ErrorCode.UNSUPPORTED_ASSIGNOR, "billing", "ServerAssignor fastest is not supported.")

        assert str(error).endswith(
            "(UNSUPPORTED_ASSIGNOR (112); the broker says: ServerAssignor fastest is not supported)"
        )
