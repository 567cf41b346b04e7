"""Do children that go by what a flow left improve more often than blind ones, in a real study?

Each run is an ordinary `nfopt search` over masks of affine couplings: short trials, no pruning, one
thread. What is printed is the share of children that are better than their better parent (posterior
means after the whole study), by operator and summed up.

    python studies/directed_mutation/run.py --data DIR/satimage.npz
    python studies/directed_mutation/run.py                             # without: penbased
    python studies/directed_mutation/run.py --quick                     # two minutes
    python studies/directed_mutation/run.py --data FILE --show          # only what is stored
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
import torch

from nfopt.evolution.settings import Settings
from nfopt.evolution.statistics import Share
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.success import Success, success
from nfopt.samplers.trials import Origin
from nfopt.space import SearchSpace
from nfopt.study.dataset import read
from nfopt.study.objective import Objective

STORAGE = "sqlite:///nfopt-runs/directed_mutation.db"
FEW = 5  # children of an operator of which a median is told
KINDS = ("directed", "blind", "crossed")
LIMITS = {
    "depth": 4, "maps": "affine", "mixing": "none", "width": 64, "hidden_layers": 2,
    "activation": "relu", "residual": False, "learning_rate": 3e-3, "weight_decay": 1e-5,
    "dropout": 0.0, "batch_size": 256,
}  # fmt: skip


def study_of(given: argparse.Namespace, seed: int) -> optuna.Study:
    """Run, or go on with, one study."""
    data, steps, trials = given.data, given.steps, 0 if given.show else given.trials
    source = read(data, seed=0)
    space = SearchSpace.for_data(
        source.data.train, kind="coupling", limits={**LIMITS, "steps": steps}
    )
    # half of all mutation, so that few trials tell something; an ordinary search has 15%
    settings = Settings(directed=0.5, screening=given.screening)
    study = optuna.create_study(
        study_name=f"{Path(data).stem}-{steps}-{'screened' if given.screening else 'all'}-{seed}",
        storage=given.storage,
        sampler=EvolutionSampler(space, seed=seed, settings=settings),
        pruner=optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    study.set_user_attr("nfopt:space", json.loads(space.to_json()))
    done = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))
    objective = Objective(source, space, share=1.0, seed=seed)
    study.optimize(objective, n_trials=max(0, trials - done))
    return study


def changes(study: optuna.Study) -> dict[str, list[float]]:
    """By operators, in how many nats a child differs from its better parent; runs are averaged."""
    trials = [t for t in study.trials if t.values]
    runs: dict[str, list[float]] = {}
    for trial in trials:
        runs.setdefault(Origin.of(trial).genome, []).append(trial.values[0])
    mean = {t.number: statistics.fmean(runs[Origin.of(t).genome]) for t in trials}
    found: dict[str, list[float]] = {}
    for trial in trials:
        origin = Origin.of(trial)
        parents = [mean[number] for number in origin.parents if number in mean]
        if parents and not origin.replicate:
            found.setdefault(origin.operator, []).append(mean[trial.number] - min(parents))
    return found


def lines(found: Sequence[Success]) -> Iterator[str]:
    """Write the table: a line for each kind of child, then one for each operator."""
    every = Counter(name for each in found for name in each.operators)
    rows = [*KINDS, *sorted(every)]
    for row in rows:
        shares = [
            getattr(each, row) if row in KINDS else each.operators.get(row, Share(0, 0))
            for each in found
        ]
        made, better = sum(s.children for s in shares), sum(s.improved for s in shares)
        if made:
            share = better / made
            error = 2 * math.sqrt(max(share * (1 - share), 0.25 / made) / made)
            apart = ", ".join(f"{s.improved}/{s.children}" for s in shares)
            yield f"{row:16} {better:4} of {made:4}  {share:4.0%} +- {error:.0%}   ({apart})"


def main() -> None:
    """Run the studies and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="penbased")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument(
        "--screening", action="store_true", help="children are chosen by the model, as usual"
    )
    parser.add_argument("--storage", default=STORAGE)
    parser.add_argument("--quick", action="store_true", help="one seed, 30 trials of 100 steps")
    parser.add_argument("--show", action="store_true", help="run nothing")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.trials, given.steps = 1, 30, 100
    torch.set_num_threads(1)
    Path("nfopt-runs").mkdir(exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found, seconds = [], []
    changed: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        study = study_of(given, seed)
        found.append(success(study))
        for operator, some in changes(study).items():
            changed.setdefault(operator, []).extend(some)
        seconds += [t.user_attrs["nfopt:seconds"] for t in study.trials if t.values]
        print(f"seed {seed}: {len(study.trials)} trials, best {study.best_value:.3f}", flush=True)
    print(f"{sum(seconds) / len(seconds):.1f} seconds a trial; better than the better parent:")
    print("\n".join(lines(found)))
    print("nats by which a child differs from its better parent, median (below 0 is better):")
    for operator, some in sorted(changed.items(), key=lambda pair: statistics.median(pair[1])):
        if len(some) >= FEW:
            print(f"{operator:16} {statistics.median(some):+.2f} of {len(some)}")


if __name__ == "__main__":
    main()
