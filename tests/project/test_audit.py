"""`make check` fails for a known vulnerability, and passes if the advisory service is unreachable."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tools.audit import main


def pip_audit_command(packages: list[dict[str, Any]], code: int = 0) -> list[str]:
    """A command that prints what pip-audit would print."""
    output = json.dumps({"dependencies": packages, "fixes": []})
    return [sys.executable, "-c", f"import sys; print({output!r}); sys.exit({code})"]


SAFE = {"name": "safe", "version": "1", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {
    "name": "vulnerable",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}],
}


class TestAudit:
    def test_a_vulnerable_package_fails_and_is_named_with_the_fixed_version(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(pip_audit_command([SAFE, VULNERABLE], code=1)) == 1
        assert "vulnerable 2.0: PYSEC-1, fixed in 2.1" in capsys.readouterr().out

    def test_safe_packages_pass_and_unknown_ones_are_counted(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(pip_audit_command([SAFE, UNKNOWN])) == 0
        assert capsys.readouterr().out == "Advisories: 0 for 1 packages; 1 could not be audited\n"

    @pytest.mark.parametrize(
        ("command", "why"),
        [
            (pip_audit_command([UNKNOWN]), "knows no advisories for any of 1 packages"),
            ([sys.executable, "-c", "import sys; sys.exit('ConnectionError: no route')"], "ConnectionError: no route"),
            ([sys.executable, "-c", "import time; time.sleep(60)"], "no answer within 0.5 s"),
        ],
        ids=["a mirror without advisories", "no network", "no answer"],
    )
    def test_an_unreachable_service_is_reported_and_does_not_fail(
        self, command: list[str], why: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(command, deadline_s=0.5 if "sleep" in command[-1] else 60) == 0
        output = capsys.readouterr().out
        assert output.startswith("Advisories unreachable, nothing was audited: ")
        assert why in output
