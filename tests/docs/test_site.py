"""The documentation site, built and searched in a browser as a reader does.

The test uses the site's own search, not a copy of it: how it splits words, ranks and groups is part of what a reader
finds. Building takes two seconds.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.chromium import find_browser
from tests.support.doc_pages import ROOT

FIRST = 8
"""The page must be among so many results."""

WAIT_MS = 20_000

TERMS = {
    "dead letter queue": "dead-letters/",
    "DLQ": "dead-letters/",
    "at least once": "delivery/",
    "exactly once": "exactly-once/",
    "retry": "retry-topics/",
    "backoff": "glossary/",
    "poison pill": "faq/",
    "poison message": "errors/",
    "graceful shutdown": "delivery/",
    "SIGTERM": "delivery/",
    "kubernetes": "deployment/",
    "docker": "deployment/",
    "systemd": "deployment/",
    "liveness probe": "observability/",
    "schema registry": "schema-registry/",
    "avro": "schema-registry/",
    "rebalance": "faq/",
    "static membership": "glossary/",
    "consumer lag": "faq/",
    "max.poll.interval.ms": "faq/",
    "auto.offset.reset": "glossary/",
    "backpressure": "faq/",
    "idempotent": "internals/",
    "duplicates": "faq/",
    "tombstone": "glossary/",
    "ordering": "concurrency/",
    "parallel": "faq/",
    "batch": "batches/",
    "dependency injection": "dependencies/",
    "FastAPI": "integrations/",
    "Django": "integrations/",
    "TLS": "security/",
    "Prometheus": "observability/",
    "OpenTelemetry": "observability/",
    "pytest": "testing/",
    "AsyncAPI": "asyncapi/",
    "environment variables": "settings/",
    "exit code": "troubleshooting/",
    "connection refused": "troubleshooting/",
    "seek": "concurrency/",
    "replay": "command-line/",
    "benchmarks": "performance/",
    "FastStream": "migrating-from-faststream/",
    "aiokafka": "migrating-from-aiokafka/",
    "web UI": "operations/",
    "send events": "producing/",
    "partition key": "producing/",
    "transactions": "producing/",
    "error handling": "errors/",
    "exponential backoff": "errors/",
    "batch processing": "batches/",
    "unit test": "testing/",
    "chaos testing": "verify/",
    "autoscaling": "deployment/",
    "readiness probe": "observability/",
    "hot reload": "command-line/",
    "SASL": "security/",
    "msgspec": "payloads/",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. `--strict` fails at a link or an anchor that leads nowhere."""
    directory = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", directory / "docs")
    shutil.copy(ROOT / "zensical.toml", directory)
    program = Path(sys.executable).with_name("zensical")
    assert program.exists(), "zensical is not installed: pip install --group dev"
    built = subprocess.run(
        [str(program), "build", "--strict"],
        cwd=directory,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return directory / "site"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = find_browser()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium.path,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
            env={**os.environ, **chromium.environment},
        )
        yield started
        started.close()


def is_found(page: Page, address: str, term: str) -> bool:
    """Search for the term; whether its page comes to be among the first results."""
    page.get_by_role("combobox", name="Search").fill(term)
    # Each result's address has the words that were searched for.
    start = f"{address}{TERMS[term]}?h={term.replace(' ', '+')}"
    first = ",".join(f'[role=option][aria-posinset="{number}"][href^="{start}"]' for number in range(1, FIRST + 1))
    try:
        expect(page.locator(first).first).to_be_attached(timeout=WAIT_MS)
    except AssertionError:
        return False
    return True


def test_words_that_people_type_find_their_page(address: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(address)
    page.get_by_role("button", name="Search").click()
    assert [f"{term}: {TERMS[term]}" for term in TERMS if not is_found(page, address, term)] == []


def test_no_page_shows_the_backslash_of_an_escaped_pipe(site: Path) -> None:
    pages = {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}
    assert len(pages) > 30
    assert [name for name, text in pages.items() if "\\|" in text] == []


def test_every_image_exists(site: Path) -> None:
    for path in site.rglob("*.html"):
        for source in re.findall(r'<img[^>]* src="([^":]+)"', path.read_text()):
            assert (path.parent / source).exists(), (path, source)
