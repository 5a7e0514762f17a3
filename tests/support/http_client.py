"""A client for single requests in this event loop: no threads, redirects or retries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


async def get(url: str | None, path: str = "", **headers: str) -> Answer:
    """Request a path below the URL of an app's web server."""
    assert url is not None, "the web part does not run"
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        sent = {"Host": where.netloc, "Connection": "close", **{name.title(): value for name, value in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        writer.write(f"GET /{path} HTTP/1.1\r\n{lines}\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *rest = head.decode().split("\r\n")
    pairs = dict(line.lower().split(": ", 1) if ": " in line else (line, "") for line in rest)
    return Answer(int(status.split()[1]), pairs, _whole(body, pairs).decode())


def _whole(body: bytes, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
