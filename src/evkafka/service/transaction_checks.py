"""Checks what the parts of one app must not do to each other's transactions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from evkafka.config.settings import ConsumerSettings, ProducerSettings


def shared_transactional_id_faults(consumers: Iterable[tuple[str, ConsumerSettings]]) -> Iterator[str]:
    """The faults: two consumers of one cluster with the same transactional id end each other's transactions.

    Args:
        consumers: names and settings, those of the consumers of retry topics included.
    """
    with_id = [(name, settings) for name, settings in consumers if settings.transactional_id is not None]
    for (name, one), (other_name, other) in combinations(with_id, 2):
        same_cluster = set(one.connection.bootstrap_servers) & set(other.connection.bootstrap_servers)
        if one.transactional_id == other.transactional_id and same_cluster:
            yield (
                f"consumers {name!r} and {other_name!r} have the same transactional_id {one.transactional_id!r}, and"
                " would end each other's transactions; give each consumer its own, or none"
            )


def weaker_producer_faults(
    consumers: Iterable[tuple[str, ConsumerSettings]], producers: Iterable[tuple[str, ProducerSettings]]
) -> Iterator[str]:
    """The faults: a transaction is confirmed by all replicas and written once, whatever the producer's config says."""
    names = [name for name, settings in consumers if settings.transaction_settings is not None]
    if not names:
        return
    for name, settings in producers:
        if settings.outside_transactions or settings.enable_idempotence:
            continue
        key = "enable_idempotence False" if settings.acks == "all" else f"acks {settings.acks}"
        yield (
            f"producer {name!r} has {key}, but what endpoints of exactly-once consumer {names[0]!r} send is confirmed"
            ' by all replicas and written once; remove the key, or set "outside_transactions": True if the producer'
            " sends nothing that belongs to a transaction"
        )
