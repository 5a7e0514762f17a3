"""Checks that the consumers of one app do not share a transactional id. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from evkafka.config.settings import ConsumerSettings


def shared_transactional_ids(consumers: Iterable[tuple[str, ConsumerSettings]]) -> Iterator[str]:
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
