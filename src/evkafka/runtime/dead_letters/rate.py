"""How many of a partition's latest records became dead letters: what `dead_letter_limit` looks at. Pure.

It is kept across restarts in the metadata of the group's commits, as a short text. That is why it holds the places of
dead letters only, counted backwards: a partition without any has no text.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import deque

from evkafka.config.settings import DeadLetterLimitSettings

PREFIX = "evkafka-dlq/1"
RESET_DEAD_LETTER_LIMIT = "once what fails is mended, go on with `evkafka run --reset-dead-letter-limit`"

MOST_TEXT = 2_000
"""Brokers take 4096 bytes by default (offset.metadata.max.bytes), of all that is committed for a partition."""


class DeadLetterRate:
    """Counts records as they end. One partition's.

    Args:
        window: the largest one that a limit looks at.

    Attributes:
        stopped: the limit was reached; it stays so until somebody resets it.
        unsaved: that has changed, and is to be committed even where no offset moved.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._ended = 0  # records that have ended
        self._dead: deque[int] = deque()  # the dead letters among the last `window` of them, by number
        self._row = 0  # dead letters since a record ended otherwise
        self.stopped = False
        self.unsaved = False

    # ------------------------------------------------------------------ counting

    def count_other(self, records: int) -> None:
        """So many more have ended, and are no dead letters."""
        if records > 0:
            self._ended += records
            self._row = 0
            self._forget()

    def count_dead_letter(self) -> None:
        """One more has ended as a dead letter."""
        self._ended += 1
        self._row += 1
        self._dead.append(self._ended)
        self._forget()

    def _forget(self) -> None:
        while self._dead and self._dead[0] <= self._ended - self._window:
            self._dead.popleft()

    def reached(self, limit: DeadLetterLimitSettings, *, under_way: int = 0) -> str | None:
        """Why there must be no further dead letter; None where there may be.

        Args:
            under_way: dead letters that are being written just now; they count as written.
        """
        row = self._row + under_way
        if row >= limit.consecutive:
            return f"{row} in a row became dead letters, and `consecutive` is {limit.consecutive}"
        if self._ended >= limit.window:
            among = sum(number > self._ended - limit.window for number in self._dead) + under_way
            if among >= limit.ratio * limit.window:
                return (
                    f"{among} of the last {limit.window} became dead letters, and `ratio` is {limit.ratio:g}"
                    f" (`window` {limit.window})"
                )
        return None

    def stop(self) -> None:
        self.stopped = self.unsaved = True

    # ------------------------------------------------------------------ across restarts

    def as_text(self) -> str:
        """For the commit's metadata; empty where there is nothing to tell."""
        if not self._dead and not self.stopped:
            return ""
        ended = min(self._ended, self._window)
        gaps, last = [], self._ended - ended
        for number in self._dead:
            gaps.append(number - last)
            last = number
        return f"{PREFIX} {int(self.stopped)} {self._row} {ended} {_packed(gaps)}"

    @classmethod
    def from_text(cls, text: str, window: int) -> DeadLetterRate:
        """What `as_text` told. Anything else tells nothing: the metadata may be another tool's."""
        rate = cls(window)
        try:
            prefix, stopped, row, ended, packed = text.split(" ")
            if prefix != PREFIX:
                return rate
            number, gaps = 0, _unpacked(packed)
            for gap in gaps:
                number += gap
                rate._dead.append(number)
            rate._row, rate._ended = int(row), max(int(ended), number)
            rate.stopped = stopped == "1"
        except (ValueError, binascii.Error, zlib.error):
            return cls(window)
        rate._forget()
        return rate


def _packed(gaps: list[int]) -> str:
    """Seven bits a byte, compressed. What does not fit is told as so many, evenly spread."""
    data = bytearray()
    for gap in gaps:
        while gap > 0x7F:
            data.append(gap & 0x7F | 0x80)
            gap >>= 7
        data.append(gap)
    text = base64.b64encode(zlib.compress(bytes(data), 9)).decode()
    return text if len(text) <= MOST_TEXT else f"~{len(gaps)}~{sum(gaps)}"


def _unpacked(text: str) -> list[int]:
    if text.startswith("~"):
        many, total = map(int, text[1:].split("~"))
        ends = [total * number // many for number in range(1, many + 1)] if 0 < many <= total else []
        return [end - before for before, end in zip([0, *ends], ends, strict=False)]
    gaps, gap, shift = [], 0, 0
    for byte in zlib.decompress(base64.b64decode(text, validate=True)):
        gap |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            gaps.append(gap)
            gap, shift = 0, 0
    return gaps
