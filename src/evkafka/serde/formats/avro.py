"""Avro, by fastavro. Values are read by the schema that they were written with, and validated by the payload's type.

A reader's schema is not needed: fields that the type does not have are ignored, and fields that the value does not have
get the type's defaults, as with JSON.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import io
import json
import uuid
from collections.abc import Callable
from typing import Any, Literal

import pydantic_core
from pydantic import ValidationError

from evkafka.exceptions import ConfigError
from evkafka.serde.annotations import annotation_text
from evkafka.serde.decoding import Decoder
from evkafka.serde.encoding import dumper_for
from evkafka.serde.formats.avro_fit import Fit, Misfit, compile_conversion_to_schema_branches
from evkafka.serde.formats.avro_limits import compile_size_check
from evkafka.serde.formats.avro_schema import TEXTS, AvroDescriber, is_url_class, is_valid_namespace
from evkafka.serde.formats.fields import is_any_or_plain_dict
from evkafka.serde.formats.framing import Frame
from evkafka.serde.formats.interface import Encode, FormatError, Schema, StoredSchema
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.registry_format import Described, Read, RegistryFormat, SubjectNames, Undescribed

SHOWABLE = ("Scale provided", "The decimal precision")
"""How messages of fastavro begin that may be shown: they have nothing of the value."""


class Avro(RegistryFormat):
    """Values in Avro, with their schema's id in front, as Confluent's serializers write them.

    Args:
        registry: where the schemas are.
        subject: where a sender's schemas are in it: "topic" (default) for `TOPIC-value`, "record" for the record's
            full name, "topic-record" for `TOPIC-NAME`.
        fallback: "json": values without a schema's id are JSON, as in a topic that is being migrated. Default None:
            they cannot be decoded.
        auto_register: senders register a schema that the registry does not have. Default False: the app does not start.
        schema: senders write by the schema of the payload's type ("model", default), or by the "latest" schema of the
            subject.
        namespace: of the records in schemas of payload types, for example "com.example.shop". Default None.

    Raises:
        ConfigError: an argument is invalid, or fastavro is not installed.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        subject: SubjectNames = "topic",
        fallback: Literal["json"] | None = None,
        auto_register: bool = False,
        schema: Literal["model", "latest"] = "model",
        namespace: str | None = None,
    ) -> None:
        try:
            import fastavro  # noqa: F401 - only whether it is there
        except ModuleNotFoundError:
            raise ConfigError("Avro needs fastavro: pip install 'evkafka[avro]'") from None
        if namespace is not None and not is_valid_namespace(namespace):
            raise ConfigError(f'Avro: namespace is names with dots between them, as "com.example"; got {namespace!r}')
        super().__init__(
            AvroLanguage(None if namespace is None else str.__str__(namespace)),
            registry,
            subject=subject,
            fallback=fallback,
            auto_register=auto_register,
            schema=schema,
        )


class AvroLanguage:
    """Avro schemas. See `Language`."""

    name = "Avro"
    media_type = "application/avro"
    type: Literal["AVRO"] = "AVRO"

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace

    # ------------------------------------------------------------------ reading

    def compile_reader(self, stored: StoredSchema, annotation: Any, json: Decoder | None) -> Read:
        from fastavro import schemaless_reader

        schema, named = parse_stored_schema(stored)
        check, stream_of = compile_size_check(schema, named), io.BytesIO
        from_object = json.from_object if json is not None else None

        def read(value: bytes, frame: Frame) -> Any:
            if check is not None:
                check(value, frame.start)
            stream = stream_of(value)
            stream.seek(frame.start)
            try:
                plain = schemaless_reader(stream, schema)
            except Exception as error:
                fault = FormatError(f"its bytes do not fit schema {frame.key}: {_fastavro_error_text(error)}")
            else:
                if stream.read(1):
                    raise FormatError(f"its bytes do not fit schema {frame.key}: there are more of them")
                if from_object is None:
                    return plain
                try:
                    return from_object(plain)
                except ValidationError:
                    pass  # perhaps only because JSON would have a text there, as for a UUID that the type has as a str
                return _convert_to_json_and_decode(plain, from_object, json)
            raise fault  # outside of the `except`: the error may contain the value

        return read

    def compile_value_schema_name_reader(self, stored: StoredSchema) -> Callable[[bytes, Frame], str | None]:
        schema, _ = parse_stored_schema(stored)
        name = str(schema["name"]) if isinstance(schema, dict) and "name" in schema else None
        return lambda _, __: name

    # ------------------------------------------------------------------ writing

    def generate_schema_from_type(self, annotation: Any) -> Described:
        describer = AvroDescriber(self._namespace)
        content = describer.describe(annotation)
        schema = Schema(json.dumps(content), "AVRO")
        try:
            parse_stored_schema(StoredSchema(0, schema))
        except FormatError as error:
            why = f"{type(error.__cause__).__name__}: {error.__cause__}"
            raise Undescribed(f"{annotation_text(annotation)}: Avro does not allow its schema: {why}") from error
        name = content["name"] if isinstance(content, dict) and "name" in content else ""
        full_name = f"{self._namespace}.{name}" if name and self._namespace else name
        dump = dumper_for(annotation)

        def compile_(stored: StoredSchema) -> Encode:
            fits = describer.needs_fitting or stored.schema != schema
            return _compile_encoder(stored, dump, prepares=describer.needs_preparing, fits=fits)

        return Described(schema, full_name, compile_)

    def describe_type_if_without_own_schema(self, annotation: Any) -> Described | None:
        if not is_any_or_plain_dict(annotation):
            return None
        dump = dumper_for(annotation)
        return Described(
            Schema("", "AVRO"), "", lambda stored: _compile_encoder(stored, dump, prepares=True, fits=True)
        )


