"""One connection, contained: a login that was refused says so, and one that runs out is renewed in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.admin import SaslAuthenticateRequest
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable

FAILURES = (OSError, TimeoutError, EOFError, kafka.KafkaError, BrokerError)
"""What a connection attempt may raise."""

RENEW_AFTER = 0.85
"""Of a login's life, after which the next request goes over a new connection."""

RETIRED_AGAIN_S = 0.1

LOOK_S = 3.0
"""How often it is looked whether more of an answer has come; a node that gave nothing meanwhile is silent."""


async def connect(host: str, port: int, options: dict[str, Any]) -> Connection:
    """Connect and log in.

    Raises:
        one of `FAILURES`; a refused login is a BrokerRefused that names server, mechanism and fix.
    """
    conn = Connection(host, port, **options)
    await conn.connect()
    return conn


class SilenceLimit:
    """A time limit on silence: an answer is waited for as long as more of it comes.

    A large fetch over a slow line takes as long as it takes; given up half-way, it would be asked for again for ever.

    Args:
        come: something that changes whenever bytes have come.
        on_silence: called every few seconds in which nothing has come.
    """

    def __init__(
        self, silence_s: float, come: Callable[[], object], on_silence: Callable[[], object] | None = None
    ) -> None:
        self.limit = asyncio.timeout(None)
        self._left_s = self._silence_s = silence_s
        self._come = come
        self._on_silence = on_silence
        self._known = come()
        self._loop = asyncio.get_running_loop()
        self._wait()

    def _wait(self) -> None:
        step_s = min(self._left_s, LOOK_S)
        self._left_s -= step_s
        self._timer = self._loop.call_later(step_s, self._look)

    def _look(self) -> None:
        come = self._come()
        if come != self._known:
            self._known = come
            self._left_s = self._silence_s
        elif self._left_s <= 0:
            self.give_up()
            return
        elif self._on_silence is not None:
            self._on_silence()
        self._wait()

    def give_up(self) -> None:
        """It will not come."""
        self.limit.reschedule(self._loop.time())

    def end(self) -> None:
        self._timer.cancel()


