"""Configuration from environment variables, `.env` files and `pyproject.toml`. Needs `evkafka[settings]`.

A dictionary gives the defaults, and values from outside override them:
`app.add_consumer(consumer_config({"topics": ["orders"]}), handler)`.
"""

from __future__ import annotations

import difflib
import functools
import json
import logging
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, Required, cast, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from evkafka.config.keys import ConsumerConfig, ProducerConfig
from evkafka.config.masking import Secret
from evkafka.config.section import NEAR_ENOUGH
from evkafka.config.settings import SETTING_TYPES
from evkafka.exceptions import ConfigError

TLS = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_keyfile_password")
"""Keys that only exist here: an `ssl_context` is created from these files."""

SECRETS = frozenset({"sasl_plain_password", "ssl_keyfile_password"})


@dataclass(frozen=True)
class ConfigKind:
    """The keys of consumers or of producers.

    Attributes:
        keys_settable_as_text: keys that can be given as text.
    """

    name: str
    shape: Any

    @property
    def keys_settable_as_text(self) -> frozenset[str]:
        return frozenset({*filter(_is_key_settable_as_text, self.shape.__annotations__), *TLS})


CONSUMER = ConfigKind("Consumer", ConsumerConfig)


PRODUCER = ConfigKind("Producer", ProducerConfig)


def _is_key_settable_as_text(key: str) -> bool:
    """False for keys whose values are objects, and for keys that are not used."""
    return key in SETTING_TYPES and SETTING_TYPES[key].textual


@functools.cache
def create_pydantic_settings_class(kind: ConfigKind) -> Any:
    """The pydantic settings class; every field is optional."""
    from pydantic import SecretStr, create_model
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class Settings(BaseSettings):
        model_config = SettingsConfigDict(
            env_nested_delimiter="__",
            env_parse_none_str="none",
            extra="ignore",
            env_file_encoding="utf-8",
            hide_input_in_errors=True,
        )

    fields = _model_fields_of_typed_dict(kind.shape) | dict.fromkeys(TLS, (str | None, None))
    fields |= dict.fromkeys(SECRETS, (SecretStr | None, None))
    model: Any = create_model(f"{kind.name}Settings", __base__=Settings, **fields)
    return model


def _model_fields_of_typed_dict(shape: Any) -> dict[str, Any]:
    hints = get_type_hints(shape)
    return {key: (_text_value_type(key, hint), None) for key, hint in hints.items() if _is_key_settable_as_text(key)}


def _text_value_type(key: str, hint: Any) -> Any:
    """The type of a key whose value is written as text."""
    from pydantic import BeforeValidator, SecretStr
    from pydantic_settings import NoDecode

    while get_origin(hint) in (Required, NotRequired):
        [hint] = get_args(hint)
    if key in SECRETS:
        return SecretStr | None
    if key in ("bootstrap_servers", "topic_pattern", "sasl_plain_username"):
        return str | None
    if key == "topics":
        return Annotated[list[Any] | None, NoDecode, BeforeValidator(_parse_list)]
    if key == "acks":
        return Annotated[Any, BeforeValidator(_to_int_if_decimal)]
    if key == "retry_topics":
        return Annotated[list[int] | None, NoDecode, BeforeValidator(_parse_list)]
    if (nested := _nested_model(hint)) is not None:
        return nested
    return hint | None


def _nested_model(hint: Any) -> Any:
    from pydantic import ConfigDict, create_model

    shapes = [one for one in (hint, *get_args(hint)) if is_typeddict(one)]
    if len(shapes) != 1:
        return None
    model: Any = create_model(
        f"{shapes[0].__name__}Settings",
        __config__=ConfigDict(extra="forbid", hide_input_in_errors=True),
        **_model_fields_of_typed_dict(shapes[0]),
    )
    return model | None


def _parse_list(value: Any) -> Any:
    """`a,b` or `["a", "b"]`; from a file it is a list already."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        items: Sequence[Any] = json.loads(text)
        return items
    return [part.strip() for part in text.split(",") if part.strip()]


def _to_int_if_decimal(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else value


__all__ = ["PREFIX", "consumer_config", "producer_config"]

logger = logging.getLogger("evkafka.environment")

PREFIX = "EVKAFKA_"

TABLE = ("tool", "evkafka")

MISSPELT = 0.9
"""Similarity from which an unknown variable is reported as misspelt."""

_Values = dict[str, Any]


def consumer_config(
    defaults: Mapping[str, Any] | ConsumerConfig | None = None,
    /,
    *,
    name: str | None = None,
    env_file: str | Path | None = None,
    toml_file: str | Path | None = "pyproject.toml",
) -> ConsumerConfig:
    """A consumer's configuration: the dictionary, overridden by settings files and environment variables.

    From weakest to strongest: the dictionary, `[tool.evkafka]`, `[tool.evkafka.NAME]`, the env file, the
    environment (`EVKAFKA_GROUP_ID`), the environment for this name (`EVKAFKA_NAME__GROUP_ID`). Nested keys are
    joined by two underscores: `EVKAFKA_ON_ERROR__MAX_ATTEMPTS`; lists are separated by commas, or JSON; `none` is None.

    Args:
        name: tells several consumers and producers apart; letters, digits and underscores only.
        env_file: a file of variables, overridden by the environment itself. Default: no file is read.
        toml_file: the file with the table; it may be absent. None: no file is read.

    Raises:
        ConfigError: the extra is not installed, or a value is invalid; the message names its variable.
    """
    return cast(ConsumerConfig, _load_configuration(CONSUMER, defaults, name, env_file, toml_file))


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
        ConfigError: the extra is not installed, or a value is invalid; the message names its variable.
    """
    return cast(ProducerConfig, _load_configuration(PRODUCER, defaults, name, env_file, toml_file))


