from __future__ import annotations

import numpy as np
import pytest

from evolution.layouts import LAYOUTS
from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Integer, Real
from nfopt.evolution.surrogate.features import HOT, NUMBER, Encoder
from nfopt.evolution.surrogate.gp import Surrogate
from nfopt.evolution.surrogate.ridge import INTERCEPT
from nfopt.masks import pair_coverage, parse


def test_what_the_model_sees_of_a_genome() -> None:
    layout = Layout((Real(1.0, 100.0, log=True), Category(3), Integer(0, 4)), MaskBlock(2, 3))
    genome = Genome((10.0, 2, 4), parse(["CCT", "TTC"]))
    blocks = Encoder(layout).encode([genome])
    scaled = [NUMBER * 0.5, NUMBER * 1.0, 0.0, 0.0, HOT]
    assert blocks["plain"][0] == pytest.approx(scaled)
    assert genome.masks is not None
    assert blocks["coverage"].reshape(3, 3).tolist() == pair_coverage(genome.masks).tolist()
    assert blocks["letters"].tolist() == [[0, 0, 1, 1, 1, 0]]
    edges = Encoder(Layout((), edges=EdgeBlock(2))).encode(
        [Genome((), parents=np.array([[False, True], [False, False]]))]
    )
    assert {name: block.tolist() for name, block in edges.items()} == {"edges": [[0, 1, 0, 0]]}


def test_coverage_with_idle_letters() -> None:
    layout, rng = LAYOUTS["idle"], np.random.default_rng(1)
    genomes = [layout.random(rng) for _ in range(5)]
    coverage = Encoder(layout).encode(genomes)["coverage"]
    for genome, row in zip(genomes, coverage, strict=True):
        assert genome.masks is not None
        transformed, conditions = genome.masks == "T", genome.masks == "C"
        assert row.reshape(9, 9).tolist() == (transformed.T.astype(int) @ conditions).tolist()


def test_it_predicts_what_it_can_and_says_when_it_can_not() -> None:
    layout, rng = Layout((Category(3), Real(0.0, 1.0)), MaskBlock(4, 8)), np.random.default_rng(0)
    weights = rng.normal(size=(8, 8))

    def value(genome: Genome) -> float:
        assert genome.masks is not None
        covered = float((weights * pair_coverage(genome.masks)).sum())
        return covered + (genome.values[1] - 0.3) ** 2 + [0.0, 3.0, 1.0][int(genome.values[0])]

    genomes = [layout.random(rng) for _ in range(240)]
    y = np.array([value(genome) for genome in genomes])
    surrogate = Surrogate(layout, 0.1)
    assert surrogate.r2 is None
    assert not surrogate.usable
    surrogate.fit(genomes[:200], y[:200, None], np.ones(200))
    assert surrogate.usable
    predicted = surrogate.predict(genomes[200:])[:, 0]
    unexplained = float(
        ((predicted - y[200:]) ** 2).sum() / ((y[200:] - y[200:].mean()) ** 2).sum()
    )
    assert unexplained < 0.5
    assert surrogate.r2 == pytest.approx(1 - unexplained, abs=0.25)
    surrogate.fit(genomes[:200], rng.normal(size=(200, 1)), np.ones(200))
    surrogate.fit(genomes[:200], rng.normal(size=(200, 1)), np.ones(200))
    assert not surrogate.usable


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_can_be_screened(name: str) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    genomes = [layout.random(rng) for _ in range(20)]
    surrogate = Surrogate(layout, 0.1)
    for _ in range(3):
        surrogate.fit(genomes, rng.normal(size=(20, 2)), np.ones(20), 2)
    assert np.isfinite(surrogate.predict(genomes)).all()
    assert surrogate.predict(genomes).shape == (20, 2)


def test_a_constant_has_no_r2() -> None:
    layout, rng = LAYOUTS["values"], np.random.default_rng(0)
    surrogate = Surrogate(layout, 0.1)
    surrogate.fit([layout.random(rng) for _ in range(12)], np.ones((12, 1)), np.ones(12))
    assert surrogate.r2 == 0.0


def test_what_it_expects_is_the_posterior_of_all_that_it_was_told() -> None:
    layout, rng = LAYOUTS["masks alone"], np.random.default_rng(0)
    genomes = [layout.random(rng) for _ in range(40)]
    y = np.array([(g.masks == "T")[0].sum() for g in genomes]) + 0.1 * rng.normal(size=40)
    weights = np.where(np.arange(40) % 3 == 0, 2.0, 1.0)
    surrogate = Surrogate(layout, 0.1)
    surrogate.fit(genomes[:30], y[:30, None], weights[:30])
    means, sds = surrogate.posterior(genomes)
    assert means == pytest.approx(surrogate.predict(genomes))
    heard = np.where(np.arange(30, 36) < 34, y[30:36], np.nan)  # two are running
    surrogate.condition(genomes[30:36], heard[:, None], weights[30:36])
    after, less = surrogate.posterior(genomes)
    # The same from scratch, with the exponents, noise, mean and scale of the fit.
    model = surrogate._model
    assert model is not None
    rows = model._rows(surrogate._encoder.encode(genomes))
    kernel = np.exp(-((rows[:, None] - rows) ** 2).sum(axis=-1)) + INTERCEPT
    noise = np.diag(model.fit.penalty[0] / weights)
    for count, found, wanted in [(36, less, "sds"), (34, after, "means")]:
        inverse = np.linalg.inv((kernel + noise)[:count, :count])
        near = kernel[:, :count]
        if wanted == "means":
            told = near @ inverse @ (y[:34] - model.fit.centre[0]) + model.fit.centre[0]
        else:
            left = np.diag(kernel) - np.einsum("ij,jk,ik->i", near, inverse, near)
            told = np.sqrt(left * model.fit.scale[0])
        assert found[:, 0] == pytest.approx(told, rel=1e-6, abs=1e-6)
    assert (less < sds).all()
    surrogate.condition([], np.empty((0, 1)), np.empty(0))
    assert surrogate.posterior(genomes)[0] == pytest.approx(means)


def test_exponents_go_where_the_values_are_explained() -> None:
    layout, rng = Layout((), MaskBlock(4, 8)), np.random.default_rng(0)
    genomes = [layout.random(rng) for _ in range(150)]
    weights = rng.normal(size=(8, 8))
    y = np.array([float((weights * pair_coverage(g.masks)).sum()) for g in genomes])  # type: ignore[arg-type]
    surrogate = Surrogate(layout, 0.1)
    surrogate.fit(genomes, y[:, None], np.ones(150))
    first = surrogate.r2
    for _ in range(12):
        surrogate.fit(genomes, y[:, None], np.ones(150))
    assert first is not None
    assert surrogate.r2 is not None
    assert surrogate.r2 > first
