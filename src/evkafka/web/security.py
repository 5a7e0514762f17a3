"""What every answer carries, and whom this answers at all."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


OWN_SITE = frozenset({"same-origin", "none"})
"""What `Sec-Fetch-Site` says of a request of this page's own, or of one that a person typed."""


class SecureHeaders:
    """Sets the headers on every answer, errors among them; `cache-control` only where the answer has none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class Refused(Exception):
    """Attributes:
    status: of the answer; the message is its sentence.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def check_site(request: Request, *, page: bool = False) -> None:
    """Another site's page can make a browser ask for anything, with the visitor's cookies. It cannot read the answer,
    but the work is done; so its requests are refused. Whoever follows a link to a page is let in.

    Args:
        page: True for what is opened by a link; False for what a page of ours asks for.

    Raises:
        Refused: another site's page asks.
    """
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    # A browser says the former to loopback and over TLS only; elsewhere, what it says of the origin has to do.
    own = site in OWN_SITE if site is not None else origin is None or urlsplit(origin).netloc == headers.get("host")
    if own:
        return
    follows_link = (
        request.method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    if not (page and follows_link):
        raise Refused(403, "this is for this page only, not for another site's")


class OnlyLocalNames:
    """Answers requests for this machine's own names only.

    A page of somebody else's can have its name point to 127.0.0.1, and then read what is served here as its own
    (DNS rebinding): listening on the loopback address alone does not keep it out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_local_name(Headers(scope=scope).get("host", "")):
            refusal = PlainTextResponse("this is served to localhost only: open it by that name\n", status_code=421)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def network_of(host: str) -> str:
    """What counts as one client: an IPv4 address; of IPv6 its network of 64 bits, all of which one host may use."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(IPv6Address(int(address) >> 64 << 64)) if address.version == 6 else host


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine: `localhost`, `127.0.0.1`, `[::1]`, with any port."""
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    try:
        return name.lower() == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:  # a name, and not this machine's
        return False