def _load_configuration(
    kind: ConfigKind,
    defaults: Mapping[str, Any] | None,
    name: str | None,
    env_file: str | Path | None,
    toml_file: str | Path | None,
) -> _Values:
    if name is not None and not name.isidentifier():
        raise ConfigError(
            f"name={name!r}: use letters, digits and underscores, because it is part of the variables' names"
        )
    values: _Values = dict(defaults or {})
    for table in _read_common_and_named_toml_tables(kind, toml_file, name):
        values = _merge_nested(values, table)
    prefixes = [PREFIX] if name is None else [PREFIX, f"{PREFIX}{name.upper()}__"]
    for prefix in prefixes:
        values = _merge_nested(values, _read_environment(kind, prefix, env_file))
    _warn_of_misspelt_variables()
    return _replace_tls_files_by_ssl_context(values)


def _merge_nested(below: Mapping[str, Any], above: Mapping[str, Any]) -> _Values:
    """Override key by key, in nested dictionaries too."""
    both = dict(below)
    for key, value in above.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merge_nested(both[key], value) if nested else value
    return both


# ---------------------------------------------------------------------------- pyproject.toml


def _read_common_and_named_toml_tables(
    kind: ConfigKind, file: str | Path | None, name: str | None
) -> Sequence[_Values]:
    """The common table and the named one, with the keys of this kind."""
    common = _read_toml_table(file)
    others = (CONSUMER if kind is PRODUCER else PRODUCER).keys_settable_as_text
    sections = {
        key: value
        for key, value in common.items()
        if isinstance(value, Mapping) and key not in kind.keys_settable_as_text | others
    }
    table = {key: value for key, value in common.items() if key not in sections}
    for key in table:
        _check_key(key, kind.keys_settable_as_text | others, f"[tool.evkafka] of {file}")
    named = dict(sections.get(name, {})) if name is not None else {}
    for key in named:
        _check_key(key, kind.keys_settable_as_text, f"[tool.evkafka.{name}] of {file}")
    return {key: value for key, value in table.items() if key in kind.keys_settable_as_text}, named


def _read_toml_table(file: str | Path | None) -> _Values:
    if file is None:
        return {}
    try:
        table: Any = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    for part in TABLE:
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {part} must be a table")
    return dict(table)


def _check_key(key: str, known: frozenset[str], where: str) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=NEAR_ENOUGH)
    raise ConfigError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


# ---------------------------------------------------------------------------- the environment


def _read_environment(kind: ConfigKind, prefix: str, env_file: str | Path | None) -> _Values:
    try:
        from pydantic import ValidationError
        from pydantic_settings import SettingsError
    except ImportError as error:
        raise ConfigError(
            "configuration from the environment needs an extra that is not installed: pip install 'evkafka[settings]'"
        ) from error
    if env_file is not None and not Path(env_file).is_file():
        raise ConfigError(f"env_file={str(env_file)!r}: the file does not exist")

    try:
        settings = create_pydantic_settings_class(kind)(
            _env_prefix=prefix,
            _env_file=env_file,
            _secrets_dir=os.environ.get(f"{PREFIX}SECRETS_DIR") or None,
        )
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_describe_fault(prefix, one) for one in error.errors(include_input=False))
        ) from error
    except SettingsError as error:
        raise ConfigError(f"{prefix}*: {error}; give JSON there") from error
    values: _Values = settings.model_dump(exclude_unset=True)
    return values


def _describe_fault(prefix: str, error: Any) -> str:
    """One sentence without the value, which may be a secret in the wrong place."""
    path = [str(part) for part in error["loc"] if isinstance(part, str)]
    return f"{prefix}{'__'.join(path).upper()}: {error['msg']}"


def _warn_of_misspelt_variables() -> None:
    known = [f"{PREFIX}{key.upper()}" for key in CONSUMER.keys_settable_as_text | PRODUCER.keys_settable_as_text]
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known and "__" not in variable:
            near = difflib.get_close_matches(variable, known, n=1, cutoff=MISSPELT)
            # EVKAFKA_RUN_BOOTSTRAP_SERVERS belongs to the command line: it contains the whole key.
            if near and not variable.endswith(near[0].removeprefix(PREFIX)):
                logger.warning("environment variable %s is ignored: did you mean %s?", variable, near[0])


# ---------------------------------------------------------------------------- TLS


def _replace_tls_files_by_ssl_context(values: _Values) -> _Values:
    """Create the `ssl_context` from the TLS files, and remove their keys."""
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
