"""One support for training and scoring: what the loader accepts has a score, the reported one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nfopt.data import Prepared, Table, load, prepare, split
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import LU, Conditioner, Coupling, FlowSpec, Spline
from nfopt.study.results import member_scores

NET = Conditioner(width=8, hidden_layers=1)
LAYERS = (LU(), Coupling(mask="CTC", map=Spline(bins=4), conditioner=NET))
MAPS = ["standardise", "asinh", "quantile"]


def prepared_of(table: Table, seed: int = 3) -> Prepared:
    return prepare(table, split(table, seed=0), seed, on_warning=lambda text: None)


def flow_of(data: Prepared, *marginals: str) -> Flow:
    """An untrained flow: what is tested does not depend on the weights."""
    specs = [FlowSpec(features=3, layers=LAYERS)] * len(marginals)
    (stack,) = build(specs, torch.Generator().manual_seed(0))
    return Flow.of(stack, [data.under(one).preprocessing for one in marginals])


def columns_of(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    return {
        "counts": rng.poisson(2.0, rows) * 1.0,  # on 0, the lower bound
        "marks": rng.integers(0, 11, rows) / 2.0,  # on both bounds
        "below": -rng.poisson(3.0, rows) * 0.1,  # on 0, the upper bound
        "normal": rng.normal(size=rows),
        "positive": rng.lognormal(size=rows),
        "heavy": rng.standard_cauchy(rows),
    }


HINTS: dict[str, list[dict[str, Any]]] = {
    "counts": [{}, {"bounds": (0, None)}, {"log": True}],
    "marks": [{}, {"bounds": (0, 5)}, {"bounds": (None, 5)}],
    "below": [{}, {"bounds": (None, 0)}, {"bounds": (-10, 0)}],
    "normal": [{}, {"bounds": (-20, 20)}],
    "positive": [{}, {"log": True}, {"bounds": (0, None)}],
    "heavy": [{}],
}


@given(
    st.lists(st.sampled_from(sorted(HINTS)), min_size=3, max_size=3, unique=True),
    st.data(),
    st.integers(0, 9),
    st.sampled_from(["frame", "array", "csv", "parquet"]),
    st.sampled_from(MAPS),
)
@settings(max_examples=60, deadline=None)
def test_what_the_loader_accepts_has_the_reported_score(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    draw: st.DataObject,
    seed: int,
    form: str,
    marginals: str,
) -> None:
    columns = columns_of(np.random.default_rng(seed), 120)
    frame = pd.DataFrame({name: columns[name] for name in names})
    chosen = {name: draw.draw(st.sampled_from(HINTS[name])) for name in names}
    table = load(
        frame,
        bounds={name: hint["bounds"] for name, hint in chosen.items() if "bounds" in hint},
        log=[name for name, hint in chosen.items() if hint.get("log")],
        on_warning=lambda text: None,
    )
    data = prepared_of(table)
    flow = flow_of(data, marginals)
    assert np.isfinite(flow.log_prob(_as(frame, form, tmp_path_factory))).all()
    # the same rows have the same score
    rows = split(table, seed=0).test
    part = data.parts[2]
    reported = member_scores(flow, part).numpy()[0]
    again = frame.iloc[rows]
    given_form = _as(again, form, tmp_path_factory)
    np.testing.assert_array_equal(flow.log_prob(given_form, as_fitted=True), reported)
    if all(hint.step is None for hint in table.hints):
        np.testing.assert_array_equal(flow.log_prob(given_form), reported)


def _as(frame: pd.DataFrame, form: str, places: pytest.TempPathFactory) -> Any:
    if form == "frame":
        return frame[list(frame.columns[::-1])]
    if form == "array":
        return frame.to_numpy()
    path = Path(places.mktemp("rows")) / f"rows.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def test_values_on_a_bound_are_inside_where_the_column_is_tied() -> None:
    """The fit reported 3.2 nats, and the same rows scored -inf."""
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.poisson(1.0, 300), rng.normal(size=(300, 2))])
    table = load(values, bounds={"x0": (0, None)}, on_warning=lambda text: None)
    flow = flow_of(prepared_of(table), "asinh")
    zeros = values[values[:, 0] == 0.0]
    assert len(zeros) > 50
    assert np.isfinite(flow.log_prob(zeros)).all()
    assert np.isneginf(flow.log_prob(zeros - [1e-9, 0.0, 0.0])).all()
    smooth = load(np.abs(rng.normal(size=(300, 3))), log="x0")
    rows = np.array([[0.0, 1.0, 1.0], [1e-300, 1.0, 1.0]])
    scores = flow_of(prepared_of(smooth), "asinh").log_prob(rows)
    assert np.isneginf(scores[0])
    assert not np.isnan(scores[1])


def test_the_noise_is_of_the_content_the_seed_and_the_part() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.poisson(2.0, 400), rng.integers(0, 3, 400), rng.normal(size=400)])
    table = load(values, on_warning=lambda text: None)
    maps = prepared_of(table).preprocessing
    rows = values[:50]
    spread = maps.as_fitted(rows)
    order = rng.permutation(50)
    np.testing.assert_array_equal(maps.as_fitted(rows[order]), spread[order])
    assert not np.array_equal(maps.as_fitted(rows, part=0)[:, 0], spread[:, 0])
    assert not np.array_equal(prepared_of(table, 4).preprocessing.as_fitted(rows), spread)
    # equal rows differ: a column alone is spread over its cells
    alone = load(rng.integers(0, 3, size=(400, 1)) * 1.0, on_warning=lambda text: None)
    cells = prepared_of(alone).preprocessing.as_fitted(alone.values)
    assert len(np.unique(cells)) == 400
    np.testing.assert_array_equal(np.round(cells), alone.values)


def test_samples_are_back_on_the_grid() -> None:
    rng = np.random.default_rng(0)
    values = np.column_stack(
        [rng.poisson(2.0, 400), rng.integers(-3, 8, 400) * 0.1, rng.normal(size=400)]
    )
    table = load(values, on_warning=lambda text: None)
    assert [hint.step for hint in table.hints] == [1.0, 0.1, None]
    flow = flow_of(prepared_of(table), "standardise", "asinh")
    drawn = flow.sample(500, seed=1)
    for place in (0, 1):
        assert set(drawn[:, place]) <= set(np.round(np.arange(-30, 200) / 10, 1))
        assert drawn[:, place].min() >= values[:, place].min()
        assert drawn[:, place].max() <= values[:, place].max()
    assert not np.signbit(drawn[:, 0]).any()
    assert len(np.unique(drawn[:, 2])) == 500
    loose = flow.sample(500, seed=1, round_ties=False)
    assert len(np.unique(loose[:, 0])) > 400
    np.testing.assert_array_equal(loose[:, 2], drawn[:, 2])


def test_far_rows_have_their_true_value_or_none() -> None:
    rng = np.random.default_rng(0)
    table = load(rng.normal(size=(300, 3)))
    far = np.array([[x, 0.0, 0.0] for x in (1e2, 1e5, 1e18, 1e20, 1e40, 1e160, 1e300, -1e40)])
    for marginals in MAPS:
        flow = flow_of(prepared_of(table), marginals)
        scores = flow.log_prob(far)
        assert not np.isnan(scores).any()
        assert (scores[1:7] <= scores[:6]).all()
        if marginals == "standardise":
            assert np.isneginf(scores[6])
            # beyond the spline all is linear: the exponent grows with the square
            assert scores[4] / scores[3] == pytest.approx(1e40, rel=1e-3)
        else:
            assert np.isfinite(scores).all()


def test_members_of_a_mixture_have_maps_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = load(rng.lognormal(size=(300, 3)))
    data = prepared_of(table)
    flow = flow_of(data, *MAPS)
    x = table.values[:40]
    (stack,) = flow.stacks
    for member, marginals in enumerate(MAPS):
        maps = data.under(marginals).preprocessing
        alone = Flow.of(stack, maps, members=[member])
        np.testing.assert_allclose(flow.members_log_prob(x)[member], alone.log_prob(x), rtol=1e-5)
    mixture = np.log(np.exp(flow.members_log_prob(x)).mean(axis=0))
    np.testing.assert_allclose(flow.log_prob(x), mixture)
    again = Flow.load(flow.save(tmp_path))
    assert again.preprocessings == flow.preprocessings
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
    np.testing.assert_array_equal(again.sample(20, seed=0), flow.sample(20, seed=0))
    assert np.isfinite(flow.sample(200, seed=0)).all()
    other = prepared_of(load(rng.lognormal(size=(300, 3)), log="x0")).preprocessing
    with pytest.raises(ValueError, match=r"`preprocessing` must be one, or one a member that diff"):
        Flow(flow.specs[:2], [flow.weights(0)] * 2, [data.preprocessing, other])
