"""Ranges of offsets as text, for addresses and orders: `0@17-41,1@0-9`, each without its end."""

from __future__ import annotations

from evkafka.dlq.dead_letter import OffsetRanges


def ranges_as_text(ranges: OffsetRanges) -> str:
    return ",".join(f"{partition}@{offsets.start}-{offsets.stop}" for partition, offsets in ranges.items())


def parse_ranges(text: str) -> OffsetRanges:
    """
    Raises:
        ValueError: the text has another form.
    """
    ranges = {}
    for part in text.split(","):
        partition, _, offsets = part.partition("@")
        start, _, stop = offsets.partition("-")
        if not all(number.isascii() and number.isdecimal() and len(number) < 20 for number in (partition, start, stop)):
            raise ValueError(f"{part[:50]!r} is not a range of offsets: write PARTITION@FIRST-END, for example 0@17-41")
        ranges[int(partition)] = range(int(start), int(stop))
    return ranges
