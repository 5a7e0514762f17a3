"""The default partitioner: records with a key go to the partition that the Java client would choose."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence


def partition_for(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """By the key's hash over all partitions; without a key any of those that have a leader (of all, if none has)."""
    if key is None:
        return random.choice(available or partitions)  # nosec B311 # it spreads load
    return partitions[(murmur2(key) & 0x7FFFFFFF) % len(partitions)]


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 of Java's Kafka client (its seed included), as an unsigned number."""
    length = len(data)
    words = length >> 2
    hashed = 0x9747B28C ^ length
    for word in struct.unpack_from(f"<{words}I", data):
        word = word * 0x5BD1E995 & 0xFFFFFFFF
        word = (word ^ word >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        hashed = (hashed * 0x5BD1E995 & 0xFFFFFFFF) ^ word
    if rest := data[words * 4 :]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return hashed ^ hashed >> 15
