"""The reference pages say what the docstrings say."""

from __future__ import annotations

from tools import reference


class TestConfigurationKeys:
    def test_are_up_to_date(self) -> None:
        page = reference.made_of(reference.ROOT / "src" / "evkafka" / "keys.py")
        assert reference.PAGE.read_text() == page, "run `make docs`"
