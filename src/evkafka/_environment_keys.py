"""The keys that can be said as text, and the model that pydantic-settings reads them with. Made of `keys.py`."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

from evkafka.config.keys import ConsumerConfig, ProducerConfig

TLS = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_keyfile_password")
"""What an `ssl_context` is made of where there is no Python to make it."""

SECRETS = frozenset({"sasl_plain_password", "ssl_keyfile_password"})

_NOT_TEXT = frozenset(
    {
        "ssl_context",
        "sasl_oauth_token_provider",
        "partition_assignment_strategy",
        "partitioner",
        "non_retryable",
        "api_version",
        "enable_auto_commit",
        "max_poll_interval_ms",
    }
)
"""These are objects, or are not used."""


@dataclass(frozen=True)
class Kind:
    """A consumer's keys or a producer's.

    Attributes:
        keys: those that can be said outside.
    """

    name: str
    shape: Any

    @property
    def keys(self) -> frozenset[str]:
        return frozenset({*self.shape.__annotations__, *TLS} - _NOT_TEXT)


CONSUMER = Kind("Consumer", ConsumerConfig)
PRODUCER = Kind("Producer", ProducerConfig)


@functools.cache
def model_of(kind: Kind) -> Any:
    """The settings class; every field may be left out."""
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

    fields = _fields(kind.shape) | dict.fromkeys(TLS, (str | None, None))
    fields |= dict.fromkeys(SECRETS, (SecretStr | None, None))
    made: Any = create_model(f"{kind.name}Settings", __base__=Settings, **fields)
    return made


def _fields(shape: Any) -> dict[str, Any]:
    hints = get_type_hints(shape)
    return {key: (_as_text(key, hint), None) for key, hint in hints.items() if key not in _NOT_TEXT}


def _as_text(key: str, hint: Any) -> Any:
    """The type that a key has where it is written as text."""
    from pydantic import BeforeValidator, SecretStr
    from pydantic_settings import NoDecode

    while get_origin(hint) in (Required, NotRequired):
        [hint] = get_args(hint)
    if key in SECRETS:
        return SecretStr | None
    if key in ("bootstrap_servers", "topic_pattern", "sasl_plain_username"):
        return str | None
    if key == "topics":
        return Annotated[list[Any] | None, NoDecode, BeforeValidator(_listed)]
    if key == "acks":
        return Annotated[Any, BeforeValidator(_number_or_text)]
    if key == "retry_topics":
        return Annotated[list[int] | None, NoDecode, BeforeValidator(_listed)]
    if (nested := _nested(hint)) is not None:
        return nested
    return hint | None


def _nested(hint: Any) -> Any:
    from pydantic import ConfigDict, create_model

    shapes = [one for one in (hint, *get_args(hint)) if is_typeddict(one)]
    if len(shapes) != 1:
        return None
    made: Any = create_model(
        f"{shapes[0].__name__}Settings",
        __config__=ConfigDict(extra="forbid", hide_input_in_errors=True),
        **_fields(shapes[0]),
    )
    return made | None


def _listed(value: Any) -> Any:
    """`a,b` as well as `["a", "b"]`; from a file it is a list already."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        found: Sequence[Any] = json.loads(text)
        return found
    return [part.strip() for part in text.split(",") if part.strip()]


def _number_or_text(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else value
