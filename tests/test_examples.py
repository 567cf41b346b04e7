"""Every example runs as a user would run it, in a folder of its own, and says what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWS = {
    "conditional.py": "given energy 8.0",
    "fit_array.py": "loaded again: the same scores: True",
    "own_space.py": "a random flow of it",
    "plain_optuna.py": "trained for 12 seconds: test NLL",
    "resume.py": "those of before are as they were: True",
    "search_table.py": "trials, ",
    "to_zuko.py": "three rows drawn by zuko",
}


def test_every_example_is_run() -> None:
    assert SHOWS.keys() == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWS)
def test_an_example(name: str, tmp_path: Path) -> None:
    if name == "to_zuko.py":
        pytest.importorskip("zuko")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,  # under a minute where the machine has nothing else to do
    )
    assert done.returncode == 0, done.stderr
    assert SHOWS[name] in done.stdout
