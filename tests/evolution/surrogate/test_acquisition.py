from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution.genome.blocks import MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.history import History
from nfopt.evolution.records import Record
from nfopt.evolution.settings import Settings
from nfopt.evolution.surrogate.acquisition import MIN_RESIDUAL, WINDOW, Acquisition, _window

LAYOUT = Layout((), MaskBlock(4, 12))


def letters(genome: Genome) -> float:
    assert genome.masks is not None
    return float([1.0, 5.0, 2.0, 9.0] @ (genome.masks == "T") @ np.arange(12.0))


def told(count: int, noise: float) -> tuple[History, list[Genome]]:
    """Runs of random genomes whose value the letters explain; the first one was run twice more."""
    rng, history = np.random.default_rng(0), History(1)
    genomes = [LAYOUT.random(rng) for _ in range(count)]
    for number, genome in enumerate([*genomes, genomes[0], genomes[0], genomes[1]]):
        value = letters(genome) + noise * rng.normal()
        history.tell(Record(number, genome, "complete", (value,)))
    return history, genomes


def test_the_model_pulls_a_noisy_value_to_what_the_others_say_of_it() -> None:
    history, genomes = told(60, noise=60.0)
    acquisition, view = Acquisition(LAYOUT, Settings()), history.view()
    assert acquisition.refined(view, genomes) is view
    acquisition.fit(view, genomes, history.finished)
    assert acquisition.usable
    refined = acquisition.refined(view, genomes)
    true = np.array([letters(genome) for genome in genomes])
    error = np.abs(refined.means[:, 0] - true).mean()
    assert error < 0.95 * np.abs(view.means[:, 0] - true).mean()
    assert error < 0.95 * np.abs(view.raw[:, 0] - true).mean()
    # What was run more often is pulled less.
    prior = view.raw[:, 0] - acquisition.surrogate.errors[:, 0]
    missed = acquisition.surrogate.errors[:, 0]
    spread = np.mean(missed**2) - view.noise[0] * np.mean(1 / view.runs)
    spread = max(spread, MIN_RESIDUAL * view.spread[0])
    weight = view.runs / (view.runs + view.noise[0] / spread)
    assert refined.means[:, 0] == pytest.approx(weight * view.raw[:, 0] + (1 - weight) * prior)


def test_without_noise_nothing_is_pulled() -> None:
    history, genomes = told(40, noise=0.0)
    acquisition = Acquisition(LAYOUT, Settings())
    acquisition.fit(history.view(), genomes, history.finished)
    assert acquisition.usable
    assert acquisition.refined(history.view(), genomes) is history.view()


def test_what_was_told_since_is_pulled_too_and_pruned_runs_are_not() -> None:
    history, genomes = told(60, noise=20.0)
    acquisition, rng = Acquisition(LAYOUT, Settings()), np.random.default_rng(1)
    acquisition.fit(history.view(), genomes, history.finished)
    late = [LAYOUT.random(rng) for _ in range(2)]
    history.tell(Record(100, late[0], "complete", (letters(late[0]) - 80.0,)))
    history.tell(Record(101, late[1], "pruned", rungs={1: 0.0}))
    view = history.view()
    refined = acquisition.refined(view, history.genomes)
    assert view.raw[60, 0] < refined.means[60, 0] < acquisition.surrogate.predict([late[0]])[0, 0]
    assert refined.means[60, 0] != view.means[60, 0]
    assert refined.means[61, 0] == view.means[61, 0]


def test_the_best_is_chosen_by_the_model() -> None:
    history, genomes = told(60, noise=1.0)
    acquisition, rng = Acquisition(LAYOUT, Settings(explore=0.0)), np.random.default_rng(1)
    children = [LAYOUT.random(rng) for _ in range(30)]
    assert acquisition.best(children, rng) is children[0]
    acquisition.fit(history.view(), genomes, history.finished)
    values = [letters(child) for child in children]
    chosen = values[children.index(acquisition.best(children, rng))]
    assert chosen <= np.quantile(values, 0.1)


def test_what_runs_and_what_is_near_it_is_less_worth_a_run() -> None:
    history, genomes = told(60, noise=1.0)
    acquisition, rng = Acquisition(LAYOUT, Settings()), np.random.default_rng(1)
    acquisition.fit(history.view(), genomes, history.finished)
    child = LAYOUT.random(rng)
    acquisition.condition(history.view(), history.genomes, history.running)
    before = acquisition.scores([child], 3.0)[0, 0]
    history.tell(Record(100, child, "running"))
    acquisition.condition(history.view(), history.genomes, history.running)
    running = acquisition.scores([child], 3.0)[0, 0]
    assert running > before
    surrogate = acquisition.surrogate
    assert surrogate.posterior([child])[0] == pytest.approx(surrogate.predict([child]))
    history.tell(Record(100, child, "complete", (letters(child) - 100.0,)))
    acquisition.condition(history.view(), history.genomes, history.running)
    assert acquisition.scores([child], 3.0)[0, 0] < running
    assert surrogate.posterior([child])[0] < surrogate.predict([child])


def test_the_window_holds_the_latest_and_the_best() -> None:
    history = History(1, shrink=False)
    values = np.concatenate([np.random.default_rng(0).permutation(300), np.full(100, 1e3)])
    for number, value in enumerate(values):
        history.tell(Record(number, Genome((number,)), "complete", (float(value),)))
    view = history.view()
    chosen = _window(view, np.arange(len(history.genomes)))
    assert len(chosen) == WINDOW
    assert set(range(300, 400)) <= set(chosen.tolist())
    assert sorted(values[chosen[:100]]) == list(range(100))
