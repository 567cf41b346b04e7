"""Data made with a seed, and the density that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate

from nfopt.data import load, sparse_graph
from nfopt.data.synthetic import moons, rings


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_density_integrates_to_one(seed: int) -> None:
    graph = sparse_graph(2, seed)
    line = np.linspace(-12.0, 12.0, 1601)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    density = np.exp(graph.log_prob(grid.reshape(-1, 2))).reshape(len(line), -1)
    total = integrate.simpson(integrate.simpson(density, line), line)
    assert total == pytest.approx(1.0, abs=1e-4)


def test_the_density_is_that_of_the_samples() -> None:
    graph = sparse_graph(2, 1)
    x = graph.sample(200_000, seed=7)
    edges = np.linspace(-3.0, 3.0, 25)
    counts, _, _ = np.histogram2d(x[:, 0], x[:, 1], bins=[edges, edges])
    fine = np.linspace(-3.0, 3.0, 24 * 8 + 1)
    middle = (fine[1:] + fine[:-1]) / 2
    grid = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1)
    cell = np.exp(graph.log_prob(grid.reshape(-1, 2))).reshape(192, 192) * (fine[1] - fine[0]) ** 2
    expected = cell.reshape(24, 8, 24, 8).sum(axis=(1, 3)) * len(x)
    used = expected > 20.0
    chi2 = np.mean((counts[used] - expected[used]) ** 2 / expected[used])
    assert used.sum() > 80
    assert chi2 == pytest.approx(1.0, abs=0.4)


def test_the_log_density_factors_along_the_graph() -> None:
    graph = sparse_graph(8, 5)
    x = graph.sample(1, seed=0)
    for feature in range(8):
        # Changing a feature touches only its own factor and those of its children: features
        # further away, changed as well, add up.
        shift = np.zeros((1, 8))
        shift[0, feature] = 0.3
        children = set(np.flatnonzero(graph.adjacency[:, feature]))
        married = {int(p) for c in children for p in np.flatnonzero(graph.adjacency[c])}
        near = {feature} | children | married | set(np.flatnonzero(graph.adjacency[feature]))
        for other in set(range(8)) - near:
            step = np.zeros((1, 8))
            step[0, other] = 0.3
            both = graph.log_prob(x + shift + step) + graph.log_prob(x)
            apart = graph.log_prob(x + shift) + graph.log_prob(x + step)
            np.testing.assert_allclose(both, apart, atol=1e-10)


def test_the_graph_is_sparse_acyclic_and_hidden() -> None:
    graph = sparse_graph(64, 3)
    assert graph.features == 64
    assert graph.adjacency.sum(axis=1).max() <= 3
    assert np.count_nonzero(graph.adjacency.any(axis=1)) == 63
    ordered = graph.adjacency[np.ix_(graph.order, graph.order)]
    assert not np.triu(ordered).any()
    assert graph.order != tuple(range(64))


def test_the_structure_can_be_gained() -> None:
    # The truth is well above a Gaussian, so that a search has something to find.
    graph = sparse_graph(16, 3)
    x = graph.sample(20_000, seed=3)
    covariance = np.cov(x.T)
    gaussian = -0.5 * (np.linalg.slogdet(2 * np.pi * covariance)[1] + 16)
    assert graph.log_prob(x).mean() > gaussian + 1.5
    assert np.abs(x).max() < 30.0


def test_names_and_functions_agree() -> None:
    np.testing.assert_array_equal(
        load("sparse_graph:D=6,seed=2,n=500").values, sparse_graph(6, 2).sample(500, 2)
    )
    np.testing.assert_array_equal(load("moons:n=300,seed=1").values, moons(300, 1))
    np.testing.assert_array_equal(load("rings:n=300,noise=0.2").values, rings(300, 0, 0.2))


def test_seeds_and_wrong_arguments() -> None:
    graph = sparse_graph(4, 0)
    assert not np.array_equal(graph.sample(50, 0), graph.sample(50, 1))
    assert not np.array_equal(sparse_graph(9, 0).adjacency, sparse_graph(9, 1).adjacency)
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, 4\), not \(3, 5\)"):
        graph.log_prob(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"`features` must be at least 1, not 0"):
        sparse_graph(0)
