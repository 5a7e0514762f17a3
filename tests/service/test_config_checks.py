"""What `evkafka check` finds in a consumer's settings."""

from __future__ import annotations

import pytest

from evkafka.config import consumer_settings
from evkafka.service.config_checks import metadata_findings


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
