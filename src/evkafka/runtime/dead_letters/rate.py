"""How many of a partition's latest records became dead letters: `dead_letter_limit` compares this. Pure.

It is kept across restarts in the metadata of the group's commits, as a short text. To keep that short, it has only the
positions of dead letters, counted backwards: a partition without dead letters has no text.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections import deque

from evkafka.config.settings import DeadLetterLimitSettings
from evkafka.runtime.completed_offsets import decode_varints, encode_varints

PREFIX = "evkafka-dlq/1"

LONGEST_TEXT = 800
"""Brokers accept 4096 bytes by default (offset.metadata.max.bytes), for all metadata of a partition. Most of it is for
finished offsets."""


class DeadLetterRate:
    """Counts the finished records of one partition.

    Args:
        window: the largest window of any limit, in records.

    Attributes:
        stopped: the limit was reached; stays True until an operator resets it.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._ended = 0  # records that have ended
        self._dead: deque[int] = deque()  # the numbers of the dead letters among the last `window` of them
        self._row = 0  # dead letters since the last record that ended otherwise
        self.stopped = False

    # ------------------------------------------------------------------ counting

    def count_records_not_dead_lettered(self, records: int) -> None:
        """So many more records have ended and are no dead letters."""
        if records > 0:
            self._ended += records
            self._row = 0
            self._drop_dead_letters_outside_record_window()

    def count_dead_letter(self) -> None:
        """One more record has become a dead letter."""
        self._ended += 1
        self._row += 1
        self._dead.append(self._ended)
        self._drop_dead_letters_outside_record_window()

    def _drop_dead_letters_outside_record_window(self) -> None:
        while self._dead and self._dead[0] <= self._ended - self._window:
            self._dead.popleft()

    def refusal_reason(self, limit: DeadLetterLimitSettings, *, under_way: int = 0) -> str | None:
        """Why no further record may become a dead letter; None if one may.

        Args:
            under_way: dead letters that are being written; they count as written.
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

    def mark_limit_reached(self) -> None:
        self.stopped = True

    # ------------------------------------------------------------------ across restarts

    def to_metadata_text(self) -> str:
        """The metadata to commit; empty without dead letters."""
        if not self._dead and not self.stopped:
            return ""
        ended = min(self._ended, self._window)
        gaps, last = [], self._ended - ended
        for number in self._dead:
            gaps.append(number - last)
            last = number
        return f"{PREFIX} {int(self.stopped)} {self._row} {ended} {_encode_dead_letter_gaps_as_text(gaps)}"

    @classmethod
    def from_metadata_text(cls, text: str, window: int) -> DeadLetterRate:
        """Restore the state from `to_metadata_text`. Any other text is ignored: another tool may have written it."""
        rate = cls(window)
        try:
            prefix, stopped, row, ended, packed = text.split(" ")
            if prefix != PREFIX:
                return rate
            number, gaps = 0, _decode_dead_letter_gaps_from_text(packed)
            for gap in gaps:
                number += gap
                rate._dead.append(number)
            rate._row, rate._ended = int(row), max(int(ended), number)
            rate.stopped = stopped == "1"
        except (ValueError, binascii.Error, zlib.error):
            return cls(window)
        rate._drop_dead_letters_outside_record_window()
        return rate


def _encode_dead_letter_gaps_as_text(gaps: list[int]) -> str:
    """Seven bits per byte, compressed. If the text is too long, only the number of gaps and their sum are kept, and
    the dead letters are spread evenly when it is read."""
    text = base64.b64encode(zlib.compress(encode_varints(gaps), 9)).decode()
    return text if len(text) <= LONGEST_TEXT else f"~{len(gaps)}~{sum(gaps)}"


def _decode_dead_letter_gaps_from_text(text: str) -> list[int]:
    if text.startswith("~"):
        many, total = map(int, text[1:].split("~"))
        ends = [total * number // many for number in range(1, many + 1)] if 0 < many <= total else []
        return [end - before for before, end in zip([0, *ends], ends, strict=False)]
    return list(decode_varints(zlib.decompress(base64.b64decode(text, validate=True))))
