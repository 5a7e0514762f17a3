"""The client's errors in our words: what failed, why, and the way out."""

from __future__ import annotations

import asyncio
import socket
import ssl

from aiokafka import errors as kafka

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable

FENCED_INSTANCE_ID = 82

NAMES = {
    74: "FENCED_LEADER_EPOCH",
    75: "UNKNOWN_LEADER_EPOCH",
    81: "GROUP_MAX_SIZE_REACHED",
    FENCED_INSTANCE_ID: "FENCED_INSTANCE_ID",
    88: "UNSTABLE_OFFSET_COMMIT",
    89: "THROTTLING_QUOTA_EXCEEDED",
    90: "PRODUCER_FENCED",
    110: "FENCED_MEMBER_EPOCH",
    113: "STALE_MEMBER_EPOCH",
}
"""Codes that brokers send and the client has no name for: it calls them all `UnknownError`."""


def code_name(code: int) -> str:
    """An error code's name, for a message: `GroupAuthorizationFailedError (30)`."""
    return f"{NAMES.get(code) or kafka.for_code(code).__name__} ({code})"


def translate(error: BaseException, doing: str) -> BrokerError:
    """One of our errors for one of the client's, or of the network's.

    Args:
        doing: what was being done, and to what: `joining group 'billing'`.
    """
    if isinstance(error, BrokerError):
        return error
    kind = _kind(error)
    translated = kind(f"{doing}: {cause(error)}")
    translated.__cause__ = error
    return translated


def _kind(error: BaseException) -> type[BrokerError]:
    match error:
        case (
            kafka.TopicAuthorizationFailedError()
            | kafka.GroupAuthorizationFailedError()
            | kafka.ClusterAuthorizationFailedError()
            | kafka.TransactionalIdAuthorizationFailed()
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
        case kafka.KafkaConnectionError() if _is_alert(error.__cause__):
            return BrokerRefused
        case kafka.KafkaError() if error.retriable:
            return BrokerUnavailable
        case OSError() | TimeoutError() | asyncio.IncompleteReadError():
            return BrokerUnavailable
        case _:
            return BrokerError


def cause(error: BaseException) -> str:
    """Why it failed, in words a reader can act on."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate was not accepted: {_verdict(error)}"
        case ssl.SSLError() if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
            return "the server does not speak TLS on this port (see security_protocol)"
        case ssl.SSLError() if _is_alert(error):
            return (
                "the server does not accept the client's certificate, or asks for one that is not there"
                f" ({error.reason}); give the ssl_context one that the server trusts (load_cert_chain)"
            )
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case socket.gaierror():
            return f"name not found: {error.strerror}"
        case ConnectionRefusedError():
            return "connection refused: nothing listens there"
        case kafka.SaslAuthenticationFailed() | kafka.AuthenticationFailedError():
            return f"login refused: {_text(error) or 'wrong user name or password'}"
        case kafka.UnsupportedSaslMechanismError() | kafka.IllegalSaslStateError():
            return f"login refused: {_text(error) or type(error).__name__} (see sasl_mechanism)"
        case kafka.TopicAuthorizationFailedError():
            return (
                f"not authorized for topic {_text(error)}: an ACL is missing (READ and DESCRIBE to consume it,"
                " WRITE and DESCRIBE to write to it)"
            )
        case kafka.GroupAuthorizationFailedError():
            return f"not authorized for group {_text(error)}: an ACL for READ of the group is missing"
        case kafka.ClusterAuthorizationFailedError():
            return (
                "not authorized: an ACL is missing (a producer's: WRITE of at least one topic, or IDEMPOTENT_WRITE"
                " of the cluster)"
            )
        case kafka.InvalidSessionTimeoutError():
            return (
                "the broker does not accept session_timeout_ms: it must lie between its"
                " group.min.session.timeout.ms and group.max.session.timeout.ms"
            )
        case kafka.InconsistentGroupProtocolError():
            return (
                "the other members of the group use another partition_assignment_strategy, or are no consumers;"
                " stop the whole group to change it"
            )
        case TimeoutError():
            return "no answer in time"
        case asyncio.IncompleteReadError() | ConnectionResetError():
            return _closed()
        case kafka.KafkaConnectionError() if error.__cause__ is not None:
            return cause(error.__cause__)
        case kafka.KafkaConnectionError() if "closed" in str(error):
            return _closed()
        case kafka.KafkaError():
            return str(error) or type(error).__name__
        case OSError():
            return error.strerror or str(error) or type(error).__name__
        case _:
            return f"{type(error).__name__}: {error}"


def _verdict(error: ssl.SSLCertVerificationError) -> str:
    said = (error.verify_message or str(error)).rstrip(".")
    match error.verify_code:
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return f"{said}; renew it on the brokers (and look at this machine's clock)"
        case 62 | 63 | 64:  # host name, e-mail, IP address
            return (
                f"{said}; connect by a name that stands in it (bootstrap_servers; advertised.listeners of the brokers)"
            )
        case _:
            return f"{said}; give the ssl_context the authority that signed it (create_ssl_context(cafile=...))"


def was_closed(error: BaseException) -> bool:
    """Whether the server hung up, and did not say why."""
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ConnectionResetError() | BrokenPipeError():
            return True
        case asyncio.IncompleteReadError():
            return True
        case kafka.KafkaConnectionError() if error.__cause__ is not None:
            return was_closed(error.__cause__)
        case kafka.KafkaConnectionError():
            return "closed" in str(error)
        case ssl.SSLError():
            return "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error)
        case _:
            return False


def _is_alert(error: BaseException | None) -> bool:
    """The server's word, in TLS, on our certificate; with TLS 1.3 it comes only after the handshake."""
    return (
        isinstance(error, ssl.SSLError)
        and not isinstance(error, ssl.SSLCertVerificationError)
        and "ALERT" in (error.reason or "")
        and any(word in error.reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))
    )


def _closed() -> str:
    return "the server closed the connection: it goes down, or it expects TLS or a login (see security_protocol)"


def _text(error: BaseException) -> str:
    return ", ".join(str(arg) for arg in error.args if arg is not None and not hasattr(arg, "send"))
