"""Bad records, and the decision for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from tests.support.backends import Headers

Decision = Literal["handled", "undecodable", "unmatched"]

CANARY = b"canary-in-the-payload"
DEEP = b"[" * 100_000 + b"]" * 100_000
TYPE = ("Event-Type", b"E")


class Order(BaseModel):
    number: int
    share: float = 0.0
    note: str = ""
    more: Any = None


@dataclass(frozen=True)
class Row:
    """A record and its expected decision.

    Attributes:
        decision: `handled`: its endpoint is called. `undecodable`: the policy's last action, without an attempt.
            `unmatched`: no endpoint matches.
    """

    name: str
    decision: Decision
    value: bytes | None = b'{"number": 2}'
    headers: Headers = (TYPE,)
    key: bytes | None = b"k"


VALUES = [
    Row("value: invalid JSON", "undecodable", b"{no json " + CANARY),
    Row("value: truncated JSON", "undecodable", b'{"number": 2, "note": "' + CANARY),
    Row("value: trailing junk", "undecodable", b'{"number": 2} ' + CANARY),
    Row("value: not UTF-8", "undecodable", b'{"number": 2, "note": "\xff\xfe' + CANARY + b'"}'),
    Row("value: UTF-16", "undecodable", '{"number": 2}'.encode("utf-16")),
    Row("value: a byte order mark", "undecodable", b"\xef\xbb\xbf" + b'{"number": 2}'),
    Row("value: empty", "undecodable", b""),
    Row("value: one byte", "undecodable", b"\x00"),
    Row("value: null, a tombstone", "unmatched", None),
    Row("value: JSON null", "undecodable", b"null"),
    Row("value: another shape", "undecodable", b'{"number": "' + CANARY + b'"}'),
    Row("value: a field is missing", "undecodable", b'{"note": "' + CANARY + b'"}'),
    Row("value: a number beyond its range", "undecodable", b'{"number": 1e999}'),
    Row("value: a float beyond its range", "handled", b'{"number": 2, "share": 1e999}'),
    Row("value: NaN and Infinity", "handled", b'{"number": 2, "share": NaN, "more": Infinity}'),
    Row("value: an integer of 4000 digits", "handled", b'{"number": ' + b"7" * 4000 + b"}"),
    Row("value: an integer of 5000 digits", "undecodable", b'{"number": ' + b"7" * 5000 + b"}"),
    Row("value: a key twice, the last counts", "handled", b'{"number": "no", "number": 2}'),
    Row("value: a lone surrogate", "undecodable", rb'{"number": 2, "note": "\ud800"}'),
    Row("value: nested 100 000 deep", "undecodable", b'{"number": 2, "more": ' + DEEP + b"}"),
    Row("value: 100 000 open brackets", "undecodable", DEEP[:100_000]),
    Row("value: 50 000 fields", "handled", b'{"number": 2' + b"".join(b',"f%d":0' % n for n in range(50_000)) + b"}"),
    Row("value: 900 kB", "handled", b'{"number": 2, "note": "' + b"x" * 900_000 + b'"}'),
]


HEADERS = [
    Row("header: no event type", "unmatched", headers=()),
    Row("header: the event type is null", "unmatched", headers=[("Event-Type", None)]),
    Row("header: the event type is empty", "unmatched", headers=[("Event-Type", b"")]),
    Row("header: the event type is not UTF-8", "unmatched", headers=[("Event-Type", b"\xff\xfe")]),
    Row("header: an unknown event type", "unmatched", headers=[("Event-Type", b"Other")]),
    Row("header: an event type of 100 kB", "unmatched", headers=[("Event-Type", b"E" * 100_000)]),
    Row("header: another case", "unmatched", headers=[("event-type", b"E")]),
    Row("header: the event type twice, the first counts", "handled", headers=[TYPE, ("Event-Type", b"Other")]),
    Row("header: another event type first", "unmatched", headers=[("Event-Type", b"Other"), TYPE]),
    Row(
        "header: an empty name, null and doubled values", "handled", headers=[TYPE, ("", b""), ("x", None), ("x", b"1")]
    ),
    Row("header: a value of 500 kB", "handled", headers=[TYPE, ("x", b"\xff" * 500_000)]),
    Row("header: 10 000 of them", "handled", headers=[*((f"h{n}", b"1") for n in range(10_000)), TYPE]),
]


KEYS = [
    Row("key: none", "handled", key=None),
    Row("key: empty", "handled", key=b""),
    Row("key: binary, not UTF-8", "handled", key=b"\x00\xff\xfe"),
    Row("key: 100 kB", "handled", key=b"k" * 100_000),
    Row("key: of an undecodable record", "undecodable", CANARY, key=b"\x00\xff"),
]


ROWS = VALUES + HEADERS + KEYS
