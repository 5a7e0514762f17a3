"""Payloads and headers as text: format, limits, hidden secrets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evkafka.ui.payload_text import headers_as_text, payload_as_text, traceback_as_text
from tests.support.odd_records import HOSTILE
from tests.support.unsafe_text import acted_on

SECRET_NAMES = (
    *(
        "password",
        "passwd",
        "pwd",
        "PWD",
        "userPwd",
        "password_hash",
        "passwordHash",
        "db.password",
        "pass",
        "passphrase",
    ),
    *(
        "Cookie",
        "Set-Cookie",
        "cookie_jar",
        "Authorization",
        "Proxy-Authorization",
        "X-Auth",
        "auth_key",
        "X-Auth-Token",
    ),
    *("secret", "client_secret", "clientSecret", "SECRET_KEY", "token", "accessToken", "refresh-token", "csrfToken"),
    *("apiKey", "API-Key", "X-Api-Key", "api_key", "APIKey", "privateKey", "accessKey", "signing_key", "session_id"),
    *("sessionId", "jwt", "bearer", "otp", "pin", "cardPin", "pin_code", "credentials", "card_number", "cardNo", "pan"),
    *("cvv", "cvc2", "iban", "IBAN", "ssn", "social_security_number", "connectionString", "dsn"),
)
PLAIN_NAMES = (
    *("passenger", "compass", "bypass", "author", "authority", "company", "panel", "spanned", "opinion", "shipping"),
    *(
        "key",
        "keyboard",
        "monkey",
        "card",
        "cards",
        "number",
        "session",
        "id",
        "Event-Type",
        "order_id",
        "name",
        "value",
    ),
)


class TestText:
    def test_json_is_indented_and_nested_secrets_are_hidden(self) -> None:
        value = {"id": 1, "card": {"card_number": "4111 1111", "owners": [{"iban": "DE02", "name": "Ana"}]}}
        shown = payload_as_text(json.dumps(value).encode())
        assert shown is not None
        assert shown["kind"] == "json"
        assert shown["masked"]
        assert json.loads(shown["text"])["card"] == {"card_number": "***", "owners": [{"iban": "***", "name": "Ana"}]}

    @pytest.mark.parametrize("name", SECRET_NAMES)
    def test_a_field_or_header_with_a_secret_name_is_hidden(self, name: str) -> None:
        shown = payload_as_text(json.dumps({"a": [{name: "hunter2"}], name: ["hunter2", {"b": "hunter2"}]}).encode())
        assert shown is not None
        assert "hunter2" not in shown["text"]
        assert shown["masked"]
        assert headers_as_text([(name, b"hunter2")]) == [(name, "***")]

    @pytest.mark.parametrize("name", PLAIN_NAMES)
    def test_other_names_are_shown(self, name: str) -> None:
        shown = payload_as_text(json.dumps({name: "seen"}).encode())
        assert shown is not None
        assert (json.loads(shown["text"]), shown["masked"]) == ({name: "seen"}, False)
        assert headers_as_text([(name, b"seen")]) == [(name, "seen")]

    @pytest.mark.parametrize(
        "value",
        [
            json.dumps({"body": json.dumps({"user": {"password": "hunter2"}})}),
            json.dumps(json.dumps({"a": json.dumps([{"token": "hunter2"}])})),
            json.dumps({"body": json.dumps({"password": "hunter2"})[:-1]}),
            json.dumps({"body": " " + json.dumps({"a": [[[[[[[[[[[[{"token": "hunter2"}]]]]]]]]]]]]})}),
            json.dumps([{"name": "password", "value": "hunter2"}, {"key": "Cookie", "value": "hunter2"}]),
            json.dumps({"headers": [["Authorization", "hunter2"]]}),
            json.dumps({"query": "user=ann&password=hunter2"}),
            json.dumps({"url": "postgres://ann:hunter2@db/shop"}),
            "user=ann&pwd=hunter2",
            "<order><Password>hunter2</Password></order>",
            "<s:order xmlns:s='x'><s:apiKey>hunter2</s:apiKey></s:order>",
            "Cookie: session=hunter2",
            "amqp://ann:hunter2@host",
            r'{"cut": "{\"password\": \"hunter2\"',
            '{"password": "hunter2", ' + '"x": "' + "y" * 100_000,
        ],
        ids=lambda value: value[:40],
    )
    def test_a_secret_is_hidden_in_every_format(self, value: str) -> None:
        shown = payload_as_text(value.encode())
        assert shown is not None
        assert "hunter2" not in shown["text"]
        assert shown["masked"] or shown["cut"]
        assert "hunter2" not in str(headers_as_text([("body", value.encode())]))

    def test_json_in_a_string_without_secrets_is_shown_unchanged(self) -> None:
        value = {"body": json.dumps({"id": 1, "name": "Ana"})}
        shown = payload_as_text(json.dumps(value).encode())
        assert shown is not None
        assert json.loads(shown["text"]) == value

    def test_levels_deeper_than_32_are_left_out(self) -> None:
        shown = payload_as_text(b'{"a":' * 40 + b"1" + b"}" * 40)
        assert shown is not None
        assert shown["cut"]
        assert shown["text"].count('"a"') == 32

    @pytest.mark.parametrize("text", HOSTILE)
    def test_control_characters_are_escaped(self, text: str) -> None:
        for data in (text.encode(), json.dumps({text: [text]}).encode(), json.dumps(text).encode()):
            shown = payload_as_text(data)
            assert shown is not None
            assert set(acted_on(shown["text"])) <= {"\n", "\t"}
        [(name, value)] = headers_as_text([(text, text.encode())])
        assert acted_on(name + (value or "")) == []

    def test_of_many_headers_the_first_are_shown_with_the_number_of_the_others(self) -> None:
        shown = headers_as_text((f"h{number}", b"x") for number in range(60))
        assert len(shown) == 51
        assert shown[-1] == ("…", "10 more headers")
        assert len(headers_as_text((f"h{number}", b"x" * 2000) for number in range(60))) < 6

    def test_cut_json_shows_nothing_of_its_secrets(self) -> None:
        shown = payload_as_text(b'{"password": "hunter2", "rest": "' + b"x" * 300_000)
        assert shown is not None
        assert "hunter2" not in shown["text"]
        assert shown["masked"]

    def test_binary_data_is_hexadecimal(self) -> None:
        shown = payload_as_text(b"\xff\x00\x01")
        assert shown is not None
        assert (shown["kind"], shown["text"]) == ("hex", "ff 00 01")

    def test_none_stays_none(self) -> None:
        assert payload_as_text(None) is None

    def test_a_traceback_shows_source_code_and_hides_messages_that_may_contain_a_secret(self) -> None:
        frames = 'Traceback (most recent call last):\n  File "app.py", line 3\n    log_in(token=read_token())\n'
        text = frames + "app.Refused: token=hunter1\n\nThe above exception ...\n\n" + "app.Failed: pin: 12\nand 34"
        shown = frames + "***\n\nThe above exception ...\n\n" + "app.Failed: ***"
        assert traceback_as_text(text, "pin: 12\nand 34") == shown

    def test_secret_headers_are_hidden_and_tracebacks_are_left_out(self) -> None:
        headers = [("Authorization", b"Bearer x"), ("a", b"1"), ("b", None), ("evkafka-dlq-error-traceback", b"...")]
        assert headers_as_text(headers) == [("Authorization", "***"), ("a", "1"), ("b", None)]

    @given(st.binary(max_size=2000), st.integers(10, 500))
    def test_the_text_of_any_bytes_respects_the_limit(self, data: bytes, most: int) -> None:
        shown = payload_as_text(data, most=most)
        assert shown is not None
        assert len(shown["text"]) <= max(most, 3)
        assert shown["size"] == len(data)
        json.dumps(shown)
