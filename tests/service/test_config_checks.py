"""What `evkafka check` finds in a consumer's settings."""

from __future__ import annotations

from typing import Any

import pytest

from evkafka import EVKafkaApp, Handler
from evkafka.config import consumer_settings
from evkafka.service.config_checks import config_findings, metadata_findings


@pytest.mark.parametrize(
    ("own", "brokers", "warned"),
    [(3_500, None, False), (4_096, None, False), (4_097, None, True), (4_097, 8_192, False), (3_500, 1_024, True)],
)
def test_metadata_of_commits_must_fit_what_the_brokers_accept(own: int, brokers: int | None, warned: bool) -> None:
    settings = consumer_settings({"topics": ["orders"], "commit_metadata_max_bytes": own})
    assert [one.level for one in metadata_findings(settings, brokers)] == (["warning"] if warned else [])


def test_pre_commit_has_no_metadata() -> None:
    settings = consumer_settings({"topics": ["orders"], "auto_commit_mode": "pre-commit"})
    assert not [*metadata_findings(settings, 1_024)]


def notes(*timeouts_ms: int | None, **keys: Any) -> list[str]:
    """The notes about a consumer with an endpoint for each of these time limits."""
    handler = Handler()
    for number, timeout_ms in enumerate(timeouts_ms):

        @handler.event(f"E{number}", timeout_ms=timeout_ms)
        async def on_event(event: dict[str, Any]) -> None: ...

    app = EVKafkaApp()
    config: Any = {"topics": ["orders"], "group_id": "billing", **keys}
    app.add_consumer(config, handler, "orders")
    return [one.problem for one in config_findings(app.consumers["orders"]) if one.level == "note"]


class TestANoteAboutARebalance:
    @pytest.mark.parametrize(("timeouts_ms", "noted_ms"), [((None,), 18_000), ((1_000, 15_000), 15_000)])
    def test_says_the_longest_time_limit_of_the_endpoints(
        self, timeouts_ms: tuple[int | None, ...], noted_ms: int
    ) -> None:
        [note] = notes(*timeouts_ms, max_endpoint_exec_time_ms=18_000, revoke_drain_timeout_ms=10_000)
        assert note.startswith(f"an attempt may take {noted_ms} ms, and revoke_drain_timeout_ms is 10000")
        assert note.endswith("it runs again")

    def test_is_not_needed_if_the_limits_of_all_endpoints_are_shorter(self) -> None:
        assert not notes(1_000, 9_000, max_endpoint_exec_time_ms=20_000, revoke_drain_timeout_ms=10_000)

    def test_is_not_needed_for_the_defaults(self) -> None:
        assert not notes(None)

    def test_says_that_a_pre_commit_record_is_lost(self) -> None:
        [note] = notes(18_000, auto_commit_mode="pre-commit")
        assert note.endswith("it is lost")
