"""scikit-learn's own checks of an estimator, all of them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

from nfopt import FlowDensity, FlowOutlier, FlowSearch

SMALL = {"max_steps": 3, "random_state": 0}


def expected(estimator: Any) -> dict[str, str]:
    """Checks that can't pass, and why; the densities have no method that this one compares."""
    if not isinstance(estimator, FlowOutlier):
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": (
            "a row of weight 2 is drawn as one row: it is in one batch, and trains or validates,"
            " where of two equal rows one may do either"
        )
    }


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([FlowDensity(**SMALL)], expected_failed_checks=expected)
def test_a_density(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [FlowOutlier(**SMALL), FlowSearch(trials=1, space={"depth": 1, "width": 8}, **SMALL)],
    expected_failed_checks=expected,
)
def test_the_others(estimator: Any, check: Any) -> None:
    check(estimator)
