"""Unusual and hostile records, for tests of everything that shows records."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

PLAIN = "order 17 für Ana, 5 € \U0001f600"
HOSTILE = (
    "\x1b[31m\x1b]0;title\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "\nid: forged\r\n2026-01-01 00:00:00,000 INFO     evkafka.audit  pause from 1.2.3.4: forged",
    "\u2028\u2029\x00\x7f\ufeff",
    "[/bold][link=file:///etc/passwd]x[/link][red]",
    "<img src=x onerror=alert(1)>",
    ":smile: {0} %s %(name)s",
    "\U000e0041\u3164\u200b",
    "__proto__",
)
VALUES: tuple[bytes | None, ...] = (
    None,
    b"",
    b"\xff\xfe\x00",
    b"[" + b"1," * 130_000 + b"1]",
    b"[" * 200 + b"1," * 30_000 + b"1" + b"]" * 200,
    b"[" * 100_000,
    b'{"currency":' + b"[" * 700 + b"]" * 700 + b"}",
    b'{"a":' * 900 + b"1" + b"}" * 900,
    rb'{"currency":"\ud800"}',
    rb'"\udfff\ud800"',
    b'{"n":' + b"9" * 5000 + b"}",
    b'{"n":' + b"9" * 4000 + b"}",
    b'{"n":1e999,"m":NaN}',
    b'{"' + b"k" * 60_000 + b'":1}',
    b'{"text":"' + b"x" * 900_000 + b'"}',
    b'{"text":"' + rb"\u202e" * 10_000 + b'"}',
    b"{" + b",".join(b'"k%d":{"a":[]}' % n for n in range(4000)) + b"}",
    b'"' + rb"{\"a\":" * 8000 + b'"',
    json.dumps(json.dumps(json.dumps({"password": "hunter2", "x": ["y" * 20] * 500}))).encode(),
    b"<a>" * 20_000,
    b"password" * 8000,
    b"a=b&" * 16_000,
    b"\xf0\x9f\x98\x80" * 16_000,
    "\U000e0041".encode() * 16_000,
    *(text.encode() for text in HOSTILE),
    json.dumps({text: text for text in HOSTILE}).encode(),
)
TIMESTAMPS = (-1, 0, 1_700_000_000_000, 253_402_300_800_000, 9 * 10**17, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class OddRecord:
    """A record, as the runtime reads it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def odd_records(count: int, *, topic: str = "orders", seed: int = 1) -> list[OddRecord]:
    """So many records, the same for the same seed; each of `VALUES` at least once if there are enough."""
    rng = random.Random(seed)
    values = list(VALUES)
    rng.shuffle(values)
    return [
        OddRecord(topic, 0, offset, rng.choice(TIMESTAMPS), _key(rng), values[offset % len(values)], _headers(rng))
        for offset in range(count)
    ]


def _key(rng: random.Random) -> bytes | None:
    return rng.choice([None, b"", b"k" * 500_000, b"\xff\xfe", rng.choice(HOSTILE).encode(), b"[" * 60_000])


def _headers(rng: random.Random) -> list[tuple[str, bytes | None]]:
    kinds = rng.choice([b"A" * 900_000, b"\xff\xfe", rng.choice(HOSTILE).encode(), b"Ok"])
    many = rng.choice([0, 0, 0, 5000])
    return [
        ("Event-Type", kinds),
        (rng.choice(HOSTILE), rng.choice(HOSTILE).encode()),
        ("h" * 100_000, None),
        ("Cookie", b"session=1"),
        *((f"h{number}", b"v" * 200) for number in range(many)),
    ]
