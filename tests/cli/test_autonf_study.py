"""What the other commands do with a study of nfopt autonf, and where a search may begin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt.autonf import RacePlan, Settings
from nfopt.cli import run
from nfopt.distributed.artifacts import store_of
from nfopt.model import Flow
from nfopt.report.dashboard import Dashboard
from nfopt.runner.autonf.objective import AutoNFObjective
from nfopt.runner.autonf.run import run_autonf
from nfopt.runner.autonf.setup import Setup
from nfopt.study.create import load_study
from nfopt.study.dataset import read

from .house import furnish

SETUP = Setup(
    options="affine-coupling,spline-coupling",
    places=2,
    width=8,
    race=RacePlan(rungs=(0.01,), keep=(1,)),
)
FIRST = "nfopt-runs/nfopt.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.csv, models, the study `toy` of nfopt search, and `searched` of nfopt autonf."""
    home = tmp_path_factory.mktemp("home")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    furnish(home, study=True)
    run_autonf(
        read(home / "data.csv", seed=0),
        SETUP,
        study="searched",
        storage=f"sqlite:///{home / FIRST}",
        out=home / "flow",
        minutes=0.02,
        settings=Settings(steps=4, batch_size=64),
    )
    return home


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.delenv("NFOPT_STORAGE", raising=False)
    return folder


def test_status_tells_of_it(home: Path, capfd: Any) -> None:
    assert run(["status", "searched", "--json"]) == 0
    told = json.loads(capfd.readouterr()[0])
    assert told["trials"] == 1
    assert told["best"]["number"] == 0
    assert "coupling" in told["best"]["structure"]
    assert run(["status", "searched"]) == 0
    assert "nfopt retrain searched --trial 0" in capfd.readouterr()[0]
    assert run(["status"]) == 0
    assert "searched" in capfd.readouterr()[0]


def test_a_report_is_written(home: Path, capfd: Any) -> None:
    assert run(["report", "searched", "--out", "page.html"]) == 0
    page = (home / "page.html").read_text()
    assert "Weights and course of trial 0" in page
    assert "NLL against cost" in page


def test_its_trials_can_be_retrained(home: Path, capfd: Any) -> None:
    words = ["retrain", "searched", "--trial", "0", "--minutes", "0.02", "--out", "again"]
    assert run([*words, "--threads", "1", "--json"]) == 0
    capfd.readouterr()
    spec = load_study("searched").trials[0].user_attrs[names.SPEC]
    assert Flow.load(home / "again").specs[0].to_json() == spec


def test_a_dashboard_shows_it(home: Path) -> None:
    study = load_study("searched")
    page = Dashboard(study._storage, store_of(study), study._study_id, port=0)
    page.warm()
    page._server.server_close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search", "data.csv", "--study", "searched", "--trials", "1"], "made by nfopt autonf"),
        (["worker", "searched"], "whose searches are not shared out"),
        (["autonf", "data.csv", "--study", "toy"], "was not made by nfopt autonf"),
        (["autonf", "data.csv", "--initial", "nobody"], "`--initial` 'nobody' is no file, and no"),
        (["autonf", "data.csv", "--initial", "toy/99"], "study 'toy' has 2 trials"),
        (["autonf", "data.csv", "--initial", "none.json"], "`--initial` 'none.json' can't be read"),
        (["autonf", "data.csv", "--initial", "model"], "`--initial`"),
        (
            ["autonf", "data.csv", "--initial", "model/flow.json"],
            "`--initial` must be for 4 features",
        ),
        (
            ["autonf", "data.csv", "--initial", "toy", "--options", "planar,radial"],
            "`--initial` has no layer of `--options` (planar, radial)",
        ),
        (
            ["autonf", "data.csv", "--estimator", "exact"],
            "5^4 = 625 paths at once, at most 256: give estimator 'sampled', or a `--block`",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(home: Path, capfd: Any, words: list[str], said: str) -> None:
    assert run([*words, "--threads", "1"]) == 2
    error = capfd.readouterr()[1].strip().splitlines()
    assert said in error[-1]
    assert error[-1].startswith("Error: ")


def test_a_search_begins_with_a_studys_best(home: Path) -> None:
    """In Python and by its name; the study is one of nfopt search."""
    study = load_study("toy")
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = min(complete, key=lambda trial: trial.values[0])
    source = read(home / "data.csv", seed=0)
    found = {
        str(given): AutoNFObjective(source, SETUP, initial=given).initial
        for given in (study, best, "toy", f"toy/{best.number}", best.user_attrs and study)
    }
    assert set(found.values()) == {(0, 0)}  # two affine couplings


@pytest.mark.slow
def test_the_command_begins_with_it(home: Path, capfd: Any) -> None:
    words = ["autonf", "data.csv", "--initial", "toy", "--layers", "2", "--minutes", "0.1"]
    words += [
        "--options",
        "affine-coupling,spline-coupling",
        "--estimator",
        "exact",
        "--block",
        "2",
    ]
    assert run([*words, "--study", "begun", "--threads", "1", "--json"]) == 0
    capfd.readouterr()
    trial = load_study("begun").trials[0]
    assert "estimator" not in trial.params
    assert "block" not in trial.params
    first = trial.user_attrs[names.AUTONF]["records"][0]
    assert [row.index(max(row)) for row in first["weights"]] == [0, 0]
    files = {path.name for path in (home / "nfopt-runs" / "begun").iterdir()}
    assert {"flow.json", "report.html"} <= files
