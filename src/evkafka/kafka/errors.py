"""Translates errors of aiokafka and of the network into ours: what failed, why, and how to fix it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from enum import IntEnum

from aiokafka import errors as kafka

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable

_CLOSED = "the server closed the connection: it is shutting down, or it expects TLS or a login (see security_protocol)"


class ErrorCode(IntEnum):
    """Kafka's error codes that this package decides on, or that aiokafka has no name for."""

    UNKNOWN_SERVER_ERROR = -1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    REBALANCE_IN_PROGRESS = 27
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_STORAGE_ERROR = 56
    UNKNOWN_PRODUCER_ID = 59
    GROUP_ID_NOT_FOUND = 69
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    TRANSACTION_ABORTABLE = 120
    INVALID_REGULAR_EXPRESSION = 128


def code_name(code: int) -> str:
    """The name and number of an error code, for a message: `GroupAuthorizationFailedError (30)`.

    It is aiokafka's class name, or Kafka's own name if aiokafka has none (aiokafka-defects.md#unnamed-error-codes).
    """
    name = kafka.for_code(code).__name__
    if name == kafka.UnknownError.__name__:
        with suppress(ValueError):
            name = ErrorCode(code).name
    return f"{name} ({code})"


def translate_error(error: BaseException, doing: str) -> BrokerError:
    """Our error for one of aiokafka's or of the network's.

    Args:
        doing: the operation that failed: `joining group 'billing'`.
    """
    if isinstance(error, BrokerError):
        return error
    kind = _broker_error_class_for_exception(error)
    translated = kind(f"{doing}: {describe_cause(error)}")
    translated.__cause__ = error
    return translated


def _broker_error_class_for_exception(error: BaseException) -> type[BrokerError]:
    match error:
        case (
            kafka.TopicAuthorizationFailedError()
            | kafka.GroupAuthorizationFailedError()
            | kafka.ClusterAuthorizationFailedError()
            | kafka.TransactionalIdAuthorizationFailed()
            | kafka.InvalidTransactionTimeout()
            | kafka.SaslAuthenticationFailed()
            | kafka.AuthenticationFailedError()
            | kafka.UnsupportedSaslMechanismError()
            | kafka.IllegalSaslStateError()
            | kafka.InvalidSessionTimeoutError()
            | kafka.InconsistentGroupProtocolError()
            | kafka.InvalidGroupIdError()
            | kafka.InvalidTopicError()
            | kafka.UnsupportedVersionError()
            | kafka.IncompatibleBrokerVersion()
            | ssl.SSLCertVerificationError()
        ):
            return BrokerRefused
        case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return BrokerRefused
        case kafka.KafkaConnectionError() if _is_certificate_alert(error.__cause__):
            return BrokerRefused
        case kafka.KafkaError() if error.retriable:
            return BrokerUnavailable
        case OSError() | TimeoutError() | asyncio.IncompleteReadError():
            return BrokerUnavailable
        case _:
            return BrokerError


def describe_cause(error: BaseException) -> str:
    """Why it failed, as a sentence that a reader can act on."""
    match error:
        case ssl.SSLError():
            return _describe_tls_error(error)
        case socket.gaierror():
            return f"name not found: {error.strerror}"
        case ConnectionRefusedError():
            return "connection refused: nothing is listening there"
        case TimeoutError():
            return "no answer in time"
        case asyncio.IncompleteReadError() | ConnectionResetError():
            return _CLOSED
        case kafka.KafkaError():
            return _describe_kafka_error(error)
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return f"{type(error).__name__}: {error}"


