"""`--env-file`: variables out of a file into the environment, before the app's module is imported."""

from __future__ import annotations

from pathlib import Path

from evkafka.exceptions import ConfigError


def load_env_file(path: Path | None) -> None:
    """What is set already wins: a deployment's own variables are stronger than a file in the repository.

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
