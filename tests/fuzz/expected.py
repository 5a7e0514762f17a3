"""What the documents promise of a record, told without the engine: its decision, and how often it is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from tests.fuzz.inputs import TYPE, Case, Sent

Decision = Literal["handled", "passed", "buried", "waits", "halts"]


class Order(BaseModel):
    do: Literal["ok", "skip", "bury", "fails once", "fails", "hopeless", "again", "rude", "cancelled", "odd"]
    more: Any = None


@dataclass(frozen=True)
class Expected:
    """Attributes:
    decisions: one of these; several where a batch's order decides.
    calls: of the endpoint; None where nobody can say.
    why: for the books.
    """

    decisions: frozenset[Decision]
    calls: int | None
    route: str | None
    why: str


def expected(sent: Sent, case: Case) -> Expected:
    rules = _Rules(case)
    route = _route(sent, case)
    if sent.unreadable:
        return Expected(frozenset({rules.end("passed")}), 0, None, "unreadable")
    if route is None:
        return Expected(frozenset({rules.unmatched()}), 0, None, "unmatched")
    deed = _deed(sent, route)
    if deed is None:
        return Expected(frozenset({rules.end("passed")}), 0, route, "undecodable")
    decision, calls = rules.of(deed)
    if route == "batch":  # those behind one that failed in their lane are run once more, and count from one
        return Expected(frozenset({decision} | ({"handled"} if deed == "fails once" else set())), None, route, deed)
    return Expected(frozenset({decision}), calls, route, deed)


def _route(sent: Sent, case: Case) -> str | None:
    named = next((value for name, value in sent.headers if name == TYPE), None)
    if sent.value is None:
        return "nullable" if named == b"nullable" else None
    if named in (b"model", b"plain", b"bytes", b"nullable", b"batch"):
        return named.decode()
    return "default" if case.default else None


def _deed(sent: Sent, route: str) -> str | None:
    """None where the value is not what the endpoint asks for."""
    if route in ("bytes", "default") or sent.value is None:
        return "ok"
    try:
        deed = Order.model_validate_json(sent.value).do if not _is_null(sent.value, route) else "ok"
    except (ValueError, RecursionError):
        return None
    return "fails" if (deed, route) == ("fails once", "plain") else deed  # it cannot tell the first time


def _is_null(value: bytes, route: str) -> bool:
    return route == "nullable" and value.strip(b" \t\r\n") == b"null"


class _Rules:
    def __init__(self, case: Case) -> None:
        policy = case.config.get("on_error", {})
        self._at_most_once = case.config.get("auto_commit_mode") == "pre-commit"
        self._attempts: int | None = policy.get("max_attempts")
        self._topics = len(policy.get("retry_topics", ()))
        self._then = policy.get("then", "stop")
        self._unmatched = case.config.get("unmatched", "skip")

    def unmatched(self) -> Decision:
        return "passed" if self._at_most_once else self._said(self._unmatched)

    def end(self, at_most_once: Decision, *, hopeless: bool = False) -> Decision:
        """What becomes of what cannot succeed."""
        if self._at_most_once:
            return at_most_once
        return "waits" if self._attempts is None and not hopeless else self._said(self._then)

    def of(self, deed: str) -> tuple[Decision, int | None]:
        match deed:
            case "ok" | "odd":
                return "handled", 1
            case "skip":
                return "passed", 1
            case "bury":
                return "buried", 1
            case "hopeless":
                return self.end("passed", hopeless=True), 1
        if self._at_most_once:
            return "passed", 1
        if deed == "fails once" and (self._attempts != 1 or self._topics):
            return "handled", 2
        if self._attempts is None:
            return "waits", None
        return self.end("passed"), self._attempts * (1 + self._topics)

    def _said(self, word: str) -> Decision:
        match word:
            case "dead_letter":
                return "buried"
            case "stop":
                return "halts"
            case _:
                return "passed"
