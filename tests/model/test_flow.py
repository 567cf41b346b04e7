"""The flow that a user holds: its density, its samples, and its structure in words."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from nfopt.data import ColumnHint, Preprocessing
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import Affine, Elementwise, FlowSpec, Spline, TrainSpec
from nfopt.training import TrainData, train

from .toys import affine, context_of, make_flow, noise, preprocessing, spline, table

# ------------------------------------------------------------------------------------ density


def test_log_prob_is_the_mixture_on_the_scale_of_the_data(flow: Flow) -> None:
    x = table(40, seed=2)
    given = context_of(flow, 40)
    members = flow.members_log_prob(x, given)
    assert members.shape == (len(flow), 40)
    z, logdet = flow.preprocessing.forward(x)
    seen = None
    if given is not None:
        seen = torch.from_numpy(flow.preprocessing.forward_context(given)).float()
    for member, spec in enumerate(flow.specs):
        (alone,) = build([spec], torch.Generator())
        alone.load_weights(0, flow.weights(member))
        with torch.no_grad():
            expected = alone.log_prob(torch.from_numpy(z).float(), seen)[0].numpy() + logdet
        np.testing.assert_allclose(members[member], expected, atol=1e-4)
    mixture = np.log(np.exp(members).mean(axis=0))
    scores = flow.log_prob(x, given)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, mixture, atol=1e-10)
    np.testing.assert_allclose(flow.disagreement(x, given), members.std(axis=0), atol=1e-12)


def test_the_density_integrates_to_1_on_the_scale_of_the_data() -> None:
    spec = FlowSpec(features=1, layers=(Elementwise(map=Spline(bins=6)),))
    (stack,) = build([spec] * 2, torch.Generator().manual_seed(1))
    with torch.no_grad():
        stack.theta.add_(noise(stack.theta.shape, seed=2))
    values = np.random.default_rng(0).gamma(3.0, 20.0, size=(500, 1))
    fitted = Preprocessing.fit(values, ["dose"], [ColumnHint(low=0.0)])
    grid = np.geomspace(1e-4, 1e6, 40_000)
    density = np.exp(Flow.of(stack, fitted).log_prob(grid[:, None]))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-3)


def test_far_rows_do_not_underflow_and_rows_outside_have_no_density() -> None:
    flow = make_flow([affine()] * 2)
    x = table(3)
    x[0, 0] = 1e6
    x[1, 2] = 1.5  # outside (0, 1)
    scores = flow.log_prob(x)
    assert np.isfinite(scores[[0, 2]]).all()
    assert scores[0] < -1e6
    assert scores[1] == -math.inf
    assert flow.disagreement(x)[1] == 0


def test_members_agree_where_the_data_is_and_drift_apart_where_it_is_not() -> None:
    x = table(2000)
    fitted = preprocessing()
    z = torch.from_numpy(fitted.forward(x)[0]).float()
    (stack,) = build([affine()] * 4, torch.Generator().manual_seed(0))
    data = TrainData(x=z[:1600], val=z[1600:])
    spec = TrainSpec(steps=150, learning_rate=0.02)
    train(stack, spec, data, generator=torch.Generator().manual_seed(1))
    flow = Flow.of(stack, fitted)
    far = np.column_stack([np.full(50, 200.0), np.full(50, 200.0), np.full(50, 0.999)])
    assert flow.disagreement(far).mean() > 5 * flow.disagreement(x).mean()
    assert len(Flow.of(stack, fitted, members=[2, 0])) == 2


def test_many_rows_are_scored_in_chunks_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, flow: Flow
) -> None:
    x, given = table(500, seed=4), context_of(flow, 500)
    whole = flow.log_prob(x, given)
    monkeypatch.setattr("nfopt.model.chunks.CPU_ELEMENTS", 1)
    monkeypatch.setattr("nfopt.model.draw.ROWS", 130)
    np.testing.assert_allclose(flow.log_prob(x, given), whole, atol=1e-4)


def test_no_rows_give_no_scores(flow: Flow) -> None:
    assert flow.log_prob(np.empty((0, 3)), context_of(flow, 0)).shape == (0,)


# ------------------------------------------------------------------------------------ samples


def test_samples_are_on_the_scale_of_the_data_and_repeat_with_the_seed(flow: Flow) -> None:
    given = context_of(flow, 200)
    rows = flow.sample(200, seed=1, context=given)
    assert rows.shape == (200, 3)
    assert rows.dtype == np.float64
    assert (rows[:, 1] > 0).all()
    assert ((rows[:, 2] > 0) & (rows[:, 2] < 1)).all()
    np.testing.assert_array_equal(flow.sample(200, seed=1, context=given), rows)
    assert not np.array_equal(flow.sample(200, seed=2, context=given), rows)
    assert not np.array_equal(flow.sample(200, context=given), flow.sample(200, context=given))
    precise = flow.sample(200, seed=1, context=given, dtype=np.float64)
    assert precise.shape == (200, 3)
    assert flow.sample(0, seed=1, context=context_of(flow, 0)).shape == (0, 3)


def test_samples_follow_the_density() -> None:
    flow = make_flow([affine(), spline()])
    rows = flow.sample(20_000, seed=3)
    # E[1 / p(x) 1(x in A)] over samples is the volume of A
    low, high = np.array([45.0, 0.5, 0.3]), np.array([55.0, 1.5, 0.7])
    inside = ((rows > low) & (rows < high)).all(axis=1)
    assert inside.sum() > 300
    volume = np.exp(-flow.log_prob(rows[inside])).sum() / len(rows)
    assert volume == pytest.approx(np.prod(high - low), rel=0.2)


def test_every_member_gives_its_share_of_the_samples() -> None:
    shift = [FlowSpec(features=3, layers=(Elementwise(map=Affine()),))] * 2
    flow = make_flow(shift)
    (stack,) = flow.stacks
    stack.load_weights(0, {k: torch.zeros_like(w) for k, w in stack.weights(0).items()})
    stack.load_weights(1, {k: torch.full_like(w, 3.0) for k, w in stack.weights(1).items()})
    scores = flow.members_log_prob(flow.sample(4000, seed=0))
    share = (scores[0] > scores[1]).mean()
    assert 0.45 < share < 0.55


def test_samples_follow_their_context() -> None:
    flow = make_flow([affine(2)])
    one = flow.sample(3, seed=0, context=[1.0, 2.0])
    np.testing.assert_array_equal(one, flow.sample(3, seed=0, context=[[1.0, 2.0]] * 3))
    assert not np.allclose(one, flow.sample(3, seed=0, context=[9.0, -9.0]))


def test_repr_says_the_structure_in_words() -> None:
    flow = make_flow([affine(2), affine(2), spline(2)])
    flow.info |= {"name": "toy", "scores": {"validation_nll": 1.23456, "test_nll_2se": 0.1}}
    text = repr(flow)
    assert text.startswith("Flow(ensemble of 3: lu, affine coupling (1x8) on 3 features | spline")
    assert "given hour, place; of toy; validation NLL 1.235)" in text
    assert "\n" not in text
    both = [FlowSpec(features=3), affine()]
    assert f"; {affine().parameter_count()} parameters" in repr(make_flow(both))


def test_in_double_precision_a_row_has_one_score(flow: Flow) -> None:
    x, given = table(40), context_of(flow, 40)
    plain, exact = flow.log_prob(x, given), flow.log_prob(x, given, dtype=np.float64)
    np.testing.assert_allclose(exact, plain, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(exact, plain)
    alone = [
        flow.log_prob(
            x[at : at + 1], None if given is None else given[at : at + 1], dtype="float64"
        )
        for at in range(40)
    ]
    np.testing.assert_allclose(np.concatenate(alone), exact, rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------- shares


def test_members_count_by_their_shares(tmp_path: Path) -> None:
    flow = make_flow([affine(), spline()], shares=[3, 1])
    x = table(20, seed=2)
    members = flow.members_log_prob(x)
    expected = np.log(0.75 * np.exp(members[0]) + 0.25 * np.exp(members[1]))
    np.testing.assert_allclose(flow.log_prob(x), expected, atol=1e-10)
    again = Flow.load(flow.save(tmp_path))
    assert again.shares == flow.shares == (0.75, 0.25)
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
    np.testing.assert_array_equal(again.to("cpu").log_prob(x), flow.log_prob(x))


def test_samples_are_drawn_by_the_shares() -> None:
    parts = make_flow([affine(), spline()])
    flow = make_flow([affine(), spline()], shares=[99, 1])
    means = [float(make_flow([spec]).sample(4000, seed=0)[:, 0].mean()) for spec in parts.specs]
    assert abs(means[0] - means[1]) > 0.5  # else it can't be told whose the samples are
    assert abs(flow.sample(4000, seed=0)[:, 0].mean() - means[0]) < 0.2 * abs(means[0] - means[1])


def test_equal_shares_are_none_and_wrong_ones_are_refused() -> None:
    assert make_flow([affine()] * 2, shares=[2, 2]).shares is None
    for wrong in (
        [1.0],
        [1.0, 0.0],
        [1.0, -1.0],
        [1.0, math.nan],
        [1.0, math.inf],
        [1e308, 1.5e308],
    ):
        with pytest.raises(ValueError, match="`shares` must be 2 positive numbers"):
            make_flow([affine()] * 2, shares=wrong)
