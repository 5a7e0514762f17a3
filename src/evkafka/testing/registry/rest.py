"""The paths of the registry's REST API: a request becomes a call of `Subjects`, and its result a response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from evkafka.testing.registry.subjects import SCHEMA_TYPES, Refusal, RegisteredSchema, Schema, Subjects

Response = tuple[int, object]
"""A status, and the content of the JSON body."""

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


def respond(subjects: Subjects, method: str, path: str, body: bytes) -> Response:
    """The response to a request.

    Args:
        path: as in the URL, without the query.
    """
    parts = [unquote(part) for part in path.strip("/").split("/")]
    try:
        return 200, _route_request(subjects, method, parts, body)
    except Refusal as refusal:
        return refusal.status, error_body(refusal.code, str(refusal))


def error_body(code: int, message: str) -> dict[str, object]:
    return {"error_code": code, "message": message}


def _route_request(subjects: Subjects, method: str, parts: list[str], body: bytes) -> object:
    match (method, parts[0]):
        case (_, "schemas"):
            return _answer_schemas_request(subjects, method, parts[1:])
        case (_, "subjects"):
            return _answer_subjects_request(subjects, method, parts[1:], body)
        case ("POST", "compatibility"):
            return _answer_compatibility_request(subjects, parts[1:], body)
        case (_, "config"):
            return _answer_config_request(subjects, method, parts[1:], body)
        case _:
            raise _unknown_path_refusal()


def _answer_schemas_request(subjects: Subjects, method: str, parts: list[str]) -> object:
    match (method, parts):
        case ("GET", ["types"]):
            return list(SCHEMA_TYPES)
        case ("GET", ["ids", number]):
            return _schema_response_fields(subjects.versions_by_id(number)[0])
        case ("GET", ["ids", number, "versions"]):
            return [{"subject": one.subject, "version": one.version} for one in subjects.versions_by_id(number)]
        case ("GET", ["guids", guid]):
            return _schema_response_fields(subjects.version_by_guid(guid))
        case _:
            raise _unknown_path_refusal()


def _answer_subjects_request(subjects: Subjects, method: str, parts: list[str], body: bytes) -> object:
    match (method, parts):
        case ("GET", []):
            return subjects.names()
        case ("POST", [subject]):
            return _version_response_fields(subjects.find(subject, _parse_schema(body)))
        case ("DELETE", [subject]):
            return subjects.delete(subject)
        case ("GET", [subject, "versions"]):
            return [one.version for one in subjects.schemas_of_subject(subject)]
        case ("POST", [subject, "versions"]):
            return {"id": subjects.find_or_add_version(subject, _parse_schema(body)).id}
        case ("GET", [subject, "versions", version]):
            return _version_response_fields(subjects.version(subject, version))
        case _:
            raise _unknown_path_refusal()


def _answer_compatibility_request(subjects: Subjects, parts: list[str], body: bytes) -> object:
    match parts:
        case ["subjects", subject, "versions", version]:
            if version not in ("latest", "-1"):
                subjects.version(subject, version)
        case ["subjects", subject, "versions"]:
            pass
        case _:
            raise _unknown_path_refusal()
    _parse_schema(body).check_validity()
    reason = subjects.incompatibility_reason(subject)
    return {"is_compatible": reason is None, "messages": [] if reason is None else [reason]}


def _answer_config_request(subjects: Subjects, method: str, parts: list[str], body: bytes) -> object:
    if len(parts) > 1:
        raise _unknown_path_refusal()
    subject = parts[0] if parts else None
    match method:
        case "GET" if subject is not None and not subjects.has_own_compatibility_level(subject):
            raise Refusal(404, 40408, f"Subject '{subject}' does not have subject-level compatibility configured")
        case "GET":
            return {"compatibilityLevel": subjects.compatibility_level(subject)}
        case "PUT":
            level = str(_parse_json(body).get("compatibility"))
            subjects.set_compatibility_level(subject, level)
            return {"compatibility": level}
        case _:
            raise _unknown_path_refusal()


def _parse_schema(body: bytes) -> Schema:
    given = _parse_json(body)
    references = given.get("references") or ()
    if not isinstance(given.get("schema"), str):
        raise Refusal(422, 42201, "Empty schema")
    return Schema(given["schema"], str(given.get("schemaType") or "AVRO"), tuple(references))


def _parse_json(body: bytes) -> Mapping[str, Any]:
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Refusal(400, 400, "Unable to process JSON")
    return given


def _schema_response_fields(one: RegisteredSchema) -> dict[str, object]:
    """As the registry does, the type AVRO and an empty list of references are left out."""
    content: dict[str, object] = {"schema": one.schema, "guid": str(one.guid)}
    if one.schema_type != "AVRO":
        content["schemaType"] = one.schema_type
    if one.references:
        content["references"] = [dict(reference) for reference in one.references]
    return content


def _version_response_fields(one: RegisteredSchema) -> dict[str, object]:
    return {"subject": one.subject, "version": one.version, "id": one.id, **_schema_response_fields(one)}


def _unknown_path_refusal() -> Refusal:
    return Refusal(404, 404, "HTTP 404 Not Found")
