"""Checks the output of an exactly-once run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from evkafka.verify.observations import Output

Address = tuple[int, int]


def output_report_fields(outputs: Sequence[Output] | None, written: Collection[Address]) -> dict[str, Any]:
    """The report's fields about the output; none of them without an output.

    Args:
        written: partition and offset of each record in the log.
    """
    if outputs is None:
        return {}
    counts = Counter(one.source for one in outputs)
    return {
        "delivery": "exactly-once",
        "outputs": len(outputs),
        "lost_outputs": tuple(format_partition_and_offset(one) for one in sorted(written - counts.keys())),
        "double_outputs": tuple(format_partition_and_offset(one) for one, many in sorted(counts.items()) if many > 1),
        "reordered_outputs": _find_reordered_outputs(outputs),
    }


def _find_reordered_outputs(outputs: Sequence[Output]) -> tuple[str, ...]:
    """All records of a key are in one partition, of the log and of the output."""
    furthest: dict[str | None, Address] = {}
    late = []
    for one in sorted(outputs, key=lambda one: (one.partition, one.offset)):
        last = furthest.get(one.key, one.source)
        if one.source < last:
            late.append(f"{format_partition_and_offset(one.source)} after {last[1]} (key {one.key})")
        furthest[one.key] = max(one.source, last)
    return tuple(late)


def format_partition_and_offset(address: Address) -> str:
    return f"{address[0]}@{address[1]}"
