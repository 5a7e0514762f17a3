"""Administration of the cluster: permissions and passwords."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.struct import Schema
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, TaggedFields

ITERATIONS = 4096

RESOURCES = {"topic": 2, "group": 3}
OPERATIONS = {"read": 3, "write": 4, "create": 5, "describe": 8}


async def allow(servers: str, user: str, kind: Literal["topic", "group"], name: str, *operations: str) -> None:
    """Allow the operations to the user, from any host."""
    for operation in operations:
        request = CreateAclsRequest(RESOURCES[kind], name, 3, f"User:{user}", "*", OPERATIONS[operation], 3)
        response = await _send(servers, request)
        for code, message in response.creation_responses:
            assert code == 0, message


async def change_password(servers: str, user: str, password: str) -> None:
    """Change the password of a SCRAM-SHA-256 user."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    response = await _send(servers, AlterScramRequest(user, salt, salted))
    for _, code, message, _ in response.results:
        assert code == 0, message


async def _send(servers: str, request: Any) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        # The only node is broker and controller.
        return await admin._send_request(request)
    finally:
        await admin.close()


class AlterScramResponse(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterScramRequestStruct(RequestStruct):
    API_KEY = 51
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = AlterScramResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class AlterScramRequest(Request[AlterScramRequestStruct]):
    """AlterUserScramCredentials, which aiokafka does not have."""

    API_KEY = 51
    _CLASSES = (AlterScramRequestStruct,)

    def __init__(self, user: str, salt: bytes, salted: bytes) -> None:
        self._upsertion = (user, 1, ITERATIONS, salt, salted, {})

    def build(self, request_struct_class: type[AlterScramRequestStruct]) -> AlterScramRequestStruct:
        return request_struct_class([], [self._upsertion], {})
