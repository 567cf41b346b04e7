"""A browser opens `nfopt dashboard` on a study of 20 trials: what is shown is really there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfopt.report import attachments

from .chromium import TITLES, chromium
from .toys import published

pytestmark = pytest.mark.browser

TRIALS, SECONDS = 20, 60.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The study's page, served by the command line."""
    folder = tmp_path_factory.mktemp("study")
    nlls = np.random.default_rng(0).gamma(2.0, size=TRIALS).reshape(5, 4).tolist()
    storage = f"sqlite:///{folder}/nfopt.db"
    with pytest.MonkeyPatch.context() as patch:  # the notes of most trials are not stored
        patch.setattr(attachments, "MOST_NOTES", 5)
        patch.setattr("nfopt.report.publisher.NOTED", 0)
        published(folder / "artifacts", nlls, storage)
    words = ("-m", "nfopt", "dashboard", "toy", "--storage", storage, "--port", "0")
    process = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("http://127.0.0.1:"), line + process.stderr.read()
        yield line.split(";")[0]
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(20)
        rest = process.stderr.read()
    assert (code, rest) == (0, "Ended.\n")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def seen(driver: Any, name: str, found: Callable[[Any], Any]) -> Any:
    """Wait for what the page is to show; keep a picture of it where NFOPT_SCREENSHOTS says."""
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.ui import WebDriverWait

    try:
        return WebDriverWait(driver, SECONDS, poll_frequency=0.2).until(found)
    except TimeoutException:
        pytest.fail(f"{name} is not there; the page says: {text(driver)[:500]}")
    finally:
        if folder := os.environ.get("NFOPT_SCREENSHOTS"):
            driver.save_screenshot(str(Path(folder, f"{name}.png")))


def text(driver: Any) -> str:
    return str(driver.execute_script("return document.body.innerText"))


def test_the_first_page_has_the_figures(browser: Any, address: str) -> None:
    browser.get(address)
    script = """
        return [...document.querySelectorAll('svg.main-svg .gtitle')].map(x => x.textContent)
    """

    def titles(driver: Any) -> set[str]:
        found = set(driver.execute_script(script))
        return found if found.issuperset(TITLES) else set()

    found = seen(browser, "figures", titles)
    assert any(title.startswith("Layers in which a column sees another") for title in found)
    points = "return document.querySelectorAll('svg.main-svg .scatterlayer .point').length"
    assert browser.execute_script(points) >= TRIALS


def test_a_trials_page_has_its_pictures_and_its_note(browser: Any, address: str) -> None:
    browser.get(f"{address}/trials?numbers=7")
    script = """
        return [...document.images].filter(i => i.src.includes('/artifacts/'))
            .map(i => [i.naturalWidth, i.naturalHeight])
    """

    def drawn(driver: Any) -> list[list[int]]:
        sizes = driver.execute_script(script)
        return sizes if len(sizes) >= 2 and all(width > 300 for width, _ in sizes) else []

    seen(browser, "trial", drawn)
    said = text(browser)
    assert "masks.png" in said
    assert "learning_curve.png" in said
    assert "affine coupling" in said
    assert "seed of the weights: 7" in said
    assert "mass $m$" in said
    assert "<b>" in said  # the name of a column, as text
    assert "validation NLL" in said


def test_the_studys_note_says_what_it_is(browser: Any, address: str) -> None:
    browser.get(f"{address}/note")
    seen(browser, "note", lambda driver: "best so far: trial" in text(driver))
    said = text(browser)
    assert f"{TRIALS} complete" in said
    assert "nfopt retrain toy --trial" in said
    assert "x|y_z" in said
