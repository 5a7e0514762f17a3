"""The configuration in force: each key, its value, and whether it was set. Secrets are already masked by `config`."""

from __future__ import annotations

from collections.abc import Mapping

from evkafka.config import consumer_settings, masked_settings, producer_settings
from evkafka.ui.models import Config, ConfigKey, ConfigSection
from evkafka.ui.operated_app import OperatedApp

MASKED = "***"


def config_sections(app: OperatedApp) -> Config:
    defaults = masked_settings(consumer_settings({"topics": ["t"]}))
    sections = [
        ConfigSection(name=f"Consumer {name}", keys=_config_keys(masked_settings(declared.settings), defaults))
        for name, declared in app.consumers.items()
    ]
    defaults = masked_settings(producer_settings({}))
    sections += [
        ConfigSection(
            name=f"Producer {name}", keys=_config_keys(masked_settings(producer_settings(declared.config)), defaults)
        )
        for name, declared in app.producers.items()
    ]
    return Config(parts=sections)


def _config_keys(shown: Mapping[str, str], defaults: Mapping[str, str]) -> list[ConfigKey]:
    return [
        ConfigKey(
            name=name,
            value="" if MASKED in str(value) else str(value),
            source="default" if defaults.get(name) == value else "set",
            masked=MASKED in str(value),
        )
        for name, value in shown.items()
    ]
