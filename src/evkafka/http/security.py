"""Security headers of all answers, and the checks of where a request comes from."""

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
"""Values of `Sec-Fetch-Site` for requests of our own pages, and for an address that a person typed."""


class SecureHeaders:
    """Adds the headers to every answer, also to errors. A header that the answer already has is kept."""

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


class RequestRefused(Exception):
    """The request is answered with an HTTP error.

    Attributes:
        status: the HTTP status; the message is the text of the answer.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def refuse_other_sites(request: Request, *, page: bool = False) -> None:
    """Refuse requests that the page of another site makes.

    Such a page can make a browser send any request, with the visitor's cookies. It cannot read the answer, but the
    work would be done. A link on another site to one of our pages is allowed.

    Args:
        page: True for pages, which may be opened by a link; False for requests that only our own pages make.

    Raises:
        RequestRefused: the request comes from another site's page.
    """
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    # Browsers send Sec-Fetch-Site only to loopback addresses and over TLS. Otherwise the Origin header decides.
    own = site in OWN_SITE if site is not None else origin is None or urlsplit(origin).netloc == headers.get("host")
    if own:
        return
    follows_link = (
        request.method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    if not (page and follows_link):
        raise RequestRefused(403, "this endpoint serves only its own pages, not other sites")


class OnlyLocalNames:
    """Answers only requests whose Host header names this machine.

    The owner of another site can let its name resolve to 127.0.0.1. Its page then reads this server as its own origin
    (DNS rebinding), although the server listens on the loopback address only.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_local_name(Headers(scope=scope).get("host", "")):
            refusal = PlainTextResponse("this is served on localhost only: open it under that name\n", status_code=421)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def ipv4_address_or_ipv6_network(host: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address.

    One host may use all addresses of its /64 network. A text that is no address is returned as it is.
    """
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
    except ValueError:  # the name of another machine
        return False
