"""Reads the text of a .proto file into protobuf's own description of files, as the compiler protoc does.

Registries keep Protobuf schemas as text, and protobuf's Python library has no parser. What does not matter for reading
values (options, services, reserved numbers, extension ranges) is skipped.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2

from evkafka.serde.formats.interface import FormatError

TOKEN = re.compile(
    r"""\s+ | //[^\n]* | /\*.*?\*/
    | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    | (?P<word>[A-Za-z_.][\w.]*)
    | (?P<number>-?[0-9][\w.+]*)
    | (?P<sign>[{}\[\]()<>;,=:/-])""",
    re.VERBOSE | re.DOTALL,
)

FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    name: getattr(FIELD, f"TYPE_{name.upper()}")
    for name in (
        *("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64"),
        *("fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes"),
    )
}
LABELS = {
    "optional": FIELD.LABEL_OPTIONAL,
    "required": FIELD.LABEL_REQUIRED,
    "repeated": FIELD.LABEL_REPEATED,
}
DEEPEST = 50
"""How deep messages may be nested."""


def parse_proto_file(text: str, name: str) -> Any:
    """The description of a .proto file (a FileDescriptorProto).

    Args:
        name: under which other files import it.

    Raises:
        FormatError: the text is not a .proto file.
    """
    return _Parser(_tokenize(text)).parse_file(name)


def _tokenize(text: str) -> list[str]:
    tokens, at = [], 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            raise FormatError(f"it is not the text of a .proto file: line {text.count(chr(10), 0, at) + 1}")
        if found.lastgroup is not None:
            tokens.append(found[0])
        at = found.end()
    return tokens


class _Parser:
    """One file, token by token."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self._is_proto3 = False

    def parse_file(self, name: str) -> Any:
        file = descriptor_pb2.FileDescriptorProto(name=name)
        while not self._is_at_end:
            match self._next_token():
                case ";":
                    pass
                case "syntax":
                    self._expect_token("=")
                    file.syntax = _unquote_word(self._next_token())
                    self._is_proto3 = file.syntax == "proto3"
                    self._expect_token(";")
                case "package":
                    file.package = self._next_token()
                    self._expect_token(";")
                case "import":
                    word = self._next_token()
                    number = len(file.dependency)
                    if word == "public":
                        file.public_dependency.append(number)
                    file.dependency.append(_unquote_word(self._next_token() if word in ("public", "weak") else word))
                    self._expect_token(";")
                case "message":
                    self._parse_message(file.message_type.add(), 0)
                case "enum":
                    self._parse_enum(file.enum_type.add())
                case "option" | "service" | "extend":
                    self._skip_statement()
                case other:
                    raise self._unexpected_token_error(other)
        if not file.syntax:
            file.syntax = "proto2"
        return file

    # ------------------------------------------------------------------ messages

    def _parse_message(self, message: Any, depth: int) -> None:
        if depth > DEEPEST:
            raise FormatError("its messages are nested too deeply")
        message.name = self._next_token()
        self._expect_token("{")
        while (word := self._next_token()) != "}":
            match word:
                case ";":
                    pass
                case "message":
                    self._parse_message(message.nested_type.add(), depth + 1)
                case "enum":
                    self._parse_enum(message.enum_type.add())
                case "oneof":
                    self._parse_oneof(message)
                case "map" if self._peek_token() == "<":
                    self._parse_map(message)
                case "option" | "reserved" | "extensions" | "extend":
                    self._skip_statement()
                case "optional" | "required" | "repeated" if self._peek_token() != "=":
                    self._parse_field(message, self._next_token(), LABELS[word], optional=word == "optional")
                case kind:
                    self._parse_field(message, kind, FIELD.LABEL_OPTIONAL)
        self._add_optional_oneofs(message)

    def _parse_field(self, message: Any, kind: str, label: int, *, optional: bool = False) -> Any:
        if kind == "group":
            raise FormatError("it has groups, which are not supported")
        field = message.field.add(name=self._next_token(), label=label)
        self._set_type(field, kind)
        self._expect_token("=")
        field.number = self._parse_number()
        field.proto3_optional = optional and self._is_proto3
        self._parse_field_options(field)
        self._expect_token(";")
        return field

    def _set_type(self, field: Any, kind: str) -> None:
        if kind in SCALARS:
            field.type = SCALARS[kind]
        else:
            field.type_name = kind

    def _parse_field_options(self, field: Any) -> None:
        if self._peek_token() != "[":
            return
        self._next_token()
        depth, words = 1, list[str]()
        while depth:
            word = self._next_token()
            depth += (word in "[{(") - (word in "]})")
            words.append(word)
        for number, word in enumerate(words[:-2]):
            if word == "json_name" and words[number + 1] == "=":
                field.json_name = _unquote_word(words[number + 2])

    def _parse_oneof(self, message: Any) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=self._next_token())
        self._expect_token("{")
        while (word := self._next_token()) != "}":
            match word:
                case ";":
                    pass
                case "option":
                    self._skip_statement()
                case kind:
                    self._parse_field(message, kind, FIELD.LABEL_OPTIONAL).oneof_index = index

    def _parse_map(self, message: Any) -> None:
        """A map is a repeated field of messages with a key and a value."""
        self._expect_token("<")
        key = self._next_token()
        self._expect_token(",")
        value = self._next_token()
        self._expect_token(">")
        field = message.field.add(name=self._next_token(), label=FIELD.LABEL_REPEATED)
        entry = message.nested_type.add(name="".join(one.capitalize() for one in field.name.split("_")) + "Entry")
        entry.options.map_entry = True
        self._set_type(entry.field.add(name="key", number=1, label=FIELD.LABEL_OPTIONAL), key)
        self._set_type(entry.field.add(name="value", number=2, label=FIELD.LABEL_OPTIONAL), value)
        field.type, field.type_name = FIELD.TYPE_MESSAGE, entry.name
        self._expect_token("=")
        field.number = self._parse_number()
        self._parse_field_options(field)
        self._expect_token(";")

    @staticmethod
    def _add_optional_oneofs(message: Any) -> None:
        """An `optional` field of proto3 is in a oneof of its own, which comes after all others."""
        for field in message.field:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")

    def _parse_enum(self, enum: Any) -> None:
        enum.name = self._next_token()
        self._expect_token("{")
        while (word := self._next_token()) != "}":
            match word:
                case ";":
                    pass
                case "option":
                    if [self._next_token(), self._next_token(), self._next_token()] == ["allow_alias", "=", "true"]:
                        enum.options.allow_alias = True
                    self._skip_statement()
                case "reserved":
                    self._skip_statement()
                case name:
                    self._expect_token("=")
                    enum.value.add(name=name, number=self._parse_number())
                    self._skip_statement()

    # ------------------------------------------------------------------ tokens

    @property
    def _is_at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def _peek_token(self) -> str:
        return "" if self._is_at_end else self._tokens[self._at]

    def _next_token(self) -> str:
        if self._is_at_end:
            raise FormatError("it is not the text of a .proto file: it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect_token(self, sign: str) -> None:
        if (word := self._next_token()) != sign:
            raise self._unexpected_token_error(word)

    def _parse_number(self) -> int:
        word = self._next_token()
        if word == "-":
            word += self._next_token()
        try:
            return int(word, 0)
        except ValueError:
            raise self._unexpected_token_error(word) from None

    def _skip_statement(self) -> None:
        """Skip a statement: up to its semicolon, or to the end of its block."""
        depth = 0
        while not (self._is_at_end and not depth):
            word = self._next_token()
            depth += (word in ("{", "[", "(")) - (word in ("}", "]", ")"))
            if depth <= 0 and word in (";", "}"):
                return

    def _unexpected_token_error(self, word: str) -> FormatError:
        return FormatError(f"it is not the text of a .proto file: unexpected {word[:40]!r}")


def _unquote_word(word: str) -> str:
    return word[1:-1] if word[:1] in ("'", '"') else word
