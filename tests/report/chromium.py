"""Debian's chromium, without a window: for the tests marked browser and for studies/dashboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1500,2200",
)
# figures that the first page of every study has
TITLES = ("Best so far, by trials", "Best so far, by training time", "NLL against parameters")


class Missing(RuntimeError):
    """There is no chromium, or nothing that drives it."""


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Start a browser whose profile is in this folder, and end it afterwards; gives its driver."""
    from selenium import webdriver

    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in found.values():
        raise Missing("needs Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found["chromium"] or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    with pytest.MonkeyPatch.context() as patch:  # no proxy between selenium and the driver
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        service = webdriver.ChromeService(executable_path=found["chromedriver"])
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()
