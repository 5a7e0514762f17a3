"""aiokafka's connection without its defects: precise login errors, logins renewed in time, slow answers may arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.admin import SaslAuthenticateRequest
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest

from evkafka.exceptions import BrokerError, BrokerRefused, BrokerUnavailable

FAILURES = (OSError, TimeoutError, EOFError, kafka.KafkaError, BrokerError)
"""What a connection attempt may raise."""

RENEW_AFTER = 0.85
"""The part of a login's lifetime after which the next request goes over a new connection."""

RETIRE_CHECK_S = 0.1

PROGRESS_CHECK_S = 3.0
"""How often a pending answer is checked for progress. A node that sent nothing meanwhile counts as silent."""


async def connect(host: str, port: int, options: dict[str, Any]) -> Connection:
    """Connect and log in.

    Raises:
        One of `FAILURES`. A refused login is a BrokerRefused that names the server, the mechanism and the fix.
    """
    conn = Connection(host, port, **options)
    await conn.connect()
    return conn


class SilenceTimeout:
    """A timeout on silence, as an async context manager: it does not expire while an answer makes progress.

    A large fetch over a slow line takes long. Aborted half-way, it would be requested again forever.

    Args:
        progress: returns something that changes whenever bytes have arrived.
        on_silence: called every few seconds in which nothing has arrived.

    Raises (at the exit):
        TimeoutError: nothing has arrived for `silence_limit_s`, or `expire_now` was called.
    """

    def __init__(
        self, silence_limit_s: float, progress: Callable[[], object], on_silence: Callable[[], object] | None = None
    ) -> None:
        self._left_s = self._silence_s = silence_limit_s
        self._progress = progress
        self._on_silence = on_silence
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._last = self._progress()
        self._schedule_check()
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _schedule_check(self) -> None:
        step_s = min(self._left_s, PROGRESS_CHECK_S)
        self._left_s -= step_s
        self._timer = self._loop.call_later(step_s, self._expire_or_check_later)

    def _expire_or_check_later(self) -> None:
        current = self._progress()
        if current != self._last:
            self._last = current
            self._left_s = self._silence_s
        elif self._left_s <= 0:
            self.expire_now()
            return
        elif self._on_silence is not None:
            self._on_silence()
        self._schedule_check()

    def expire_now(self) -> None:
        """End the `async with` block with a TimeoutError now."""
        self._timeout.reschedule(self._loop.time())


