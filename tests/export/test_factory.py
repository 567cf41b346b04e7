"""Structures with fresh weights: zuko flows that others train."""

from __future__ import annotations

import sys

import optuna
import pytest
import torch
import zuko

from nfopt.errors import ExportError
from nfopt.export import export_zuko, factory
from nfopt.spec import LU, Elementwise, FlowSpec, Planar, TrainSpec

from .toys import everything, made, mixture, simple


def sizes(flow: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in flow.named_parameters()}


@pytest.mark.parametrize("context", [0, 3])
def test_the_structure_comes_with_fresh_weights(context: int) -> None:
    flow, _ = made(everything(context=context))
    make = factory(flow, seed=1)
    first, second, again = make(4, context), make(4, context), factory(flow, seed=1)(4, context)
    assert isinstance(first, zuko.flows.Flow)
    theirs = sizes(export_zuko(flow))
    assert sorted(sizes(first).values()) == sorted(theirs.values())
    assert {one.dtype for one in first.parameters()} == {torch.float32}
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    other = [
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    ]
    assert all(same)
    assert not all(other)
    assert {one.dtype for one in factory(flow, dtype=torch.float64)(4).parameters()} == {
        torch.float64
    }


def test_it_can_be_trained_and_drawn_from() -> None:
    torch_rows = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * 2 + 1
    flow = factory(everything())(4)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = -flow().log_prob(torch_rows).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.5
    with torch.random.fork_rng(), torch.no_grad():
        drawn, log_p = flow().rsample_and_log_prob((5,))
    torch.testing.assert_close(flow().log_prob(drawn), log_p, atol=1e-3, rtol=1e-3)


def test_context_may_be_added_to_a_structure_without() -> None:
    flow = factory(simple())(4, 3)
    context = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    x = torch.zeros(6, 4)
    scores = flow(context).log_prob(x)
    assert len(set(scores.tolist())) == 6


def test_of_a_mixture_it_is_the_largest_share_unless_told() -> None:
    flow, _ = mixture()
    assert sizes(factory(flow)(4)) == sizes(factory(flow.specs[0])(4))
    assert sizes(factory(flow, member=2)(4)) == sizes(factory(flow.specs[2])(4))
    with pytest.raises(ValueError, match="`member` must be from 0 to 2, got 3"):
        factory(flow, member=3)


def test_a_trial_has_a_structure() -> None:
    spec = simple()
    attributes = {"nfopt:spec": spec.to_json(), "nfopt:train": TrainSpec().to_json()}
    trial = optuna.trial.create_trial(value=1.0, user_attrs=attributes)
    assert sizes(factory(trial)(4)) == sizes(factory(spec)(4))
    with pytest.raises(ValueError, match="it was never trained by nfopt"):
        factory(optuna.trial.create_trial(value=1.0))


def test_what_does_not_fit_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="`source` must be a Flow, a trial or a FlowSpec, got str"):
        factory("model")
    with pytest.raises(ValueError, match="`seed`"):
        factory(simple(), seed=-1)
    with pytest.raises(ExportError, match=r"zuko has no .*`layers` 0 \(planar\)"):
        factory(FlowSpec(features=2, layers=(Planar(),)))
    with pytest.raises(ValueError, match=r"`features` must be 4, .* got 5"):
        factory(simple())(5)
    with pytest.raises(ValueError, match="`context` must be a number of columns, got -1"):
        factory(simple())(4, -1)
    alone = FlowSpec(features=2, layers=(LU(), Elementwise()))
    assert factory(alone)(2)().log_prob(torch.zeros(3, 2)).shape == (3,)
    with pytest.raises(ValueError, match=r"`context` must be 0, as no layer .* got 1"):
        factory(alone)(2, 1)
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ExportError, match="zuko is not installed"):
        factory(simple())


@pytest.mark.slow
def test_lampe_takes_it_as_build() -> None:
    inference = pytest.importorskip("lampe.inference")
    estimator = inference.NPE(4, 3, build=factory(everything()))
    loss = inference.NPELoss(estimator)(torch.zeros(7, 4), torch.ones(7, 3))
    loss.backward()
    assert all(one.grad is not None for one in estimator.parameters())
    with torch.random.fork_rng(), torch.no_grad():
        assert estimator.flow(torch.ones(3)).sample((5,)).shape == (5, 4)


@pytest.mark.slow
def test_pyro_takes_its_density() -> None:
    pyro = pytest.importorskip("pyro")
    from pyro.contrib.zuko import ZukoToPyro

    flow = factory(everything())(4)
    with torch.random.fork_rng(), pyro.plate("rows", 5), torch.no_grad():
        drawn = pyro.sample("x", ZukoToPyro(flow()))
    trace = pyro.poutine.trace(
        pyro.poutine.condition(lambda: pyro.sample("x", ZukoToPyro(flow())), data={"x": drawn[0]})
    ).get_trace()
    assert drawn.shape == (5, 4)
    assert torch.isclose(trace.log_prob_sum(), flow().log_prob(drawn[0]))
