"""Tells whether a broker that has started is already in its own metadata.

"Kafka Server started" is logged when the sockets are open. The broker's own metadata may be a moment late, and a client
that asks in that moment gets a cluster without brokers: aiokafka's admin client fails then. Therefore the start asks
for the metadata first.
"""

from __future__ import annotations

import socket
import struct

_METADATA, _VERSION, _OF_NO_TOPICS, _CREATE_NONE = 3, 4, 0, False
_REQUEST = struct.pack(">hhihib", _METADATA, _VERSION, 1, -1, _OF_NO_TOPICS, _CREATE_NONE)
_HEAD = struct.Struct(">iiii")  # size, correlation, throttling time, number of brokers


def is_in_own_metadata(port: int, *, timeout_s: float = 1.0) -> bool | None:
    """Whether the metadata has a broker; None if this listener cannot be asked (TLS, a login)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            response = b""
            while len(response) < _HEAD.size:
                part = connection.recv(_HEAD.size - len(response))
                if not part:
                    return None
                response += part
    except OSError:
        return None
    return bool(_HEAD.unpack(response)[3] > 0)
