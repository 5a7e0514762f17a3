"""Texts of several lines and the progress bar of commands."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from evkafka.cli import output


class TestIndented:
    def test_indents_each_line_equally(self) -> None:
        text = "Traceback (most recent call last):\n  File\nValueError: no"
        assert output.escape_indented(text) == "    Traceback (most recent call last):\n      File\n    ValueError: no"


class TestProgressBar:
    @pytest.fixture
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Makes stderr look like a terminal."""

        def console(**options: Any) -> Console:
            return Console(**{**options, "force_terminal": True, "width": 80})

        monkeypatch.setattr(output, "Console", console)

    @pytest.mark.usefixtures("terminal")
    def test_is_shown_at_a_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        with output.show_progress_bar("replaying") as show_progress:
            show_progress(2, 7)
            show_progress(7, 7)
        printed = capsys.readouterr()
        assert "replaying" in printed.err
        assert "7/7" in printed.err
        assert printed.out == ""

    def test_is_not_written_to_a_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        with output.show_progress_bar("replaying") as show_progress:
            show_progress(7, 7)
        assert capsys.readouterr() == ("", "")