def _describe_tls_error(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was not accepted: {_describe_verification_error(error)}"
    if _is_error_of_plaintext_port(error):
        return "the server does not speak TLS on this port (see security_protocol)"
    if _is_certificate_alert(error):
        return (
            f"the server does not accept the client's certificate, or requires one and got none ({error.reason}); load"
            " one that the server trusts into the ssl_context (load_cert_chain)"
        )
    return f"TLS failed: {error.reason or error}"


def _describe_kafka_error(error: kafka.KafkaError) -> str:
    match error:
        case kafka.SaslAuthenticationFailed() | kafka.AuthenticationFailedError():
            return f"login refused: {_args_text(error) or 'wrong user name or password'}"
        case kafka.UnsupportedSaslMechanismError() | kafka.IllegalSaslStateError():
            return f"login refused: {_args_text(error) or type(error).__name__} (see sasl_mechanism)"
        case kafka.TopicAuthorizationFailedError():
            return (
                f"not authorized for topic {_args_text(error)}: an ACL is missing (READ and DESCRIBE to consume it,"
                " WRITE and DESCRIBE to write to it)"
            )
        case kafka.GroupAuthorizationFailedError():
            return f"not authorized for group {_args_text(error)}: an ACL for READ of the group is missing"
        case kafka.ClusterAuthorizationFailedError():
            return (
                "not authorized: an ACL is missing (a producer's: WRITE of at least one topic, or IDEMPOTENT_WRITE"
                " of the cluster)"
            )
        case kafka.TransactionalIdAuthorizationFailed():
            return (
                f"not authorized for transactional id {_args_text(error)}: an ACL for DESCRIBE and WRITE of this"
                " TransactionalId is missing"
            )
        case kafka.InvalidTransactionTimeout():
            return (
                "the broker does not accept transaction_timeout_ms: it must not be above the broker's"
                " transaction.max.timeout.ms"
            )
        case kafka.InvalidSessionTimeoutError():
            return (
                "the broker does not accept session_timeout_ms: it must be between the broker's"
                " group.min.session.timeout.ms and group.max.session.timeout.ms"
            )
        case kafka.InconsistentGroupProtocolError():
            return (
                "the other members of the group use a different partition_assignment_strategy, or are not consumers;"
                " stop the whole group to change it"
            )
        case kafka.IncompatibleBrokerVersion() if _args_text(error):
            return _args_text(error)
        case kafka.KafkaConnectionError() if error.__cause__ is not None:
            return describe_cause(error.__cause__)
        case kafka.KafkaConnectionError() if "closed" in str(error):
            return _CLOSED
        case _:
            return str(error) or type(error).__name__


def _describe_verification_error(error: ssl.SSLCertVerificationError) -> str:
    why = (error.verify_message or str(error)).rstrip(".")
    match error.verify_code:
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return f"{why}; renew it on the brokers (and check this machine's clock)"
        case 62 | 63 | 64:  # host name, e-mail, IP address
            return (
                f"{why}; connect by a name that the certificate contains (bootstrap_servers; advertised.listeners of"
                " the brokers)"
            )
        case _:
            return f"{why}; add the authority that signed it to the ssl_context (create_ssl_context(cafile=...))"


def was_closed_without_reason(error: BaseException) -> bool:
    """Whether the server closed the connection without giving a reason."""
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
            return True
        case asyncio.IncompleteReadError():
            return True
        case kafka.KafkaConnectionError() if error.__cause__ is not None:
            return was_closed_without_reason(error.__cause__)
        case kafka.KafkaConnectionError():
            return "closed" in str(error)
        case ssl.SSLError():
            return _is_error_of_plaintext_port(error)
        case _:
            return False


def _is_error_of_plaintext_port(error: ssl.SSLError) -> bool:
    return "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error)


def _is_certificate_alert(error: BaseException | None) -> bool:
    """Whether the server refused our certificate with a TLS alert. With TLS 1.3 it comes after the handshake."""
    return (
        isinstance(error, ssl.SSLError)
        and not isinstance(error, ssl.SSLCertVerificationError)
        and "ALERT" in (error.reason or "")
        and any(word in error.reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))
    )


def _args_text(error: BaseException) -> str:
    return ", ".join(str(arg) for arg in error.args if arg is not None and not hasattr(arg, "send"))
