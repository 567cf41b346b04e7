"""studies/portfolio: regrets, the greedy portfolio, and the pool's recipes, without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "studies" / "portfolio"

# Two kinds of tables: on the first two recipe 0 is best, on the others recipe 1; recipe 2 is never
# best and never bad.
VALUES = np.array([[-1.0, -5.0, -2.0], [-1.0, -5.0, -2.0], [-9.0, -1.0, -2.0], [-9.0, -1.0, -2.0]])


def test_regret_is_how_far_one_is_below_the_best() -> None:
    from choose import regrets

    assert regrets(VALUES)[0].tolist() == [0.0, 4.0, 1.0]
    missing = np.array([[-1.0, np.nan, -3.0], [-2.0, -1.0, -np.inf]])
    assert regrets(missing).tolist() == [[0.0, 2.0, 2.0], [1.0, 0.0, 1.0]]


def test_a_portfolio_begins_with_the_least_mean_regret_and_adds_what_helps_it() -> None:
    from choose import greedy, regrets

    regret = regrets(VALUES)
    assert greedy(regret, 1) == [2]
    assert greedy(regret, 2) == [2, 0], "of equal ones the first"
    assert greedy(regret, 8) == [2, 0, 1]
    assert regret[:, greedy(regret, 3)].min(axis=1).max() == 0.0


def test_a_table_that_is_left_out_has_no_say() -> None:
    from choose import left_out, regrets

    regret = regrets(np.array([[-1.0, -3.0], [-1.0, -3.0], [-4.0, -1.0]]))
    # without one of the first two recipe 1 has the lower mean (1.0, not 1.5); without the last, 0
    assert left_out(regret, 1) == pytest.approx((2.0 + 2.0 + 3.0) / 3)
    assert left_out(regret, 2) == 0.0


def test_an_axis_is_worth_what_the_best_of_the_others_lose_without_a_value() -> None:
    from choose import ablation

    recipes = ["ar6x128 asinh muon 0.008 d0.4", "sparse2 mutual_information quantile adamw 0.002"]
    regret = np.array([[0.0, 1.0], [0.5, 0.0]])
    lost = {(axis, value): nats for axis, value, nats in ablation(recipes, regret)}
    assert lost["structure", "dense autoregressive"] == 0.5
    assert lost["structure", "sparse"] == 0.25
    assert lost["marginal maps", "quantile"] == lost["dropout", "0"] == 0.25
    assert lost["rate", "muon 0.008"] == 0.5
    assert not any(axis == "length" for axis, _ in lost), "all have the same"


def test_the_tables_say_it_for_each_number_of_rows() -> None:
    from choose import tables

    rows = [
        {"set": f"t{t}", "rows": size, "recipe": f"r{r}", "validation": value, "training": 0.5}
        for size in (500, 0)
        for t, line in enumerate(VALUES.tolist())
        for r, value in enumerate(line)
    ]
    text = list(tables(rows))
    assert [line for line in text if line.startswith("## ")] == [
        "## 500 rows: t0, t1, t2, t3\n",
        "## All rows: t0, t1, t2, t3\n",
    ]
    assert "| r2 | 4 | 1.000 | 2.500 |" in text
    assert "| 1 | 1.000 | 1.000 | r2 |" in text
    assert list(tables([])) == []


@pytest.mark.parametrize("few", [True, False])
def test_every_recipe_of_the_pool_can_be_built(few: bool) -> None:
    from pool import flow_of, pool, stacks

    from nfopt.data import MARGINALS
    from nfopt.spec import TrainSpec

    entries = pool(few)
    assert len({entry.name for entry in entries}) == len(entries)
    values = np.random.default_rng(0).normal(size=(80, 4))
    for entry in entries:
        assert entry.marginals in MARGINALS
        TrainSpec(**entry.train)
        flow = flow_of(entry.flow, values)
        assert flow is None or flow.features == 4
    grouped = list(stacks(entries))
    assert sum(map(len, grouped)) == len(entries)
    assert all(len({(e.flow, e.marginals) for e in group}) == 1 for group in grouped)
