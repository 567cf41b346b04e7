"""Tied columns, far rows and marginal maps on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import nfopt
from nfopt.cli import app
from nfopt.data import load, split

from .house import tiny_recipes


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """counts.csv: counts with zeros, and a model of it."""
    monkeypatch.chdir(tmp_path)
    tiny_recipes(monkeypatch)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"count": rng.poisson(2.0, 400), "size": rng.normal(size=400)})
    frame.to_csv("counts.csv", index=False)
    return frame


def ran(*words: str) -> tuple[str, str]:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


def test_what_is_reported_is_what_is_scored(table: pd.DataFrame) -> None:
    words = ("fit", "counts.csv", "--bounds", "count=0:", "--out", "model", "--json")
    told = json.loads(ran(*words)[0])
    rows = split(load("counts.csv", on_warning=lambda text: None), seed=0).test
    table.iloc[rows].to_csv("test.csv", index=False)
    scored = json.loads(ran("score", "model", "test.csv", "--as-fitted", "--json")[0])
    assert scored["log_likelihood"] == pytest.approx(-told["test_nll"], abs=1e-9)
    assert scored["log_likelihood_2se"] == pytest.approx(told["test_nll_2se"], abs=1e-9)
    plain = json.loads(ran("score", "model", "test.csv", "--json")[0])
    assert plain["log_likelihood"] != scored["log_likelihood"]
    assert np.isfinite(plain["log_likelihood"])
    # samples are counts again
    drawn = pd.read_csv(io.StringIO(ran("sample", "model", "--rows", "200", "--seed", "1")[0]))
    assert (drawn["count"] == drawn["count"].round()).all()
    assert (drawn["count"] >= 0).all()
    loose = pd.read_csv(
        io.StringIO(ran("sample", "model", "--rows", "200", "--seed", "1", "--no-round")[0])
    )
    assert (loose["count"] != loose["count"].round()).any()


def test_each_kind_of_row_without_a_density_is_counted_by_its_name(table: pd.DataFrame) -> None:
    ran("fit", "counts.csv", "--marginals", "standardise", "--log", "count", "--out", "model")
    Path("odd.csv").write_text("count,size\n-1,0\n2,1e250\n2,0\n0,0\n")
    _, err = ran("score", "model", "odd.csv", "--out", "scores.csv")
    assert "1 outside the flow's bounds have -inf" in err
    assert "1 so far away that their density is below" in err
    told = json.loads(ran("score", "model", "odd.csv", "--json")[0])
    assert (told["rows_outside"], told["rows_too_far"], told["rows_not_a_number"]) == (1, 1, 0)
    Path("far.csv").write_text("count,size\n2,1e40\n")
    told = json.loads(ran("score", "model", "far.csv", "--json")[0])
    assert told["rows_outside"] == told["rows_too_far"] == 0
    assert told["log_likelihood"] < -1e70


def test_rows_that_are_dropped_are_counted(table: pd.DataFrame) -> None:
    ran("fit", "counts.csv", "--out", "model")
    Path("holes.csv").write_text("count,size\n1,0\n,0\n2,\n3,1\n")
    out, err = ran("score", "model", "holes.csv", "--drop-rows")
    assert len(out.splitlines()) == 3
    assert "2 rows: " in err
    assert "2 more with NaN, missing or infinite values were dropped" in err
    told = json.loads(ran("score", "model", "holes.csv", "--drop-rows", "--json")[0])
    assert (told["rows"], told["rows_dropped"]) == (2, 2)
    assert json.loads(ran("score", "model", "counts.csv", "--json")[0])["rows_dropped"] == 0


def test_the_maps_of_a_fit(table: pd.DataFrame) -> None:
    kinds = {}
    for marginals in (None, "quantile", "standardise,asinh"):
        more = () if marginals is None else ("--marginals", marginals)
        ran("fit", "counts.csv", *more, "--out", "model")
        flow = nfopt.load("model")
        kinds[marginals] = [type(column.map).__name__ for column in flow.preprocessing.columns]
        assert flow.info["marginals"] == [marginals or "asinh"]
    assert kinds == {
        None: ["Asinh", "Asinh"],
        "quantile": ["Quantile", "Quantile"],
        "standardise,asinh": ["Standardise", "Asinh"],
    }