def parse_stored_schema(stored: StoredSchema) -> tuple[Any, dict[str, Any]]:
    """The schema, as fastavro has it, and the named types in it and in those that it refers to.

    Raises:
        FormatError: fastavro cannot use it.
    """
    from fastavro import parse_schema

    named: dict[str, Any] = {}
    try:
        for _, used in stored.used:
            parse_schema(json.loads(used.text), named)
        return parse_schema(json.loads(stored.schema.text), named), named
    except Exception as error:  # what fastavro raises for a schema that it cannot use
        raise FormatError(f"schema {stored.key} cannot be used: {type(error).__name__}: {error}") from error


def _fastavro_error_text(error: Exception) -> str:
    """What fastavro says, without any part of the value."""
    return "they end too early" if isinstance(error, EOFError) else type(error).__name__


def _convert_to_json_and_decode(plain: Any, from_object: Callable[[Any], Any], json: Decoder | None) -> Any:
    """The payload, as if the value had been JSON: what a type takes from JSON, it takes from Avro too."""
    assert json is not None
    try:
        written = pydantic_core.to_json(plain)
    except ValueError:  # bytes that are no text
        return from_object(plain)
    return json.from_bytes(written)


# ---------------------------------------------------------------------------- writing


def _compile_encoder(stored: StoredSchema, dump: Callable[[Any], Any], *, prepares: bool, fits: bool) -> Encode:
    """Encodes an event by this schema.

    Args:
        prepares: events have values that must be converted.
        fits: events may have values that fastavro would write as others.
    """
    from fastavro import schemaless_writer

    schema, named = parse_stored_schema(stored)
    check, stream_of = compile_size_check(schema, named), io.BytesIO
    prepare = _compile_conversion_for_fastavro(stored) if prepares else None
    fit = compile_conversion_to_schema_branches(schema, named)

    def encode(event: Any) -> bytes:
        plain = dump(event)
        if prepare is not None:
            plain = prepare(plain)
        stream = stream_of()
        try:
            schemaless_writer(stream, schema, fit(plain) if fits else plain, strict_allow_default=True)
        except Exception as error:
            fault = FormatError(f"it does not fit schema {stored.key}: {_value_misfit_text(fit, plain, error)}")
        else:
            content = stream.getvalue()
            if check is not None:
                check(content, 0)  # what is written can be read
            return content
        raise fault  # outside of the `except`: the error may contain the value

    return encode


def _value_misfit_text(fit: Fit, plain: Any, error: Exception) -> str:
    """Which field does not fit, without its value."""
    try:
        fit(plain)
    except Misfit as misfit:
        return str(misfit)
    text = str(error)
    return text if text.startswith(SHOWABLE) else type(error).__name__


def _compile_conversion_for_fastavro(stored: StoredSchema) -> Callable[[Any], Any]:
    """Converts what fastavro does not write: members of enums, and URLs and the like to text. It refuses a
    datetime without a time zone, which fastavro would take for a local one, unless the schema has local ones. It also
    refuses a time with a time zone, which fastavro would leave out."""
    has_local_times = "local-timestamp" in "".join((stored.schema.text, *(used.text for _, used in stored.used)))

    def prepare(value: Any, path: str = "") -> Any:
        match value:
            case enum.Enum():
                return value.value
            case dict():
                return {key: prepare(one, f"{path}.{key}") for key, one in value.items()}
            case list() | tuple() | set() | frozenset():
                return [prepare(one, path) for one in value]
            case dt.datetime() if value.tzinfo is None and not has_local_times:
                raise FormatError(f"{path.strip('.') or 'it'} is a datetime without a time zone")
            case dt.time() if value.tzinfo is not None:
                raise FormatError(f"{path.strip('.') or 'it'} is a time with a time zone, which Avro does not have")
            case None | bool() | int() | float() | str() | bytes() | dt.date() | dt.time():
                return value
            case uuid.UUID() | decimal.Decimal():
                return value
            case _:
                return str(value) if isinstance(value, TEXTS) or is_url_class(type(value)) else value

    def prepare_all(value: Any) -> Any:
        try:
            return prepare(value)
        except RecursionError:
            raise FormatError("it is nested too deeply, or contains itself") from None

    return prepare_all
