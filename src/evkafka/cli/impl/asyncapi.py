"""`evkafka asyncapi`: prints the contract of an app as JSON or YAML. No broker is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from evkafka.cli.app_loader import load_app
from evkafka.cli.env_file import load_env_file
from evkafka.cli.options import AppOptions
from evkafka.exceptions import ConfigError


def print_contract(options: AppOptions, output: Path | None) -> None:
    """Print the document as JSON, or write it into a file, as YAML if the file's name ends in .yaml or .yml.

    Raises:
        ConfigError: the target is not an app that has a contract, or the file cannot be written.
    """
    load_env_file(options.env_file)
    text = contract_of(options.target, app_dir=options.app_dir, factory=options.factory)
    if output is None:
        sys.stdout.write(f"{text}\n")
        return
    if output.suffix in (".yaml", ".yml"):
        text = _to_yaml(text)
    try:
        output.write_text(f"{text.rstrip()}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror or error}") from error


def contract_of(target: str, *, app_dir: Path, factory: bool) -> str:
    """The contract of an app as JSON.

    Raises:
        ConfigError: the target is not an app that has a contract.
    """
    app = load_app(target, app_dir, factory=factory)
    contract = getattr(app, "asyncapi", None)
    if contract is None:
        raise ConfigError(f"{target!r} is a {type(app).__name__}, which has no AsyncAPI document: name an EVKafkaApp")
    text: str = contract()
    return text


def _to_yaml(text: str) -> str:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError(
            "YAML needs an extra that is not installed: pip install 'evkafka[cli]', or name a .json file"
        ) from error
    document: str = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True, width=100)
    return document
