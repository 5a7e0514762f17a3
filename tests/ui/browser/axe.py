"""Runs axe-core on a page, through the browser's console, which the page's security policy does not restrict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.async_api import Page

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


async def violations(page: Page) -> list[str]:
    """The violations that axe finds: one line for each rule, with the first elements."""
    if not await page.evaluate("typeof window.axe === 'object'"):
        await page.evaluate(AXE)
    found: list[dict[str, Any]] = await page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['impact']} {one['id']}: {one['help']}: "
        + "; ".join(f"{node['html'][:160]} ({node['failureSummary']})" for node in one["nodes"][:3])
        for one in found
    ]


async def widest(page: Page) -> int:
    """How much wider than the window the document is, in pixels; 0 if it does not scroll horizontally."""
    wider: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider


async def cut_off_tables(page: Page) -> list[str]:
    """The first words of each table that is wider than its card: a part of it is hidden until it is scrolled."""
    cut_off: list[str] = await page.evaluate(
        """Array.from(document.querySelectorAll(".wide"))
           .filter((one) => one.scrollWidth > one.clientWidth)
           .map((one) => one.innerText.slice(0, 60))"""
    )
    return cut_off
