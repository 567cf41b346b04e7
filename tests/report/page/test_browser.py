"""A browser opens the page: nothing sticks out, and all pictures are there, in any light."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nfopt.report.page import html_page
from report.chromium import chromium

from .test_document import searched

pytestmark = pytest.mark.browser

LONG = "a_name_without_any_space_" * 6


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A whole page, with a command and columns that are too long for a line."""
    facts = searched()
    assert facts.delivered is not None
    info = {**facts.delivered.info, "command": f"nfopt search {LONG}.csv", "warnings": [LONG]}
    long = replace(
        facts,
        name=LONG,
        columns=[f"{LONG}{k}" for k in range(4)],
        delivered=replace(facts.delivered, info=info, home=Path(LONG)),
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html_page(long), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.parametrize("light", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_is_whole(browser: Any, page: str, width: int, light: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": light}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page)
    if folder := os.environ.get("NFOPT_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder, f"report-{width}-{light}.png")))
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    drawn = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert len(drawn) == 3
    assert min(drawn) > 300
    small = """
        return [...document.querySelectorAll('figure > svg')]
            .map(s => [s.getBoundingClientRect().width, s.getBoundingClientRect().height])
    """
    assert all(min(sizes) > 60 for sizes in browser.execute_script(small))
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"}[light]
    said = browser.execute_script("return document.body.innerText")
    for title in ("What was delivered", "The fit in base space", "For a paper"):
        assert title in said
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_a_narrow_page_scrolls_its_tables_alone(browser: Any, page: str) -> None:
    size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    wide = "return [...document.querySelectorAll('.wide')].map(w => w.scrollWidth > w.clientWidth)"
    assert any(browser.execute_script(wide))
