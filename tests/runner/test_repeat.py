"""A delivered flow is made again from its flow.json alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from small_study import BEST, RECIPES, table

from nfopt import api
from nfopt.errors import DataError
from nfopt.model import Flow
from nfopt.model.disk import DESCRIPTION, WEIGHTS
from nfopt.runner import budget, run
from nfopt.runner.fit import run_fit
from nfopt.runner.repeat.read import read_description
from nfopt.spec import Recipe
from nfopt.study.dataset import Source, read
from nfopt.study.results import FitResult, SearchResult

Search = Callable[..., SearchResult]
HARD = msgspec.structs.replace(BEST.train, optimiser="muon", dropout=0.2, average=0.9)


def again(out: Path, data: Any = None) -> Any:
    """Make a flow again; its weights are not there."""
    (out / WEIGHTS).unlink()
    return api.retrain_from(out / DESCRIPTION, table() if data is None else data, out=out / "again")


def same(one: Flow, other: Flow) -> bool:
    pairs = [(one.weights(member), other.weights(member)) for member in range(len(one))]
    return len(one) == len(other) and all(
        torch.equal(ours[name], theirs[name]) for ours, theirs in pairs for name in ours
    )


@pytest.mark.parametrize("members", [1, 3])
def test_a_fit_of_so_many_steps_is_made_again_exactly(
    source: Source, tmp_path: Path, members: int
) -> None:
    recipe = Recipe(BEST.flow, HARD, "asinh")
    fitted = run_fit(source, [recipe], members=members, seed=4, out=tmp_path / "fit")
    repeated = again(tmp_path / "fit")
    assert same(repeated.flow, fitted.flow)
    assert repeated.validation_nll == pytest.approx(fitted.validation_nll, abs=1e-12)
    assert repeated.test_nll == fitted.test_nll
    assert repeated.flow.shares == fitted.flow.shares
    assert (repeated.exact, repeated.inexact) == (True, "")
    assert repeated.delivered["test_nll"] == fitted.test_nll
    assert api.retrain_from(tmp_path / "fit" / "again", table()).test_nll == fitted.test_nll


def test_a_fit_that_a_time_ended_is_made_again_within_noise(source: Source, tmp_path: Path) -> None:
    fitted = run_fit(source, [BEST], members=2, minutes=1.0, out=tmp_path / "fit")
    repeated = again(tmp_path / "fit")
    assert close(repeated, fitted)
    assert repeated.inexact == "of 2 trainings 2 trained until a time was over"


def close(one: FitResult, other: FitResult) -> bool:
    return abs(one.validation_nll - other.validation_nll) < other.validation_nll_2se


def test_a_search_is_made_again_member_by_member(search: Search, tmp_path: Path) -> None:
    found = search(trials=12)
    repeated = again(tmp_path / "out")
    made = read_description(tmp_path / "out" / DESCRIPTION).made.members
    assert len(made) == len(found.flow) > 1
    assert [one.seed for one in made] == found.flow.info["seeds"]
    assert repeated.flow.shares == found.flow.shares
    assert repeated.flow.info["marginals"] == found.flow.info["marginals"]
    assert repeated.flow.info["steps"] == found.flow.info["steps"]  # pruned ones ended there, too
    assert close(repeated, found)
    assert not repeated.exact
    assert "beside flows that were not delivered" in repeated.inexact


def test_a_whole_stack_of_a_search_is_made_again_exactly(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(budget.POPULATION, "cpu", 1)
    found = search(trials=4)
    repeated = again(tmp_path / "out")
    assert repeated.exact
    assert same(repeated.flow, found.flow)
    assert repeated.validation_nll == pytest.approx(found.validation_nll, abs=1e-9)


def test_a_flow_a_fold_is_made_again(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_folds", lambda *given: 5)
    found = search(trials=2)
    repeated = again(tmp_path / "out")
    assert len(repeated.flow) == len(found.flow)
    assert len(repeated.flow) % 5 == 0
    assert [one.fold for one in read_description(tmp_path / "out").made.members][:5] == [*range(5)]
    assert close(repeated, found)
    if repeated.exact:
        assert same(repeated.flow, found.flow)


def counts(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x = table(rows)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["count"] = rng.poisson(4, rows)
    frame["mass"] = np.exp(frame.a)
    frame["day"] = np.arange(rows) // 10
    return frame


def test_the_table_is_read_as_it_was(tmp_path: Path) -> None:
    frame = counts()
    frame.loc[5, "b"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    options: dict[str, Any] = {
        "columns": ["count", "mass", "b"],
        "context": ["c"],
        "bounds": {"count": (0, None)},
        "log": ["mass"],
        "groups": "day",
        "drop_rows": True,
    }
    spec = msgspec.structs.replace(BEST.flow, context_features=1)
    recipe = Recipe(spec, BEST.train, "asinh")
    source = read(tmp_path / "t.csv", seed=7, on_warning=lambda text: None, **options)
    fitted = run_fit(source, [recipe], out=tmp_path / "fit")
    repeated = again(tmp_path / "fit", tmp_path / "t.csv")
    assert repeated.exact
    assert repeated.test_nll == fitted.test_nll
    frame.loc[frame.index[:-1]].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(DataError, match=r"`data` 'other' is not what the flow was trained on: r"):
        api.retrain_from(tmp_path / "fit" / DESCRIPTION, tmp_path / "other.csv")


def test_of_an_older_file_the_data_follows_from_the_preprocessing(tmp_path: Path) -> None:
    frame = counts()
    options: dict[str, Any] = {"columns": ["count", "mass", "b"], "bounds": {"mass": (0, None)}}
    source = read(frame, seed=7, on_warning=lambda text: None, **options)
    fitted = run_fit(source, [BEST], members=2, out=tmp_path / "fit")
    path = tmp_path / "fit" / DESCRIPTION
    plain = json.loads(path.read_text())
    del plain["info"]["made"]
    path.write_text(json.dumps(plain))
    repeated = again(tmp_path / "fit", frame)
    assert close(repeated, fitted)
    assert repeated.flow.info["seeds"] == fitted.flow.info["seeds"]
    assert not repeated.exact


def test_what_can_not_be_made_again_is_refused_in_one_line(source: Source, tmp_path: Path) -> None:
    run_fit(source, RECIPES[:1], out=tmp_path / "fit")
    path = tmp_path / "fit" / DESCRIPTION
    good = json.loads(path.read_text())

    def refused(match: str, **info: Any) -> None:
        path.write_text(json.dumps(good | {"info": good["info"] | info}))
        with pytest.raises(ValueError, match=rf"^`from` .*{match}"):
            api.retrain_from(path, table())

    made = good["info"]["made"]
    refused(
        "can't be made again: it has 1 members and says of 2",
        made=made | {"members": 2 * made["members"]},
    )
    refused("can't be made again: .*`object`", made=5)
    refused(
        r"can't be made again: .*members\[0\].seed",
        made=made | {"members": [made["members"][0] | {"seed": -1}]},
    )
    del good["info"]["fingerprint"]
    refused("it says no fingerprint")
    with pytest.raises(ValueError, match=r"`from` .* is no description of a flow"):
        api.retrain_from(tmp_path / "nothing.json", table())
    path.write_text("{")
    with pytest.raises(ValueError, match=r"`from` .* can't be read as a flow"):
        api.retrain_from(path, table())


def test_a_later_file_may_say_more(source: Source, tmp_path: Path) -> None:
    fitted = run_fit(source, RECIPES[:1], out=tmp_path / "fit")
    path = tmp_path / "fit" / DESCRIPTION
    plain = json.loads(path.read_text())
    plain["info"]["made"]["new"] = plain["info"]["made"]["members"][0]["new"] = [1]
    path.write_text(json.dumps(plain))
    assert again(tmp_path / "fit").test_nll == fitted.test_nll
