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


def file_of(text: str, name: str) -> Any:
    """The description of a .proto file (a FileDescriptorProto).

    Args:
        name: under which other files import it.

    Raises:
        FormatError: the text is not a .proto file.
    """
    return _Parser(_tokens(text)).file(name)


def _tokens(text: str) -> list[str]:
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

    def file(self, name: str) -> Any:
        file = descriptor_pb2.FileDescriptorProto(name=name)
        while not self._ended:
            match self._next():
                case ";":
                    pass
                case "syntax":
                    self._expect("=")
                    file.syntax = _unquoted(self._next())
                    self._is_proto3 = file.syntax == "proto3"
                    self._expect(";")
                case "package":
                    file.package = self._next()
                    self._expect(";")
                case "import":
                    word = self._next()
                    number = len(file.dependency)
                    if word == "public":
                        file.public_dependency.append(number)
                    file.dependency.append(_unquoted(self._next() if word in ("public", "weak") else word))
                    self._expect(";")
                case "message":
                    self._message(file.message_type.add(), 0)
                case "enum":
                    self._enum(file.enum_type.add())
                case "option" | "service" | "extend":
                    self._skip()
                case other:
                    raise self._unexpected(other)
        if not file.syntax:
            file.syntax = "proto2"
        return file

    # ------------------------------------------------------------------ messages

    def _message(self, message: Any, depth: int) -> None:
        if depth > DEEPEST:
            raise FormatError("its messages are nested too deeply")
        message.name = self._next()
        self._expect("{")
        while (word := self._next()) != "}":
            match word:
                case ";":
                    pass
                case "message":
                    self._message(message.nested_type.add(), depth + 1)
                case "enum":
                    self._enum(message.enum_type.add())
                case "oneof":
                    self._oneof(message)
                case "map" if self._peek() == "<":
                    self._map(message)
                case "option" | "reserved" | "extensions" | "extend":
                    self._skip()
                case "optional" | "required" | "repeated" if self._peek() != "=":
                    self._field(message, self._next(), LABELS[word], optional=word == "optional")
                case kind:
                    self._field(message, kind, FIELD.LABEL_OPTIONAL)
        self._name_optional_fields(message)

    def _field(self, message: Any, kind: str, label: int, *, optional: bool = False) -> Any:
        if kind == "group":
            raise FormatError("it has groups, which are not supported")
        field = message.field.add(name=self._next(), label=label)
        self._set_type(field, kind)
        self._expect("=")
        field.number = self._number()
        field.proto3_optional = optional and self._is_proto3
        self._field_options(field)
        self._expect(";")
        return field

    def _set_type(self, field: Any, kind: str) -> None:
        if kind in SCALARS:
            field.type = SCALARS[kind]
        else:
            field.type_name = kind

    def _field_options(self, field: Any) -> None:
        if self._peek() != "[":
            return
        self._next()
        depth, words = 1, list[str]()
        while depth:
            word = self._next()
            depth += (word in "[{(") - (word in "]})")
            words.append(word)
        for number, word in enumerate(words[:-2]):
            if word == "json_name" and words[number + 1] == "=":
                field.json_name = _unquoted(words[number + 2])

    def _oneof(self, message: Any) -> None:
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=self._next())
        self._expect("{")
        while (word := self._next()) != "}":
            match word:
                case ";":
                    pass
                case "option":
                    self._skip()
                case kind:
                    self._field(message, kind, FIELD.LABEL_OPTIONAL).oneof_index = index

    def _map(self, message: Any) -> None:
        """A map is a repeated field of messages with a key and a value."""
        self._expect("<")
        key = self._next()
        self._expect(",")
        value = self._next()
        self._expect(">")
        field = message.field.add(name=self._next(), label=FIELD.LABEL_REPEATED)
        entry = message.nested_type.add(name="".join(one.capitalize() for one in field.name.split("_")) + "Entry")
        entry.options.map_entry = True
        self._set_type(entry.field.add(name="key", number=1, label=FIELD.LABEL_OPTIONAL), key)
        self._set_type(entry.field.add(name="value", number=2, label=FIELD.LABEL_OPTIONAL), value)
        field.type, field.type_name = FIELD.TYPE_MESSAGE, entry.name
        self._expect("=")
        field.number = self._number()
        self._field_options(field)
        self._expect(";")

    @staticmethod
    def _name_optional_fields(message: Any) -> None:
        """An `optional` field of proto3 is in a oneof of its own, which comes after all others."""
        for field in message.field:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")

    def _enum(self, enum: Any) -> None:
        enum.name = self._next()
        self._expect("{")
        while (word := self._next()) != "}":
            match word:
                case ";":
                    pass
                case "option":
                    if [self._next(), self._next(), self._next()] == ["allow_alias", "=", "true"]:
                        enum.options.allow_alias = True
                    self._skip()
                case "reserved":
                    self._skip()
                case name:
                    self._expect("=")
                    enum.value.add(name=name, number=self._number())
                    self._skip()

    # ------------------------------------------------------------------ tokens

    @property
    def _ended(self) -> bool:
        return self._at >= len(self._tokens)

    def _peek(self) -> str:
        return "" if self._ended else self._tokens[self._at]

    def _next(self) -> str:
        if self._ended:
            raise FormatError("it is not the text of a .proto file: it ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, sign: str) -> None:
        if (word := self._next()) != sign:
            raise self._unexpected(word)

    def _number(self) -> int:
        word = self._next()
        if word == "-":
            word += self._next()
        try:
            return int(word, 0)
        except ValueError:
            raise self._unexpected(word) from None

    def _skip(self) -> None:
        """Skip a statement: up to its semicolon, or to the end of its block."""
        depth = 0
        while not (self._ended and not depth):
            word = self._next()
            depth += (word in ("{", "[", "(")) - (word in ("}", "]", ")"))
            if depth <= 0 and word in (";", "}"):
                return

    def _unexpected(self, word: str) -> FormatError:
        return FormatError(f"it is not the text of a .proto file: unexpected {word[:40]!r}")


def _unquoted(word: str) -> str:
    return word[1:-1] if word[:1] in ("'", '"') else word
