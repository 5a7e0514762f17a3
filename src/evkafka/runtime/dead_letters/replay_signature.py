"""Proof that a replay of our own dead letters wrote a record. Without it, its dead-letter headers are not trusted.

Any producer of a source topic can write any header. A replay therefore signs what it writes, with a key that is stored
in the state topic of the dead-letter topic. The writer of dead letters checks the signature with the same key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Iterable

from evkafka.config.settings import ConnectionSettings
from evkafka.exceptions import BrokerRefused
from evkafka.records import Record
from evkafka.runtime.dead_letters.headers import KEPT, SIGNATURE
from evkafka.runtime.ports import Clock, Cluster

logger = logging.getLogger("evkafka.dead_letters")

SIGNING_KEY = b"signing-key"
"""The key of the state topic's record whose value has the signing key."""

KEY_BYTES = 32
READ_S = 60.0
READ_AGAIN_S = 60.0
"""A wrong signature may mean that the state topic was created again, so the key is read again, but not more often than
this: forged signatures must not cause more reads."""


def state_topic(dead_letter_topic: str) -> str:
    """The topic that records which dead letters were replayed or dropped, and has the signing key of replays."""
    return f"{dead_letter_topic}.state"


def encode_signing_key_as_record_value(key: bytes) -> bytes:
    return json.dumps({"signing_key": key.hex()}).encode()


def parse_signing_key_or_none(value: bytes | None) -> bytes | None:
    """None if the value has no signing key."""
    try:
        return bytes.fromhex(json.loads(value or b"")["signing_key"])
    except (ValueError, KeyError, TypeError):
        return None


def sign_replay(
    key: bytes, topic: str, record_key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> bytes:
    """The signature of a replayed record. It covers topic, key, value and the headers in `KEPT`, and no other
    headers."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    kept = sorted((name, value) for name, value in headers if name in KEPT and value is not None)
    for part in (
        topic.encode(),
        record_key,
        value,
        *(part for name, content in kept for part in (name.encode(), content)),
    ):
        # Each part is preceded by its length, so that no two records have the same input.
        mac.update(b"-" if part is None else b"%d:" % len(part) + part)
    return mac.hexdigest().encode()


class ReplaySignatureVerifier:
    """Checks signatures, with one key per dead-letter topic, which is read for the first signature."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._keys: dict[str, bytes | None] = {}
        self._read_at_s: dict[str, float] = {}
        self._reading = asyncio.Lock()

    async def is_replay(self, record: Record, dead_letter_topic: str, connection: ConnectionSettings) -> bool:
        """True if a replay of this dead-letter topic wrote the record.

        Args:
            connection: to the cluster of the dead-letter topic.

        Raises:
            BrokerUnavailable, BrokerError: the key could not be read; a later call may succeed.
        """
        signature = dict(record.headers).get(SIGNATURE)
        if signature is None:
            return False
        async with self._reading:
            key = self._keys.get(dead_letter_topic)
            if not _has_valid_signature(record, key, signature) and self._is_key_read_due(dead_letter_topic):
                key = await self._read_signing_key_from_topic(dead_letter_topic, connection)
        return _has_valid_signature(record, key, signature)

    def _is_key_read_due(self, topic: str) -> bool:
        read_at_s = self._read_at_s.get(topic)
        return read_at_s is None or self._clock.now() - read_at_s >= READ_AGAIN_S

    async def _read_signing_key_from_topic(self, topic: str, connection: ConnectionSettings) -> bytes | None:
        found: list[bytes | None] = []

        def take(record: Record) -> None:
            if record.key == SIGNING_KEY:
                found.append(parse_signing_key_or_none(record.value))

        try:
            await self._cluster.read_topic(connection, state_topic(topic), take, timeout_s=READ_S)
        except BrokerRefused as error:
            logger.warning(
                "replayed records cannot be recognized, because topic %s may not be read (an ACL for READ is"
                " missing): their new dead letters name the replayed record instead of the original one: %s",
                state_topic(topic),
                error,
            )
        self._read_at_s[topic] = self._clock.now()
        self._keys[topic] = found[-1] if found else None
        return self._keys[topic]


def _has_valid_signature(record: Record, key: bytes | None, signature: bytes) -> bool:
    if key is None:
        return False
    return hmac.compare_digest(sign_replay(key, record.topic, record.key, record.value, record.headers), signature)
