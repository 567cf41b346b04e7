"""The rivals themselves on a tiny table: they end in time, and their densities are densities."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt.compare import classical, ours, zuko_flows
from nfopt.compare.classical import affordable, gaussian_mixture
from nfopt.compare.rival import Clock, Fitted
from nfopt.data import Prepared

from .toys import normal, table, ticking


@pytest.fixture(scope="module")
def data() -> Prepared:
    return table()


def check(fitted: Fitted, data: Prepared, *, ahead_of_normal: bool = True) -> None:
    """The scores are finite and better than a normal's; samples lie where the data does."""
    scores = fitted.log_prob(data.part("test"))
    assert scores.shape == (len(data.test),)
    assert fitted.parameters is not None
    assert fitted.parameters > 0
    if ahead_of_normal:
        assert scores[np.isfinite(scores)].mean() > normal(data).log_prob(data.part("test")).mean()
    assert fitted.curve
    assert fitted.sample is not None
    rows = np.asarray(fitted.sample(400))
    assert rows.shape == (400, 3)
    assert np.median(rows[:, 2]) == pytest.approx(1.0, abs=0.5), "the data's own scale"


def test_a_gaussian_mixture(data: Prepared) -> None:
    fitted = gaussian_mixture(data, ticking(1.0, 0.0), 0)
    check(fitted, data)
    best = min(nll for _, nll in fitted.curve)
    assert -fitted.log_prob(data.part("val")).mean() == pytest.approx(best), "the best is kept"


def test_a_gaussian_mixture_without_time_is_one_gaussian(data: Prepared) -> None:
    fitted = gaussian_mixture(data, ticking(1.0, 1.0), 0)
    assert fitted.what == "components: 1"
    assert fitted.parameters == 3 + 6


def test_zukos_recipe(data: Prepared) -> None:
    fitted = zuko_flows.recipe(data, ticking(1.0, 0.01), 0)  # some thirty steps
    check(fitted, data, ahead_of_normal=False)
    assert -fitted.log_prob(data.part("val")).mean() == pytest.approx(
        min(nll for _, nll in fitted.curve), abs=1e-4
    )


def test_zukos_recipe_with_context() -> None:
    data = table(context=True)
    fitted = zuko_flows.recipe(data, ticking(1.0, 0.2), 0)
    assert np.isfinite(fitted.log_prob(data.part("test"))).all()
    assert fitted.sample is None
    with pytest.raises(ValueError, match="no conditional form"):
        gaussian_mixture(data, Clock(1.0), 0)


def test_how_many_trees_a_vine_can_afford() -> None:
    assert affordable(1e9, 4, 1000) == (3, 1000)
    assert affordable(3000, 4, 1000) == (1, 1000)
    assert affordable(5000, 4, 1000) == (2, 1000)
    assert affordable(2400, 4, 1000) == (1, 800)
    assert affordable(0, 4, 1000) == (1, classical.PROBE)
    assert affordable(0, 4, 100) == (1, 100)


@pytest.mark.slow
def test_a_vine(data: Prepared) -> None:
    pytest.importorskip("pyvinecopulib")
    check(classical.vine(data, Clock(30.0), 0), data)


@pytest.mark.slow
@pytest.mark.parametrize("fit", [zuko_flows.sbi_settings, zuko_flows.tpe])
def test_other_flows_of_zuko(fit: object, data: Prepared) -> None:
    check(fit(data, Clock(10.0), 0), data, ahead_of_normal=False)  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("fit", [ours.fit, ours.search])
def test_our_own(fit: object, data: Prepared) -> None:
    check(fit(data, Clock(12.0), 0), data)  # type: ignore[operator]
