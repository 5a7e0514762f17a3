"""Descriptions, which may be Markdown, as safe HTML."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markupsafe import Markup

SCHEMES = ("http", "https", "mailto", "")


def _is_safe_url(url: str) -> bool:
    try:
        return urlsplit(url).scheme in SCHEMES
    except ValueError:
        return False


class _SafeMarkdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # noqa: N802 # the name is the library's
        return _is_safe_url(url)


_markdown = _SafeMarkdown("commonmark", {"html": False}).enable("table").disable("image")

_HEADING = re.compile(r"<(/?)h[1-6]>")


def url_or_hash_if_unsafe(url: str) -> str:
    """The URL if it is a safe link target, otherwise `#`."""
    return url if _is_safe_url(url) else "#"


def render_markdown(text: str | None) -> Markup:
    """Render paragraphs, lists, tables, code and links. HTML is shown as text, and images are not rendered.

    Headings become paragraphs: the outline of the page has only the page's own headings.
    """
    if not text:
        return Markup()
    html = _HEADING.sub(lambda tag: "</p>" if tag[1] else '<p class="heading">', _markdown.render(text))
    return Markup(html)  # noqa: S704  # nosec B704 # the renderer escapes the HTML of the text
