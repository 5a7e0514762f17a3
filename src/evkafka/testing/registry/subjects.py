"""The content of the in-memory registry: schemas by id, and the versions of each subject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from evkafka.exceptions import RegistryRefused

SCHEMA_TYPES = ("AVRO", "JSON", "PROTOBUF")
LEVELS = (
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
    "NONE",
)


class Refusal(RegistryRefused):
    """The registry refuses a request.

    Attributes:
        status: the status of the HTTP response.
        code: the `error_code` of its body, under Confluent's numbers.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as it is sent to the registry.

    Attributes:
        schema: its text.
        schema_type: `AVRO`, `JSON` or `PROTOBUF`.
        references: other schemas that it uses: `name`, `subject` and `version` of each.
    """

    schema: str
    schema_type: str = "AVRO"
    references: tuple[Mapping[str, Any], ...] = ()

    @property
    def identity(self) -> str:
        """Two schemas with the same identity are one: white space does not matter."""
        return json.dumps([self.schema_type, self._parsed_content(), [dict(one) for one in self.references]])

    def _parsed_content(self) -> object:
        return self.schema.strip() if self.schema_type == "PROTOBUF" else json.loads(self.schema)

    def check_validity(self) -> None:
        """Raises Refusal if the schema is certainly invalid. Only its JSON is parsed."""
        if self.schema_type not in SCHEMA_TYPES:
            raise Refusal(422, 42201, f"Invalid schema type {self.schema_type}: one of {', '.join(SCHEMA_TYPES)}")
        try:
            self._parsed_content()
        except ValueError as error:
            raise Refusal(422, 42201, f"Invalid schema of type {self.schema_type}: {error}") from error


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema in the registry.

    Attributes:
        id: its number, which is the same in each subject; records carry it.
        guid: its identifier in the header `__value_schema_id`.
        version: its number in the subject, from 1.
        schema: its text.
        schema_type: `AVRO`, `JSON` or `PROTOBUF`.
        references: other schemas that it uses: `name`, `subject` and `version` of each.
    """

    id: int
    guid: UUID
    subject: str
    version: int
    schema: str
    schema_type: str
    references: tuple[Mapping[str, Any], ...]


class Subjects:
    """Every subject with its versions. It is not thread-safe."""

    def __init__(self) -> None:
        self._subjects: dict[str, list[RegisteredSchema]] = {}
        self._ids: dict[str, int] = {}
        self._incompatible: dict[str, str] = {}
        self._levels: dict[str | None, str] = {None: "BACKWARD"}

    # ------------------------------------------------------------------ looking up

    def names(self) -> list[str]:
        return sorted(self._subjects)

    def schemas_of_subject(self, subject: str) -> list[RegisteredSchema]:
        """Raises Refusal if there is no such subject."""
        if subject not in self._subjects:
            raise Refusal(404, 40401, f"Subject '{subject}' not found.")
        return self._subjects[subject]

    def version(self, subject: str, version: str) -> RegisteredSchema:
        """One version by its number, or `latest`.

        Raises:
            Refusal: there is no such subject or version.
        """
        versions = self.schemas_of_subject(subject)
        if version in ("latest", "-1"):
            return versions[-1]
        if not version.isdecimal() or version == "0":
            raise Refusal(422, 42202, f"The specified version '{version}' is not a valid version id.")
        found = [one for one in versions if one.version == int(version)]
        if not found:
            raise Refusal(404, 40402, f"Version {version} not found.")
        return found[0]

    def versions_by_id(self, number: str) -> list[RegisteredSchema]:
        """Every version with this schema.

        Raises:
            Refusal: no schema has this id.
        """
        found = [one for one in self._versions_of_all_subjects() if str(one.id) == number]
        if not found:
            raise Refusal(404, 40403, f"Schema {number} not found")
        return found

    def version_by_guid(self, guid: str) -> RegisteredSchema:
        """Raises Refusal if no schema has this GUID."""
        found = [one for one in self._versions_of_all_subjects() if str(one.guid) == guid.lower()]
        if not found:
            raise Refusal(404, 40403, f"Schema {guid} not found")
        return found[0]

    def find(self, subject: str, schema: Schema) -> RegisteredSchema:
        """The version of the subject that has this schema.

        Raises:
            Refusal: there is no such subject, or it has no such version.
        """
        schema.check_validity()
        known = self._find_version_with_schema(self.schemas_of_subject(subject), schema)
        if known is None:
            raise Refusal(404, 40403, "Schema not found")
        return known

    def _versions_of_all_subjects(self) -> list[RegisteredSchema]:
        return [one for versions in self._subjects.values() for one in versions]

    @staticmethod
    def _find_version_with_schema(versions: Sequence[RegisteredSchema], schema: Schema) -> RegisteredSchema | None:
        identity = schema.identity
        same = (one for one in versions if Schema(one.schema, one.schema_type, one.references).identity == identity)
        return next(same, None)

    # ------------------------------------------------------------------ changing

    def find_or_add_version(self, subject: str, schema: Schema) -> RegisteredSchema:
        """Add a version, or return the one that has this schema already.

        Raises:
            Refusal: the schema is invalid, refers to an unknown one, or is incompatible.
        """
        schema.check_validity()
        for reference in schema.references:
            self.version(str(reference.get("subject")), str(reference.get("version")))
        versions = self._subjects.get(subject, [])
        if (known := self._find_version_with_schema(versions, schema)) is not None:
            return known
        if (reason := self.incompatibility_reason(subject)) is not None:
            raise Refusal(
                409, 409, f"Schema being registered is incompatible with an earlier schema of {subject}: {reason}"
            )
        added = self._create_version(subject, schema, versions[-1].version + 1 if versions else 1)
        self._subjects.setdefault(subject, []).append(added)
        return added

    def _create_version(self, subject: str, schema: Schema, version: int) -> RegisteredSchema:
        number = self._ids.setdefault(schema.identity, len(self._ids) + 1)
        guid = UUID(bytes=hashlib.sha256(schema.identity.encode()).digest()[:16], version=4)
        return RegisteredSchema(number, guid, subject, version, schema.schema, schema.schema_type, schema.references)

    def delete(self, subject: str) -> list[int]:
        """Delete a subject; returns its versions. A schema keeps its id if it is registered again.

        Raises:
            Refusal: there is no such subject.
        """
        deleted = [one.version for one in self.schemas_of_subject(subject)]
        del self._subjects[subject]
        return deleted

    # ------------------------------------------------------------------ compatibility

    def make_incompatible(self, subject: str, reason: str) -> None:
        self._incompatible[subject] = reason

    def incompatibility_reason(self, subject: str) -> str | None:
        """Why new schemas of the subject are incompatible; None if they are not."""
        return self._incompatible.get(subject) if self.compatibility_level(subject) != "NONE" else None

    def compatibility_level(self, subject: str | None) -> str:
        return self._levels.get(subject, self._levels[None])

    def set_compatibility_level(self, subject: str | None, level: str) -> None:
        """Raises Refusal if there is no such level."""
        if level not in LEVELS:
            raise Refusal(422, 42203, f"Invalid compatibility level. Valid values are {', '.join(LEVELS)}")
        self._levels[subject] = level

    def has_own_compatibility_level(self, subject: str) -> bool:
        return subject in self._levels
