"""L_O, L_U and the estimator: what the mathematics promises, on small cases."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nfopt.autonf.objective import (
    draw_paths,
    entropy,
    enumerate_paths,
    expected_cost,
    fair_paths,
    mixture,
    path_log_weights,
    reinforce,
    upper_bound,
)

from .toys import make_net, rows, seeded

PATHS = enumerate_paths([range(3)] * 2)


def random_logits(seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(2, 3, generator=seeded(seed), dtype=torch.float64)


def random_log_p(count: int = len(PATHS), seed: int = 1) -> Tensor:
    return 3 * torch.randn(count, 40, generator=seeded(seed), dtype=torch.float64)


def one_hot(path: tuple[int, ...], options: int = 3) -> Tensor:
    logits = torch.full((len(path), options), -torch.inf, dtype=torch.float64)
    for place, k in enumerate(path):
        logits[place, k] = 0
    return logits


def test_weights_of_all_paths_add_up_to_one() -> None:
    assert float(path_log_weights(random_logits(), PATHS).exp().sum()) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [None, torch.rand(40, generator=seeded(9)).double()])
def test_the_bound_is_above_the_mixture(seed: int, rows: Tensor | None) -> None:
    log_w = path_log_weights(random_logits(seed), PATHS)
    log_p = random_log_p(seed=seed)
    assert float(mixture(log_w, log_p, rows)) < float(upper_bound(log_w, log_p, rows)) - 0.1


@pytest.mark.parametrize("path", list(itertools.product(range(3), repeat=2)))
def test_the_bound_is_equal_at_one_hot_weights(path: tuple[int, ...]) -> None:
    log_w, log_p = path_log_weights(one_hot(path), PATHS), random_log_p()
    number = PATHS.tolist().index(list(path))
    wanted = pytest.approx(-float(log_p[number].mean()))
    assert float(mixture(log_w, log_p)) == wanted
    assert float(upper_bound(log_w, log_p)) == wanted


def test_a_path_that_is_ruled_out_may_be_infinite() -> None:
    log_p = random_log_p()
    log_p[0] = -torch.inf
    log_w = path_log_weights(one_hot((1, 1)), PATHS)
    assert torch.isfinite(upper_bound(log_w, log_p))


def exact_gradient(logits: Tensor, values: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    (path_log_weights(logits, PATHS).exp() * values).sum().backward()
    assert logits.grad is not None
    return logits.grad


def test_the_estimators_mean_is_the_exact_gradient() -> None:
    """Every draw of two paths, weighted with its probability: no sampling, no tolerance."""
    logits, values = random_logits(), random_log_p(seed=3).mean(1)
    probability = path_log_weights(logits, PATHS).exp()
    total = torch.zeros_like(logits)
    for i, j in itertools.product(range(len(PATHS)), repeat=2):
        leaf = logits.clone().requires_grad_()
        log_w = path_log_weights(leaf, PATHS[[i, j]])
        reinforce(log_w, values[[i, j]]).backward()
        assert leaf.grad is not None
        total += probability[i] * probability[j] * leaf.grad
    torch.testing.assert_close(total, exact_gradient(logits, values))


def test_the_estimator_agrees_on_paths_of_a_supernet() -> None:
    net, x = make_net("types,identity", dtype=torch.float32), rows()
    paths = enumerate_paths([range(5)] * 2)
    logits = (0.7 * torch.randn(2, 5, generator=seeded(6))).requires_grad_()
    with torch.no_grad():
        log_p = net.log_prob(paths, x)
    upper_bound(path_log_weights(logits, paths), log_p).backward()
    assert logits.grad is not None
    exact, logits.grad = logits.grad.clone(), None
    generator, draws = seeded(7), 1500
    found = []
    for _ in range(draws):
        some = draw_paths(logits, 4, generator)
        nll = -log_p[some[:, 0] * 5 + some[:, 1]].mean(1)
        (gradient,) = torch.autograd.grad(reinforce(path_log_weights(logits, some), nll), logits)
        found.append(gradient)
    estimates = torch.stack(found)
    error = estimates.std(0) / draws**0.5
    assert float(((estimates.mean(0) - exact).abs() / error).max()) < 4.5
    assert float((exact.abs() / error).max()) > 20  # the check can tell the gradient from zero


def test_the_baseline_needs_two_paths() -> None:
    with pytest.raises(ValueError, match="`paths` must be at least 2"):
        reinforce(torch.zeros(1), torch.zeros(1))


def minimise(loss, seed: int) -> tuple[float, Tensor]:
    logits = random_logits(seed).requires_grad_()
    adam = torch.optim.Adam([logits], lr=0.3)
    for _ in range(150):
        adam.zero_grad()
        value = loss(logits)
        value.backward()
        adam.step()
    return float(value.detach()), logits.detach()


@pytest.mark.parametrize("price", [0.0, 0.4])
def test_the_least_bound_over_the_simplexes_is_at_a_vertex(price: float) -> None:
    log_p, costs = random_log_p(seed=11), torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)

    def loss(logits: Tensor) -> Tensor:
        bound = upper_bound(path_log_weights(logits, PATHS), log_p)
        return bound + price * expected_cost(logits, costs)

    vertices = {path: float(loss(one_hot(path))) for path in itertools.product(range(3), repeat=2)}
    least = min(vertices.values())
    for seed in range(100):
        assert float(loss(random_logits(seed, scale=2.0))) >= least - 1e-12
    ends = [minimise(loss, seed) for seed in range(4)]
    assert min(value for value, _ in ends) == pytest.approx(least, abs=0.02)
    for _, logits in ends:  # each run ends at a vertex, if not at the best
        assert float(logits.softmax(1).amax(1).min()) > 0.95


def test_the_mixture_may_end_inside_where_its_argmax_is_worse() -> None:
    """Two options that know half of the rows each, and one that is fair on all."""
    half = torch.tensor([0.0] * 11 + [-6.0] * 9, dtype=torch.float64)
    log_p = torch.stack([half, -6 - half, torch.full((20,), -1.5, dtype=torch.float64)])
    paths = enumerate_paths([range(3)])

    def loss(bound):
        def inner(logits: Tensor) -> Tensor:
            return bound(path_log_weights(logits[:1], paths), log_p)

        return inner

    nll = -log_p.mean(1)
    value, logits = minimise(loss(mixture), 0)
    weights = logits[0].softmax(0)
    assert 0.4 < float(weights[0]) < 0.6  # inside, and the first option is the most likely
    assert value < float(nll.min()) - 0.5
    assert int(weights.argmax()) == 0
    assert float(nll[0]) > float(nll.min()) + 1  # which is worse alone than the third
    _, logits = minimise(loss(upper_bound), 0)
    assert int(logits[0].argmax()) == int(nll.argmin()) == 2
    assert float(logits[0].softmax(0).max()) > 0.95


def test_fair_paths_take_every_option_equally_often() -> None:
    paths = fair_paths([[0, 1, 2, 3], [4], [1, 3]], seeded(0))
    assert paths.shape == (4, 3)
    assert sorted(paths[:, 0].tolist()) == [0, 1, 2, 3]
    assert paths[:, 1].tolist() == [4] * 4
    assert sorted(paths[:, 2].tolist()) == [1, 1, 3, 3]


def test_draws_follow_the_weights() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 1.0], [2.0, 0.0, -1.0]])
    paths = draw_paths(logits, 20_000, seeded(0))
    for place in range(2):
        share = paths[:, place].bincount(minlength=3) / len(paths)
        assert torch.allclose(share, logits[place].softmax(0), atol=0.02)


def test_entropy_and_expected_cost() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf], [0.0, -torch.inf, -torch.inf]])
    assert entropy(logits).tolist() == pytest.approx([0.6931, 0.0], abs=1e-4)
    assert float(expected_cost(logits, torch.tensor([1.0, 3.0, 9.0]))) == pytest.approx(2 + 1)
