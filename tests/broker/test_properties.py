"""The content of `server.properties`."""

from __future__ import annotations

from pathlib import Path

import pytest

from evkafka.broker.properties import default_server_properties, format_properties_file
from evkafka.exceptions import ConfigError


class TestFile:
    @pytest.mark.parametrize(
        ("value", "line"),
        [
            (True, "k=true\n"),
            (False, "k=false\n"),
            (500, "k=500\n"),
            ("a b", "k=a b\n"),
            (" led by a blank", "k=\\ led by a blank\n"),
            ("C:\\data", "k=C:\\\\data\n"),
            ("two\nlines", "k=two\\nlines\n"),
            ("é", "k=\\u00e9\n"),
            ("😀", "k=\\ud83d\\ude00\n"),
        ],
    )
    def test_values_are_escaped_as_java_reads_them(self, value, line):
        assert format_properties_file({"k": value}) == line

    def test_keys_are_escaped(self):
        assert format_properties_file({"a b:c": 1}) == "a\\ b\\:c=1\n"

    def test_other_values_are_rejected_by_name(self):
        with pytest.raises(ConfigError, match=r"broker property 'log.dirs' is \['a'\]"):
            format_properties_file({"log.dirs": ["a"]})


class TestDefaults:
    def test_every_listener_is_on_the_loopback_address(self):
        properties = default_server_properties(1, 2, Path("/data"))
        assert properties["listeners"] == "CLIENT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
        assert properties["advertised.listeners"] == "CLIENT://127.0.0.1:1"

    def test_let_a_test_kill_a_member_without_a_long_wait(self):
        properties = default_server_properties(1, 2, Path("/data"))
        assert properties["group.min.session.timeout.ms"] == 500
