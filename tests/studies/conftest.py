"""The scripts of a study, as its tests import them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def study_folder(request: pytest.FixtureRequest) -> Iterator[None]:
    """The scripts in a test's `FOLDER`, or `FOLDERS`, import each other by name, as when run."""
    module = request.module
    folders: tuple[Path, ...] = getattr(module, "FOLDERS", None) or (module.FOLDER,)
    modules = {path.stem for folder in folders for path in folder.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in modules & set(sys.modules)}
    sys.path[:0] = map(str, folders)
    yield
    for folder in folders:
        sys.path.remove(str(folder))
    for name in modules:
        sys.modules.pop(name, None)
    sys.modules.update(others)
