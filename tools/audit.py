"""`make check`: fails if an installed package has a known vulnerability.

pip-audit queries PyPI's advisories. If the service is unreachable, or knows none of the packages (a mirror without
advisories), the check prints that and passes, because it must not depend on another service's uptime. CI has network
access, so a vulnerability fails there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

DEADLINE_S = 120
COMMAND = (
    sys.executable,
    "-m",
    "pip_audit",
    *("--format", "json", "--progress-spinner", "off", "--timeout", "10", "--skip-editable"),
)


def main(command: Sequence[str] = COMMAND, deadline_s: float = DEADLINE_S) -> int:
    """Return 1 if a package is vulnerable, otherwise 0. The last line printed is the summary."""
    try:
        completed = subprocess.run(  # nosec B603 # our own command
            command, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        return _report_unreachable(f"no answer within {deadline_s:g} s")
    try:
        packages: list[dict[str, Any]] = json.loads(completed.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        errors = completed.stderr.strip().splitlines() or [f"pip-audit ended with {completed.returncode}"]
        return _report_unreachable(errors[-1])
    return _print_findings(packages)


def _print_findings(packages: list[dict[str, Any]]) -> int:
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return _report_unreachable(f"the index knows no advisories for any of {len(packages)} packages")
    unknown = len(packages) - len(audited)
    findings = [(package, vulnerability) for package in audited for vulnerability in package["vulns"]]
    for package, vulnerability in findings:
        fixed = ", ".join(vulnerability.get("fix_versions") or []) or "no version yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(
        f"Advisories: {len(findings)} for {len(audited)} packages"
        + (f"; {unknown} could not be audited" * bool(unknown))
    )
    return 1 if findings else 0


def _report_unreachable(why: str) -> int:
    print(f"Advisories unreachable, nothing was audited: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
