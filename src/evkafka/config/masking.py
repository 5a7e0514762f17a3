"""What of a configuration may be shown: by a list of what may, so that a key somebody adds later stays hidden.

Two ways lead out. `shown` is for values of known keys in logs and pages; `in_error` puts any value into a
sentence about it, and knows nothing of keys: whoever calls it has made sure that the key holds no secret.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

HIDDEN = "***"

SHOWN_KEYS = frozenset(
    {
        # the connection
        "bootstrap_servers",
        "client_id",
        "cluster_description",
        "cluster_name",
        "connections_max_idle_ms",
        "metadata_max_age_ms",
        "request_timeout_ms",
        "retry_backoff_ms",
        "sasl_kerberos_domain_name",
        "sasl_kerberos_service_name",
        "sasl_mechanism",
        "sasl_plain_username",
        "security_protocol",
        # consumers
        "allow_auto_create_topics",
        "auto_commit_interval_ms",
        "auto_commit_mode",
        "auto_offset_reset",
        "check_crcs",
        "client_rack",
        "concurrency",
        "consumer_timeout_ms",
        "drain_timeout_ms",
        "exclude_internal_topics",
        "fetch_max_bytes",
        "fetch_max_wait_ms",
        "fetch_min_bytes",
        "group_id",
        "group_instance_id",
        "heartbeat_interval_ms",
        "isolation_level",
        "max_decompressed_bytes",
        "max_endpoint_exec_time_ms",
        "max_partition_fetch_bytes",
        "max_pending_bytes",
        "max_pending_records",
        "max_poll_records",
        "ordering",
        "partition_assignment_strategy",
        "rebalance_timeout_ms",
        "required",
        "revoke_drain_timeout_ms",
        "session_timeout_ms",
        "start_timeout_ms",
        "topic_pattern",
        "topics",
        "unmatched",
        # error policies
        "backoff_ms",
        "backoff_multiplier",
        "consecutive",
        "dead_letter_header_style",
        "dead_letter_limit",
        "dead_letter_topic",
        "jitter",
        "max_attempts",
        "max_backoff_ms",
        "non_retryable",
        "ratio",
        "retry_topics",
        "then",
        "window",
        # producers
        "acks",
        "compression_type",
        "delivery_timeout_ms",
        "enable_idempotence",
        "linger_ms",
        "max_batch_size",
        "max_request_size",
        "partitioner",
        "topic",
    }
)

LONGEST = 80
"""Characters of a value that an error message repeats."""

_USERINFO = re.compile(r".*:.*@", re.DOTALL)


@runtime_checkable
class Secret(Protocol):
    """A string that hides itself in logs; pydantic's `SecretStr` is one."""

    def get_secret_value(self) -> str: ...


def shown(key: str, value: object) -> str:
    """The value of a known key as text for a log line or a page, `***` where the key is not on the list."""
    if key not in SHOWN_KEYS:
        return HIDDEN
    match value:
        case str():
            return without_userinfo(value)
        case list() | tuple():
            return ", ".join(shown(key, item) for item in value)
        case type():
            return value.__name__
        case None | bool() | int() | float():
            return str(value)
        case _:
            return kind_of(value)


def shown_mapping(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """`shown` for every key; nested mappings become `outer.inner`."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= shown_mapping(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = shown(key, value)
    return flat


def in_error(value: object) -> str:
    """A plain value as it was written, cut short; of anything else the kind only: its repr may tell too much."""
    match value:
        case None | bool() | float():
            return repr(value)
        case int():
            return repr(value) if -(10**20) < value < 10**20 else "an int of more than 20 digits"
        case str():
            text = without_userinfo(str.__str__(value))
            return repr(text if len(text) <= LONGEST else text[:LONGEST] + "...")
        case _:
            return kind_of(value)


def without_userinfo(text: str) -> str:
    """`sasl_ssl://user:password@host` -> `***@host`. To the last @, for a password may hold one too."""
    return _USERINFO.sub(f"{HIDDEN}@", text)


def kind_of(value: object) -> str:
    """How a value that is not repeated is spoken of."""
    if value is None:
        return "None"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a value of type {type(value).__name__}"


def shown_fields(settings: Any, prefix: str = "") -> dict[str, str]:
    """Checked settings, as the keys they were read from."""
    flat: dict[str, str] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        match field.name, value:
            case _, None if field.name not in ("max_attempts", "dead_letter_limit"):
                continue
            case "dead_letter_topics", _:
                continue  # each policy shows its own
            case "connection", _:
                flat |= value.shown
            case "options", _:
                flat |= shown_mapping(value, prefix)
            case _, Mapping():
                flat |= shown_mapping(value, f"{prefix}{field.name}.")
            case "topics", _:
                flat[field.name] = ", ".join(topic.name for topic in value)
            case _, re.Pattern():
                flat[field.name] = value.pattern
            case _, _ if dataclasses.is_dataclass(value):
                flat |= shown_fields(value, f"{prefix}{field.name}.")
            case _, float() if field.name.endswith("_s"):
                key = f"{field.name.removesuffix('_s')}_ms"
                flat[prefix + key] = shown(key, round(value * 1000))
            case _:
                flat[prefix + field.name] = shown(field.name, value)
    return flat