class Connection(AIOKafkaConnection):
    """AIOKafkaConnection, contained.

    Attributes:
        renew_at_s: when another connection should take its place, by the loop's clock; None where the login lasts.
    """

    renew_at_s: float | None = None
    _request_timeout: float | None

    # ------------------------------------------------------------------ the login

    async def _do_sasl_handshake(self) -> None:
        try:
            await super()._do_sasl_handshake()
        except (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError) as error:
            raise self._refused(_text(error) or "no reason was given", self._what_to_check()) from error
        except kafka.UnsupportedSaslMechanismError as error:
            raise self._refused("the server does not have this mechanism", "set sasl_mechanism") from error
        except kafka.IllegalSaslStateError as error:
            protocol = "SSL" if self._security_protocol == "SASL_SSL" else "PLAINTEXT"
            fix = f"set security_protocol to {protocol!r}, or bootstrap_servers to the port for logins"
            raise self._refused("the server takes no logins on this port", fix) from error
        except (ValueError, KeyError, AssertionError) as error:
            # Of SCRAM, the server's half of the proof; or an answer that is none.
            raise self._refused(
                f"the server's answer is not that of one which knows this user ({type(error).__name__})",
                "make sure that bootstrap_servers leads to the right cluster",
            ) from error

    def _refused(self, why: str, fix: str) -> BrokerRefused:
        """Not who: a user name may have been given as a secret."""
        return BrokerRefused(
            f"{self._host}:{self._port}: login by {self._sasl_mechanism} refused: {why.rstrip('.')}; {fix}"
        )

    def _what_to_check(self) -> str:
        match self._sasl_mechanism:
            case "OAUTHBEARER":
                return "check what sasl_oauth_token_provider gives: its expiry, issuer and audience"
            case "GSSAPI":
                return "check the Kerberos ticket and sasl_kerberos_service_name"
            case _:
                return "check sasl_plain_username and sasl_plain_password, and that this user has this mechanism"

    def authenticator_oauth(self) -> TokenLogin:
        return TokenLogin(self._sasl_oauth_token_provider, f"{self._host}:{self._port}")

    # ------------------------------------------------------------------ its end

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """aiokafka gives an answer one request timeout, however much of it has come; here that bounds the silence."""
        silence_s = self._request_timeout
        assert silence_s is not None
        self._request_timeout = None
        try:
            answer = super().send(request, expect_response)
        finally:
            self._request_timeout = silence_s
        if not expect_response:
            return answer
        answer = self._patiently(answer, silence_s)
        return self._timed(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _patiently(self, answering: Awaitable[Any], silence_s: float) -> Any:
        patience = SilenceLimit(silence_s, lambda: self.received)
        try:
            async with patience.limit:
                return await answering
        finally:
            patience.end()

    @classmethod
    def _on_read_task_error(cls, self_ref: Callable[[], Connection | None], read_task: asyncio.Task[None]) -> None:
        """(k) A connection whose reader was cancelled by somebody else gets no answer any more, and looks connected."""
        conn = self_ref()
        if not read_task.cancelled():
            super()._on_read_task_error(self_ref, read_task)
        elif conn is not None and conn._read_task is read_task:
            conn.close(reason=CloseReason.CONNECTION_BROKEN)

    @property
    def writes(self) -> bool:
        """Whether it owes the answer to a write."""
        wanted = ProduceRequest.API_KEY
        return any(isinstance(one, RequestStruct) and wanted == one.API_KEY for _, one, _ in self._requests)

    @property
    def received(self) -> tuple[float, int]:
        """Changes with every byte that comes: when the last answer was complete, and how much of the next is there."""
        return self._last_action, len(self._reader._buffer) if self._reader is not None else 0

    async def _timed(self, answering: Any) -> Any:
        """A login may have an end (KIP-368), and the client does not look: the broker would hang up on a request that
        comes later, and whether that one was carried out would be unknown."""
        asked_at_s = self._loop.time()
        answer = await answering
        lifetime_s = getattr(answer, "session_lifetime_ms", 0) / 1000
        self.renew_at_s = asked_at_s + lifetime_s * RENEW_AFTER if lifetime_s > 0 else None
        return answer

    @property
    def usable(self) -> bool:
        """For another request: it stands, and its login does not run out."""
        return self.connected() and (self.renew_at_s is None or self._loop.time() < self.renew_at_s)

    def retire(self) -> None:
        """Close when what is under way has been answered."""
        if self._requests and self.connected():
            self._loop.call_later(RETIRED_AGAIN_S, self.retire)
        else:
            self.close()


class TokenLogin:
    """OAUTHBEARER. A broker that refuses a token says why in its answer, and calls it an error only when that was
    acknowledged (RFC 7628, 3.2.3); aiokafka takes the answer for a yes, and every request after it fails strangely.
    """

    def __init__(self, provider: Any, server: str) -> None:
        self._provider = provider
        self._server = server

    async def step(self, answer: bytes | None) -> tuple[bytes, bool] | None:
        if answer is None:
            return self._request(await self._token()), True
        return (b"\x01", True) if answer else None

    def _request(self, token: str) -> bytes:
        extensions = self._provider.extensions() if callable(getattr(self._provider, "extensions", None)) else {}
        said = "".join(f"\x01{key}={value}" for key, value in extensions.items())
        return f"n,,\x01auth=Bearer {token}{said}\x01\x01".encode()

    async def _token(self) -> str:
        try:
            token = await self._provider.token()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever it is: it is not the brokers', and it may pass
            raise BrokerUnavailable(
                f"{self._server}: OAUTHBEARER: sasl_oauth_token_provider gave no token: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(token, str) or not token:
            raise BrokerRefused(
                f"{self._server}: OAUTHBEARER: sasl_oauth_token_provider gave {type(token).__name__}"
                f"{'' if token else ', empty'} for a token; let it give a str"
            )
        return token


def _text(error: BaseException) -> str:
    text = ", ".join(str(arg) for arg in error.args if arg is not None)
    return text.removeprefix("Authentication failed: ")
