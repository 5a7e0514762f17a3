"""Which offsets beyond the committed one are finished, as a short text in the metadata of a commit. Pure.

A commit is one offset: all before it is finished. Records of other keys may be finished after it, and would be handled
again by the next owner of the partition. The text says which ones, so that they are skipped.

The first range may begin at the committed offset itself: an owner has handled all records before what an earlier owner
had finished, and has not read that yet. Only reading shows whether these are the same records (KIP-320), so the commit
does not pass them.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple


class OffsetRange(NamedTuple):
    """The offsets from `start` up to, and without, `end`."""

    start: int
    end: int


class OffsetRanges:
    """Ranges of finished offsets, ascending, with unfinished offsets between any two of them.

    Offsets in a range that hold no record (compacted, transaction markers) count as finished: nothing is missed there.
    """

    __slots__ = ("_ranges", "_starts")

    def __init__(self, ranges: Iterable[OffsetRange] = ()) -> None:
        self._ranges = tuple(ranges)
        self._starts = [one.start for one in self._ranges]

    def __iter__(self) -> Iterator[OffsetRange]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def end(self) -> int:
        """The offset after the last one; 0 if there is none."""
        return self._ranges[-1].end if self._ranges else 0

    @property
    def offset_count(self) -> int:
        """How many offsets are in them."""
        return sum(end - start for start, end in self._ranges)


RANGES, BITS = "r", "b"


def encode_ranges(base: int, ranges: Sequence[OffsetRange], limit: int) -> str:
    """The text of these ranges, none of which begins before the base. If not all fit, it has the longest ones.

    The shorter of two forms: the lengths of alternately unfinished and finished ranges, or one bit for each offset.

    Args:
        base: the offset that is committed.
        limit: the most characters that the text may have.
    """
    text = _encode_shortest(base, ranges) if ranges else ""
    if len(text) <= limit:
        return text
    fitting, longest_first = len(ranges), sorted(ranges, key=lambda one: one.start - one.end)
    while len(text) > limit:
        # Sizes grow about evenly with the ranges: the next guess fits mostly.
        fitting = min(fitting - 1, fitting * limit // len(text))
        if fitting <= 0:
            return ""
        text = _encode_shortest(base, sorted(longest_first[:fitting]))
    return text


def decode_ranges(base: int, text: str) -> list[OffsetRange]:
    """The ranges of `encode_ranges`.

    Raises:
        ValueError: it is no such text.
    """
    form, data = text[:1], base64.b64decode(text[1:], validate=True)
    if form == RANGES:
        return list(_from_run_lengths(base, list(decode_varints(data))))
    if form == BITS:
        return list(_from_bitmap(base, data))
    raise ValueError(f"unknown form {form!r}")


def text_length_of_ranges(base: int, ranges: Sequence[OffsetRange]) -> int:
    """How long the text of all these ranges would be."""
    return len(_encode_shortest(base, ranges)) if ranges else 0


def _encode_shortest(base: int, ranges: Sequence[OffsetRange]) -> str:
    lengths = RANGES + _encode_base64(encode_varints(_to_run_lengths(base, ranges)))
    span = ranges[-1].end - base
    if span // 6 >= len(lengths):  # base64 has six bits in a character
        return lengths
    bits = BITS + _encode_base64(_to_bitmap(base, ranges))
    return min(lengths, bits, key=len)


def _to_run_lengths(base: int, ranges: Iterable[OffsetRange]) -> Iterator[int]:
    at = base
    for start, end in ranges:
        yield start - at
        yield end - start
        at = end


def _from_run_lengths(base: int, lengths: Sequence[int]) -> Iterator[OffsetRange]:
    if len(lengths) % 2 or not all(lengths[1:]):
        raise ValueError("ranges of no length, or an odd number of lengths")
    at = base
    for gap, length in zip(lengths[::2], lengths[1::2], strict=True):
        yield OffsetRange(at + gap, at + gap + length)
        at += gap + length


def _to_bitmap(base: int, ranges: Iterable[OffsetRange]) -> bytes:
    number = 0
    for start, end in ranges:
        number |= ((1 << (end - start)) - 1) << (start - base)
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _from_bitmap(base: int, data: bytes) -> Iterator[OffsetRange]:
    bits = bin(int.from_bytes(data, "little"))[:1:-1]  # the lowest bit first
    start = bits.find("1")
    while start != -1:
        end = bits.find("0", start)
        end = end if end != -1 else len(bits)
        yield OffsetRange(base + start, base + end)
        start = bits.find("1", end)


# ---------------------------------------------------------------------------- attempts


def encode_attempts(base: int, attempts: Mapping[int, int], limit: int) -> str:
    """How often unfinished offsets have been tried; of as many of the first ones as fit."""
    offsets = sorted(attempts)
    while offsets:
        gaps = [after - before for before, after in pairwise([base, *offsets])]
        numbers = [number for gap, offset in zip(gaps, offsets, strict=True) for number in (gap, attempts[offset])]
        text = _encode_base64(encode_varints(numbers))
        if len(text) <= limit:
            return text
        del offsets[min(len(offsets) - 1, len(offsets) * limit // len(text)) :]
    return ""


def decode_attempts(base: int, text: str) -> dict[int, int]:
    """The attempts of `encode_attempts`.

    Raises:
        ValueError: it is no such text.
    """
    numbers = list(decode_varints(base64.b64decode(text, validate=True)))
    if len(numbers) % 2:
        raise ValueError("an offset without its attempts")
    attempts, at = {}, base
    for gap, tried in zip(numbers[::2], numbers[1::2], strict=True):
        at += gap
        attempts[at] = tried
    return attempts


# ---------------------------------------------------------------------------- bytes


def encode_varints(numbers: Iterable[int]) -> bytes:
    """Seven bits of a number in a byte, the lowest first; the highest bit says that more follow."""
    data = bytearray()
    for number in numbers:
        while number > 0x7F:
            data.append(number & 0x7F | 0x80)
            number >>= 7
        data.append(number)
    return bytes(data)


def decode_varints(data: Collection[int]) -> Iterator[int]:
    """The numbers of `encode_varints`.

    Raises:
        ValueError: the last number is cut off.
    """
    number, shift = 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number, shift = 0, 0
    if shift:
        raise ValueError("the last number is cut off")


def _encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
