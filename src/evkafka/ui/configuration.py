"""The configuration in force: every key, and which were set. Secrets never come this far: they are masked where the
configuration is shown."""

from __future__ import annotations

from collections.abc import Mapping

from evkafka.config import consumer_settings, producer_settings, shown_settings
from evkafka.ui.app_view import OperatedApp
from evkafka.ui.models import Config, ConfigKey, ConfigPart

MASKED = "***"


def config_of(app: OperatedApp) -> Config:
    plain = shown_settings(consumer_settings({"topics": ["t"]}))
    parts = [
        ConfigPart(name=f"Consumer {name}", keys=_keys(shown_settings(declared.settings), plain))
        for name, declared in app.consumers.items()
    ]
    plain = shown_settings(producer_settings({}))
    parts += [
        ConfigPart(name=f"Producer {name}", keys=_keys(shown_settings(producer_settings(declared.config)), plain))
        for name, declared in app.producers.items()
    ]
    return Config(parts=parts)


def _keys(shown: Mapping[str, str], plain: Mapping[str, str]) -> list[ConfigKey]:
    return [
        ConfigKey(
            name=name,
            value="" if MASKED in str(value) else str(value),
            source="default" if plain.get(name) == value else "set",
            masked=MASKED in str(value),
        )
        for name, value in shown.items()
    ]
