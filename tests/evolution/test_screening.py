from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution.blocks import EdgeBlock, MaskBlock
from nfopt.evolution.features import Encoder
from nfopt.evolution.genome import Genome, Layout
from nfopt.evolution.screening import INTERCEPT, Screen, ridge
from nfopt.evolution.variables import Category, Integer, Real
from nfopt.masks import pair_coverage, parse

from .layouts import LAYOUTS


def test_what_the_model_sees_of_a_genome() -> None:
    layout = Layout((Real(1.0, 100.0, log=True), Category(3), Integer(0, 4)), MaskBlock(2, 3))
    genome = Genome((10.0, 2, 4), parse(["CCT", "TTC"]))
    blocks = Encoder(layout).encode([genome])
    assert blocks["plain"].tolist() == [[0.5, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0]]
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


def test_leave_one_out_errors_are_those_of_leaving_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 3))
    gram = features @ features.T / 3
    y = features @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=12) + 7
    weights = rng.integers(1, 4, size=12).astype(float)
    monkeypatch.setattr("nfopt.evolution.screening.PENALTIES", (0.3,))
    fit = ridge(gram, y[:, None], weights)
    centred, whole = y - np.average(y, weights=weights), gram + INTERCEPT
    errors, spread = 0.0, 0.0
    for out in range(12):
        rest = np.delete(np.arange(12), out)
        solved = np.linalg.solve(
            whole[np.ix_(rest, rest)] + np.diag(0.3 / weights[rest]), centred[rest]
        )
        errors += weights[out] * (centred[out] - whole[out, rest] @ solved) ** 2
        spread += weights[out] * (y[out] - np.average(y[rest], weights=weights[rest])) ** 2
    assert fit.r2[0] == pytest.approx(1 - errors / spread, rel=1e-6)
    assert fit.alpha[:, 0] == pytest.approx(
        np.linalg.solve(whole + np.diag(0.3 / weights), centred), rel=1e-6
    )


def test_it_predicts_what_it_can_and_says_when_it_can_not() -> None:
    layout, rng = Layout((Category(3), Real(0.0, 1.0)), MaskBlock(4, 8)), np.random.default_rng(0)
    weights = rng.normal(size=(8, 8))

    def value(genome: Genome) -> float:
        assert genome.masks is not None
        covered = float((weights * pair_coverage(genome.masks)).sum())
        return covered + (genome.values[1] - 0.3) ** 2 + [0.0, 3.0, 1.0][int(genome.values[0])]

    genomes = [layout.random(rng) for _ in range(240)]
    y = np.array([value(genome) for genome in genomes])
    screen = Screen(layout, 0.1)
    assert screen.r2 is None
    assert not screen.usable
    screen.fit(genomes[:200], y[:200, None], np.ones(200))
    assert screen.usable
    predicted = screen.predict(genomes[200:])[:, 0]
    unexplained = float(
        ((predicted - y[200:]) ** 2).sum() / ((y[200:] - y[200:].mean()) ** 2).sum()
    )
    assert unexplained < 0.5
    assert screen.r2 == pytest.approx(1 - unexplained, abs=0.25)
    screen.fit(genomes[:200], rng.normal(size=(200, 1)), np.ones(200))
    screen.fit(genomes[:200], rng.normal(size=(200, 1)), np.ones(200))
    assert not screen.usable


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_can_be_screened(name: str) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    genomes = [layout.random(rng) for _ in range(20)]
    screen = Screen(layout, 0.1)
    for _ in range(3):
        screen.fit(genomes, rng.normal(size=(20, 2)), np.ones(20), 2)
    assert np.isfinite(screen.predict(genomes)).all()
    assert screen.predict(genomes).shape == (20, 2)


def test_a_constant_has_no_r2() -> None:
    layout, rng = LAYOUTS["values"], np.random.default_rng(0)
    screen = Screen(layout, 0.1)
    screen.fit([layout.random(rng) for _ in range(12)], np.ones((12, 1)), np.ones(12))
    assert screen.r2 == 0.0
