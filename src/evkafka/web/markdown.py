"""Descriptions, which may be Markdown, as HTML that is safe to stand in a page."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markupsafe import Markup

SCHEMES = ("http", "https", "mailto", "")


def _is_safe(url: str) -> bool:
    try:
        return urlsplit(url).scheme in SCHEMES
    except ValueError:
        return False


_markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_markdown.validateLink = _is_safe  # type: ignore[method-assign]

_HEADING = re.compile(r"<(/?)h[1-6]>")


def link(url: str) -> str:
    """A link's target, where it may be one; else nowhere."""
    return url if _is_safe(url) else "#"


def markdown(text: str | None) -> Markup:
    """Paragraphs, lists, tables, code, links. HTML in it stands there as text; nothing is fetched from anywhere.

    Its headings are paragraphs, so that those of the page tell the page's order.
    """
    if not text:
        return Markup()
    html = _HEADING.sub(lambda tag: "</p>" if tag[1] else '<p class="heading">', _markdown.render(text))
    return Markup(html)  # noqa: S704  # nosec B704 # made by the renderer, which lets no HTML of the text through
