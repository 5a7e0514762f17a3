"""What `make check` says of advisories: found ones fail, an unreachable service does not."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tools.audit import main


def printing(packages: list[dict[str, Any]], code: int = 0) -> list[str]:
    """A pip-audit that answers so."""
    said = json.dumps({"dependencies": packages, "fixes": []})
    return [sys.executable, "-c", f"import sys; print({said!r}); sys.exit({code})"]


SOUND = {"name": "sound", "version": "1", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
WEAK = {"name": "weak", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}


class TestAudit:
    def test_a_vulnerable_package_fails_and_is_named_with_its_way_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(printing([SOUND, WEAK], code=1)) == 1
        assert "weak 2.0: PYSEC-1, mended in 2.1" in capsys.readouterr().out

    def test_sound_packages_pass_and_those_that_nobody_knows_are_counted(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(printing([SOUND, UNKNOWN])) == 0
        assert capsys.readouterr().out == "Advisories: 0 for 1 packages; 1 could not be asked for\n"

    @pytest.mark.parametrize(
        ("command", "why"),
        [
            (printing([UNKNOWN]), "knows no advisories for any of 1 packages"),
            ([sys.executable, "-c", "import sys; sys.exit('ConnectionError: no route')"], "ConnectionError: no route"),
            ([sys.executable, "-c", "import time; time.sleep(60)"], "no answer within 0.5 s"),
        ],
        ids=["a mirror without advisories", "no network", "no answer"],
    )
    def test_an_unreachable_service_is_said_and_does_not_fail(
        self, command: list[str], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(command, deadline_s=0.5 if "sleep" in command[-1] else 60) == 0
        said = capsys.readouterr().out
        assert said.startswith("Advisories unreachable, nothing was audited: ")
        assert why in said
