"""Outliers by log-likelihood and by typicality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.metrics import roc_auc_score

from nfopt import FlowOutlier
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec

D = 4
NET = Conditioner(width=16, hidden_layers=1)
LAYERS = (Coupling(mask="CCTT", conditioner=NET), Coupling(mask="TTCC", conditioner=NET))
TRAIN = TrainSpec(steps=60, batch_size=128, learning_rate=5e-3)
FLOW = Recipe(FlowSpec(features=D, layers=LAYERS), TRAIN)


def rows(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, D))


def outlier(**options: Any) -> FlowOutlier:
    return FlowOutlier(flow=FLOW, random_state=0, **options)


def test_the_threshold_leaves_what_it_says() -> None:
    x = rows(400)
    found = outlier(contamination=0.05).fit(x)
    assert (found.predict(x) == -1).sum() == 20
    assert outlier(contamination=0.05).fit_predict(x).tolist() == found.predict(x).tolist()
    auto = outlier().fit(x)
    assert 0 < (auto.predict(rows(1000, seed=1)) == -1).mean() < 0.15
    np.testing.assert_array_equal(auto.decision_function(x) < 0, auto.predict(x) == -1)


def test_far_rows_are_outliers() -> None:
    found = outlier().fit(rows(400))
    inside, outside = rows(50, seed=1), rows(50, seed=2) + 6
    scores = found.score_samples(np.concatenate([inside, outside]))
    assert roc_auc_score([1] * 50 + [0] * 50, scores) > 0.99
    assert (found.predict(outside) == -1).all()


def test_typicality_suspects_what_is_too_likely() -> None:
    x, inside = rows(400), rows(200, seed=1)
    middle = 0.02 * rows(200, seed=2)  # the densest place, where no row of 4 columns lies
    labels = [1] * 200 + [0] * 200
    both = np.concatenate([inside, middle])
    plain, typical = outlier().fit(x), outlier(method="typicality").fit(x)
    assert roc_auc_score(labels, plain.score_samples(both)) < 0.2
    assert roc_auc_score(labels, typical.score_samples(both)) > 0.7
    far = rows(50, seed=3) + 6
    assert typical.score_samples(far).max() < typical.score_samples(inside).min()


def test_what_is_typical_is_measured_on_rows_not_trained_on() -> None:
    x = rows(400)
    found = outlier().fit(x)
    scores = found.score_samples(x)
    assert found.center_ != np.median(scores)
    few = outlier().fit(x[:60])  # 6 rows validate: too few to say anything
    assert few.center_ == pytest.approx(np.median(few.score_samples(x[:60])))


@pytest.mark.parametrize("method", ["log_likelihood", "typicality"])
def test_offset_and_score_agree(method: Any) -> None:
    x = rows(100)
    found = outlier(method=method, contamination=0.1).fit(x)
    expected = found.score_samples(x) - found.offset_
    np.testing.assert_allclose(found.decision_function(x), expected)
