"""The page "Payloads": its service accepts and sends what the page says."""

from __future__ import annotations

import pytest

from tests.support.doc_pages import file

PAGE = "docs/payloads.md"

pytest_plugins = ["pytester"]

TEST = """
import pytest
from evkafka import TestClient
from evkafka.exceptions import DecodeError
from shop import Note, app


def test_it(capsys):
    with TestClient(app) as client:
        client.send_event({"id": "1", "cents": 5}, "OrderPlaced", "shop")
        client.send_event({"order_id": "1", "lines": [{"sku": "a", "count": 2}]}, "ParcelLost", "shop")
        client.send_event(Note("hello"), "Noted", "shop")
        client.send_event(None, "Noted", "shop")
        [sent] = client.sent
        assert (sent.key, sent.event) == (b"1", {"order_id": "1", "cents": 200})
        with pytest.raises(DecodeError, match="lines.0.count: Expected `int`, got `str`"):
            client.send_event({"order_id": "1", "lines": [{"sku": "a", "count": "b"}]}, "ParcelLost", "shop")
    assert capsys.readouterr().out == "order 1\\nnote Note(text='hello')\\nnote None\\n"
"""


def test_its_service_accepts_and_sends_what_the_page_says(pytester: pytest.Pytester) -> None:
    (pytester.path / "shop.py").write_text(file(PAGE, "shop.py"))
    (pytester.path / "test_it.py").write_text(TEST)
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")

    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=240)

    done.assert_outcomes(passed=1)
