"""JSON with a schema: the same JSON as without a registry, after the id of its schema.

Payloads are validated by their type. The schema that a value was written with tells its event type, and validates the
value too if that is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pydantic_core
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from evkafka.exceptions import ConfigError
from evkafka.serde.annotations import (
    annotation_text,
    bytes_or_str_type,
    contains_msgspec_type,
    unwrap_aliases,
    with_dict_type_arguments,
    without_none,
)
from evkafka.serde.decoding import Decoder, import_msgspec_codec
from evkafka.serde.encoding import dumper_for, encoder_for
from evkafka.serde.formats.fields import (
    fields_of,
    is_any_or_plain_dict,
    model_of,
    split_type_and_metadata,
    undescribable_type_error,
)
from evkafka.serde.formats.framing import Frame
from evkafka.serde.formats.interface import Encode, FormatError, Schema, StoredSchema
from evkafka.serde.formats.registry import SchemaRegistry
from evkafka.serde.formats.registry_format import Described, Names, Read, RegistryFormat, SubjectNames
from evkafka.serde.json_schema import to_draft_7, to_json_value

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

DEFINITIONS = "#/definitions/"
DIALECT = "http://json-schema.org/draft-07/schema#"

OPEN_SCHEMA = (
    "A schema that allows other properties than its own is incompatible with any new property, also an optional one:"
    " an earlier event may have had another value under that name. Close it first, with"
    ' model_config = ConfigDict(extra="forbid") in the pydantic model'
)


class JsonSchema(RegistryFormat):
    """JSON with the id of its JSON Schema in front, as Confluent's serializers write it.

    Args:
        registry: where the schemas are.
        subject: where a sender's schemas are in it: "topic" (default) for `TOPIC-value`, "record" for the schema's
            title, "topic-record" for `TOPIC-TITLE`.
        fallback: "json": values without a schema's id are plain JSON, as in a topic that is being migrated. Default
            None: they cannot be decoded.
        auto_register: senders register a schema that the registry does not have. Default False: the app does not start.
        schema: senders write by the schema of the payload's type ("model", default), or by the "latest" schema of the
            subject.
        validate: values are also validated by their schema, when they are read and when they are written. Default
            False: by the payload's type alone.

    Raises:
        ConfigError: an argument is invalid, or jsonschema is not installed.
    """

    incompatibility_hint = OPEN_SCHEMA

    def __init__(
        self,
        registry: SchemaRegistry,
        *,
        subject: SubjectNames = "topic",
        fallback: Literal["json"] | None = None,
        auto_register: bool = False,
        schema: Literal["model", "latest"] = "model",
        validate: bool = False,
    ) -> None:
        try:
            import jsonschema  # noqa: F401 - only whether it is there
        except ModuleNotFoundError:
            raise ConfigError("JsonSchema needs jsonschema: pip install 'evkafka[jsonschema]'") from None
        super().__init__(
            JsonSchemaLanguage(validates=validate),
            registry,
            subject=subject,
            fallback=fallback,
            auto_register=auto_register,
            schema=schema,
        )


class JsonSchemaLanguage:
    """JSON Schemas. See `Language`."""

    name = "JsonSchema"
    media_type = "application/json"
    type: Literal["JSON"] = "JSON"

    def __init__(self, *, validates: bool) -> None:
        self._validates = validates

    # ------------------------------------------------------------------ reading

    def compile_reader(self, stored: StoredSchema, annotation: Any, json: Decoder | None) -> Read:
        from_bytes: Callable[[bytes], Any] = json.from_bytes if json is not None else _parse_plain_json
        check = compile_validation(stored) if self._validates else None

        def read(value: bytes, frame: Frame) -> Any:
            content = value[frame.start :]
            if check is not None:
                check(content)
            return from_bytes(content)

        return read

    def compile_value_schema_name_reader(self, stored: StoredSchema) -> Names:
        content = parse_stored_schema(stored)
        title = content.get("title") if isinstance(content, dict) else None
        name = title if isinstance(title, str) else None
        return lambda _, __: name

    # ------------------------------------------------------------------ writing

    def generate_schema_from_type(self, annotation: Any) -> Described:
        plain = without_none(unwrap_aliases(annotation))
        content = {"$schema": DIALECT, **_generate_schema(plain)}
        encode, schema = _json_encoder_for(annotation), Schema(json.dumps(content), "JSON")
        return Described(schema, str(content.get("title", "")), lambda stored: self._compile_encoder(stored, encode))

    def describe_type_if_without_own_schema(self, annotation: Any) -> Described | None:
        if not is_any_or_plain_dict(annotation):
            return None
        encode = encoder_for(annotation)
        return Described(Schema("", "JSON"), "", lambda stored: self._compile_encoder(stored, encode))

    def _compile_encoder(self, stored: StoredSchema, encode: Callable[[Any], bytes | None]) -> Encode:
        check = compile_validation(stored) if self._validates else None

        def write(event: Any) -> bytes:
            written = encode(event) or b"null"
            if check is not None:
                check(written)
            return written

        return write


def _json_encoder_for(annotation: Any) -> Callable[[Any], bytes | None]:
    """Encodes events as JSON, a `str` too."""
    if bytes_or_str_type(annotation) is not str:
        return encoder_for(annotation)
    dump = dumper_for(annotation)
    return lambda event: pydantic_core.to_json(dump(event))


def _parse_plain_json(content: bytes) -> Any:
    try:
        return pydantic_core.from_json(content)
    except ValueError as error:  # its text has the position, and nothing of the value
        raise FormatError(f"it cannot be read as JSON: {error}") from None


def parse_stored_schema(stored: StoredSchema) -> Any:
    """The schema's content.

    Raises:
        FormatError: it is no JSON.
    """
    try:
        return json.loads(stored.schema.text)
    except (ValueError, RecursionError):
        raise FormatError(f"schema {stored.key} cannot be used: it is no JSON") from None


# ---------------------------------------------------------------------------- validating


def compile_validation(stored: StoredSchema) -> Callable[[bytes], None]:
    """A function that validates the JSON text of a value.

    Raises:
        FormatError: the schema cannot be used. The function raises it for a value that the schema does not allow.
    """
    validator = _build_validator(stored)

    def check(content: bytes) -> None:
        try:
            value = pydantic_core.from_json(content)
        except ValueError:
            raise FormatError("it is no JSON") from None
        try:
            first = next(validator.iter_errors(value), None)
        except Exception as error:  # a reference that does not exist, for example
            fault = FormatError(f"schema {stored.key} cannot be used: {type(error).__name__}")
        else:
            if first is None:
                return
            where = ".".join(str(step) for step in first.schema_path)
            fault = FormatError(f"schema {stored.key} does not allow it: {where}")
        raise fault  # outside of the `except`: the error may contain the value

    return check


def _build_validator(stored: StoredSchema) -> Validator:
    from jsonschema.validators import Draft7Validator, validator_for
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    schema = parse_stored_schema(stored)
    kind = validator_for(schema, default=Draft7Validator)
    try:
        kind.check_schema(schema)
        resources = [
            (name, Resource.from_contents(json.loads(used.text), default_specification=DRAFT7))
            for name, used in stored.used
        ]
        return kind(schema, registry=Registry().with_resources(resources))
    except Exception as error:
        raise FormatError(f"schema {stored.key} cannot be used: {type(error).__name__}") from error


# ---------------------------------------------------------------------------- the schema of a type


def _generate_schema(annotation: Any) -> dict[str, Any]:
    if contains_msgspec_type(annotation):
        [payload], named = import_msgspec_codec(annotation).schemas_of([annotation], DEFINITIONS)
        return _add_definitions(payload, named)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(with_dict_type_arguments(annotation))
        schema = adapter.json_schema(mode="serialization", ref_template=DEFINITIONS + "{model}")
    except PydanticUserError as error:
        raise _find_undescribable_field_error(annotation, annotation_text(annotation)) or undescribable_type_error(
            annotation_text(annotation), str(error).splitlines()[0]
        ) from error
    named = schema.pop("$defs", {})
    return _add_definitions(schema, named)


def _add_definitions(payload: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """The schema with the named ones that it refers to, as draft 07."""
    reference = payload.get("$ref", "")
    if len(payload) == 1 and reference.removeprefix(DEFINITIONS) in named:
        payload = named[reference.removeprefix(DEFINITIONS)]
    definitions = {"definitions": named} if named else {}
    whole: dict[str, Any] = to_json_value(to_draft_7({**payload, **definitions}))
    return whole


def _find_undescribable_field_error(annotation: Any, path: str) -> Exception | None:
    """The error of the first field that has no JSON Schema; None if it is none of a record's."""
    model = model_of(split_type_and_metadata(annotation).kind)
    for one in (fields_of(model) or ()) if model is not None else ():
        try:
            TypeAdapter(one.annotation).json_schema(mode="serialization")
        except PydanticUserError as error:
            place = f"{path}.{one.name}"
            return _find_undescribable_field_error(one.annotation, place) or undescribable_type_error(
                place, str(error).splitlines()[0]
            )
    return None
