"""A study and a model folder of version 0.1.0 are still read (see legacy/v0_1/README.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import nfopt
from nfopt import api
from nfopt.cli.app import app
from nfopt.errors import StudyError
from nfopt.study.ranking import best_of
from nfopt.study.weights import kept_flow

FILES = Path(__file__).parent / "legacy" / "v0_1"
EXPECTED = json.loads((FILES / "expected.json").read_text())
URLS = ("sqlite:///study.db", "journal:///study.log")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy in the current folder, as a user has it."""
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_a_model_scores_and_samples_as_it_did() -> None:
    flow = nfopt.load("model")
    rows = pd.read_csv("table.csv")[:8]
    np.testing.assert_allclose(flow.log_prob(rows), EXPECTED["log_prob"], atol=1e-6)
    np.testing.assert_allclose(flow.sample(3, seed=0), EXPECTED["sample"], atol=1e-6)
    assert flow.info["scores"]["validation_nll"] == EXPECTED["validation_nll"]


@pytest.mark.parametrize("url", URLS)
def test_a_study_is_read_trial_for_trial(url: str) -> None:
    study = nfopt.load_study("legacy", url)
    assert [trial.value for trial in study.trials] == EXPECTED["values"]
    assert [trial.state.name for trial in study.trials] == EXPECTED["states"]
    best = best_of(study)
    assert best is not None
    assert best.number == EXPECTED["best"]
    study.tell(study.ask(), 1.0)  # the sampler goes on from its history


@pytest.mark.parametrize("url", URLS)
def test_the_flow_of_its_best_trial_is_rebuilt(url: str) -> None:
    flow = kept_flow(nfopt.load_study("legacy", url), EXPECTED["best"])
    assert flow.info["trial"] == EXPECTED["best"]
    assert np.isfinite(flow.log_prob(pd.read_csv("table.csv")[:8])).all()


@pytest.mark.parametrize("url", URLS)
def test_status_and_report_show_it(url: str) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["status", "legacy", "--storage", url])
    assert shown.exit_code == 0, shown.output
    assert "legacy" in shown.output
    made = runner.invoke(app, ["report", "legacy", "--storage", url, "--out", "page.html"])
    assert made.exit_code == 0, made.output
    assert Path("page.html").stat().st_size > 1000


@pytest.mark.parametrize("url", URLS)
def test_one_of_its_trials_is_trained_again(url: str) -> None:
    study = nfopt.load_study("legacy", url)
    result = api.retrain(study, EXPECTED["best"], data="table.csv", minutes=0.02, out="again")
    assert result.number == EXPECTED["best"]
    assert np.isfinite(nfopt.load("again").log_prob(pd.read_csv("table.csv")[:8])).all()


@pytest.mark.parametrize("url", URLS)
def test_searching_on_is_refused_in_one_line(url: str) -> None:
    said: list[object] = []
    with pytest.raises(StudyError, match=r"made by nfopt 0\.1, whose trials were parts of a train"):
        nfopt.search("table.csv", study="legacy", storage=url, trials=99, on_event=said.append)
    assert said == []
    assert len(nfopt.load_study("legacy", url).trials) == len(EXPECTED["values"])