class Connection(AIOKafkaConnection):
    """AIOKafkaConnection without its defects.

    Attributes:
        renew_at_s: when to replace it by a new connection, by the loop's clock; None if the login does not expire.
    """

    renew_at_s: float | None = None
    _request_timeout: float | None

    # ------------------------------------------------------------------ the login

    async def _do_sasl_handshake(self) -> None:
        try:
            await super()._do_sasl_handshake()
        except (kafka.SaslAuthenticationFailed, kafka.AuthenticationFailedError) as error:
            raise self._login_error(_error_text(error) or "no reason was given", self._login_remedy()) from error
        except kafka.UnsupportedSaslMechanismError as error:
            raise self._login_error("the server does not support this mechanism", "set sasl_mechanism") from error
        except kafka.IllegalSaslStateError as error:
            protocol = "SSL" if self._security_protocol == "SASL_SSL" else "PLAINTEXT"
            fix = f"set security_protocol to {protocol!r}, or bootstrap_servers to the port that accepts SASL"
            raise self._login_error("the server does not accept SASL logins on this port", fix) from error
        except (ValueError, KeyError, AssertionError) as error:
            # The server failed its half of the SCRAM proof, or its answer was malformed.
            raise self._login_error(
                f"the server's answer does not prove that it knows this user's password ({type(error).__name__})",
                "check that bootstrap_servers points to the right cluster",
            ) from error

    def _login_error(self, why: str, fix: str) -> BrokerRefused:
        """Without the user name, which may be a secret."""
        return BrokerRefused(
            f"{self._host}:{self._port}: login by {self._sasl_mechanism} refused: {why.rstrip('.')}; {fix}"
        )

    def _login_remedy(self) -> str:
        match self._sasl_mechanism:
            case "OAUTHBEARER":
                return "check the token from sasl_oauth_token_provider: its expiry, issuer and audience"
            case "GSSAPI":
                return "check the Kerberos ticket and sasl_kerberos_service_name"
            case _:
                return "check sasl_plain_username and sasl_plain_password, and that this user exists for this mechanism"

    def authenticator_oauth(self) -> TokenLogin:
        return TokenLogin(self._sasl_oauth_token_provider, f"{self._host}:{self._port}")

    # ------------------------------------------------------------------ requests

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Apply the request timeout to silence instead of to the whole answer (aiokafka-defects.md#slow-answers)."""
        silence_limit_s = self._request_timeout
        assert silence_limit_s is not None
        self._request_timeout = None
        try:
            answer = super().send(request, expect_response)
        finally:
            self._request_timeout = silence_limit_s
        if not expect_response:
            return answer
        answer = self._limit_silence(answer, silence_limit_s)
        return self._note_login_expiry(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _limit_silence(self, answering: Awaitable[Any], silence_limit_s: float) -> Any:
        async with SilenceTimeout(silence_limit_s, lambda: self.incoming_answer_progress):
            return await answering

    @classmethod
    def _on_read_task_error(cls, self_ref: Callable[[], Connection | None], read_task: asyncio.Task[None]) -> None:
        """Close a connection whose reader task was cancelled from outside (aiokafka-defects.md#ended-tasks).

        It gets no answers any more, and still looks connected.
        """
        conn = self_ref()
        if not read_task.cancelled():
            super()._on_read_task_error(self_ref, read_task)
        elif conn is not None and conn._read_task is read_task:
            conn.close(reason=CloseReason.CONNECTION_BROKEN)

    @property
    def has_pending_produce_request(self) -> bool:
        """Whether a produce request waits for its answer."""
        wanted = ProduceRequest.API_KEY
        return any(isinstance(one, RequestStruct) and wanted == one.API_KEY for _, one, _ in self._requests)

    @property
    def incoming_answer_progress(self) -> tuple[float, int]:
        """When the last answer was complete, and how many bytes of the next have arrived: changes with every byte."""
        return self._last_action, len(self._reader._buffer) if self._reader is not None else 0

    async def _note_login_expiry(self, answering: Any) -> Any:
        """Note when a login expires (KIP-368; aiokafka-defects.md#login-lifetime).

        aiokafka does not. The broker closes the connection at the first request after that time, and it is unknown
        whether that request was carried out.
        """
        asked_at_s = self._loop.time()
        answer = await answering
        lifetime_s = getattr(answer, "session_lifetime_ms", 0) / 1000
        self.renew_at_s = asked_at_s + lifetime_s * RENEW_AFTER if lifetime_s > 0 else None
        return answer

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: it is connected, and its login does not expire soon."""
        return self.connected() and (self.renew_at_s is None or self._loop.time() < self.renew_at_s)

    def close_when_idle(self) -> None:
        """Close it when its pending requests have been answered."""
        if self._requests and self.connected():
            self._loop.call_later(RETIRE_CHECK_S, self.close_when_idle)
        else:
            self.close()


class TokenLogin:
    """The OAUTHBEARER exchange (aiokafka-defects.md#oauth-refusal).

    A broker that refuses a token answers with the reason, and reports the error only when that answer has been
    acknowledged (RFC 7628, 3.2.3). aiokafka takes the first answer for success, and every later request fails with an
    unrelated error.
    """

    def __init__(self, provider: Any, server: str) -> None:
        self._provider = provider
        self._server = server

    async def step(self, answer: bytes | None) -> tuple[bytes, bool] | None:
        if answer is None:
            return self._encode_token(await self._fetch_token()), True
        return (b"\x01", True) if answer else None

    def _encode_token(self, token: str) -> bytes:
        extensions = self._provider.extensions() if callable(getattr(self._provider, "extensions", None)) else {}
        text = "".join(f"\x01{key}={value}" for key, value in extensions.items())
        return f"n,,\x01auth=Bearer {token}{text}\x01\x01".encode()

    async def _fetch_token(self) -> str:
        try:
            token = await self._provider.token()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # of the user's provider; it may be temporary
            raise BrokerUnavailable(
                f"{self._server}: OAUTHBEARER: sasl_oauth_token_provider failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(token, str) or not token:
            raise BrokerRefused(
                f"{self._server}: OAUTHBEARER: sasl_oauth_token_provider gave"
                f" {type(token).__name__}{'' if token else ', empty'}; it must return the token as a str"
            )
        return token


def _error_text(error: BaseException) -> str:
    text = ", ".join(str(arg) for arg in error.args if arg is not None)
    return text.removeprefix("Authentication failed: ")
