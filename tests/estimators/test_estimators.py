"""The estimators where people use them: pipelines, cross-validation, grids, copies, bad input."""

from __future__ import annotations

import pickle
import pickletools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nfopt import FlowDensity, FlowOutlier, FlowSearch
from nfopt.data import load
from nfopt.estimators.rows import Given
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec
from nfopt.stored import recipe_of

pytestmark = pytest.mark.filterwarnings("ignore::nfopt.errors.DataWarning")

Array = np.ndarray[Any, Any]
SMALL = {"max_steps": 3, "random_state": 0}
SPACE = {"depth": 1, "width": 8}
ESTIMATORS: dict[str, Callable[[], Any]] = {
    "density": lambda: FlowDensity(**SMALL),
    "outlier": lambda: FlowOutlier(**SMALL),
    "search": lambda: FlowSearch(trials=2, space=SPACE, **SMALL),
}


def rows(count: int = 80, seed: int = 0) -> Array:
    x = np.random.default_rng(seed).normal(size=(count, 3))
    x[:, 1] = 10 + 3 * x[:, 1] + x[:, 0]
    return x


def frame(count: int = 80) -> pd.DataFrame:
    return pd.DataFrame(rows(count), columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def fitted() -> FlowDensity:
    return FlowDensity(**SMALL).fit(frame())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ------------------------------------------------------------------------------------ what it does


def test_it_learns() -> None:
    net = Conditioner(width=16, hidden_layers=1)
    flow = FlowSpec(features=3, layers=(Coupling(mask="CTT", conditioner=net),) * 2)
    recipe = Recipe(flow, TrainSpec(steps=150, batch_size=128, learning_rate=1e-2))
    train, test = rows(600), rows(300, seed=1)
    density = FlowDensity(flow=recipe, random_state=0).fit(train)
    truth = -1.5 * np.log(2 * np.pi * np.e) - np.log(3)
    assert density.score(test) == pytest.approx(truth, abs=0.35)
    assert density.score(test) == density.score_samples(test).mean()
    assert density.score(test + np.array([0, 3, 0])) < density.score(test)
    drawn = density.sample(500, random_state=1)
    np.testing.assert_allclose(drawn.mean(axis=0), test.mean(axis=0), atol=0.6)
    np.testing.assert_array_equal(drawn, density.sample(500, random_state=1))
    assert not np.array_equal(drawn, density.sample(500))


def test_all_rows_train_or_validate() -> None:
    density = FlowDensity(validation_fraction=0.25, **SMALL).fit(rows(80))
    scores = density.flow_.info["scores"]
    assert np.isfinite(scores["validation_nll"])
    assert np.isnan(scores["test_nll"])
    assert not list(Path.cwd().iterdir())  # nothing is left on disk
    wide = Given(rows(80), ("a", "b", "c"), None, (), None)
    data, parts = wide.table(0.25, 0, {})
    assert data.sizes == (60, 20, 0)
    np.testing.assert_array_equal(data.lines.parts[1].line, rows(80)[parts.val])


def test_a_rare_value_is_among_the_training_rows() -> None:
    x = rows(60)
    rare = np.full(60, 2.0)
    for row in range(60):  # wherever the split puts it
        rare[row] = 5.0
        data, parts = Given(np.column_stack([x, rare]), tuple("abcd"), None, (), None).table(
            0.1, 0, {}
        )
        assert row in parts.train
        assert sum(data.sizes) == 60
        rare[row] = 2.0


def test_steps_are_at_most_those_asked_for() -> None:
    search = FlowSearch(trials=2, space=SPACE, **SMALL).fit(rows())
    assert len(search.study_.trials) == 2
    assert {recipe_of(trial).train.steps for trial in search.study_.trials} == {3}
    assert FlowDensity(**SMALL).fit(rows()).flow_.info["train"]["steps"] == 3
    own = Recipe(FlowSpec(features=3, layers=(Coupling(mask="CTT"),)), TrainSpec(steps=2))
    assert FlowDensity(flow=own, max_steps=5).fit(rows()).flow_.info["train"]["steps"] == 2


def test_no_column_is_left_out() -> None:
    x = rows(60)
    x[:, 0] = np.random.default_rng(0).permutation(60)  # an index, to `load`
    x[:, 2] = np.round(x[:, 2])
    assert load(x, on_warning=print).features == 2
    density = FlowDensity(**SMALL).fit(x)
    assert density.n_features_in_ == len(density.flow_.columns) == 3
    assert density.sample(2).shape == (2, 3)
    names = ["id", "b", "index"]
    named = FlowDensity(**SMALL).fit(pd.DataFrame(x, columns=names))
    assert list(named.feature_names_in_) == list(named.flow_.columns) == names
    tied = density.sample(5)[:, 2]
    np.testing.assert_array_equal(tied, np.round(tied))  # dequantised, and back on its grid
    raw = FlowDensity(dequantise=False, **SMALL).fit(x).sample(5)[:, 2]
    assert not np.array_equal(raw, np.round(raw))


def test_context_and_weights() -> None:
    x, given = rows(80), rows(80, seed=3)[:, :2]
    weights = np.ones(80)
    weights[:30] = 0
    x[:30] += 1e6  # of weight 0: as if they were not there
    density = FlowDensity(**SMALL).fit(x, context=given, sample_weight=weights)
    assert density.flow_.preprocessing.columns[0].map.forward(np.zeros(1))[0] < 100
    scores = density.score_samples(x[30:], context=given[30:])
    assert np.isfinite(scores).all()
    alone = density.score_samples(x[30:32], context=given[30])
    np.testing.assert_allclose(alone[0], scores[0], rtol=1e-9)
    assert density.sample(4, context=[0.0, 10.0]).shape == (4, 3)
    one = FlowDensity(**SMALL).fit(x[30:], context=given[30:, 0])
    assert one.score_samples(x[30:], given[30:, 0]).shape == (50,)


# -------------------------------------------------------------------------------- where it is used


def test_in_a_pipeline() -> None:
    pipe = make_pipeline(StandardScaler(), FlowDensity(**SMALL)).fit(rows())
    assert pipe.score_samples(rows()).shape == (80,)
    assert pipe.score(rows()) == pytest.approx(pipe.score_samples(rows()).mean())


def test_in_cross_validation() -> None:
    scores = cross_val_score(FlowDensity(**SMALL), rows(), cv=2)
    assert scores.shape == (2,)
    first = FlowDensity(**SMALL).fit(rows()[40:])  # KFold's first test part are the first rows
    assert scores[0] == first.score(rows()[:40])
    with config_context(enable_metadata_routing=True):
        density = FlowDensity(**SMALL).set_fit_request(context=True, sample_weight=True)
        given = {"context": rows(seed=1)[:, :1], "sample_weight": np.ones(80)}
        routed = density.set_score_request(context=True)
        scores = cross_val_score(routed, rows(), cv=2, params=given)
    assert np.isfinite(scores).all()


def test_in_a_grid() -> None:
    grid = GridSearchCV(FlowDensity(**SMALL), {"marginals": ["standardise", "asinh"]}, cv=2)
    grid.fit(rows())
    assert grid.best_params_["marginals"] in ("standardise", "asinh")
    assert grid.best_estimator_.score(rows()) == grid.score(rows())
    assert set(grid.cv_results_["param_marginals"]) == {"standardise", "asinh"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_cloned_and_pickled(name: str) -> None:
    estimator = ESTIMATORS[name]().fit(frame())
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "flow_")
    kept = pickle.dumps(estimator)
    named = [str(word) for _, word, _ in pickletools.genops(kept) if isinstance(word, str)]
    assert not [word for word in named if word.startswith("torch")]  # nothing of torch's pickle
    again = pickle.loads(kept)
    assert vars(again).keys() == vars(estimator).keys()
    np.testing.assert_array_equal(again.score_samples(frame()), estimator.score_samples(frame()))
    np.testing.assert_array_equal(again.sample(3, 0), estimator.sample(3, 0))
    assert list(again.feature_names_in_) == ["a", "b", "c"]
    again.fit(frame())
    np.testing.assert_array_equal(again.score_samples(frame()), estimator.score_samples(frame()))
    if name == "search":
        again = pickle.loads(kept)
        assert again.study_.trials == estimator.study_.trials
        assert again.study_.user_attrs == estimator.study_.user_attrs
        assert type(again.study_.sampler) is type(estimator.study_.sampler)


def test_a_state_is_bytes_and_json(fitted: FlowDensity) -> None:
    state = fitted.__getstate__()
    plain = (str, bytes, int, float, type(None), dict)
    assert all(isinstance(value, plain) for value in state.values())
    assert not [name for name in state if name.endswith("_")]
    unfitted = pickle.loads(pickle.dumps(FlowDensity(members=2)))
    assert unfitted.members == 2


# --------------------------------------------------------------------------------------- bad input

x = rows(40)
BAD: dict[str, tuple[Any, str]] = {
    "one axis": (x[:, 0], r"`X` must have rows and columns, got shape (40,). Reshape your data"),
    "three axes": (x[None], "Found array with dim 3"),
    "NaN": (np.where(np.arange(3) == 1, np.nan, x), "`X` must be finite: row 0"),
    "infinity": (np.where(x == x[7, 1], np.inf, x), "`X` must be finite: row 7"),
    "sparse": (sparse.csr_array(x), "Sparse data was passed for X"),
    "words": (np.array([["a", "b", "c"]] * 40, dtype=object), "`X` must be numbers: could not"),
    "one row": (x[:1], "Found array with 1 sample(s) (shape=(1, 3)) while a minimum of 5"),
    "no columns": (x[:, :0], "Found array with 0 feature(s)"),
    "constant": (np.where(np.arange(3) == 1, 7.0, x), "hold 7): leave it out of `X`"),
    "twice": (x[:, [0, 1, 1]], "column 'x2' is a duplicate column"),
    "complex": (x * 1j, "Complex data not supported: `X` must be real"),
    "masked": (np.ma.masked_greater(x, x[3, 1]), "values are masked, that is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_one_line(name: str) -> None:
    given, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        FlowDensity(**SMALL).fit(given)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (frame()[["b", "a", "c"]], "Feature names must be in the same order"),
        (frame().rename(columns={"a": "z"}), "Feature names unseen at fit time"),
        (frame()[["a", "b"]], "Feature names seen at fit time, yet now missing"),
        (rows()[:, :2], "X has 2 features, but FlowDensity is expecting 3 features as input"),
        (rows()[0], "`X` must have rows and columns, got shape (3,)"),
        (np.where(rows() > 12, np.nan, rows()), "`X` must be finite"),
        (sparse.csr_array(rows()), "Sparse data was passed for X"),
        (np.ma.masked_greater(rows(), 0), "values are masked, that is missing"),
        (frame().astype(object).assign(b="high"), "`X` must be numbers: could not convert"),
    ],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_rows_at_score_time_are_refused(
    fitted: FlowDensity, given: Any, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        fitted.score_samples(given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FlowDensity(max_steps=0).fit(x), "`max_steps` must be a whole number"),
        (lambda: FlowDensity(max_steps=2.5).fit(x), "`max_steps` must be a whole number"),
        (lambda: FlowDensity(validation_fraction=1).fit(x), "`validation_fraction` must be"),
        (lambda: FlowDensity(minutes=-1, **SMALL).fit(x), "`minutes` must be positive"),
        (lambda: FlowDensity(marginals="log", **SMALL).fit(x), "`marginals`"),
        (lambda: FlowDensity(log=["d"], **SMALL).fit(x), "`log` names column 'd'"),
        (lambda: FlowSearch(trials=0, max_steps=3).fit(x), "`trials` must be a whole number"),
        (lambda: FlowSearch(trials=1, sampler="x", **SMALL).fit(x), "`sampler`"),
        (lambda: FlowOutlier(contamination=0.6).fit(x), "`contamination` must be 'auto' or in"),
        (lambda: FlowOutlier(method="p").fit(x), "`method` must be one of log_likelihood, typ"),
        (lambda: FlowDensity(**SMALL).fit(x, sample_weight=x[:, 0]), "`sample_weight` must not be"),
        (lambda: FlowDensity(**SMALL).fit(x, sample_weight=[1]), "`sample_weight` must have shape"),
        (
            lambda: FlowDensity(**SMALL).fit(x, sample_weight=np.arange(40) < 2),
            "`sample_weight` leaves 2 rows",
        ),
        (lambda: FlowDensity(**SMALL).fit(x, context=x[:9]), "`context` must have 40 rows"),
        (lambda: FlowDensity(**SMALL).fit(x, context=["a"] * 40), "`context` must be numbers"),
        (lambda: FlowDensity(**SMALL).fit(x, context=x * np.nan), "`context` must be finite"),
        (
            lambda: FlowDensity(**SMALL).fit(frame(), context=frame()[["a"]]),
            "`context` has a column 'a', which `X` has too",
        ),
        (
            lambda: FlowDensity(**SMALL).fit(x, context=np.ma.masked_greater(x, 0)),
            "`context` must be finite:",
        ),
        (
            lambda: FlowDensity(**SMALL).fit(x, context=sparse.csr_array(x)),
            "`context` must be dense",
        ),
        (lambda: FlowDensity(flow="no.json", **SMALL).fit(x), "`flow` 'no.json' can't be read"),
        (lambda: FlowDensity().sample(3), "is not fitted yet"),
    ],
)
def test_bad_arguments_are_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_bad_context_and_counts_are_one_line(fitted: FlowDensity) -> None:
    with pytest.raises(ValueError, match="`context` must be None"):
        fitted.score_samples(frame(), context=rows())
    for count in (0, -1, 2.5, True, "3"):
        with pytest.raises(ValueError, match="`n_samples` must be a whole number of at least 1"):
            fitted.sample(count)
    given = pd.DataFrame(rows(seed=1)[:, :2], columns=["t", "u"])
    density = FlowDensity(**SMALL).fit(frame(), context=given)
    for wrong, message in (
        (None, r"`context` must have 2 columns \(t, u\), got None"),
        (given[["u", "t"]], "must have the columns t, u in this order, got u, t"),
        (given.to_numpy()[:9], r"must have shape \(80, 2\) or \(2,\), got \(9, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            density.score_samples(frame(), context=wrong)


def test_without_scikit_learn_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import nfopt\nfrom nfopt import *\nassert 'FlowDensity' in dir(nfopt)\n"
        "try:\n    nfopt.FlowDensity\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == (
        "nfopt's estimators need scikit-learn: pip install 'nfopt[sklearn]'\n"
    ), done.stderr
