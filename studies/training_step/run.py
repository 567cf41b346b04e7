"""What a training step with Muon costs against one with AdamW: the recipe's flow, CPU seconds.

python studies/training_step/run.py                # about a minute
python studies/training_step/run.py --members 1    # a flow alone

The variants take turns, a few steps each, so that a busy machine is slow for all of them; a ratio
is taken within its round. Process time counts, on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from nfopt.flows import build
from nfopt.recipes import autoregressive
from nfopt.spec import TrainSpec
from nfopt.training import TrainData
from nfopt.training.population import Population
from nfopt.training.schedule import Plan

STEPS, ROUNDS, WARM_UP = 5, 25, 2
MUON = {"optimiser": "muon", "learning_rate": 8e-3, "schedule": "trapezoid"}
VARIANTS = {
    "adamw": {},
    "muon": MUON,
    "muon, decay": MUON | {"weight_decay": 0.01},
    "muon, decay, average": MUON | {"weight_decay": 0.01, "average": 0.995},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = torch.randn(10_000, asked.features, generator=torch.Generator().manual_seed(0))
    data = TrainData(rows, rows[:100])

    def population(**settings: object) -> Population:
        spec = TrainSpec(batch_size=asked.batch, **settings)  # type: ignore[arg-type]
        flows = [autoregressive(asked.features)] * asked.members
        (stack,) = build(flows, torch.Generator().manual_seed(0))
        specs = [spec] * asked.members
        return Population.start(stack, range(asked.members), specs, len(rows), (1, 2), Plan(10_000))

    populations = {name: population(**settings) for name, settings in VARIANTS.items()}
    taken: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(asked.rounds + WARM_UP):
        for name, each in populations.items():
            began = time.process_time()
            for _ in range(STEPS):
                each.advance(0.5, data)
            taken[name].append((time.process_time() - began) / STEPS)
    print(f"{asked.members} members, D {asked.features}, batch {asked.batch}, one thread")
    for name, seconds in taken.items():
        ratios = [a / b for a, b in zip(seconds, taken["adamw"], strict=True)][WARM_UP:]
        middle = statistics.median(seconds[WARM_UP:])
        spread = ", ".join(f"{q:.2f}" for q in statistics.quantiles(ratios, n=4)[::2])
        print(
            f"{name:22} {1000 * middle:6.1f} ms a step, {statistics.median(ratios):.2f} times"
            f" AdamW's (quartiles {spread})"
        )


if __name__ == "__main__":
    main()
