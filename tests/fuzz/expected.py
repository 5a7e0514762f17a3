"""The documented outcome of a record, computed without the runtime: its decision, and the number of its attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from tests.fuzz.inputs import TYPE, Action, Case, Sent

Decision = Literal["handled", "skipped", "dead_lettered", "blocked", "stopped"]


class Order(BaseModel):
    do: Action
    more: Any = None


@dataclass(frozen=True)
class Expected:
    """Attributes:
    decisions: the possible decisions; several if the order of a batch decides.
    calls: the number of calls of the endpoint; None if it is not determined.
    route: the endpoint.
    why: the reason, for the statistics.
    """

    decisions: frozenset[Decision]
    calls: int | None
    route: str | None
    why: str


def expected(sent: Sent, case: Case) -> Expected:
    rules = _Rules(case)
    route = _route(sent, case)
    if sent.corrupt:
        return Expected(frozenset({rules.end("skipped")}), 0, None, "corrupt")
    if route is None:
        return Expected(frozenset({rules.unmatched()}), 0, None, "unmatched")
    action = _action(sent, route)
    if action is None:
        return Expected(frozenset({rules.end("skipped")}), 0, route, "undecodable")
    decision, calls = rules.of(action)
    if route == "batch":  # records behind a failed one of their lane run again, from attempt 1
        return Expected(frozenset({decision} | ({"handled"} if action == "fails once" else set())), None, route, action)
    return Expected(frozenset({decision}), calls, route, action)


def _route(sent: Sent, case: Case) -> str | None:
    named = next((value for name, value in sent.headers if name == TYPE), None)
    if sent.value is None:
        return "nullable" if named == b"nullable" else None
    if named in (b"model", b"plain", b"bytes", b"nullable", b"batch"):
        return named.decode()
    return "default" if case.default else None


def _action(sent: Sent, route: str) -> str | None:
    """Return the action that the value asks for; None if the endpoint cannot decode it."""
    if route in ("bytes", "default") or sent.value is None:
        return "ok"
    try:
        action = Order.model_validate_json(sent.value).do if not _is_null(sent.value, route) else "ok"
    except (ValueError, RecursionError):
        return None
    return "fails" if (action, route) == ("fails once", "plain") else action  # it does not know the attempt


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
        return "skipped" if self._at_most_once else self._decision_of(self._unmatched)

    def end(self, at_most_once: Decision, *, non_retryable: bool = False) -> Decision:
        """Return the decision for a record that cannot succeed."""
        if self._at_most_once:
            return at_most_once
        return "blocked" if self._attempts is None and not non_retryable else self._decision_of(self._then)

    def of(self, action: str) -> tuple[Decision, int | None]:
        match action:
            case "ok" | "uncomparable":
                return "handled", 1
            case "skip":
                return "skipped", 1
            case "dead letter":
                return "dead_lettered", 1
            case "non-retryable":
                return self.end("skipped", non_retryable=True), 1
        if self._at_most_once:
            return "skipped", 1
        if action == "fails once" and (self._attempts != 1 or self._topics):
            return "handled", 2
        if self._attempts is None:
            return "blocked", None
        return self.end("skipped"), self._attempts * (1 + self._topics)

    def _decision_of(self, word: str) -> Decision:
        match word:
            case "dead_letter":
                return "dead_lettered"
            case "stop":
                return "stopped"
            case _:
                return "skipped"
