"""The reference pages agree with source and docstrings, and have every public name."""

from __future__ import annotations

import builtins
import re
from types import ModuleType

import pytest
from tools import reference, reference_api

import evkafka
import evkafka.broker
import evkafka.exceptions
import evkafka.formats
import evkafka.testing

PUBLIC = (evkafka, evkafka.exceptions, evkafka.formats, evkafka.testing, evkafka.broker)

CONFIGURATIONS = {"BrokerConfig", "ConsumerConfig", "ErrorPolicy", "ProducerConfig", "TopicConfig"}
"""Dictionaries: the page of the configuration keys has them."""

OTHERS = {
    "App": "the type of a handler that is a function",
    "EVkafkaApp": "the same as EVKafkaApp",
    "ValueFormat": "the type of a format in annotations",
}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


class TestReference:
    @pytest.mark.parametrize("name", ["configuration.md", "commands.md", *reference_api.PAGES])
    def test_is_up_to_date(self, pages: dict[str, str], name: str) -> None:
        assert (reference.PAGES / name).read_text() == pages[name], "run `make docs`"

    @pytest.mark.parametrize("module", PUBLIC)
    def test_has_every_public_name(self, pages: dict[str, str], module: ModuleType) -> None:
        missing = set(module.__all__) - CONFIGURATIONS - OTHERS.keys()
        for text in pages.values():
            missing -= {line.removeprefix("## `").rstrip("`") for line in text.splitlines() if line.startswith("## `")}
        assert missing == set()

    @pytest.mark.parametrize("name", reference_api.PAGES)
    def test_each_raised_exception_can_be_imported(self, pages: dict[str, str], name: str) -> None:
        public = {one for module in PUBLIC for one in module.__all__} | set(dir(builtins))
        tables = re.findall(r"^\| raises \| \|\n\| --- \| --- \|\n((?:\|.*\n)+)", pages[name], re.MULTILINE)
        raised = {
            one
            for table in tables
            for row in re.findall(r"^\| `(.*?)`", table, re.MULTILINE)
            for one in re.findall(r"\b[A-Z]\w+", row)
        }
        assert raised - public == set()

    def test_each_name_and_method_has_a_docstring(self, pages: dict[str, str]) -> None:
        for file in reference_api.PAGES:
            for part in pages[file].split("\n##")[1:]:
                head, *lines = part.splitlines()
                code = False
                text_lines = []
                for line in lines:
                    code = not code if line.startswith("```") else code
                    text_lines += [line] if line and not code and not line.startswith("```") else []
                assert text_lines, f"{head.strip('# ')} has no docstring"
