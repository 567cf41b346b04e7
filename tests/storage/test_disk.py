"""A disk that is full under the database of a search, by a limit of the process on its files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from nfopt.study.create import load_study
from nfopt.study.results import SearchResult

ROOT = Path(__file__).parents[2]
TRIALS = 12
# A search as `nfopt search` runs it. Once two populations are told, no file may grow any more: the
# system then refuses the write (File too large), as it does where a disk is full.
SCRIPT = """
import resource, signal, sys
from pathlib import Path
import optuna
from nfopt.cli import failures
from nfopt.study.arguments import Budget
from nfopt.study.dataset import read
from nfopt.events import BatchTold
from tests.small_study import LIMITS, RECIPES, run_with, table

folder, url = Path(sys.argv[1]), sys.argv[2]
told = 0

def fill(event):
    global told
    told += isinstance(event, BatchTold)
    if told == 2:
        most = max(file.stat().st_size for file in folder.glob("study*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

def search():
    run_with(
        read(table(), seed=0), Budget(trials=%d), study="small", storage=url, kind="coupling",
        limits=LIMITS, recipes=RECIPES, out=folder / "out", on_event=fill,
    )

optuna.logging.set_verbosity(optuna.logging.WARNING)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error, not the end of the process
sys.exit(failures.run(search, []))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_full_disk_ends_a_search_in_one_line_and_loses_nothing(
    kind: str, search: Callable[..., SearchResult], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/study.db" if kind == "sqlite" else f"{tmp_path}/study.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT % TRIALS, str(tmp_path), url],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: `--storage` ")
    assert "full" in line or "File too large" in line or "disk I/O error" in line
    assert done.returncode == 2
    counted = (TrialState.COMPLETE, TrialState.PRUNED)
    before = load_study("small", url).get_trials(states=counted)
    assert 0 < len(before) < TRIALS

    result = search(trials=TRIALS, storage=url)
    after = result.study.trials
    assert result.trials == TRIALS
    assert {trial.state for trial in after} <= {*counted, TrialState.FAIL}
    for trial in before:  # as it was
        now = after[trial.number]
        assert (now.state, now.values, now.params) == (trial.state, trial.values, trial.params)
        assert now.user_attrs == trial.user_attrs
