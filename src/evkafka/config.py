"""Configuration: plain dictionaries, checked once, where they are given.

`keys.py` has the keys. `consumer_settings` and `producer_settings` turn dictionaries into frozen settings, or raise
one `ConfigError` that lists every fault.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from evkafka import checks
from evkafka.checks import Check, Fault, check_all
from evkafka.exceptions import ConfigError
from evkafka.keys import BrokerConfig, ConsumerConfig, DeadLetterLimit, ErrorPolicy, ProducerConfig, TopicConfig
from evkafka.settings import (
    ConnectionSettings,
    ConsumerSettings,
    DeadLetterLimitSettings,
    ErrorPolicySettings,
    ProducerSettings,
    TopicSettings,
)

__all__ = [
    "BrokerConfig",
    "ConsumerConfig",
    "DeadLetterLimit",
    "ErrorPolicy",
    "ProducerConfig",
    "TopicConfig",
    "consumer_config",
    "consumer_settings",
    "error_policy",
    "missing_group_id",
    "producer_config",
    "producer_settings",
    "shown_settings",
]

logger = logging.getLogger("evkafka")

# ---------------------------------------------------------------------------- their checks

_CONNECTION: dict[str, Check] = {
    "bootstrap_servers": checks.servers,
    "client_id": checks.text,
    "cluster_name": checks.optional(checks.text),
    "cluster_description": checks.optional(checks.text),
    "security_protocol": checks.one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "ssl_context": checks.anything,
    "sasl_mechanism": checks.one_of("PLAIN", "GSSAPI", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    "sasl_plain_username": checks.optional(checks.text),
    "sasl_plain_password": checks.optional(checks.secret),
    "sasl_kerberos_service_name": checks.text,
    "sasl_kerberos_domain_name": checks.optional(checks.text),
    "sasl_oauth_token_provider": checks.anything,
    "request_timeout_ms": checks.milliseconds(100),
    "metadata_max_age_ms": checks.milliseconds(100),
    "retry_backoff_ms": checks.integer(0),
    "connections_max_idle_ms": checks.integer(0),
    "api_version": checks.anything,
}
_OURS = {
    "bootstrap_servers",
    "client_id",
    "cluster_name",
    "cluster_description",
    "request_timeout_ms",
    "metadata_max_age_ms",
}
_PASSED_ON = set(_CONNECTION) - _OURS - {"api_version"}

_CONSUMER: dict[str, Check] = {
    "topics": checks.anything,  # looked at by `_topics`
    "topic_pattern": checks.pattern,
    "group_id": checks.optional(checks.text),
    "group_instance_id": checks.optional(checks.text),
    "auto_commit_mode": checks.one_of("pre-commit", "post-commit"),
    "auto_commit_interval_ms": checks.milliseconds(0),
    "auto_offset_reset": checks.one_of("latest", "earliest", "none"),
    "max_endpoint_exec_time_ms": checks.milliseconds(1),
    "consumer_timeout_ms": checks.milliseconds(1, 60_000),
    "concurrency": checks.integer(1, 10_000),
    "ordering": checks.one_of("partition", "key", "unordered"),
    "max_pending_records": checks.integer(1),
    "max_pending_bytes": checks.integer(1),
    "max_poll_records": checks.integer(1),
    "drain_timeout_ms": checks.milliseconds(0),
    "revoke_drain_timeout_ms": checks.milliseconds(0),
    "session_timeout_ms": checks.milliseconds(100),
    "heartbeat_interval_ms": checks.milliseconds(10),
    "rebalance_timeout_ms": checks.milliseconds(100),
    "max_poll_interval_ms": checks.integer(1),
    "partition_assignment_strategy": checks.anything,
    "allow_auto_create_topics": checks.boolean,
    "required": checks.boolean,
    "isolation_level": checks.one_of("read_committed", "read_uncommitted"),
    "start_timeout_ms": checks.milliseconds(100),
    "unmatched": checks.one_of("skip", "dead_letter", "stop"),
    "on_error": checks.anything,  # looked at by `error_policy`
    "enable_auto_commit": checks.anything,
}
_CONSUMER_PASSED_ON: dict[str, Check] = {
    "fetch_max_wait_ms": checks.integer(0),
    "fetch_max_bytes": checks.integer(1),
    "fetch_min_bytes": checks.integer(0),
    "max_partition_fetch_bytes": checks.integer(1),
    "check_crcs": checks.boolean,
    "exclude_internal_topics": checks.boolean,
    "client_rack": checks.optional(checks.text),
}
_PRODUCER: dict[str, Check] = {
    "topic": checks.optional(checks.topic_name),
    "acks": checks.one_of("all", -1, 0, 1),
    "enable_idempotence": checks.boolean,
    "delivery_timeout_ms": checks.milliseconds(1),
    "start_timeout_ms": checks.milliseconds(100),
}
_PRODUCER_PASSED_ON: dict[str, Check] = {
    "compression_type": checks.one_of(None, "gzip", "snappy", "lz4", "zstd"),
    "max_batch_size": checks.integer(1),
    "max_request_size": checks.integer(1),
    "linger_ms": checks.integer(0),
    "partitioner": checks.anything,
}
_POLICY: dict[str, Check] = {
    "max_attempts": checks.optional(checks.integer(1)),
    "backoff_ms": checks.milliseconds(0),
    "backoff_multiplier": checks.number(1.0),
    "max_backoff_ms": checks.milliseconds(0),
    "jitter": checks.number(0.0, 1.0),
    "non_retryable": checks.error_types,
    "then": checks.one_of("stop", "skip", "dead_letter"),
    "dead_letter_topic": checks.text,
    "dead_letter_limit": checks.anything,  # looked at by `_dead_letter_limit`
    "dead_letter_header_style": checks.one_of("evkafka", "spring"),
    "dead_letter_producer": checks.optional(checks.anything),
}
_LIMIT: dict[str, Check] = {
    "consecutive": checks.integer(1),
    "ratio": checks.number(0.0, 1.0),
    "window": checks.integer(1),
}
_REFUSED = {
    "key_deserializer": "decode in a middleware instead: one record that cannot be decoded would stop its whole batch",
    "value_deserializer": "decode in a middleware instead: one record that cannot be decoded would stop its whole batch",
    "key_serializer": "encode the key before the send, or give `key=` on the sender's decorator",
    "value_serializer": "encode the event before the send: bytes go out as they are",
    "transactional_id": "there are no transactions yet: a producer is idempotent, and delivery is at least once",
    "loop": "the app runs in the loop that calls it",
}

_warned_of_auto_commit = False

# ---------------------------------------------------------------------------- the ways in


def consumer_config(values: Mapping[str, object], /) -> ConsumerConfig:
    """A consumer's configuration out of an untyped mapping (a YAML file, say), checked.

    Raises:
        ConfigError: as `add_consumer` would.
    """
    consumer_settings(values)
    return dict(values)  # type: ignore[return-value]


def producer_config(values: Mapping[str, object], /) -> ProducerConfig:
    """A producer's configuration out of an untyped mapping, checked.

    Raises:
        ConfigError: as `add_producer` would.
    """
    producer_settings(values)
    return dict(values)  # type: ignore[return-value]


def consumer_settings(config: Mapping[str, Any] | ConsumerConfig) -> ConsumerSettings:
    """The consumer's settings.

    Raises:
        ConfigError: every fault of the configuration, in one error.
    """
    faults: list[str] = []
    given = _known(config, "consumer", faults)
    values = check_all(given, {**_CONNECTION, **_CONSUMER, **_CONSUMER_PASSED_ON}, faults)
    topics = _topics(values.pop("topics", None), faults)
    if "topic_pattern" in given and "topics" in given:
        faults.append("topics and topic_pattern are both given; a consumer reads by one of them")
    elif "topic_pattern" not in given and "topics" not in given:
        faults.append("topics is missing: give a list of topic names, or a topic_pattern")
    policy = _policy(values.pop("on_error", None), "on_error", faults)
    if "on_error" in given and values.get("auto_commit_mode") == "pre-commit":
        faults.append("on_error has no effect with auto_commit_mode 'pre-commit': the commit comes first")
    if "enable_auto_commit" in values:
        _warn_of_auto_commit()
    times = _consumer_times(values, faults)
    connection = _connection(values, times.pop("request_timeout_s"), faults)
    strategy = values.get("partition_assignment_strategy")
    if isinstance(strategy, Sequence) and len(strategy) != 1:
        faults.append(
            f"partition_assignment_strategy names {len(strategy)} strategies; give exactly one: "
            "aiokafka joins the group once for each"
        )
    options = {key: values[key] for key in _CONSUMER_PASSED_ON if key in values}
    if strategy is not None:
        options["partition_assignment_strategy"] = strategy
    _raise(faults, "consumer")
    plain = (
        "topic_pattern",
        "group_id",
        "group_instance_id",
        "auto_commit_mode",
        "auto_offset_reset",
        "concurrency",
        "ordering",
        "max_pending_records",
        "max_pending_bytes",
        "max_poll_records",
        "allow_auto_create_topics",
        "required",
        "isolation_level",
        "unmatched",
    )
    return ConsumerSettings(
        connection=connection,
        topics=topics,
        on_error=policy,
        options=options,
        **times,
        **{key: values[key] for key in plain if key in values},
    )


def producer_settings(config: Mapping[str, Any] | ProducerConfig) -> ProducerSettings:
    """The producer's settings.

    Raises:
        ConfigError: every fault of the configuration, in one error.
    """
    faults: list[str] = []
    given = _known(config, "producer", faults)
    values = check_all(given, {**_CONNECTION, **_PRODUCER, **_PRODUCER_PASSED_ON}, faults)
    acks: Any = "all" if values.get("acks", "all") in ("all", -1) else values["acks"]
    idempotent: bool = values.get("enable_idempotence", True)
    if acks != "all" and idempotent:
        if "enable_idempotence" in given:
            faults.append(f"acks is {acks!r} and enable_idempotence is True; idempotence needs acks 'all'")
        else:
            logger.info("acks is %r, so the producer is not idempotent", acks)
            idempotent = False
    connection = _connection(values, values.get("request_timeout_ms", 40.0), faults)
    _raise(faults, "producer")
    return ProducerSettings(
        connection=connection,
        topic=values.get("topic"),
        acks=acks,
        enable_idempotence=idempotent,
        delivery_timeout_s=values.get("delivery_timeout_ms", 120.0),
        start_timeout_s=values.get("start_timeout_ms", 30.0),
        options={key: values[key] for key in _PRODUCER_PASSED_ON if key in values},
    )


def error_policy(
    base: ErrorPolicySettings, overlay: Mapping[str, Any] | ErrorPolicy | None, *, where: str
) -> ErrorPolicySettings:
    """A policy laid over another, key by key, nested mappings too; sequences are replaced.

    Raises:
        ConfigError: every fault of the overlay, and contradictions of the merged policy.
    """
    if overlay is None:
        return base
    faults: list[str] = []
    policy = _policy(overlay, f"on_error of {where}", faults, base)
    _raise(faults, where)
    return policy


def missing_group_id(settings: ConsumerSettings) -> str | None:
    """What is wrong where a post-commit consumer has no group; None where nothing is. Checked at the start."""
    if settings.group_id is None and settings.auto_commit_mode == "post-commit":
        return (
            "group_id is missing: post-commit keeps its offsets in a consumer group. Give a group_id, "
            "or auto_commit_mode 'pre-commit' to read without a group"
        )
    return None


def shown_settings(settings: ConsumerSettings | ProducerSettings) -> dict[str, str]:
    """The effective settings for a log line or a page: nothing secret in it."""
    fields = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    shown = dict(fields.pop("connection").shown)
    fields.pop("options")
    return shown | {name: repr(value) for name, value in fields.items()}


# ---------------------------------------------------------------------------- their parts


def _known(config: object, kind: str, faults: list[str]) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        raise ConfigError(f"a {kind}'s configuration is a dictionary, not {type(config).__name__}")
    given = {str(key): value for key, value in config.items()}
    for key in [key for key in given if key in _REFUSED]:
        faults.append(f"{key} is not taken: {_REFUSED[key]}")
        del given[key]
    return given


def _topics(given: Any, faults: list[str]) -> tuple[TopicSettings, ...]:
    if given is None:
        return ()
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence):
        faults.append(f"topics is a list of topic names, not {checks.shown('topics', given)}")
        return ()
    if not given:
        faults.append("topics is empty: name at least one topic")
    topics: list[TopicSettings] = []
    for one in given:
        described = one if isinstance(one, Mapping) else {"name": one}
        keys: dict[str, Check] = {
            "name": checks.topic_name,
            "description": checks.optional(checks.text),
            "event_type": checks.optional(checks.text),
        }
        values = check_all(described, keys, faults, where="topics: ")
        if "name" not in described:
            faults.append(f"topics: {checks.shown('topics', one)} has no name")
        elif "name" in values:
            topics.append(TopicSettings(**values))
    names = [topic.name for topic in topics]
    faults.extend(f"topics: {name!r} stands in it twice" for name in {n for n in names if names.count(n) > 1})
    return tuple(topics)


def _consumer_times(values: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """Times in seconds, with the defaults that depend on each other, and what contradicts itself."""
    default = ConsumerSettings()
    names = (
        "auto_commit_interval",
        "max_endpoint_exec_time",
        "consumer_timeout",
        "drain_timeout",
        "revoke_drain_timeout",
        "session_timeout",
        "heartbeat_interval",
        "start_timeout",
    )
    times: dict[str, float] = {f"{name}_s": values.get(f"{name}_ms", getattr(default, f"{name}_s")) for name in names}
    if "heartbeat_interval_ms" not in values:  # a shorter session than usual takes its heartbeat with it
        times["heartbeat_interval_s"] = min(times["heartbeat_interval_s"], times["session_timeout_s"] / 3)
    rebalance_s = values.get("rebalance_timeout_ms", max(60.0, times["max_endpoint_exec_time_s"] + 10.0))
    if "revoke_drain_timeout_ms" not in values:
        times["revoke_drain_timeout_s"] = min(times["revoke_drain_timeout_s"], rebalance_s / 2)
    request_s = values.get("request_timeout_ms", rebalance_s + 5.0)
    if times["heartbeat_interval_s"] >= times["session_timeout_s"]:
        faults.append(
            f"heartbeat_interval_ms ({times['heartbeat_interval_s'] * 1000:.0f}) must be less than session_timeout_ms "
            f"({times['session_timeout_s'] * 1000:.0f}), a third of it at best"
        )
    if rebalance_s <= times["revoke_drain_timeout_s"]:
        faults.append(
            f"rebalance_timeout_ms ({rebalance_s * 1000:.0f}) must be more than revoke_drain_timeout_ms "
            f"({times['revoke_drain_timeout_s'] * 1000:.0f}): the drain is a part of the rebalance"
        )
    if request_s < rebalance_s + 5.0:
        faults.append(
            f"request_timeout_ms ({request_s * 1000:.0f}) must be at least rebalance_timeout_ms + 5000 "
            f"({rebalance_s * 1000 + 5000:.0f}): a join that takes longer would be given up and begun again for ever"
        )
    return times | {"rebalance_timeout_s": rebalance_s, "request_timeout_s": request_s}


def _connection(values: Mapping[str, Any], request_timeout_s: float, faults: list[str]) -> ConnectionSettings:
    options = {key: values[key] for key in _PASSED_ON if values.get(key) is not None}
    protocol = options.get("security_protocol", "PLAINTEXT")
    context = options.get("ssl_context")
    if context is not None and not isinstance(context, ssl.SSLContext):
        faults.append(f"ssl_context is an ssl.SSLContext, not a {type(context).__name__}")
    if protocol.endswith("SSL") and context is None:
        faults.append(
            f"security_protocol {protocol!r} needs an ssl_context: ssl.create_default_context(cafile='ca.pem'), "
            "with load_cert_chain() where the broker asks for a client certificate"
        )
    if context is not None and not protocol.endswith("SSL"):
        faults.append(f"ssl_context is given, but security_protocol is {protocol!r}; make it 'SSL' or 'SASL_SSL'")
    faults.extend(_login_faults(options, protocol))
    default = ConnectionSettings()
    found = {
        "bootstrap_servers": values.get("bootstrap_servers", default.bootstrap_servers),
        "client_id": values.get("client_id", default.client_id),
        "cluster_name": values.get("cluster_name"),
        "cluster_description": values.get("cluster_description"),
        "request_timeout_s": request_timeout_s,
        "metadata_max_age_s": values.get("metadata_max_age_ms", default.metadata_max_age_s),
    }
    plain = ("security_protocol", "sasl_mechanism", "retry_backoff_ms", "connections_max_idle_ms")
    shown = {key: str(value) for key, value in found.items() if value is not None}
    shown["bootstrap_servers"] = ",".join(found["bootstrap_servers"])
    shown |= {key: str(value) if key in plain else "***" for key, value in options.items()}
    return ConnectionSettings(**found, options=options, shown=shown)


def _login_faults(options: Mapping[str, Any], protocol: str) -> list[str]:
    faults = []
    login = [key for key in options if key.startswith("sasl_")]
    if login and not protocol.startswith("SASL"):
        faults.append(f"{', '.join(sorted(login))} given, but security_protocol is {protocol!r}; make it a SASL_ one")
    if protocol.startswith("SASL"):
        mechanism = options.get("sasl_mechanism", "PLAIN")
        if mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            needed = [key for key in ("sasl_plain_username", "sasl_plain_password") if key not in options]
            if needed:
                faults.append(f"sasl_mechanism {mechanism!r} needs {' and '.join(needed)}")
        if mechanism == "OAUTHBEARER" and "sasl_oauth_token_provider" not in options:
            faults.append("sasl_mechanism 'OAUTHBEARER' needs a sasl_oauth_token_provider")
    return faults


def _policy(given: Any, where: str, faults: list[str], base: ErrorPolicySettings | None = None) -> ErrorPolicySettings:
    base = base or ErrorPolicySettings()
    if given is None:
        return base
    if not isinstance(given, Mapping):
        faults.append(f"{where} is a dictionary, not {checks.shown('on_error', given)}")
        return base
    values = check_all(given, _POLICY, faults, where=f"{where}: ")
    fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    for key, value in values.items():
        fields[key.replace("_ms", "_s") if key.endswith("_ms") else key] = value
    if "dead_letter_limit" in values:
        fields["dead_letter_limit"] = _dead_letter_limit(values["dead_letter_limit"], where, faults, base)
    policy = ErrorPolicySettings(**fields)
    _check_dead_letter_topic(policy.dead_letter_topic, where, faults)
    if "then" in given and policy.max_attempts is None and not policy.non_retryable:
        faults.append(
            f"{where}: then is {policy.then!r}, but it would never be reached: max_attempts is None (without end) and "
            "nothing is non_retryable. Give max_attempts"
        )
    return policy


def _dead_letter_limit(
    given: Any, where: str, faults: list[str], base: ErrorPolicySettings
) -> DeadLetterLimitSettings | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        faults.append(f"{where}: dead_letter_limit is a dictionary or None, not {checks.shown('', given)}")
        return base.dead_letter_limit
    values = check_all(given, _LIMIT, faults, where=f"{where}: dead_letter_limit: ")
    limit = base.dead_letter_limit or DeadLetterLimitSettings()
    return DeadLetterLimitSettings(**({name: getattr(limit, name) for name in limit.__dataclass_fields__} | values))


def _check_dead_letter_topic(template: str, where: str, faults: list[str]) -> None:
    try:
        name = template.format(topic="t", group_id="g", event_type="e")
        checks.topic_name(f"{where}: dead_letter_topic", name)
    except (KeyError, IndexError, ValueError, AttributeError):
        faults.append(
            f"{where}: dead_letter_topic {template!r} can hold {{topic}}, {{group_id}} and {{event_type}}, nothing else"
        )
    except Fault as fault:
        faults.append(str(fault))


def _warn_of_auto_commit() -> None:
    global _warned_of_auto_commit
    if not _warned_of_auto_commit:
        _warned_of_auto_commit = True
        logger.warning("enable_auto_commit is not used: an EVKafka consumer always commits by itself; remove the key")


def _raise(faults: list[str], what: str) -> None:
    if faults:
        listed = "".join(f"\n  - {fault}" for fault in faults)
        raise ConfigError(f"the {what} configuration cannot work:{listed}")
