"""Many paths at once give what each gives alone."""

from __future__ import annotations

import itertools

import pytest
import torch

from nfopt.autonf.objective import enumerate_paths
from nfopt.autonf.options import NOTHING, spec_of
from nfopt.autonf.supernet import Supernet
from nfopt.flows import build

from .toys import make_net, rows, seeded


def alone(net: Supernet, path: tuple[int, ...], x: torch.Tensor, context=None) -> torch.Tensor:
    """The density of a path as a flow of its own, with the supernet's weights."""
    spec = spec_of(net.options, path, net.features, net.context_features)
    (stack,) = build([spec], seeded(0), dtype=torch.float64)
    weights, at = {}, 0
    for place, k in enumerate(path):
        part = net.stacks[place][k] if k != NOTHING else None
        if part is not None:
            for name, weight in part.weights(0).items():
                number, _, rest = name.partition(".")
                weights[f"{at + int(number)}.{rest}"] = weight
            at += len(part.specs[0].layers)
    stack.load_weights(0, weights)
    return stack.log_prob(x, context)[0]


def test_every_path_is_its_own_flow() -> None:
    net, x = make_net(), rows().double()
    paths = enumerate_paths([range(len(net.options))] * 2)
    together = net.log_prob(paths, x)
    for path, log_p in zip(paths.tolist(), together, strict=True):
        torch.testing.assert_close(log_p, alone(net, tuple(path), x))


def test_paths_may_repeat_skip_and_come_in_any_order() -> None:
    net, x = make_net(places=3), rows().double()
    paths = [(0, 1, 2), (3, NOTHING, 4), (0, 1, 2), (NOTHING,) * 3, (3, 0, 5)]
    together = net.log_prob(paths, x)
    assert torch.equal(together[0], together[2])
    for path, log_p in zip(paths, together, strict=True):
        torch.testing.assert_close(log_p, alone(net, path, x))


def test_context_reaches_every_path() -> None:
    net, x = make_net("types,identity", context=1), rows().double()
    context = torch.randn(len(x), 1, generator=seeded(3), dtype=torch.float64)
    for path in ((0, 1), (2, 3), (4, 1)):
        log_p = net.log_prob([path, (1, 1)], x, context)[0]
        torch.testing.assert_close(log_p, alone(net, path, x, context))
    assert not torch.equal(log_p, net.log_prob([path], x, context + 1)[0])


def test_beginnings_are_shared() -> None:
    net, x = make_net("types", places=3), rows(32).double()
    seen = []
    for column in net.stacks:
        for stack in column:
            assert stack is not None
            forward = stack.forward
            stack.forward = lambda x, context, forward=forward: (  # type: ignore[method-assign]
                seen.append(len(x) // 32),
                forward(x, context),
            )[1]
    net.log_prob(enumerate_paths([range(4)] * 3), x)
    assert len(seen) == 12
    assert sum(seen) == 4 + 16 + 64


def test_gradients_reach_the_weights_on_a_path_alone() -> None:
    net, x = make_net("types"), rows().double()
    net.log_prob([(0, 1), (0, 2)], x).sum().backward()
    for place, k in itertools.product(range(2), range(4)):
        stack = net.stacks[place][k]
        assert stack is not None
        on_path = (place, k) in {(0, 0), (1, 1), (1, 2)}
        assert (stack.theta.grad is not None) == on_path
    assert len(net.parameters([1])) == 4


def test_a_mixture_integrates_to_one() -> None:
    net = make_net("affine-coupling,spline-coupling,planar,radial")
    axis = torch.linspace(-9, 9, 181, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    paths = enumerate_paths([range(len(net.options))] * 2)
    logits = torch.randn(2, len(net.options), generator=seeded(4), dtype=torch.float64)
    log_w = logits.log_softmax(1).gather(1, paths.T).sum(0)
    with torch.no_grad():
        density = (log_w[:, None] + net.log_prob(paths, grid)).logsumexp(0).exp()
    assert float(density.sum() * (axis[1] - axis[0]) ** 2) == pytest.approx(1, abs=2e-3)
