"""The values of the records that a run sends: JSON, or in the format that the app's consumer reads."""

from __future__ import annotations

from collections.abc import Callable

from evkafka.app import EVKafkaApp
from evkafka.exceptions import ConfigError
from evkafka.service.json_to_topic_format import PayloadFault, Target, create_json_to_topic_format_encoder
from evkafka.verify.instrumentation import choose_app_topic_to_imitate, choose_consumer
from evkafka.verify.options import Options

BUILT_IN = '{"n": {n}}'
"""The payload of the built-in app's records."""

ValueOf = Callable[[int, str], str | bytes]
"""The value of the record with this number and key. Raises PayloadFault."""


def create_template_value_function(payload: str | None) -> ValueOf:
    """Values that are the payload itself, with number and key."""
    template = payload or BUILT_IN
    return lambda number, key: template.replace("{n}", str(number)).replace("{key}", key)


async def create_app_decodable_value_function(app: EVKafkaApp, options: Options) -> ValueOf:
    """Values that the app's consumer can decode. With a `value_format` they are written by the schema of the app's own
    topic: the run's topic has no subject in the registry.

    Raises:
        ConfigError: the topic has to be chosen; the registry has no schema for it; or the payload does not fit it.
        RegistryError: the registry cannot be asked.
    """
    text_of = create_template_value_function(options.payload)
    declared = app.consumers[choose_consumer(app, options.consumer)]
    topic = choose_app_topic_to_imitate(declared, options.topic)
    formats = declared.formats()
    value_format = formats.format_of_topic(topic.name) if formats is not None and topic is not None else None
    if topic is None or value_format is None:
        return text_of
    endpoint = declared.handler.find_endpoint(options.event_type) if declared.handler is not None else None
    try:
        target = Target("--payload", topic.name, options.event_type, endpoint)
        encode = await create_json_to_topic_format_encoder(value_format.encoder_by_latest_schema, target)
    finally:
        await value_format.close()
    # A value that only some numbers or keys make invalid fails when it is sent, and is reported there.
    for number in (0, int(options.rate * options.lasts_s)):
        try:
            encode(text_of(number, "k0"))
        except PayloadFault as error:
            raise ConfigError(
                f"--payload cannot be written in {value_format.name} for topic {topic.name!r}, with {{n}} = {number}:"
                f" {error}"
            ) from error
    return lambda number, key: encode(text_of(number, key))
