"""What to do about a group that does not take this member: the sentences of the errors."""

from __future__ import annotations

from collections.abc import Collection

from aiokafka import errors as kafka

from evkafka.config.settings import ConsumerSettings
from evkafka.exceptions import BrokerError, BrokerRefused
from evkafka.kafka.errors import ErrorCode, code_name, translate_error


def refusal_error(code: int, message: str | None, settings: ConsumerSettings, topics: Collection[str]) -> BrokerError:
    """The error for a heartbeat that was refused, with the remedy.

    Args:
        message: the coordinator's own.
        topics: the topics that the member subscribes to.
    """
    doing = f"joining group {settings.group_id!r}"
    match code:
        case ErrorCode.GROUP_AUTHORIZATION_FAILED:
            return translate_error(kafka.GroupAuthorizationFailedError(settings.group_id), doing)
        case ErrorCode.TOPIC_AUTHORIZATION_FAILED:
            return translate_error(kafka.TopicAuthorizationFailedError(*sorted(topics)), doing)
        case _:
            said = f" ({message.rstrip('.')})" if message else ""
            return BrokerRefused(f"{doing}: {code_name(code)}{said}: {_remedy(code, settings)}")


def _remedy(code: int, settings: ConsumerSettings) -> str:
    match code:
        case ErrorCode.UNRELEASED_INSTANCE_ID:
            return (
                f"another running process uses the group_instance_id {settings.group_instance_id!r}; give every process"
                " its own"
            )
        case ErrorCode.FENCED_INSTANCE_ID:
            return (
                f"another process has joined with the group_instance_id {settings.group_instance_id!r}; give every"
                " process its own"
            )
        case ErrorCode.UNSUPPORTED_ASSIGNOR:
            return (
                "set group_remote_assignor to one of the brokers' group.consumer.assignors (by default 'uniform' and"
                " 'range'), or leave it out"
            )
        case ErrorCode.UNSUPPORTED_VERSION:
            return (
                "the brokers do not have the consumer protocol, or it is switched off (feature group.version,"
                " group.coordinator.rebalance.protocols); set group_protocol to 'classic' or 'auto'"
            )
        case ErrorCode.GROUP_MAX_SIZE_REACHED:
            return "the group is full; raise group.consumer.max.size of the brokers, or start fewer consumers"
        case ErrorCode.GROUP_ID_NOT_FOUND | ErrorCode.INCONSISTENT_GROUP_PROTOCOL:
            return (
                "the group is of another type, or has members of another protocol and the brokers do not convert it"
                " while they run; stop them first, see the brokers' group.consumer.migration.policy, or set"
                " group_protocol to 'classic'"
            )
        case ErrorCode.INVALID_GROUP_ID:
            return "choose another group_id"
        case ErrorCode.INVALID_REGULAR_EXPRESSION:
            return "the coordinator does not accept the pattern; set group_protocol to 'classic'"
        case _:
            return "the coordinator does not accept what this version of EVKafka sends; set group_protocol to 'classic'"
