"""Configuration from outside of the program: environment, `.env`, `pyproject.toml`. Needs `evkafka[settings]`.

A dictionary stays the first way to write a configuration. Here it says what holds where nobody says otherwise, and
what stands outside is laid over it: `app.add_consumer(consumer_config({"topics": ["orders"]}), handler)`.
"""

from __future__ import annotations

import difflib
import logging
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from evkafka._environment_keys import CONSUMER, PRODUCER, TLS, Kind
from evkafka.config.keys import ConsumerConfig, ProducerConfig
from evkafka.config.masking import Secret
from evkafka.config.section import NEAR_ENOUGH
from evkafka.exceptions import ConfigError

__all__ = ["PREFIX", "consumer_config", "producer_config"]

logger = logging.getLogger("evkafka.environment")

PREFIX = "EVKAFKA_"

TABLE = ("tool", "evkafka")

MISSPELT = 0.9
"""A variable whose name is so much like one of ours, and is none, is told."""

_Values = dict[str, Any]


def consumer_config(
    defaults: Mapping[str, Any] | ConsumerConfig | None = None,
    /,
    *,
    name: str | None = None,
    env_file: str | Path | None = None,
    toml_file: str | Path | None = "pyproject.toml",
) -> ConsumerConfig:
    """A consumer's configuration: the dictionary, and over it what is said outside of the program.

    From weakest to strongest: the dictionary, `[tool.evkafka]`, `[tool.evkafka.NAME]`, the env file, the
    environment (`EVKAFKA_GROUP_ID`), the environment for this name (`EVKAFKA_NAME__GROUP_ID`). Nested keys are
    joined by two underscores: `EVKAFKA_ON_ERROR__MAX_ATTEMPTS`; lists have commas, or are JSON; `none` is None.

    Args:
        name: of several consumers and producers, which one this is; only letters, digits and underscores.
        env_file: a file of variables, weaker than the environment itself. Default: none is read.
        toml_file: where the table stands; a file that is not there says nothing. None: none is read.

    Raises:
        ConfigError: the extra is not installed, or a value outside cannot work; the message names its variable.
    """
    return cast(ConsumerConfig, _configured(CONSUMER, defaults, name, env_file, toml_file))


def producer_config(
    defaults: Mapping[str, Any] | ProducerConfig | None = None,
    /,
    *,
    name: str | None = None,
    env_file: str | Path | None = None,
    toml_file: str | Path | None = "pyproject.toml",
) -> ProducerConfig:
    """The same for a producer; see `consumer_config`.

    Raises:
        ConfigError: the extra is not installed, or a value outside cannot work; the message names its variable.
    """
    return cast(ProducerConfig, _configured(PRODUCER, defaults, name, env_file, toml_file))


def _configured(
    kind: Kind,
    defaults: Mapping[str, Any] | None,
    name: str | None,
    env_file: str | Path | None,
    toml_file: str | Path | None,
) -> _Values:
    if name is not None and not name.isidentifier():
        raise ConfigError(f"name={name!r}: give letters, digits and underscores, for it is a part of variables' names")
    values: _Values = dict(defaults or {})
    for table in _tables(kind, toml_file, name):
        values = _over(values, table)
    prefixes = [PREFIX] if name is None else [PREFIX, f"{PREFIX}{name.upper()}__"]
    for prefix in prefixes:
        values = _over(values, _from_environment(kind, prefix, env_file))
    _tell_misspelt()
    return _with_tls(values)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> _Values:
    """Key by key, nested dictionaries too."""
    both = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _over(both[key], value) if nested else value
    return both


# ---------------------------------------------------------------------------- pyproject.toml


def _tables(kind: Kind, file: str | Path | None, name: str | None) -> Sequence[_Values]:
    """The common table and the named one, with the keys that are this kind's."""
    common = _read_table(file)
    others = (CONSUMER if kind is PRODUCER else PRODUCER).keys
    sections = {
        key: value for key, value in common.items() if isinstance(value, Mapping) and key not in kind.keys | others
    }
    table = {key: value for key, value in common.items() if key not in sections}
    for key in table:
        _check_key(key, kind.keys | others, f"[tool.evkafka] of {file}")
    named = dict(sections.get(name, {})) if name is not None else {}
    for key in named:
        _check_key(key, kind.keys, f"[tool.evkafka.{name}] of {file}")
    return {key: value for key, value in table.items() if key in kind.keys}, named


def _read_table(file: str | Path | None) -> _Values:
    if file is None:
        return {}
    try:
        told: Any = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is no TOML: {error}") from error
    for part in TABLE:
        told = told.get(part, {})
        if not isinstance(told, dict):
            raise ConfigError(f"{file}: {part} must be a table")
    return dict(told)


def _check_key(key: str, known: frozenset[str], where: str) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=NEAR_ENOUGH)
    raise ConfigError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


# ---------------------------------------------------------------------------- the environment


def _from_environment(kind: Kind, prefix: str, env_file: str | Path | None) -> _Values:
    try:
        from pydantic import ValidationError
        from pydantic_settings import SettingsError
    except ImportError as error:
        raise ConfigError(
            "configuration from the environment needs an extra that is not installed: pip install 'evkafka[settings]'"
        ) from error
    if env_file is not None and not Path(env_file).is_file():
        raise ConfigError(f"env_file={str(env_file)!r}: there is no such file")
    from evkafka._environment_keys import model_of

    try:
        settings = model_of(kind)(
            _env_prefix=prefix,
            _env_file=env_file,
            _secrets_dir=os.environ.get(f"{PREFIX}SECRETS_DIR") or None,
        )
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(prefix, one) for one in error.errors(include_input=False))) from error
    except SettingsError as error:
        raise ConfigError(f"{prefix}*: {error}; give JSON there") from error
    told: _Values = settings.model_dump(exclude_unset=True)
    return told


def _fault(prefix: str, error: Any) -> str:
    """One sentence; the value is left out, for it may be a secret in the wrong place."""
    path = [str(part) for part in error["loc"] if isinstance(part, str)]
    return f"{prefix}{'__'.join(path).upper()}: {error['msg']}"


def _tell_misspelt() -> None:
    known = [f"{PREFIX}{key.upper()}" for key in CONSUMER.keys | PRODUCER.keys]
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known and "__" not in variable:
            near = difflib.get_close_matches(variable, known, n=1, cutoff=MISSPELT)
            # EVKAFKA_RUN_BOOTSTRAP_SERVERS is the command line's own: the key stands in it whole.
            if near and not variable.endswith(near[0].removeprefix(PREFIX)):
                logger.warning("%s is not read: did you mean %s?", variable, near[0])


# ---------------------------------------------------------------------------- TLS


def _with_tls(values: _Values) -> _Values:
    """Files cannot stand in for an `ssl_context`, so one is made of them."""
    given = {key: values.pop(key) for key in TLS if key in values}
    protocol = str(values.get("security_protocol", "PLAINTEXT"))
    if values.get("ssl_context") is not None or not (given or protocol.endswith("SSL")):
        return values
    import ssl

    password = given.get("ssl_keyfile_password")
    plain = password.get_secret_value() if isinstance(password, Secret) else password
    try:
        context = ssl.create_default_context(cafile=given.get("ssl_cafile"))
        if given.get("ssl_certfile"):
            context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"), plain)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(f"{key}={given[key]}" for key in TLS if key in given and "password" not in key)
        raise ConfigError(f"TLS from {files or 'the system'}: {error.strerror or error}") from error
    return {**values, "ssl_context": context}
