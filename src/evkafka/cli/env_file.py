"""`--env-file`: sets environment variables from a file, before the app's module is imported."""

from __future__ import annotations

from pathlib import Path

from evkafka.exceptions import ConfigError


def load_env_file(path: Path | None) -> None:
    """Set the variables of the file that are not set yet. A deployment's own variables win over a file in its code.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None:
        return
    try:
        from dotenv import load_dotenv
    except ImportError as error:
        raise ConfigError("--env-file needs an extra that is not installed: pip install 'evkafka[cli]'") from error
    try:
        with path.open(encoding="utf-8") as stream:
            load_dotenv(stream=stream, override=False)
    except OSError as error:
        raise ConfigError(f"--env-file {path}: the file cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--env-file {path}: it is not UTF-8 text: {error.reason}") from error
