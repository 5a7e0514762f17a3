"""`make check`: is one of the installed packages known to be vulnerable?

pip-audit asks PyPI's advisories. A vulnerability that is found fails; a service that is not reached, or that
knows none of the packages (a mirror without advisories), is said in a sentence and does not: a check must not depend on
somebody else's uptime. CI has the network, and fails there.
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
    """1 where a package is vulnerable, else 0. The last line printed says what was found out."""
    try:
        ended = subprocess.run(  # nosec B603 # our own command
            command, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired:
        return _unreachable(f"no answer within {deadline_s:g} s")
    try:
        packages: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (ended.stderr.strip().splitlines() or [f"pip-audit ended with {ended.returncode}"])[-1]
        return _unreachable(last)
    return _judge(packages)


def _judge(packages: list[dict[str, Any]]) -> int:
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return _unreachable(f"the index knows no advisories for any of {len(packages)} packages")
    unknown = len(packages) - len(asked)
    faults = [(package, fault) for package in asked for fault in package["vulns"]]
    for package, fault in faults:
        mended = ", ".join(fault.get("fix_versions") or []) or "no version yet"
        print(f"{package['name']} {package['version']}: {fault['id']}, mended in {mended}")
    print(
        f"Advisories: {len(faults)} for {len(asked)} packages" + (f"; {unknown} could not be asked for" * bool(unknown))
    )
    return 1 if faults else 0


def _unreachable(why: str) -> int:
    print(f"Advisories unreachable, nothing was audited: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
