"""studies/mask_table: tables on disk, landscapes, and the replay, on a small table made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest

pytest.importorskip("sklearn")
ROOT = Path(__file__).parents[2]
FOLDERS = (
    ROOT / "studies" / "mask_table",
    ROOT / "optunahub" / "package" / "benchmarks" / "nfopt_mask_table",
)
LAYERS, FEATURES, SEEDS = 3, 4, 3


@pytest.fixture(scope="module")
def table():
    """160 valid masks; the NLL counts the letters that differ from one of them, plus noise."""
    from landscape import Table

    places = np.arange(LAYERS * FEATURES)
    bits = (np.arange(1 << len(places))[:, None] >> places & 1).astype(bool)
    bits = bits.reshape(-1, LAYERS, FEATURES)
    valid = bits.any(2).all(1) & (~bits).any(2).all(1) & bits.any(1).all(1) & (~bits).any(1).all(1)
    rng = np.random.default_rng(0)
    bits = rng.permutation(bits[valid])[:160]
    truth = (bits != bits[3]).sum((1, 2)).astype(float)
    noise = rng.normal(size=(len(bits), SEEDS, 1)) * 0.2
    noise -= noise.mean(axis=1, keepdims=True)
    curves = truth[:, None, None] + noise + np.array([2.0, 1.0, 0.0])
    sampler = np.array(["one", "two"])[np.arange(len(bits)) % 2]
    return Table(bits, sampler, curves.astype(np.float32), {"data": "made"})


class Walk:
    """Asks for every mask of the table in turn, and stops what is bad after a quarter."""

    def __init__(self, masks: np.ndarray) -> None:
        self.masks, self.running, self.most, self.told = list(masks), 0, 0, []

    def ask(self):
        self.running += 1
        self.most = max(self.most, self.running)
        return len(self.masks), self.masks.pop(0)

    def tell(self, token, mask, nll):
        self.running -= 1
        self.told.append((token, nll))

    def report(self, token, point, nll):
        stop = point == 0 and nll > 6.0
        self.running -= stop
        return stop

    def incumbent(self):
        return None


def test_a_table_comes_back_from_disk_as_it_was(table, tmp_path) -> None:
    table.save(tmp_path / "made.npz")
    back = type(table).load(tmp_path / "made.npz")
    assert (back.transformed == table.transformed).all()
    assert (back.curves == table.curves).all()
    assert back.sampler.tolist() == table.sampler.tolist()
    assert back.about == table.about
    assert [path.name for path in tmp_path.iterdir()] == ["made.npz"]


def test_masks_that_wait_for_their_trainings_are_not_in_the_complete_table(table) -> None:
    from landscape import Table

    part = Table(table.transformed[:5], table.sampler[:5], table.curves[:5].copy(), {})
    part.propose(table.transformed[5:7], "late")
    assert len(part) == 7
    assert len(part.complete) == 5
    assert part.complete.noise == pytest.approx(0.2, rel=0.5)


def test_the_pool_gives_the_trainings_of_the_nearest_mask(table) -> None:
    from landscape import Pool

    pool = Pool(table)
    index = 17
    runs = {
        float(pool.run(table.transformed[index], np.random.default_rng(i))[-1]) for i in range(30)
    }
    assert runs == set(table.curves[index, :, -1].astype(float).tolist())
    one = type(table)(table.transformed[:1], table.sampler[:1], table.curves[:1], {})
    assert Pool(one).curve(table.transformed[9:10])[0, -1] == pytest.approx(table.truth[0])


def test_the_emulator_learns_an_additive_table_and_keeps_its_noise(table) -> None:
    from landscape import Emulator, left_out

    emulator = Emulator(table)
    assert np.corrcoef(emulator.final(table.transformed), table.truth)[0, 1] > 0.95
    assert emulator.best <= emulator.final(table.transformed).min() + 1e-9
    runs = [emulator.run(table.transformed[5], np.random.default_rng(i))[-1] for i in range(300)]
    assert np.std(runs) == pytest.approx(table.noise, rel=0.25)
    assert left_out(table)["all"][1] > 0.6
    shuffled = np.random.default_rng(1).permutation(len(table))
    nonsense = type(table)(table.transformed, table.sampler, table.curves[shuffled], {})
    assert left_out(nonsense)["all"][1] < 0.2


def test_workers_are_asynchronous_and_stopped_trainings_are_short(table) -> None:
    from landscape import Pool
    from replay import simulate

    walk = Walk(table.transformed)
    played = simulate(
        walk, Pool(table), evaluations=60, workers=4, noise=False, seed=0, looks=(30, 60)
    )
    assert walk.most == 4
    numbers = [token for token, _ in walk.told]
    assert numbers != sorted(numbers, reverse=True), "results must come out of order"
    assert played.times == sorted(played.times)
    stopped = np.isinf(played.nlls)
    assert 0 < stopped.sum() < 60
    assert len(walk.told) == 60 - stopped.sum()
    assert played.times[-1] < 60 / 4, "stopped trainings take a quarter of the time"
    kept = [truth for truth, out in zip(played.truths, stopped, strict=True) if not out]
    assert played.chosen[60] == min(kept), "without noise the incumbent is the best that was run"


def test_a_race_finds_a_better_mask_than_the_luckiest_run(table) -> None:
    from landscape import Emulator
    from replay import simulate

    emulator = Emulator(table)
    gaps = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(table))[:60]
        walk = Walk(table.transformed[order])
        walk.report = lambda *args: False
        noisy = simulate(
            walk, emulator, evaluations=60, workers=2, noise=True, seed=seed, looks=(60,)
        )
        gaps.append(noisy.chosen[60] - noisy.raced[60])
    assert np.mean(gaps) >= 0


def test_the_replay_is_an_optuna_objective_with_rungs(table) -> None:
    from landscape import Pool
    from replay import Replay

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)
    objective = Replay(Pool(table), noise=False, seed=0)
    study.optimize(objective, n_trials=30)
    states = [trial.state for trial in study.trials]
    assert optuna.trial.TrialState.PRUNED in states
    done = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    assert all(t.value == t.user_attrs["truth"] for t in done)
    assert all(list(t.intermediate_values) == [1, 2] for t in done)


@pytest.mark.parametrize("name", ["designed", "iid", "hill", "evolution", "umda", "tpe", "nsga2"])
def test_collectors_propose_distinct_valid_masks(table, name) -> None:
    from collect import COLLECTORS, Told, distinct

    from nfopt.masks import from_transformed, is_valid

    order = np.argsort(table.truth)[40:80]
    told = Told(table.transformed[order], table.truth[order], np.ones((FEATURES, FEATURES)))
    rng = np.random.default_rng(0)
    drawn = COLLECTORS[name](told, 8, (LAYERS, FEATURES), rng)
    assert drawn.shape == (8, LAYERS, FEATURES)
    seen = {mask.tobytes() for mask in told.masks}
    new = distinct(drawn, seen, rng)
    assert len({mask.tobytes() for mask in new} - {m.tobytes() for m in told.masks}) == 8
    assert all(is_valid(from_transformed(mask)) for mask in new)
