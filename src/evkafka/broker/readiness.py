"""Whether a Kafka that says that it has started is known to itself, too.

"Kafka Server started" is logged when the sockets are open. The broker's own picture of the cluster may be a moment
behind, and a client that asks in that moment is told of a cluster without brokers: aiokafka's admin client fails then.
So we ask first.
"""

from __future__ import annotations

import socket
import struct

_METADATA, _VERSION, _OF_NO_TOPICS, _CREATE_NONE = 3, 4, 0, False
_REQUEST = struct.pack(">hhihib", _METADATA, _VERSION, 1, -1, _OF_NO_TOPICS, _CREATE_NONE)
_HEAD = struct.Struct(">iiii")  # size, correlation, throttling time, number of brokers


def tells_of_brokers(port: int, *, timeout_s: float = 1.0) -> bool | None:
    """Whether the metadata names a broker; None where this listener is none that we can ask (TLS, a login)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(_REQUEST)) + _REQUEST)
            answer = b""
            while len(answer) < _HEAD.size:
                part = connection.recv(_HEAD.size - len(answer))
                if not part:
                    return None
                answer += part
    except OSError:
        return None
    return bool(_HEAD.unpack(answer)[3] > 0)
